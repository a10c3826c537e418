package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"twintape/internal/digest"
	"twintape/internal/tape"
)

// write is one side's writer: it does what its queue says, in order. Once the side is lost it takes everything from its
// queue and writes nothing, so that the other side's writer goes on at its own pace.
func (r *run) write(ctx context.Context, side int) error {
	lost := r.pair[side].Drive == nil
	var block int64 // where the drive should stand
	for {
		var o op
		var more bool
		select {
		case o, more = <-r.queues[side]:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !more {
			return ctx.Err()
		}
		if o.record != nil {
			if err := r.awaitRecord(ctx, side, o.record, !lost); err != nil {
				return err
			}
		}
		began := time.Now()
		if !lost {
			if err := r.do(ctx, side, o, block); err != nil {
				if lost, err = r.failed(ctx, side, block, err); err != nil {
					return err
				}
			}
			switch {
			case o.begin != nil:
				block = o.begin.Record
			case o.record != nil, o.end != nil:
				block++
			}
		}
		switch {
		case o.record != nil:
			if side == 0 { // whether it is lost or not
				o.archive.crcs = binary.LittleEndian.AppendUint32(o.archive.crcs, digest.CRC32C(o.record.buf))
			}
			r.ring.release(o.record)
		case o.flush != nil:
			if err := r.arrive(ctx, sideFlush{side: side, position: o.flush.position, border: o.flush, began: began}, lost); err != nil {
				return err
			}
		}
	}
}

// do does one thing on a side's drive, which should stand at a block if it is in an archive.
func (r *run) do(ctx context.Context, side int, o op, at int64) error {
	d := r.pair[side].Drive
	if o.record != nil && r.doubt[side].Swap(false) {
		if err := r.expect(ctx, side, at); err != nil {
			return err
		}
	}
	switch {
	case o.begin != nil:
		return r.expect(ctx, side, o.begin.Record)
	case o.record != nil:
		if err := d.WriteRecord(ctx, o.record.buf); err != nil {
			return err
		}
		r.progress.sides[side].bytes.Add(int64(len(o.record.buf)))
		return nil
	case o.end != nil:
		return d.WriteFilemark(ctx)
	}
	if err := d.Flush(ctx); err != nil {
		return err
	}
	return r.expect(ctx, side, o.flush.position)
}

// failed decides what a side's failure leads to: the side is lost, or the run ends with the error that it returns.
func (r *run) failed(ctx context.Context, side int, block int64, err error) (lost bool, _ error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	s := r.pair[side]
	e := &SideError{Side: side, Barcode: s.Barcode, Drive: s.Drive.Name(), Block: block, Err: err}
	if !r.Single || errors.Is(err, tape.ErrEarlyWarning) || errors.Is(err, tape.ErrEndOfMedium) {
		return false, e
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.alone { // the other side is lost already
		return false, e
	}
	r.alone = true
	r.doubt[1-side].Store(true)
	r.Lost(e)
	return true, nil
}

// arrive tells that a side is flushed, or lost, at a border, then waits until the other side and the ledger are as far.
func (r *run) arrive(ctx context.Context, f sideFlush, lost bool) error {
	if lost {
		f.position = 0
	}
	select {
	case r.flushes <- f:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-f.border.passed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// expect asks the drive where it stands: one that was reset sits silently at the beginning of the tape.
func (r *run) expect(ctx context.Context, side int, block int64) error {
	at, err := r.pair[side].Drive.Position(ctx)
	if err != nil {
		return err
	}
	if at.Block != block {
		return &PositionError{Want: block, Got: at.Block}
	}
	return nil
}

// awaitRecord waits until rec is filled. A drive that is to write it and loses time by stopping starts only when half of the ring is filled, or
// nothing more will come: at first, and whenever it ran out of records.
func (r *run) awaitRecord(ctx context.Context, side int, rec *record, writes bool) error {
	p := &r.progress.sides[side]
	written := p.bytes.Load() / int64(r.RecordSize)
	stands := written == 0
	select {
	case <-rec.ready:
	default:
		stands = true
		p.waits.Add(1)
		select {
		case <-rec.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if writes && stands && r.pair[side].Backhitch {
		return r.ring.awaitHalf(ctx, written)
	}
	return nil
}
