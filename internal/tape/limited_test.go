package tape

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// slowDrive answers each call after some time; a deaf one does not look at its context.
type slowDrive struct {
	Drive
	takes atomic.Int64 // nanoseconds
	deaf  bool
}

func newSlowDrive(takes time.Duration, deaf bool) *slowDrive {
	d := &slowDrive{deaf: deaf}
	d.takes.Store(int64(takes))
	return d
}

func (d *slowDrive) Name() string { return "drive 0" }

func (d *slowDrive) wait(ctx context.Context) error {
	takes := time.Duration(d.takes.Load())
	if d.deaf {
		time.Sleep(takes)
		return nil
	}
	select {
	case <-time.After(takes):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *slowDrive) Load(ctx context.Context) (Medium, error) {
	return Medium{Type: "LTO-9"}, d.wait(ctx)
}
func (d *slowDrive) WriteRecord(ctx context.Context, _ []byte) error { return d.wait(ctx) }
func (d *slowDrive) WriteFilemark(ctx context.Context) error         { return d.wait(ctx) }
func (d *slowDrive) Flush(ctx context.Context) error                 { return d.wait(ctx) }
func (d *slowDrive) Locate(ctx context.Context, _ int64) error       { return d.wait(ctx) }
func (d *slowDrive) SpaceEOD(ctx context.Context) error              { return d.wait(ctx) }
func (d *slowDrive) Rewind(ctx context.Context) error                { return d.wait(ctx) }
func (d *slowDrive) Unload(ctx context.Context) error                { return d.wait(ctx) }
func (d *slowDrive) ReadRecord(ctx context.Context, p []byte) (int, error) {
	return len(p), d.wait(ctx)
}
func (d *slowDrive) Health(ctx context.Context) (Health, error) {
	return Health{Read: 9}, d.wait(ctx)
}
func (d *slowDrive) Position(ctx context.Context) (Position, error) {
	return Position{Block: 7}, d.wait(ctx)
}

// operations are all that have a limit.
var operations = map[string]struct {
	limit time.Duration
	call  func(ctx context.Context, d Drive) error
}{
	"load": {loadTime, func(ctx context.Context, d Drive) error {
		m, err := d.Load(ctx)
		if err == nil && m.Type != "LTO-9" {
			err = errors.New("the medium is lost")
		}
		return err
	}},
	"write":          {dataTime, func(ctx context.Context, d Drive) error { return d.WriteRecord(ctx, make([]byte, 9)) }},
	"write filemark": {dataTime, func(ctx context.Context, d Drive) error { return d.WriteFilemark(ctx) }},
	"flush":          {flushTime, func(ctx context.Context, d Drive) error { return d.Flush(ctx) }},
	"locate":         {moveTime, func(ctx context.Context, d Drive) error { return d.Locate(ctx, 9) }},
	"space":          {moveTime, func(ctx context.Context, d Drive) error { return d.SpaceEOD(ctx) }},
	"rewind":         {moveTime, func(ctx context.Context, d Drive) error { return d.Rewind(ctx) }},
	"unload":         {moveTime, func(ctx context.Context, d Drive) error { return d.Unload(ctx) }},
	"read": {dataTime, func(ctx context.Context, d Drive) error {
		n, err := d.ReadRecord(ctx, make([]byte, 9))
		if err == nil && n != 9 {
			err = errors.New("the length is lost")
		}
		return err
	}},
	"health": {askTime, func(ctx context.Context, d Drive) error {
		h, err := d.Health(ctx)
		if err == nil && h.Read != 9 {
			err = errors.New("the health is lost")
		}
		return err
	}},
	"read position": {askTime, func(ctx context.Context, d Drive) error {
		at, err := d.Position(ctx)
		if err == nil && at.Block != 7 {
			err = errors.New("the position is lost")
		}
		return err
	}},
}

// Every operation may take its time and no longer; a drive that hangs is named, and answers that it is busy until it ends.
func TestLimited(t *testing.T) {
	for name, o := range operations {
		for _, deaf := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				slow := newSlowDrive(o.limit-time.Second, deaf)
				d := Limited(slow)
				if err := o.call(t.Context(), d); err != nil {
					t.Errorf("%s within its limit: %v", name, err)
				}
				slow.takes.Store(int64(o.limit + time.Minute))
				began := time.Now()
				err := o.call(t.Context(), d)
				var hung *HungError
				if !errors.As(err, &hung) || hung.Op != name || hung.Drive != "drive 0" || hung.After != o.limit {
					t.Errorf("%s beyond its limit: %v", name, err)
				}
				if took := time.Since(began); took != o.limit {
					t.Errorf("%s was given up after %v", name, took)
				}
				if deaf {
					if err := o.call(t.Context(), d); !errors.Is(err, ErrBusy) {
						t.Errorf("%s while it hangs: %v", name, err)
					}
				}
				time.Sleep(2 * time.Minute)
				slow.takes.Store(0)
				if err := o.call(t.Context(), d); err != nil {
					t.Errorf("%s after it came to its end: %v", name, err)
				}
			})
		}
	}
}

// The context ends a call at once, or after a grace if the drive does not look at it.
func TestLimitedContext(t *testing.T) {
	for name, o := range operations {
		for _, deaf := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				d := Limited(newSlowDrive(o.limit/2, deaf))
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				if err := o.call(ctx, d); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v", name, err)
				}
				want := time.Second
				if deaf {
					want += grace
				}
				if took := time.Since(began); took != want {
					t.Errorf("%s ended after %v", name, took)
				}
				time.Sleep(o.limit) // until the drive has come to its end
			})
		}
	}
}

func BenchmarkLimitedWrite(b *testing.B) {
	d := Limited(newSlowDrive(0, true))
	p := make([]byte, 512<<10)
	b.ReportAllocs()
	for b.Loop() {
		if err := d.WriteRecord(b.Context(), p); err != nil {
			b.Fatal(err)
		}
	}
}
