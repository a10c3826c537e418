package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"twintape/archiver"
	"twintape/internal/catalog"
	"twintape/internal/ledger"
	"twintape/internal/paperdump"
	"twintape/internal/tape"
)

// mostUnread is how many records in a row may be unreadable: then the rest of the tape is not tried.
const mostUnread = 8

// head reads records of a tape wherever they lie.
type head struct {
	l      *archiver.Loaded
	size   int64 // of a record
	old    bool  // paper-dump wrote the tape: the last record before a filemark may be shorter
	at     int64 // block at which the drive stands; negative where unknown
	unread int   // records in a row that could not be read
}

// tapeError is what a tape did not give back; its twin may.
type tapeError struct{ err error }

func (e *tapeError) Error() string { return e.err.Error() }
func (e *tapeError) Unwrap() error { return e.err }

// read reads a record. why is what the tape does not give back; tapeErr means that it, or its drive, gives nothing more.
func (h *head) read(ctx context.Context, block int64, buf []byte) (why, tapeErr error) {
	err := h.moveTo(ctx, block, buf)
	n := 0
	if err == nil {
		n, err = h.l.Drive.ReadRecord(ctx, buf)
		h.at = block + 1
	}
	if err == nil && h.old && int64(n) < h.size {
		clear(buf[n:]) // if a member should have its data there, its MD5 tells
		n = int(h.size)
	}
	if err == nil && int64(n) != h.size {
		err = &tapeError{fmt.Errorf("record %d has %d bytes, not %d", block, n, h.size)}
	}
	if err == nil {
		h.unread = 0
		return nil, nil
	}
	h.at = -1
	var sense *tape.SenseError
	switch {
	case errors.Is(err, tape.ErrFilemark), errors.Is(err, tape.ErrEndOfData), errors.Is(err, tape.ErrShortBuffer), errors.As(err, new(*tapeError)),
		errors.As(err, &sense) && sense.Key == tape.MediumError:
	default:
		return nil, err
	}
	if h.unread++; h.unread >= mostUnread {
		return nil, fmt.Errorf("%d records in a row cannot be read, the last one %d: %w", h.unread, block, err)
	}
	return &tapeError{fmt.Errorf("record %d: %w", block, err)}, nil
}

// moveTo brings the drive to a block: by reading on where that is faster.
func (h *head) moveTo(ctx context.Context, block int64, buf []byte) error {
	if h.at < 0 || block < h.at || (block-h.at)*h.size > h.l.Drive.LocateGap() {
		h.at = block
		return h.l.Drive.Locate(ctx, block)
	}
	for h.at < block {
		if _, err := h.l.Drive.ReadRecord(ctx, buf); err != nil && !errors.Is(err, tape.ErrFilemark) {
			h.at = block
			return h.l.Drive.Locate(ctx, block) // what lies between is not wanted
		}
		h.at++
	}
	return nil
}

// identify makes sure that the tape is the one that the ledger means, and returns what reads it.
func identify(ctx context.Context, book *ledger.Ledger, l *archiver.Loaded) (head, error) {
	h := head{l: l, at: -1}
	t, err := book.Tape(ctx, l.Barcode)
	if err != nil {
		return h, err
	}
	h.size, h.old = int64(t.RecordSize), t.WrittenBy != ""
	buf := make([]byte, max(t.RecordSize, catalog.DefaultRecordSize))
	n, err := l.Drive.ReadRecord(ctx, buf)
	if err != nil {
		return h, fmt.Errorf("the label of tape %s cannot be read: %w", l.Barcode, err)
	}
	if h.old {
		c, err := paperdump.ParseCatalog(buf[:n])
		if err == nil && c.Pair() != t.Pair {
			err = fmt.Errorf("its catalog is of pair %s, in the ledger the tape is of %s", c.Pair(), t.Pair)
		}
		if err != nil {
			return h, fmt.Errorf("the cartridge with barcode %s is not the one that paper-dump wrote: %w: it is not read", l.Barcode, err)
		}
		return h, nil
	}
	label, err := catalog.ParseLabel(buf[:n])
	if err != nil {
		return h, fmt.Errorf("tape %s does not begin with a label of ours: %w", l.Barcode, err)
	}
	if label.Tape != t.UUID || label.Barcode != t.Barcode {
		return h, fmt.Errorf("the cartridge with barcode %s is labelled %s, UUID %s, but the ledger says UUID %s: it is not read", l.Barcode, label.Barcode, label.Tape, t.UUID)
	}
	return h, nil
}

// doubt records that a tape did not give back what was written. Items of which no copy is good any more wait to be archived
// again; they are returned.
func doubt(ctx context.Context, book *ledger.Ledger, l *archiver.Loaded, what string, bad []ledger.CheckedCopy) (requeued []ledger.Item, err error) {
	now := time.Now()
	return book.RecordVerification(ctx, ledger.Verification{
		Barcode: l.Barcode, Began: now, Ended: now, Drive: l.Drive.Name(), Reason: what + ": " + bad[0].Bad, Copies: bad,
	})
}
