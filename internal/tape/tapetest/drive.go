package tapetest

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"

	"twintape/internal/tape"
)

// operations are all that need a cartridge.
func operations(d tape.Drive) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"WriteRecord":   func(ctx context.Context) error { return d.WriteRecord(ctx, pattern(512, 1)) },
		"WriteFilemark": d.WriteFilemark,
		"ReadRecord":    func(ctx context.Context) error { _, err := d.ReadRecord(ctx, make([]byte, 512)); return err },
		"Position":      func(ctx context.Context) error { _, err := d.Position(ctx); return err },
		"Locate":        func(ctx context.Context) error { return d.Locate(ctx, 1) },
		"SpaceEOD":      d.SpaceEOD,
		"Rewind":        d.Rewind,
	}
}

func emptyDrive(t *testing.T, lib tape.Library) {
	d, err := lib.OpenDrive(t.Context(), 0)
	must(t, err)
	_, err = d.Load(t.Context())
	wantError(t, "loading nothing", err, tape.ErrNoMedium)
	for name, op := range operations(d) {
		wantError(t, name+" without a cartridge", op(t.Context()), tape.ErrNoMedium)
	}
	if err := d.Unload(t.Context()); err != nil && !errors.Is(err, tape.ErrNoMedium) {
		t.Errorf("unloading nothing: %v", err)
	}
	loaded := func() (err error) { _, err = d.Load(t.Context()); return err }
	must(t, lib.Changer().Load(t.Context(), 2, 0))
	must(t, loaded())
	stands(t, d, 0)
}

// lengths are of records: odd ones, the usual ones, the longest that every host adapter takes.
var lengths = []int{1, 511, 512, 4096, 65537, 512 << 10, 1 << 20}

func records(t *testing.T, lib tape.Library) {
	d, ctx := loaded(t, lib), t.Context()
	readsError(t, d, tape.ErrEndOfData)
	readsError(t, d, tape.ErrEndOfData)
	stands(t, d, 0)
	for i, n := range lengths {
		must(t, d.WriteRecord(ctx, pattern(n, i)))
		stands(t, d, int64(i+1))
	}
	must(t, d.WriteFilemark(ctx))
	must(t, d.WriteFilemark(ctx))
	must(t, d.WriteRecord(ctx, pattern(700, 70)))
	must(t, d.WriteFilemark(ctx))
	must(t, d.Flush(ctx))
	stands(t, d, int64(len(lengths)+4))
	must(t, d.Rewind(ctx))
	for i, n := range lengths {
		reads(t, d, pattern(n, i))
	}
	readsError(t, d, tape.ErrFilemark)
	readsError(t, d, tape.ErrFilemark)
	stands(t, d, int64(len(lengths)+2))
	reads(t, d, pattern(700, 70))
	readsError(t, d, tape.ErrFilemark)
	for range 3 {
		readsError(t, d, tape.ErrEndOfData)
	}
	stands(t, d, int64(len(lengths)+4))
	// A record that is longer than the buffer is passed.
	must(t, d.Locate(ctx, 4))
	n, err := d.ReadRecord(ctx, make([]byte, 65536))
	if n != 0 || !errors.Is(err, tape.ErrShortBuffer) {
		t.Fatalf("a short buffer: %d, %v", n, err)
	}
	stands(t, d, 5)
	reads(t, d, pattern(512<<10, 5))
	if err := d.WriteRecord(ctx, nil); err == nil {
		t.Error("a record of 0 bytes was written")
	}
}

func positions(t *testing.T, lib tape.Library) {
	d, ctx := loaded(t, lib), t.Context()
	for i := range 20 {
		must(t, d.WriteRecord(ctx, pattern(1000, i)))
		if i%5 == 4 {
			must(t, d.WriteFilemark(ctx))
		}
	}
	must(t, d.Flush(ctx))
	stands(t, d, 24)
	for _, block := range []int64{0, 13, 7, 23, 1} {
		must(t, d.Locate(ctx, block))
		stands(t, d, block)
		if i := int(block - block/6); block%6 != 5 {
			reads(t, d, pattern(1000, i))
		} else {
			readsError(t, d, tape.ErrFilemark)
		}
		stands(t, d, block+1)
	}
	must(t, d.Locate(ctx, 24))
	readsError(t, d, tape.ErrEndOfData)
	wantError(t, "locating behind the end", d.Locate(ctx, 25), tape.ErrEndOfData)
	stands(t, d, 24)
	must(t, d.Locate(ctx, 2))
	wantError(t, "locating far behind the end", d.Locate(ctx, 100_000), tape.ErrEndOfData)
	stands(t, d, 24)
	must(t, d.Rewind(ctx))
	must(t, d.SpaceEOD(ctx))
	stands(t, d, 24)
	must(t, d.WriteRecord(ctx, pattern(1000, 24)))
	must(t, d.WriteFilemark(ctx))
	stands(t, d, 26)
}

func overwriting(t *testing.T, lib tape.Library) {
	d, ctx := loaded(t, lib), t.Context()
	for i := range 10 {
		must(t, d.WriteRecord(ctx, pattern(5000, i)))
	}
	must(t, d.WriteFilemark(ctx))
	must(t, d.Locate(ctx, 3))
	must(t, d.WriteRecord(ctx, pattern(9, 99)))
	must(t, d.WriteFilemark(ctx))
	must(t, d.Flush(ctx))
	readsError(t, d, tape.ErrEndOfData)
	must(t, d.Locate(ctx, 2))
	reads(t, d, pattern(5000, 2))
	reads(t, d, pattern(9, 99))
	readsError(t, d, tape.ErrFilemark)
	readsError(t, d, tape.ErrEndOfData)
	wantError(t, "locating what was cut off", d.Locate(ctx, 8), tape.ErrEndOfData)
	// A filemark cuts off too.
	must(t, d.Locate(ctx, 1))
	must(t, d.WriteFilemark(ctx))
	readsError(t, d, tape.ErrEndOfData)
	stands(t, d, 2)
}

// endWriting: whoever wrote records and moves finds a filemark behind them.
func endWriting(t *testing.T, lib tape.Library) {
	d, ctx := loaded(t, lib), t.Context()
	for name, move := range map[string]func() error{
		"Rewind":   func() error { return d.Rewind(ctx) },
		"Locate":   func() error { return d.Locate(ctx, 0) },
		"SpaceEOD": func() error { return d.SpaceEOD(ctx) },
		"ReadRecord": func() error {
			_, err := d.ReadRecord(ctx, make([]byte, 9))
			if errors.Is(err, tape.ErrEndOfData) {
				err = nil
			}
			return err
		},
		"Close": func() error {
			err := d.Close()
			if err == nil {
				d, err = lib.OpenDrive(ctx, 0)
			}
			if err == nil {
				_, err = d.Load(ctx)
			}
			return err
		},
	} {
		must(t, d.Rewind(ctx))
		must(t, d.WriteRecord(ctx, pattern(100, 1)))
		must(t, move())
		must(t, d.Rewind(ctx))
		reads(t, d, pattern(100, 1))
		if _, err := d.ReadRecord(ctx, make([]byte, 9)); !errors.Is(err, tape.ErrFilemark) {
			t.Errorf("behind %s: %v, want a filemark", name, err)
		}
		readsError(t, d, tape.ErrEndOfData)
		// Not behind a filemark.
		must(t, d.Rewind(ctx))
		must(t, d.WriteRecord(ctx, pattern(100, 1)))
		must(t, d.WriteFilemark(ctx))
		must(t, move())
		must(t, d.SpaceEOD(ctx))
		stands(t, d, 2)
	}
}

func reload(t *testing.T, lib tape.Library) {
	d, ctx := loaded(t, lib), t.Context()
	must(t, d.WriteRecord(ctx, pattern(1000, 1)))
	must(t, d.WriteFilemark(ctx))
	must(t, d.Unload(ctx))
	for name, op := range operations(d) {
		wantError(t, name+" after Unload", op(ctx), tape.ErrNoMedium)
	}
	must(t, d.Unload(ctx)) // the cartridge still lies in the drive, and can be taken
	must(t, lib.Changer().Unload(ctx, 0, 1))
	must(t, lib.Changer().Load(ctx, 2, 0))
	_, err := d.Load(ctx)
	must(t, err)
	readsError(t, d, tape.ErrEndOfData) // another one
	must(t, d.Unload(ctx))
	must(t, lib.Changer().Unload(ctx, 0, 2))
	other, err := lib.OpenDrive(ctx, 1)
	must(t, err)
	must(t, lib.Changer().Load(ctx, 1, 1))
	_, err = other.Load(ctx)
	must(t, err)
	stands(t, other, 0)
	reads(t, other, pattern(1000, 1))
	// Load again makes a loaded cartridge ready at its beginning.
	_, err = other.Load(ctx)
	must(t, err)
	stands(t, other, 0)
}

const fullRecord = 256 << 10

// full: early warning comes at every other call from some place on, until the end.
func full(t *testing.T, lib tape.Library) {
	d, ctx := loaded(t, lib), t.Context()
	written, warnings := 0, 0
	var last error
	for {
		err := d.WriteRecord(ctx, pattern(fullRecord, written))
		if errors.Is(err, tape.ErrEndOfMedium) {
			break
		}
		if errors.Is(err, tape.ErrEarlyWarning) {
			if warnings++; errors.Is(last, tape.ErrEarlyWarning) {
				t.Fatal("two early warnings follow each other")
			}
		} else if must(t, err); warnings > 0 && last == nil {
			t.Fatal("behind early warning two records were written without another")
		}
		if last = err; err == nil {
			written++
		}
		if written > Capacity/fullRecord {
			t.Fatal("the tape takes more than it holds")
		}
	}
	if warnings < 2 || written < Capacity/fullRecord/2 {
		t.Fatalf("%d records were written, with %d early warnings", written, warnings)
	}
	wantError(t, "writing on", d.WriteRecord(ctx, pattern(fullRecord, 0)), tape.ErrEndOfMedium)
	// There is always a way back, and room for a catalog.
	back := int64(written - written/4)
	must(t, d.Locate(ctx, back))
	must(t, d.WriteRecord(ctx, pattern(100, 100)))
	must(t, d.WriteFilemark(ctx))
	must(t, d.Flush(ctx))
	stands(t, d, back+2)
	must(t, d.Locate(ctx, back-1))
	reads(t, d, pattern(fullRecord, int(back-1)))
	reads(t, d, pattern(100, 100))
	readsError(t, d, tape.ErrFilemark)
	readsError(t, d, tape.ErrEndOfData)
}

// fullAtMark: behind early warning filemarks and flushes work as before.
func fullAtMark(t *testing.T, lib tape.Library) {
	d, ctx := loaded(t, lib), t.Context()
	written := 0
	for {
		err := d.WriteRecord(ctx, pattern(fullRecord, written))
		if errors.Is(err, tape.ErrEarlyWarning) {
			break
		}
		must(t, err)
		written++
	}
	must(t, d.WriteRecord(ctx, pattern(fullRecord, written)))
	must(t, d.WriteFilemark(ctx))
	must(t, d.Flush(ctx))
	stands(t, d, int64(written+2))
	must(t, d.Locate(ctx, int64(written)))
	reads(t, d, pattern(fullRecord, written))
	readsError(t, d, tape.ErrFilemark)
	readsError(t, d, tape.ErrEndOfData)
}

// anyOrder does this and that, and compares with a list of what should be on the tape.
func anyOrder(t *testing.T, lib tape.Library) {
	d, ctx := loaded(t, lib), t.Context()
	random := rand.New(rand.NewPCG(47, 11))
	var blocks [][]byte // nil is a filemark
	at, records := 0, false
	write := func(b []byte) {
		blocks = append(blocks[:at:at], b)
		at++
		records = b != nil
	}
	end := func() {
		if records {
			write(nil)
		}
	}
	for step := range 600 {
		switch random.IntN(9) {
		case 0, 1, 2:
			p := pattern(1+random.IntN(40_000), step)
			must(t, d.WriteRecord(ctx, p))
			write(p)
		case 3:
			must(t, d.WriteFilemark(ctx))
			write(nil)
		case 4:
			end()
			at = random.IntN(len(blocks) + 1)
			must(t, d.Locate(ctx, int64(at)))
		case 5, 6:
			end()
			switch {
			case at == len(blocks):
				readsError(t, d, tape.ErrEndOfData)
				continue
			case blocks[at] == nil:
				readsError(t, d, tape.ErrFilemark)
			default:
				reads(t, d, blocks[at])
			}
			at++
		case 7:
			must(t, d.Flush(ctx))
		case 8:
			end()
			at = len(blocks)
			must(t, d.SpaceEOD(ctx))
		}
		stands(t, d, int64(at))
	}
}

func cancelled(t *testing.T, lib tape.Library) {
	d := loaded(t, lib)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	all := operations(d)
	all["Load"] = func(ctx context.Context) error { _, err := d.Load(ctx); return err }
	all["Flush"] = d.Flush
	all["Unload"] = d.Unload
	all["Inventory"] = func(ctx context.Context) error { _, err := lib.Changer().Inventory(ctx); return err }
	all["changer Load"] = func(ctx context.Context) error { return lib.Changer().Load(ctx, 2, 1) }
	all["OpenDrive"] = func(ctx context.Context) error { _, err := lib.OpenDrive(ctx, 1); return err }
	for name, op := range all {
		if err := op(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a context that has ended: %v", name, err)
		}
	}
	stands(t, d, 0)
	readsError(t, d, tape.ErrEndOfData)
}

func closing(t *testing.T, lib tape.Library) {
	d, ctx := loaded(t, lib), t.Context()
	_, err := lib.OpenDrive(ctx, 0)
	wantError(t, "opening a drive twice", err, tape.ErrBusy)
	var serials []string
	for n := range lib.Drives() {
		if n > 0 {
			o, err := lib.OpenDrive(ctx, n)
			must(t, err)
			serials = append(serials, o.Serial())
			must(t, o.Close())
			must(t, o.Close())
		}
	}
	serials = append(serials, d.Serial())
	slices.Sort(serials)
	if len(slices.Compact(serials)) != lib.Drives() || serials[0] == "" {
		t.Errorf("the drives' serial numbers are %q", serials)
	}
	for _, n := range []int{-1, lib.Drives()} {
		if _, err := lib.OpenDrive(ctx, n); err == nil {
			t.Errorf("drive %d was opened", n)
		}
	}
	must(t, d.WriteRecord(ctx, pattern(10, 1)))
	must(t, d.Close())
	for name, op := range operations(d) {
		wantError(t, name+" after Close", op(ctx), fs.ErrClosed)
	}
	d, err = lib.OpenDrive(ctx, 0) // the cartridge stayed in it
	must(t, err)
	_, err = d.Load(ctx)
	must(t, err)
	reads(t, d, pattern(10, 1))
}

func health(t *testing.T, lib tape.Library) {
	d, ctx := loaded(t, lib), t.Context()
	must(t, d.WriteRecord(ctx, pattern(512<<10, 1)))
	h, err := d.Health(ctx)
	must(t, err)
	if len(h.Alerts) > 0 || h.Cleaning || !h.Empty() && h.Written < 512<<10 {
		t.Errorf("%+v", h)
	}
	// It was forgotten, and the tape goes on.
	h, err = d.Health(ctx)
	must(t, err)
	if h.Written > 0 {
		t.Errorf("%+v", h)
	}
	must(t, d.WriteRecord(ctx, pattern(10, 2)))
	must(t, d.WriteFilemark(ctx))
	must(t, d.Rewind(ctx))
	reads(t, d, pattern(512<<10, 1))
	reads(t, d, pattern(10, 2))
}
