package scan

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"twintape/internal/digest"
	"twintape/internal/tape"
)

// errEnds says that the tape ends inside a tape file.
var errEnds = errors.New("the tape ends without the filemark behind it")

// tapeFile reads the records of one tape file as a stream, up to its filemark.
type tapeFile struct {
	ctx  context.Context
	d    tape.Drive
	buf  []byte
	rest []byte // of buf, not returned yet
	next int64  // block
	mark bool   // the filemark was passed
	err  error  // how it ended

	loose *lengths // of records of any length; nil if all fill buf

	skip   bool   // records that cannot be read become zeros
	lost   int    // how many did
	crcs   []byte // with keep, CRC32C of the records, little-endian
	keep   bool
	failed error // what kept the drive from reading
}

// open begins to read a tape file at a block, where the drive is moved to. The error may be tape.ErrEndOfData.
func (s *scan) open(ctx context.Context, block int64) (*tapeFile, error) {
	if err := s.d.Locate(ctx, block); err != nil {
		return nil, fmt.Errorf("locating record %d: %w", block, err)
	}
	return &tapeFile{ctx: ctx, d: s.d, buf: make([]byte, s.r.Label.RecordSize), next: block}, nil
}

func (f *tapeFile) Read(p []byte) (int, error) {
	if len(f.rest) == 0 && f.err == nil {
		f.err = f.fill()
	}
	if f.err != nil {
		return 0, f.err
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// fill reads one record.
func (f *tapeFile) fill() error {
	if f.loose != nil {
		return f.fillLoose()
	}
	n, err := f.d.ReadRecord(f.ctx, f.buf)
	f.next++
	switch {
	case errors.Is(err, tape.ErrFilemark):
		f.mark = true
		return io.EOF
	case errors.Is(err, tape.ErrEndOfData):
		return errEnds
	case errors.Is(err, tape.ErrShortBuffer), err == nil && n != len(f.buf):
		return fmt.Errorf("record %d has not %d bytes", f.next-1, len(f.buf))
	case err != nil:
		if err = f.unreadable(err); f.failed != nil || errors.Is(err, errEnds) {
			return err
		}
		if f.lost++; !f.skip || f.lost > mostLost {
			return err
		}
		clear(f.buf)
	}
	f.rest = f.buf
	if f.keep {
		f.crcs = binary.LittleEndian.AppendUint32(f.crcs, digest.CRC32C(f.buf))
	}
	return nil
}

// unreadable says what to make of a record that could not be read, and moves behind it. The error is errEnds if nothing is there.
func (f *tapeFile) unreadable(err error) error {
	err = fmt.Errorf("record %d: %w", f.next-1, err)
	if blamesDrive(f.ctx, err) {
		f.failed = err
		return err
	}
	// A drive that can still move has a damaged medium.
	if then := f.d.Locate(f.ctx, f.next); errors.Is(then, tape.ErrEndOfData) {
		return errEnds
	} else if then != nil {
		f.failed = fmt.Errorf("%w; then %w", err, then)
		return f.failed
	}
	return err
}

// mostLost is how many records of one tape file may be unreadable: each costs the drive's minutes of retries.
const mostLost = 20

// toMark reads on behind the filemark. It returns errEnds if there is none.
func (f *tapeFile) toMark() error {
	f.skip = true
	for !f.mark {
		err := f.fill()
		switch {
		case f.failed != nil:
			return f.failed
		case errors.Is(err, errEnds):
			return err
		case err != nil && !f.mark && f.lost > mostLost:
			return &damageError{fmt.Errorf("more than %d records cannot be read: %w", mostLost, err)}
		}
	}
	return nil
}

// blamesDrive tells whether a failed read says nothing of the tape: the call was ended, or the drive itself does not work
// (sense keys not ready, hardware error, illegal request, unit attention, aborted command).
func blamesDrive(ctx context.Context, err error) bool {
	var hung *tape.HungError
	var sense *tape.SenseError
	if errors.As(err, &sense) && slices.Contains([]byte{0x2, 0x4, 0x5, 0x6, 0xB}, sense.Key) {
		return true
	}
	return ctx.Err() != nil || errors.Is(err, tape.ErrBusy) || errors.Is(err, tape.ErrNoMedium) || errors.As(err, &hung)
}

// beyond tells whether moving failed because of the tape: it ends before, or is damaged there.
func beyond(err error) bool {
	var sense *tape.SenseError
	return errors.Is(err, tape.ErrEndOfData) || errors.As(err, &sense) && sense.Key == tape.MediumError
}
