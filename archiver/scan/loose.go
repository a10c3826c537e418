package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"twintape/archiver"
	"twintape/internal/paperdump"
	"twintape/internal/tape"
)

// lengths is what is kept of a tape file whose records may have any length. One that cannot be read counts as long as the first
// that can.
type lengths struct {
	usual  int               // bytes of a record elsewhere on the tape
	first  int               // of the first record that was read; 0 if none was
	last   int               // of the last one
	uneven int64             // block of the first record that is not as long as the first, though others follow; 0 if there is none
	early  int               // records that could not be read before the first one
	bytes  int64             // of all
	lost   []paperdump.Range // could not be read

	heard func(bytes int64) // hears how many bytes were read
	told  time.Time         // when it did
}

// of is how long records are, as far as is known.
func (l *lengths) of() int { return cmp.Or(l.first, l.usual) }

// openLoose begins to read a tape file at a block, whatever its records' lengths. usual is how long they are elsewhere.
func (s *scan) openLoose(ctx context.Context, block int64, usual int) (*tapeFile, error) {
	if err := s.d.Locate(ctx, block); err != nil {
		return nil, fmt.Errorf("locating record %d: %w", block, err)
	}
	l := &lengths{usual: usual, heard: s.progress}
	return &tapeFile{ctx: ctx, d: s.d, buf: make([]byte, archiver.LongestRecord), next: block, loose: l}, nil
}

// fillLoose reads one record of any length, at the second attempt if need be. What cannot be read becomes zeros, behind the first
// record that can.
func (f *tapeFile) fillLoose() error {
	l := f.loose
	for {
		n, err := f.d.ReadRecord(f.ctx, f.buf)
		if err != nil && !passes(err) && !blamesDrive(f.ctx, err) && f.d.Locate(f.ctx, f.next) == nil {
			n, err = f.d.ReadRecord(f.ctx, f.buf)
		}
		f.next++
		if err == nil || !passes(err) {
			if l.last != 0 && l.last != l.first && l.uneven == 0 {
				l.uneven = f.next - 2
			}
		}
		switch {
		case err == nil:
			f.rest = f.buf[:n]
			if l.first == 0 {
				l.first = n
				f.rest = append(make([]byte, l.early*n), f.rest...)
				l.lose(l.early)
			}
			l.last = n
			l.bytes += int64(n)
			if now := time.Now(); now.Sub(l.told) > 500*time.Millisecond {
				l.told = now
				l.heard(l.bytes)
			}
			return nil
		case errors.Is(err, tape.ErrFilemark):
			f.mark = true
			return f.ends(io.EOF)
		case errors.Is(err, tape.ErrEndOfData):
			return f.ends(errEnds)
		case errors.Is(err, tape.ErrShortBuffer):
			return f.ends(fmt.Errorf("record %d has more than %d bytes", f.next-1, len(f.buf)))
		}
		if err = f.unreadable(err); f.failed != nil || errors.Is(err, errEnds) {
			return f.ends(err)
		}
		if f.lost++; f.lost > mostLost {
			return f.ends(fmt.Errorf("more than %d records cannot be read, the last one: %w", mostLost, err))
		}
		if l.first == 0 {
			l.early++
			continue
		}
		l.lose(1)
		clear(f.buf[:l.first])
		f.rest = f.buf[:l.first]
		return nil
	}
}

// ends notes what was lost of a tape file of which nothing could be read.
func (f *tapeFile) ends(err error) error {
	if f.loose.first == 0 {
		f.loose.lose(f.loose.early)
		f.loose.early = 0
	}
	return err
}

// lose notes records that could not be read.
func (l *lengths) lose(records int) {
	if n := int64(records) * int64(l.of()); n > 0 {
		l.lost = append(l.lost, paperdump.Range{From: l.bytes, To: l.bytes + n})
		l.bytes += n
	}
}

// passes tells whether an error of a read says what lies there.
func passes(err error) bool {
	return errors.Is(err, tape.ErrFilemark) || errors.Is(err, tape.ErrEndOfData) || errors.Is(err, tape.ErrShortBuffer)
}
