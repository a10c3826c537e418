package twin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"twintape/archiver"
	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// write copies everything onto the target, flushed, and returns when that was, and the drives that were used, the target's
// last.
func (c *copying) write(ctx context.Context) (flushed time.Time, drives []int, err error) {
	if drives, err = c.PickDrives(ctx, []string{c.source.Barcode, c.target.Barcode}); err != nil {
		return flushed, nil, err
	}
	loaded, err := archiver.Load(ctx, c.Library, []string{c.source.Barcode, c.target.Barcode}, drives)
	if err != nil {
		return flushed, nil, err
	}
	from := &reader{copying: c, tapes: []ledger.Tape{c.source}, l: loaded[0], at: -1}
	if c.other.ID != 0 {
		from.tapes = append(from.tapes, c.other)
	}
	to := &writer{copying: c, l: loaded[1]}
	defer func() {
		away := context.WithoutCancel(ctx)
		if from.l != nil {
			err = errors.Join(err, c.PutBack(away, from.l, 0))
		}
		err = errors.Join(err, c.PutBack(away, to.l, 0))
	}()
	if err := from.identify(ctx); err != nil {
		return flushed, nil, err
	}
	if err := to.label(ctx); err != nil {
		return flushed, nil, fmt.Errorf("tape %s in %s: %w", to.l.Barcode, to.l.Drive.Name(), err)
	}
	if err := c.stream(ctx, from, to); err != nil {
		return flushed, nil, err
	}
	return time.Now(), drives, nil
}

// stream runs reader, checker and writer.
func (c *copying) stream(ctx context.Context, from *reader, to *writer) error {
	size := c.source.RecordSize
	n := int(max(4, min(c.Memory, int64(256<<20))/int64(size)))
	from.free, from.read = make(chan []byte, n), make(chan block, n)
	to.blocks, to.half = make(chan block, n), make(chan struct{}, 1)
	for range n {
		from.free <- make([]byte, size)
	}
	to.p = &progress{events: c.Events, now: event.Progress{Step: "copying", Total: c.end * int64(size), Began: time.Now()}}
	to.p.now.Sides[0] = event.Side{Barcode: c.target.Barcode, Drive: to.l.Drive.Name(), Total: to.p.now.Total}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return from.run(ctx) })
	g.Go(func() error { return c.check(ctx, from, to) })
	g.Go(func() error {
		if err := to.run(ctx, from.free); err != nil {
			return fmt.Errorf("tape %s in %s: %w", to.l.Barcode, to.l.Drive.Name(), err)
		}
		return nil
	})
	return g.Wait()
}

// block is one record on its way, or a filemark.
type block struct {
	data []byte // nil for the filemark that ends part
	part *part
}

// writer writes the target.
type writer struct {
	*copying
	l      *archiver.Loaded
	blocks chan block
	half   chan struct{} // blocks were added
	ended  bool
	mu     sync.Mutex // guards ended
	p      *progress
}

// label makes sure that the target may be written, and labels it.
func (w *writer) label(ctx context.Context) error {
	if err := w.CheckBlank(ctx, w.l); err != nil {
		return err
	}
	label := w.target.Label()
	label.Pair, label.RecordSize = w.source.Pair, w.source.RecordSize
	record, err := label.Encode()
	if err != nil {
		return err
	}
	d := w.l.Drive
	if err := w.expect(ctx, 0); err != nil {
		return err
	}
	if err := d.WriteRecord(ctx, record); err != nil {
		return err
	}
	if err := d.WriteFilemark(ctx); err != nil {
		return err
	}
	return w.Ledger.SetTapeMedium(ctx, w.l.Barcode, w.l.Medium.Serial, w.l.Medium.Capacity)
}

// expect asks the drive where it stands: one that was reset sits silently at the beginning of the tape.
func (w *writer) expect(ctx context.Context, block int64) error {
	at, err := w.l.Drive.Position(ctx)
	if err == nil && at.Block != block {
		err = fmt.Errorf("the drive stands at block %d instead of %d: it was reset, or another program moved the tape", at.Block, block)
	}
	return err
}

// run writes what comes, flushes at tape files' ends at least as often as configured, and at the end.
func (w *writer) run(ctx context.Context, free chan<- []byte) error {
	at, unflushed := int64(2), int64(0)
	d := w.l.Drive
	var last *part
	for {
		b, more, err := w.next(ctx)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if b.part != last {
			if last = b.part; b.part.record() != at {
				return fmt.Errorf("block %d comes where %d belongs", at, b.part.record())
			}
			if err := w.expect(ctx, at); err != nil {
				return err
			}
		}
		at++
		if b.data != nil {
			err := d.WriteRecord(ctx, b.data)
			if errors.Is(err, tape.ErrEarlyWarning) { // the source came as far, so the room behind it may suffice
				err = d.WriteRecord(ctx, b.data)
			}
			if errors.Is(err, tape.ErrEndOfMedium) {
				err = fmt.Errorf("it does not hold what %s holds, take a larger one: %w", w.source.Barcode, err)
			}
			if err != nil {
				return err
			}
			unflushed += int64(len(b.data))
			w.r.Bytes += int64(len(b.data))
			w.p.set(0, w.r.Bytes, w.p.now.Total)
			select {
			case free <- b.data:
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		if err := d.WriteFilemark(ctx); err != nil {
			return err
		}
		if unflushed >= w.FlushBytes {
			if err := w.flush(ctx, at); err != nil {
				return err
			}
			unflushed = 0
		}
	}
	if at != w.end {
		return fmt.Errorf("%d blocks were written instead of %d", at, w.end)
	}
	return w.flush(ctx, at)
}

func (w *writer) flush(ctx context.Context, at int64) error {
	if err := w.l.Drive.Flush(ctx); err != nil {
		return err
	}
	return w.expect(ctx, at)
}

// next takes the next block. A drive that loses time by stopping waits until half of the ring is filled, whenever it ran out.
func (w *writer) next(ctx context.Context) (b block, more bool, err error) {
	if w.l.Medium.Backhitch && len(w.blocks) == 0 {
		for !w.complete() && len(w.blocks) < cap(w.blocks)/2 {
			select {
			case <-w.half:
			case <-ctx.Done():
				return b, false, ctx.Err()
			}
		}
	}
	select {
	case b, more = <-w.blocks:
		return b, more, nil
	case <-ctx.Done():
		return b, false, ctx.Err()
	}
}

func (w *writer) complete() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended
}

// put hands a block to the writer.
func (w *writer) put(ctx context.Context, b block) error {
	select {
	case w.blocks <- b:
		w.tell()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *writer) tell() {
	select {
	case w.half <- struct{}{}:
	default: // it was told already
	}
}

// close says that no more comes.
func (w *writer) close() {
	close(w.blocks)
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.tell()
}

// progress emits how far a tape is, about twice a second.
type progress struct {
	events event.Sink
	now    event.Progress
	last   time.Time
}

func (p *progress) set(side int, done, total int64) {
	p.now.Sides[side].Bytes, p.now.Sides[side].Total, p.now.Total = done, total, total
	if now := time.Now(); now.Sub(p.last) > 500*time.Millisecond {
		p.last = now
		p.events.Emit(p.now)
	}
}
