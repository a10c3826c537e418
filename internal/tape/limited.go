package tape

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// The times that drives may need at most, from their manuals with room to spare: an LTO-9 cartridge is initialised at its
// first load for up to two hours, a drive that recovers from errors repeats for minutes.
const (
	loadTime  = 3 * time.Hour
	moveTime  = time.Hour // locate, space, rewind, unload
	dataTime  = 40 * time.Minute
	flushTime = time.Hour
	askTime   = 5 * time.Minute

	changeTime = 30 * time.Minute // a cartridge's way, in a library that looks for its place anew
)

// HungError says that a drive, or the changer, did not answer in time.
type HungError struct {
	Drive string // or "the changer"
	Op    string
	After time.Duration
}

func (e *HungError) Error() string {
	return fmt.Sprintf("%s did not answer %s within %v: it hangs. Look at its panel, switch it off and on, "+
		"and see the kernel's log", e.Drive, e.Op, e.After)
}

// Limited gives every operation of a drive the time that a real one may need; then the error is a *HungError, and the drive
// answers ErrBusy until the operation that hangs has ended after all. The buffer of a record that was given up may be touched
// until then: its owner must not use it again.
func Limited(d Drive) Drive { return &limited{Drive: d, device: device{name: d.Name}} }

type limited struct {
	Drive
	device
}

// device is what answers one call at a time.
type device struct {
	name func() string
	busy atomic.Bool // an operation is under way, perhaps one that was given up
}

// call runs an operation in its own goroutine, which owns it until it ends.
func (l *device) call(ctx context.Context, op string, limit time.Duration, f func(ctx context.Context) error) error {
	if l.busy.Load() {
		return fmt.Errorf("%s: %w: an operation that was given up has not ended", l.name(), ErrBusy)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	l.busy.Store(true)
	go func() {
		err := f(ctx)
		l.busy.Store(false)
		done <- err
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		select { // most end at once
		case err := <-done:
			return err
		case <-time.After(grace):
			return ctx.Err()
		}
	case <-timer.C:
		return &HungError{Drive: l.name(), Op: op, After: limit}
	}
}

// grace is how long an operation may take to end after its context has.
const grace = 10 * time.Second

func (l *limited) Load(ctx context.Context) (m Medium, err error) {
	got := make(chan Medium, 1)
	err = l.call(ctx, "load", loadTime, func(ctx context.Context) error {
		m, err := l.Drive.Load(ctx)
		got <- m
		return err
	})
	select {
	case m = <-got:
	default: // it was given up
	}
	return m, err
}

func (l *limited) WriteRecord(ctx context.Context, p []byte) error {
	return l.call(ctx, "write", dataTime, func(ctx context.Context) error { return l.Drive.WriteRecord(ctx, p) })
}

func (l *limited) WriteFilemark(ctx context.Context) error {
	return l.call(ctx, "write filemark", dataTime, l.Drive.WriteFilemark)
}

func (l *limited) Flush(ctx context.Context) error {
	return l.call(ctx, "flush", flushTime, l.Drive.Flush)
}

func (l *limited) SpaceEOD(ctx context.Context) error {
	return l.call(ctx, "space", moveTime, l.Drive.SpaceEOD)
}

func (l *limited) Rewind(ctx context.Context) error {
	return l.call(ctx, "rewind", moveTime, l.Drive.Rewind)
}

func (l *limited) Unload(ctx context.Context) error {
	return l.call(ctx, "unload", moveTime, l.Drive.Unload)
}

func (l *limited) Locate(ctx context.Context, block int64) error {
	return l.call(ctx, "locate", moveTime, func(ctx context.Context) error { return l.Drive.Locate(ctx, block) })
}

func (l *limited) ReadRecord(ctx context.Context, p []byte) (int, error) {
	n := make(chan int, 1)
	err := l.call(ctx, "read", dataTime, func(ctx context.Context) error {
		read, err := l.Drive.ReadRecord(ctx, p)
		n <- read
		return err
	})
	select {
	case read := <-n:
		return read, err
	default: // it was given up
		return 0, err
	}
}

func (l *limited) Position(ctx context.Context) (Position, error) {
	at := make(chan Position, 1)
	err := l.call(ctx, "read position", askTime, func(ctx context.Context) error {
		p, err := l.Drive.Position(ctx)
		at <- p
		return err
	})
	select {
	case p := <-at:
		return p, err
	default:
		return Position{}, err
	}
}

func (l *limited) Health(ctx context.Context) (Health, error) {
	got := make(chan Health, 1)
	err := l.call(ctx, "health", askTime, func(ctx context.Context) error {
		h, err := l.Drive.Health(ctx)
		got <- h
		return err
	})
	select {
	case h := <-got:
		return h, err
	default:
		return Health{}, err
	}
}

// LimitedChanger gives every move of a changer the time that a real one may need; then the error is a *HungError.
func LimitedChanger(c Changer) Changer { return limitedChanger{c} }

type limitedChanger struct{ Changer }

func (l limitedChanger) call(ctx context.Context, op string, f func(ctx context.Context) error) error {
	d := device{name: func() string { return "the changer" }} // it is safe for concurrent use
	return d.call(ctx, op, changeTime, f)
}

func (l limitedChanger) Inventory(ctx context.Context) ([]Element, error) {
	got := make(chan []Element, 1)
	err := l.call(ctx, "inventory", func(ctx context.Context) error {
		elements, err := l.Changer.Inventory(ctx)
		got <- elements
		return err
	})
	select {
	case elements := <-got:
		return elements, err
	default: // it was given up
		return nil, err
	}
}

func (l limitedChanger) Load(ctx context.Context, slot, drive int) error {
	return l.call(ctx, "load", func(ctx context.Context) error { return l.Changer.Load(ctx, slot, drive) })
}

func (l limitedChanger) Unload(ctx context.Context, drive, slot int) error {
	return l.call(ctx, "unload", func(ctx context.Context) error { return l.Changer.Unload(ctx, drive, slot) })
}

func (l limitedChanger) Transfer(ctx context.Context, from, to Element) error {
	return l.call(ctx, "transfer", func(ctx context.Context) error { return l.Changer.Transfer(ctx, from, to) })
}
