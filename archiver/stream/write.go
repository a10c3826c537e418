package stream

import (
	"context"
	"encoding/binary"
	"time"

	"twintape/internal/digest"
)

// write is one side's writer: it does what its queue says, in order.
func (r *run) write(ctx context.Context, side int) error {
	if err := r.writeAll(ctx, side); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s := r.pair[side]
		return &SideError{Side: side, Barcode: s.Barcode, Drive: s.Drive.Name(), Err: err}
	}
	return nil
}

func (r *run) writeAll(ctx context.Context, side int) error {
	d := r.pair[side].Drive
	var current *archive
	for {
		var o op
		var more bool
		select {
		case o, more = <-r.queues[side]:
		case <-ctx.Done():
			return ctx.Err()
		}
		switch {
		case !more:
			return ctx.Err()
		case o.begin != nil:
			current = o.begin
			if err := r.expect(ctx, side, current.Record); err != nil {
				return err
			}
		case o.record != nil:
			if err := r.awaitRecord(ctx, side, o.record); err != nil {
				return err
			}
			if err := d.WriteRecord(ctx, o.record.buf); err != nil {
				return err
			}
			if side == 0 {
				current.crcs = binary.LittleEndian.AppendUint32(current.crcs, digest.CRC32C(o.record.buf))
			}
			r.ring.release(o.record)
			r.progress.sides[side].bytes.Add(int64(len(o.record.buf)))
		case o.end != nil:
			if err := d.WriteFilemark(ctx); err != nil {
				return err
			}
		case o.flush != nil:
			if err := r.flush(ctx, side, o.flush); err != nil {
				return err
			}
		}
	}
}

// flush makes sure that everything written is on the medium, then waits until the other side and the ledger are as far.
func (r *run) flush(ctx context.Context, side int, b *border) error {
	began := time.Now()
	if err := r.pair[side].Drive.Flush(ctx); err != nil {
		return err
	}
	if err := r.expect(ctx, side, b.position); err != nil {
		return err
	}
	select {
	case r.flushes <- sideFlush{side: side, position: b.position, border: b, began: began}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-b.passed:
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

// awaitRecord waits until rec is filled. A drive that loses time by stopping starts only when half of the ring is filled, or
// nothing more will come: at first, and whenever it ran out of records.
func (r *run) awaitRecord(ctx context.Context, side int, rec *record) error {
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
	if stands && r.pair[side].Backhitch {
		return r.ring.awaitHalf(ctx, written)
	}
	return nil
}
