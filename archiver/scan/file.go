package scan

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"twintape/internal/digest"
	"twintape/internal/paperdump"
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

	loose *lengths          // of records of any length; nil if all fill buf
	heard func(bytes int64) // hears how many bytes were read; nil if nobody does
	told  time.Time         // when it did

	skip   bool   // records that cannot be read become zeros
	lost   int    // how many did
	crcs   []byte // with keep, CRC32C of the records, little-endian
	keep   bool
	failed error // what kept the drive from reading
}

// lengths is what is kept of records that may have any length. Those that cannot be read count as what most have.
type lengths struct {
	most   int   // bytes that records have, as far as is known
	first  int   // of the first record that was read; 0 if none was
	last   int   // of the last one
	uneven int64 // block of a record behind a shorter or longer one than the first; 0 if there is none
	bytes  int64 // of all
	lost   []paperdump.Range
}

// pass notes a record that has n bytes, 0 if it cannot be read, and returns how many it counts for.
func (l *lengths) pass(block int64, n int) int {
	if l.last != 0 && l.last != l.first && l.uneven == 0 {
		l.uneven = block
	}
	if n == 0 {
		n = l.most
		if l.first != 0 {
			n = l.first
		}
		l.lost = append(l.lost, paperdump.Range{From: l.bytes, To: l.bytes + int64(n)})
	} else {
		l.last = n
		if l.first == 0 {
			l.first = n
		}
	}
	l.bytes += int64(n)
	return n
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
	n, err := f.d.ReadRecord(f.ctx, f.buf)
	f.next++
	switch {
	case errors.Is(err, tape.ErrFilemark):
		f.mark = true
		return io.EOF
	case errors.Is(err, tape.ErrEndOfData):
		return errEnds
	case errors.Is(err, tape.ErrShortBuffer), err == nil && n != len(f.buf) && f.loose == nil:
		return fmt.Errorf("record %d has not %d bytes", f.next-1, len(f.buf))
	case err != nil:
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
		if f.lost++; !f.skip || f.lost > mostLost {
			return err
		}
		clear(f.buf)
		n = 0
	}
	f.rest = f.buf
	if f.loose != nil {
		f.rest = f.buf[:f.loose.pass(f.next-1, n)]
		f.hear()
		return nil
	}
	if f.keep {
		f.crcs = binary.LittleEndian.AppendUint32(f.crcs, digest.CRC32C(f.buf))
	}
	return nil
}

// hear tells every so often how much was read.
func (f *tapeFile) hear() {
	if now := time.Now(); f.heard != nil && now.Sub(f.told) > 500*time.Millisecond {
		f.told = now
		f.heard(f.loose.bytes)
	}
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
