package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"twintape/internal/tape"
)

// ringSize is how many records may lie between the drive and the hashing.
const ringSize = 16

// mostUnreadable is how many unreadable records in a row make the rest of an archive not worth the drive's minutes of
// retries for each.
const mostUnreadable = 20

// span is a run of an archive's records that is read without a locate, and the filemark behind the archive's last record if
// the run goes on over it.
type span struct {
	archive    int // by its order on the tape
	first, end int64
	mark       bool
}

// record is what the drive returned for one block. Its buffer goes back to the ring when it was looked at.
type record struct {
	span   *span
	number int64
	mark   bool   // a filemark should be here
	data   []byte // empty with err
	err    error  // ErrFilemark, ErrEndOfData, or why it is unreadable
	gaveUp bool   // the rest of the archive is not read
	again  bool   // only the second attempt read it
}

// ring carries records from the goroutine that reads the drive to the one that hashes.
type ring struct {
	d    tape.Drive
	free chan []byte
	out  chan record
	at   int64 // where the drive stands; -1 if that is not known

	limit time.Duration // what falls behind is left out; 0 is no limit
	err   error         // why reading ended early; to be looked at when out is closed
}

func newRing(d tape.Drive, recordSize int, limit time.Duration) *ring {
	r := &ring{d: d, at: -1, limit: limit, free: make(chan []byte, ringSize), out: make(chan record, ringSize)}
	for range ringSize {
		r.free <- make([]byte, recordSize)
	}
	return r
}

// run reads the spans in order and closes out. It ends early when the drive fails, when ctx ends, and at the end of data,
// which it passes on.
func (r *ring) run(ctx context.Context, plan []span) {
	defer close(r.out)
	began := time.Now()
	for i := 0; i < len(plan); i++ {
		s := &plan[i]
		if behind := float64(time.Since(began)) / float64(r.limit); r.limit > 0 && i > 0 && i < len(plan)-1 && behind*float64(len(plan)) > float64(i) {
			continue
		}
		last := s.end
		if s.mark {
			last++
		}
		unreadable := 0
		for n := s.first; n < last; n++ {
			var buf []byte
			select {
			case buf = <-r.free:
			case <-ctx.Done():
				r.err = ctx.Err()
				return
			}
			rec := record{span: s, number: n, mark: n == s.end, data: buf[:0]}
			if rec, r.err = r.block(ctx, rec); r.err != nil {
				return
			}
			if rec.err == nil || errors.Is(rec.err, tape.ErrFilemark) || errors.Is(rec.err, tape.ErrShortBuffer) {
				unreadable = 0
			} else {
				unreadable++
			}
			rec.gaveUp = unreadable == mostUnreadable
			select {
			case r.out <- rec:
			case <-ctx.Done():
				r.err = ctx.Err()
				return
			}
			if errors.Is(rec.err, tape.ErrEndOfData) {
				return
			}
			if rec.gaveUp {
				for i+1 < len(plan) && plan[i+1].archive == s.archive {
					i++
				}
				break
			}
		}
	}
}

// block reads the block that rec stands for. What is wrong with the tape is in rec.err; the error is the drive's.
func (r *ring) block(ctx context.Context, rec record) (record, error) {
	if r.at != rec.number {
		var err error
		if rec.err, err = r.locate(ctx, rec.number); rec.err != nil || err != nil {
			return rec, err
		}
	}
	length, err := r.d.ReadRecord(ctx, rec.data[:cap(rec.data)])
	r.at = rec.number + 1
	switch {
	case err == nil:
		rec.data = rec.data[:length]
		return rec, nil
	case passed(err):
		rec.err = err
		return rec, nil
	case blameDrive(ctx, err):
		return rec, fmt.Errorf("reading record %d: %w", rec.number, err)
	}
	// A drive that can still move has a damaged medium; one that cannot has failed, and says nothing of the tape. What a second
	// attempt reads is good, but tells of a medium that wears out.
	rec.err = err
	if damage, failure := r.locate(ctx, rec.number); failure != nil {
		return rec, fmt.Errorf("reading record %d: %w; then %w", rec.number, err, failure)
	} else if damage == nil {
		length, again := r.d.ReadRecord(ctx, rec.data[:cap(rec.data)])
		switch {
		case again == nil, passed(again):
			r.at, rec.data, rec.err, rec.again = rec.number+1, rec.data[:length], again, true
			return rec, nil
		case blameDrive(ctx, again):
			return rec, fmt.Errorf("reading record %d: %w; then %w", rec.number, err, again)
		}
	}
	if _, then := r.locate(ctx, rec.number+1); then != nil {
		return rec, fmt.Errorf("reading record %d: %w; then %w", rec.number, err, then)
	}
	return rec, nil
}

// passed tells whether an error of a read says what lies there, instead of that nothing could be read.
func passed(err error) bool {
	return errors.Is(err, tape.ErrFilemark) || errors.Is(err, tape.ErrShortBuffer) || errors.Is(err, tape.ErrEndOfData)
}

// locate moves the drive. damage is why the tape has kept it from getting there, failure why the drive did not.
func (r *ring) locate(ctx context.Context, block int64) (damage, failure error) {
	err := r.d.Locate(ctx, block)
	if err == nil {
		r.at = block
		return nil, nil
	}
	r.at = -1
	if damaged(err) {
		return err, nil
	}
	return nil, fmt.Errorf("locating record %d: %w", block, err)
}

// damaged tells whether the tape is to blame for a locate that failed.
func damaged(err error) bool {
	var sense *tape.SenseError
	return errors.Is(err, tape.ErrEndOfData) || errors.As(err, &sense) && sense.Key == tape.MediumError
}

// blameDrive tells whether a failed read says nothing of the tape: the call was ended, or the drive itself does not work
// (sense keys not ready, hardware error, illegal request, unit attention, aborted command).
func blameDrive(ctx context.Context, err error) bool {
	var hung *tape.HungError
	var sense *tape.SenseError
	if errors.As(err, &sense) && slices.Contains([]byte{0x2, 0x4, 0x5, 0x6, 0xB}, sense.Key) {
		return true
	}
	return ctx.Err() != nil || errors.Is(err, tape.ErrBusy) || errors.Is(err, tape.ErrNoMedium) || errors.As(err, &hung)
}
