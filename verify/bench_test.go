package verify

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"twintape/internal/digest"
	"twintape/internal/tape"
)

// fileDrive reads a cartridge whose blocks lie one after the other in a file.
type fileDrive struct {
	*drive
	file    *os.File
	offsets []int64 // of each block, and behind the last
}

func (d *fileDrive) ReadRecord(_ context.Context, p []byte) (int, error) {
	if d.at+1 >= int64(len(d.offsets)) {
		return 0, tape.ErrEndOfData
	}
	from, to := d.offsets[d.at], d.offsets[d.at+1]
	d.at++
	if from == to {
		return 0, tape.ErrFilemark
	}
	return d.file.ReadAt(p[:to-from], from)
}

// BenchmarkPair compares a full check of both tapes at once with two md5sums at once over the same bytes. The bytes per
// second are those of both tapes together.
func BenchmarkPair(b *testing.B) {
	for _, c := range []struct {
		name  string
		items int
		size  int
	}{{"observations", 16, 16 << 20}, {"files of 64 KiB", 4096, 64 << 10}} {
		archive := make([]int, c.items)
		for i := range archive {
			archive[i] = c.size
		}
		w := writeRecords(b, shape{{archive[:c.items/2], archive[c.items/2:]}}, 512<<10)
		var paths [2]string
		var offsets [2][]int64
		dir, total := b.TempDir(), int64(0)
		for side, blocks := range w.tapes {
			paths[side] = filepath.Join(dir, fmt.Sprint(side))
			f, err := os.Create(paths[side])
			if err != nil {
				b.Fatal(err)
			}
			at := int64(0)
			for _, p := range blocks {
				offsets[side] = append(offsets[side], at)
				if _, err := f.Write(p); err != nil {
					b.Fatal(err)
				}
				at += int64(len(p))
			}
			offsets[side] = append(offsets[side], at)
			total += at
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
		}
		expect := w.expect
		w = nil
		open := func(b *testing.B, side int) *os.File {
			f, err := os.Open(paths[side])
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { f.Close() })
			return f
		}
		b.Run(c.name+"/verify", func(b *testing.B) {
			b.SetBytes(total)
			b.ReportAllocs()
			for b.Loop() {
				var drives [2]tape.Drive
				for side := range drives {
					drives[side] = &fileDrive{drive: newDrive("drive", nil), file: open(b, side), offsets: offsets[side]}
					drives[side].(*fileDrive).blocks = make(cartridge, len(offsets[side]))
				}
				reports, errs := Pair(b.Context(), drives, expect, [2]Options{{Sample: 1, Scratch: dir}, {Sample: 1, Scratch: dir}})
				for side, r := range reports {
					if errs[side] != nil || !r.Good {
						b.Fatal(errs[side], r)
					}
				}
			}
		})
		b.Run(c.name+"/md5sum", func(b *testing.B) {
			b.SetBytes(total)
			for b.Loop() {
				var both sync.WaitGroup
				for side := range 2 {
					f := open(b, side)
					both.Go(func() {
						io.CopyBuffer(digest.NewMD5(), struct{ io.Reader }{f}, make([]byte, 32<<10)) // as md5sum reads
					})
				}
				both.Wait()
			}
		})
	}
}
