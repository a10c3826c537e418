package verify

import (
	"context"
	"errors"
	"fmt"

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
}

// ring carries records from the goroutine that reads the drive to the one that hashes.
type ring struct {
	d    tape.Drive
	free chan []byte
	out  chan record
	err  error // why reading ended early; to be looked at when out is closed
}

func newRing(d tape.Drive, recordSize int) *ring {
	r := &ring{d: d, free: make(chan []byte, ringSize), out: make(chan record, ringSize)}
	for range ringSize {
		r.free <- make([]byte, recordSize)
	}
	return r
}

// run reads the spans in order and closes out. It ends early when the drive fails, when ctx ends, and at the end of data,
// which it passes on.
func (r *ring) run(ctx context.Context, plan []span) {
	defer close(r.out)
	at := int64(-1) // where the drive stands; -1 if that is not known
	for i := 0; i < len(plan); i++ {
		s := &plan[i]
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
			if at != n {
				rec.err = r.d.Locate(ctx, n)
				if rec.err != nil && !errors.Is(rec.err, tape.ErrEndOfData) {
					r.err = fmt.Errorf("locating record %d: %w", n, rec.err)
					return
				}
			}
			at = n + 1
			if rec.err == nil {
				var length int
				if length, rec.err = r.d.ReadRecord(ctx, buf); rec.err == nil {
					rec.data = buf[:length]
				}
			}
			switch {
			case rec.err == nil, errors.Is(rec.err, tape.ErrFilemark), errors.Is(rec.err, tape.ErrShortBuffer):
				unreadable = 0
			case errors.Is(rec.err, tape.ErrEndOfData):
			case blameDrive(ctx, rec.err):
				r.err = fmt.Errorf("reading record %d: %w", n, rec.err)
				return
			default:
				// A drive that can still move has a damaged medium; one that cannot has failed, and says nothing of the tape.
				if err := r.d.Locate(ctx, n+1); err != nil && !errors.Is(err, tape.ErrEndOfData) {
					r.err = fmt.Errorf("reading record %d: %w; then the drive could not be positioned behind it: %w", n, rec.err, err)
					return
				}
				unreadable++
				rec.gaveUp = unreadable == mostUnreadable
			}
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
