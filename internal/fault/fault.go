// Package fault scripts faults of tape drives and sources around real ones, for tests. A fault that was scripted and never
// happened fails its test. Everything may be used concurrently.
package fault

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"twintape/internal/tape"
)

// Op is a method of tape.Drive or tape.Changer, by its name.
type Op string

// The operations that faults are scripted for.
const (
	WriteRecord   Op = "WriteRecord"
	WriteFilemark Op = "WriteFilemark"
	Flush         Op = "Flush"
	ReadRecord    Op = "ReadRecord"
	Position      Op = "Position"
	Locate        Op = "Locate"
	Rewind        Op = "Rewind"
	Load          Op = "Load"           // the drive's: becoming ready
	Unload        Op = "Unload"         // the drive's
	MoveLoad      Op = "changer load"   // slot to drive
	MoveUnload    Op = "changer unload" // drive to slot
)

// Fault is one scripted fault. It happens once, or always from then on.
type Fault struct {
	Op     Op
	Drive  int   // number of the drive; of the changer's moves too
	Block  int64 // at this block or behind it, as the real drive stands; 0 is anywhere
	Call   int   // at the nth call that the other conditions allow, from 1; 0 is the first
	Always bool  // again at each later call
	Every2 bool  // with Always: only at every other call, as early warning comes from Linux st

	Err   error  // is returned instead of doing it
	After bool   // with Err: is returned after doing it
	Hang  bool   // does nothing until the context ends
	Reset bool   // the drive goes to the beginning of the tape, unflushed data is gone, and nobody is told
	Flip  int    // with ReadRecord: flips the lowest bit of this byte, counted from 1
	Do    func() // is called before the operation, which then takes place unless another field says otherwise
}

// Script is the faults of one test.
type Script struct {
	mu     sync.Mutex
	faults []*scripted
}

type scripted struct {
	Fault
	calls, fired int
}

// New makes a script; at the test's end every fault of it must have happened.
func New(t testing.TB, faults ...Fault) *Script {
	s := &Script{}
	for _, f := range faults {
		s.faults = append(s.faults, &scripted{Fault: f})
	}
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, f := range s.faults {
			if f.fired == 0 {
				t.Errorf("the scripted fault of %s on drive %d never happened", f.Op, f.Drive)
			}
		}
	})
	return s
}

// at returns the fault that happens now, nil if none does.
func (s *Script) at(op Op, drive int, block int64) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.Op != op || f.Drive != drive || block < f.Block {
			continue
		}
		if f.calls++; f.calls < f.Call {
			continue
		}
		if f.fired > 0 && !f.Always || f.Every2 && (f.calls-max(f.Call, 1))%2 == 1 {
			continue
		}
		f.fired++
		return &f.Fault
	}
	return nil
}

// happen does what a fault does, if there is one; done tells that the operation must not take place.
func (f *Fault) happen(ctx context.Context) (done bool, err error) {
	if f == nil {
		return false, nil
	}
	if f.Do != nil {
		f.Do()
	}
	switch {
	case f.Hang:
		<-ctx.Done()
		return true, ctx.Err()
	case f.Err != nil:
		return true, fmt.Errorf("drive %d: %w", f.Drive, f.Err)
	}
	return false, nil
}

// Library wraps a library and its drives.
func (s *Script) Library(l tape.Library) tape.Library { return &library{l, s} }

type library struct {
	tape.Library
	s *Script
}

func (l *library) Changer() tape.Changer { return &changer{l.Library.Changer(), l.s} }

func (l *library) OpenDrive(ctx context.Context, number int) (tape.Drive, error) {
	d, err := l.Library.OpenDrive(ctx, number)
	if err != nil {
		return nil, err
	}
	return &drive{Drive: d, s: l.s, number: number}, nil
}

type changer struct {
	tape.Changer
	s *Script
}

func (c *changer) Load(ctx context.Context, slot, drive int) error {
	if done, err := c.s.at(MoveLoad, drive, 0).happen(ctx); done {
		return err
	}
	return c.Changer.Load(ctx, slot, drive)
}

func (c *changer) Unload(ctx context.Context, drive, slot int) error {
	if done, err := c.s.at(MoveUnload, drive, 0).happen(ctx); done {
		return err
	}
	return c.Changer.Unload(ctx, drive, slot)
}

// drive is a drive with faults.
type drive struct {
	tape.Drive
	s       *Script
	number  int
	flushed int64 // where the last good flush was
}

// do asks the script before an operation takes place.
func (d *drive) do(ctx context.Context, op Op, operation func() error) error {
	block := int64(0)
	if op != Load {
		at, err := d.Drive.Position(ctx)
		if err != nil {
			return operation()
		}
		block = at.Block
	}
	f := d.s.at(op, d.number, block)
	if f != nil && f.Reset {
		if err := d.reset(ctx); err != nil {
			return err
		}
	}
	if f != nil && f.After {
		if err := operation(); err != nil {
			return err
		}
	}
	if done, err := f.happen(ctx); done {
		return err
	}
	return operation()
}

// reset loses what was written since the last flush, and goes to the beginning: an end of data is written there, as far
// as a tape can have one, by a filemark that nothing follows.
func (d *drive) reset(ctx context.Context) error {
	at, err := d.Drive.Position(ctx)
	if err != nil {
		return err
	}
	if at.Block > d.flushed {
		if err := d.Drive.Locate(ctx, d.flushed); err != nil {
			return err
		}
		if err := d.Drive.WriteFilemark(ctx); err != nil {
			return err
		}
	}
	return d.Drive.Rewind(ctx)
}

func (d *drive) Load(ctx context.Context) (m tape.Medium, err error) {
	err = d.do(ctx, Load, func() error { m, err = d.Drive.Load(ctx); return err })
	return m, err
}

func (d *drive) WriteRecord(ctx context.Context, p []byte) error {
	return d.do(ctx, WriteRecord, func() error { return d.Drive.WriteRecord(ctx, p) })
}

func (d *drive) WriteFilemark(ctx context.Context) error {
	return d.do(ctx, WriteFilemark, func() error { return d.Drive.WriteFilemark(ctx) })
}

func (d *drive) Flush(ctx context.Context) error {
	return d.do(ctx, Flush, func() error {
		if err := d.Drive.Flush(ctx); err != nil {
			return err
		}
		at, err := d.Drive.Position(ctx)
		d.flushed = at.Block
		return err
	})
}

func (d *drive) ReadRecord(ctx context.Context, p []byte) (n int, err error) {
	at, err := d.Drive.Position(ctx)
	if err != nil {
		return 0, err
	}
	f := d.s.at(ReadRecord, d.number, at.Block)
	if done, err := f.happen(ctx); done {
		return 0, err
	}
	n, err = d.Drive.ReadRecord(ctx, p)
	if f != nil && 0 < f.Flip && f.Flip <= n {
		p[f.Flip-1] ^= 1
	}
	return n, err
}

func (d *drive) Position(ctx context.Context) (at tape.Position, err error) {
	err = d.do(ctx, Position, func() error { at, err = d.Drive.Position(ctx); return err })
	return at, err
}

func (d *drive) Locate(ctx context.Context, block int64) error {
	return d.do(ctx, Locate, func() error { return d.Drive.Locate(ctx, block) })
}

func (d *drive) Rewind(ctx context.Context) error {
	return d.do(ctx, Rewind, func() error { return d.Drive.Rewind(ctx) })
}

func (d *drive) Unload(ctx context.Context) error {
	return d.do(ctx, Unload, func() error { return d.Drive.Unload(ctx) })
}
