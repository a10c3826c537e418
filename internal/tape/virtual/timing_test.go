package virtual

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"twintape/internal/tape"
)

// timed runs a test in a bubble where waiting costs nothing, with a drive of a generation and a loaded tape.
func timed(t *testing.T, generation string, test func(t *testing.T, d *timedDrive)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(Create(dir, Options{Drives: 1, Slots: 1}))
		lib, err := Open(dir)
		must(err)
		defer lib.Close()
		lib.Timing = &Timing{Generation: generation, Scale: 1}
		must(lib.AddCartridge("A00001", 8<<30))
		must(lib.Load(t.Context(), 1, 0))
		d, err := lib.OpenDrive(t.Context(), 0)
		must(err)
		began := time.Now()
		m, err := d.Load(t.Context())
		must(err)
		if took := time.Since(began); !m.Backhitch || took < 12*time.Second || took > 16*time.Second {
			t.Errorf("%+v was loaded in %v", m, took)
		}
		test(t, d.(*timedDrive))
	})
}

// near fails unless got is within a tenth of want.
func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got < want*9/10 || got > want*11/10 {
		t.Errorf("%s took %v, want about %v", what, got, want)
	}
}

const timedRecord = 512 << 10

func (d *timedDrive) write(t *testing.T, records int) time.Duration {
	t.Helper()
	began := time.Now()
	p := make([]byte, timedRecord)
	for range records {
		if err := d.WriteRecord(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	return time.Since(began)
}

func TestNativeRate(t *testing.T) {
	for generation := range generations {
		g, err := Timing{generation, 1}.parse()
		if err != nil {
			t.Fatal(err)
		}
		t.Run(generation, func(t *testing.T) {
			timed(t, generation, func(t *testing.T, d *timedDrive) {
				const records = 2000
				began := time.Now()
				d.write(t, records)
				if err := d.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				near(t, "writing 1 GB and the flush", time.Since(began), g.Read(records*timedRecord)+syncCost)
				if d.Hitches() != 0 {
					t.Errorf("the drive stopped %d times", d.Hitches())
				}
				if err := d.Rewind(t.Context()); err != nil {
					t.Fatal(err)
				}
				began = time.Now()
				p := make([]byte, timedRecord)
				for range records {
					if _, err := d.ReadRecord(t.Context(), p); err != nil {
						t.Fatal(err)
					}
				}
				near(t, "reading it back", time.Since(began), g.Read(records*timedRecord))
			})
		})
	}
}

// A source that is slower than the tape makes the drive stop and back up, once for each time its buffer runs empty.
func TestBackhitch(t *testing.T) {
	timed(t, "lto5", func(t *testing.T, d *timedDrive) {
		d.write(t, 600)
		for range 5 {
			time.Sleep(10 * time.Second)
			d.write(t, 1)
		}
		if d.Hitches() != 5 {
			t.Errorf("the drive stopped %d times, want 5", d.Hitches())
		}
	})
}

// The buffer takes a burst at once.
func TestBuffer(t *testing.T) {
	timed(t, "lto5", func(t *testing.T, d *timedDrive) {
		if took := d.write(t, bufferSize/timedRecord-1); took > 0 {
			t.Errorf("the buffer took %v", took)
		}
		if took := d.write(t, 100); took == 0 {
			t.Error("the buffer has no end")
		}
	})
}

// Wraps run there and back: the far end of one is the near end of the next, and half a tape away may be close by.
func TestSerpentine(t *testing.T) {
	g, err := Timing{"lto5", 1}.parse()
	if err != nil {
		t.Fatal(err)
	}
	wrap := int64(g.Capacity / g.Wraps)
	for what, c := range map[string]struct {
		from, to int64
		want     time.Duration
	}{
		"along a whole wrap":    {0, wrap - 1, g.Settle + 85*time.Second},
		"to the next wrap":      {wrap - 1, wrap + 1, g.Settle},
		"there and back":        {0, 2*wrap - 1, g.Settle},
		"forty wraps on":        {wrap / 4, 40*wrap + wrap/4, g.Settle},
		"half a wrap backwards": {wrap / 2, 0, g.Settle + 42*time.Second},
	} {
		near(t, what, g.Locate(c.from, c.to), c.want)
	}
	if gap := (&timedDrive{g: g}).LocateGap(); gap < 1e9 || gap > 1.3e9 {
		t.Errorf("locating pays from %d bytes on", gap)
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	timed(t, "lto5", func(t *testing.T, d *timedDrive) {
		d.write(t, 600)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := d.Unload(ctx); err == nil || time.Since(began) > 2*time.Second {
			t.Errorf("unload: %v after %v", err, time.Since(began))
		}
	})
}

func TestUnknownGeneration(t *testing.T) {
	dir := t.TempDir()
	if err := Create(dir, Options{Drives: 1}); err != nil {
		t.Fatal(err)
	}
	lib, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lib.Close()
	lib.Timing = &Timing{Generation: "dds2", Scale: 1}
	if _, err := lib.OpenDrive(t.Context(), 0); err == nil {
		t.Error("a drive of an unknown generation was opened")
	}
	if _, err := Open(dir); !errors.Is(err, tape.ErrBusy) {
		t.Errorf("a library was opened twice: %v", err)
	}
}
