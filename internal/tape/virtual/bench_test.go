package virtual

import (
	"os"
	"path/filepath"
	"testing"

	"twintape/internal/tape"
)

const (
	benchRecord = 512 << 10
	benchSize   = 128 << 20 // bytes of a file or tape; written once before, so that its space is there
)

// BenchmarkRecords compares records on a cartridge with the plain file of the same size that lies beside it.
func BenchmarkRecords(b *testing.B) {
	p := make([]byte, benchRecord)
	f, err := os.Create(filepath.Join(b.TempDir(), "plain"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	d := benchDrive(b)
	run := func(name string, again func() error, one func(at int64) error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(benchRecord)
			b.ReportAllocs()
			at := int64(benchSize)
			for b.Loop() {
				if at += benchRecord; at >= benchSize {
					at = 0
					if err := again(); err != nil {
						b.Fatal(err)
					}
				}
				if err := one(at); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	ctx := b.Context()
	nothing := func() error { return nil }
	rewind := func() error { return d.Rewind(ctx) }
	write := func(at int64) error { _, err := f.WriteAt(p, at); return err }
	record := func(int64) error { return d.WriteRecord(ctx, p) }
	for at := int64(0); at < benchSize; at += benchRecord {
		if err := write(at); err != nil {
			b.Fatal(err)
		}
		if err := record(at); err != nil {
			b.Fatal(err)
		}
	}
	run("write/file", nothing, write)
	run("write/tape", rewind, record)
	run("read/file", nothing, func(at int64) error { _, err := f.ReadAt(p, at); return err })
	if err := rewind(); err != nil {
		b.Fatal(err)
	}
	for range benchSize / benchRecord { // a tape that is read must hold data to its end
		if err := record(0); err != nil {
			b.Fatal(err)
		}
	}
	run("read/tape", rewind, func(int64) error { _, err := d.ReadRecord(ctx, p); return err })
}

func benchDrive(b *testing.B) tape.Drive {
	dir, ctx := b.TempDir(), b.Context()
	if err := Create(dir, Options{Drives: 1, Slots: 1}); err != nil {
		b.Fatal(err)
	}
	lib, err := Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := lib.Close(); err != nil {
			b.Error(err)
		}
	})
	if err := lib.AddCartridge("A00001", DefaultCapacity); err != nil {
		b.Fatal(err)
	}
	if err := lib.Load(ctx, 1, 0); err != nil {
		b.Fatal(err)
	}
	d, err := lib.OpenDrive(ctx, 0)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := d.Load(ctx); err != nil {
		b.Fatal(err)
	}
	return d
}
