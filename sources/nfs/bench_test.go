package nfs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"twintape/sources/sourcetest"
)

const (
	benchSize = 1 << 30
	rounds    = 5
)

// BenchmarkRead reads a cached file of 1 GiB through the source, several records at a time as the stream's fetchers do, and
// in turns with it by libnfs's nfs-cat. Both share the machine with the server. It tells the medians and their ratio.
func BenchmarkRead(b *testing.B) {
	s := start(b)
	root, _ := bigFile(b, benchSize)
	for _, size := range []int{512 << 10, 4 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			var ours, theirs []time.Duration
			for b.Loop() {
				for range rounds {
					began := time.Now()
					src := newSource(b, config(s, root))
					sourcetest.ReadThrough(b, src, "/big", benchSize, size)
					src.Close()
					ours = append(ours, time.Since(began))
					theirs = append(theirs, nfsCat(b, fmt.Sprintf("nfs://%s%s?version=3", s.Addr, filepath.Join(root, "big"))))
				}
			}
			b.ReportMetric(0, "ns/op") // of both together: it says nothing
			rate := func(d []time.Duration) float64 {
				slices.Sort(d)
				return benchSize / 1e6 / d[len(d)/2].Seconds()
			}
			b.ReportMetric(rate(ours), "MB/s")
			b.ReportMetric(rate(theirs), "MB/s-nfs-cat")
			b.ReportMetric(rate(ours)/rate(theirs), "ratio")
		})
	}
}

func nfsCat(b *testing.B, url string) time.Duration {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	cmd := exec.Command("nfs-cat", url)
	cmd.Stdout = null
	began := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("nfs-cat (Debian's libnfs-utils): %v", err)
	}
	return time.Since(began)
}

// BenchmarkReadDir lists a directory of 10,000 entries with their attributes.
func BenchmarkReadDir(b *testing.B) {
	s := start(b)
	root := b.TempDir()
	for i := range 10_000 {
		if err := os.WriteFile(filepath.Join(root, fmt.Sprintf("zen.2456620.%05d.uv", i)), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	src := newSource(b, config(s, root))
	for b.Loop() {
		infos, err := src.ReadDir(b.Context(), "/")
		if err != nil || len(infos) != 10_000 {
			b.Fatalf("%d entries, %v", len(infos), err)
		}
	}
	b.ReportMetric(float64(10_000*b.N)/b.Elapsed().Seconds(), "entries/s")
}
