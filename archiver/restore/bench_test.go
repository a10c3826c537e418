package restore_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"twintape/archiver/archivertest"
	"twintape/archiver/restore"
	"twintape/internal/tape"
)

// BenchmarkFull restores a whole tape of 1.2 GB, every file's MD5 checked, and in turns with it GNU tar extracts the same
// archives, as plain files, to the same disk; tar checks nothing. It tells the medians and their ratio.
func BenchmarkFull(b *testing.B) {
	const items, size, rounds = 24, 50 << 20, 5
	s := archivertest.New(b, 1, 4<<30)
	s.A.ArchiveSize, s.A.RecordSize, s.A.FlushBytes, s.A.Memory = 1<<30, 512<<10, 32e9, 64<<20
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(data) //nolint:errcheck // never fails
	for i := range items {
		data[0] = byte(i)
		s.File(fmt.Sprintf("n/zen.%02d.uv/visdata", i), string(data))
	}
	s.Archive("pot1:/n/*")
	var tars []string
	for n := 1; ; n++ {
		name := filepath.Join(s.Dir, fmt.Sprintf("%d.tar", n))
		if !archive(b, s, n, name) {
			break
		}
		tars = append(tars, name)
	}
	tars = tars[:len(tars)-1] // the catalog
	one := without{s.A.Library, []string{"PAPR2001"}}
	s.A.Library = one // tar has one only, too
	var ours, theirs []time.Duration
	for b.Loop() {
		for range rounds {
			to := b.TempDir()
			began := time.Now()
			r, err := restore.Restore(b.Context(), s.A, restore.Options{Patterns: []string{"pot1:/"}, To: to})
			ours = append(ours, time.Since(began))
			if err != nil || r.Files != items {
				b.Fatalf("%+v, %v", r, err)
			}
			must(b, os.RemoveAll(to))
			to = b.TempDir()
			for _, name := range tars {
				uncache(b, name) // as loading does with a cartridge
			}
			began = time.Now()
			for _, name := range tars {
				if out, err := exec.Command("tar", "-xpf", name, "-C", to).CombinedOutput(); err != nil {
					b.Fatalf("tar: %v\n%s", err, out)
				}
			}
			syncfs(b, to)
			theirs = append(theirs, time.Since(began))
			must(b, os.RemoveAll(to))
		}
	}
	rate := func(d []time.Duration) float64 {
		slices.Sort(d)
		return items * size / 1e6 / d[len(d)/2].Seconds()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(rate(ours), "MB/s")
	b.ReportMetric(rate(theirs), "tar-MB/s")
	b.ReportMetric(rate(ours)/rate(theirs), "ratio")
}

// syncfs writes out what restoring writes out too.
func syncfs(b *testing.B, dir string) {
	f, err := os.Open(dir)
	must(b, err)
	defer f.Close()
	must(b, unix.Syncfs(int(f.Fd())))
}

// uncache takes a file out of the page cache.
func uncache(b *testing.B, name string) {
	f, err := os.Open(name)
	must(b, err)
	defer f.Close()
	must(b, f.Sync())
	must(b, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
}

// archive copies a tape file to a plain file; false if there is none.
func archive(b *testing.B, s *archivertest.Site, number int, name string) bool {
	b.Helper()
	ctx := b.Context()
	must(b, s.A.Library.Changer().Load(ctx, 1, 0))
	d, err := s.A.Library.OpenDrive(ctx, 0)
	must(b, err)
	defer func() {
		must(b, d.Unload(ctx))
		must(b, s.A.Library.Changer().Unload(ctx, 0, 1))
		must(b, d.Close())
	}()
	_, err = d.Load(ctx)
	must(b, err)
	out, err := os.Create(name)
	must(b, err)
	defer out.Close()
	buf := make([]byte, s.A.RecordSize)
	for file, written := 0, false; ; {
		n, err := d.ReadRecord(ctx, buf)
		switch {
		case err == tape.ErrFilemark:
			if file++; file > number {
				return written
			}
		case err != nil:
			return false
		case file == number:
			written = true
			_, err := io.Writer(out).Write(buf[:n])
			must(b, err)
		}
	}
}
