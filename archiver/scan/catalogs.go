package scan

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"

	"twintape/internal/catalog"
	"twintape/internal/ledger"
)

// damageError says that what lies on the tape is of no use; the drive works.
type damageError struct{ err error }

func (e *damageError) Error() string { return e.err.Error() }
func (e *damageError) Unwrap() error { return e.err }

// fromEnd looks for the last catalog from the end of data backwards, and reads it and those before it. It tells whether the
// last tape file is a catalog of the tape's.
func (s *scan) fromEnd(ctx context.Context) (bool, error) {
	if err := s.d.SpaceEOD(ctx); err != nil {
		if blamesDrive(ctx, err) {
			return false, fmt.Errorf("going to the end of data: %w", err)
		}
		return false, nil
	}
	at, err := s.d.Position(ctx)
	if err != nil {
		return false, err
	}
	begin, err := s.lastFile(ctx, at.Block)
	if err != nil || begin == 0 {
		return false, err
	}
	last, err := s.catalog(ctx, begin)
	var damage *damageError
	if errors.As(err, &damage) {
		s.note("the catalog at record %d, the last tape file, is of no use: %v", begin, err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for n, e := range last.head.Earlier {
		f, err := s.catalog(ctx, e.Record)
		if err == nil && (f.head.Session != e.Session || f.place.MD5 != e.MD5 || f.place.TapeFile != e.TapeFile) {
			f.close()
			err = &damageError{fmt.Errorf("it is not what the last catalog says of it")}
		}
		switch {
		case errors.As(err, &damage):
			s.note("the catalog of session %d at record %d is of no use: %v", n+1, e.Record, err)
		case err != nil:
			last.close()
			return false, err
		default:
			s.sessions = append(s.sessions, f)
		}
	}
	s.sessions = append(s.sessions, last)
	return true, nil
}

// mostCatalog is how many records at the end of a tape are looked through for the beginning of its last catalog.
const mostCatalog = 1 << 16

// lastFile finds where the last tape file begins, if it looks like a catalog and a filemark lies between it and the end of
// data, block end; else it returns 0. The drive goes back by ever longer ways, since it reads forward only.
func (s *scan) lastFile(ctx context.Context, end int64) (int64, error) {
	const first = 4
	for back := int64(first); end > firstRecord+1; back *= 4 {
		from := max(firstRecord, end-1-back)
		f, err := s.open(ctx, from)
		if beyond(err) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		begin, ours, marked := from, false, false
		for f.next < end {
			err := f.fill()
			switch {
			case f.failed != nil:
				return 0, f.failed
			case f.mark && f.next < end:
				begin, ours, f.mark = f.next, false, false
			case f.mark:
				marked = true
			case err != nil:
				return 0, nil
			default:
				ours = ours || bytes.Contains(f.buf, []byte("/records.crc32c\n"))
			}
		}
		switch {
		case !marked, back == first && !ours:
			return 0, nil
		case begin > from || from == firstRecord:
			return begin, nil
		case back > mostCatalog:
			return 0, nil
		}
	}
	return 0, nil
}

// catalog reads the catalog at a block. A *damageError says that there is none that is of use.
func (s *scan) catalog(ctx context.Context, block int64) (_ *session, err error) {
	in, err := s.open(ctx, block)
	if beyond(err) {
		return nil, &damageError{err}
	}
	if err != nil {
		return nil, err
	}
	f := &session{}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	if f.jsonl, err = s.file(); err != nil {
		return nil, err
	}
	if f.crcs, err = s.file(); err != nil {
		return nil, err
	}
	jsonl, crcs := bufio.NewWriterSize(f.jsonl, 64<<10), bufio.NewWriterSize(f.crcs, 64<<10)
	head, sum, err := catalog.ReadTapeFile(in, jsonl, crcs)
	if in.failed != nil {
		return nil, in.failed
	}
	if err := errors.Join(jsonl.Flush(), crcs.Flush()); err != nil { // a bufio.Writer keeps its first error
		return nil, err
	}
	if err != nil {
		return nil, &damageError{err}
	}
	f.head, f.end = head, in.next
	f.place = ledger.CatalogPlace{Record: block, Records: in.next - block - 1, MD5: sum}
	return f, s.check(f)
}

// check makes sure that a catalog is one of this tape, lies where it says, and can be understood.
func (s *scan) check(f *session) error {
	label := s.r.Label
	if f.head.Pair != label.Pair || f.head.RecordSize != label.RecordSize {
		return &damageError{fmt.Errorf("it is of pair %s with records of %d bytes, the label says %s and %d", f.head.Pair, f.head.RecordSize, label.Pair, label.RecordSize)}
	}
	if f.head.Closed.IsZero() {
		return &damageError{errors.New("it does not say when it was made")}
	}
	var records, crcs int64
	behind, tapeFile := f.head.Record, 0
	if n := len(f.head.Earlier); n > 0 {
		tapeFile = f.head.Earlier[n-1].TapeFile
	}
	for a, err := range f.archives() {
		if err != nil {
			return &damageError{err}
		}
		records += a.Records
		behind, tapeFile = a.Record+a.Records+1, a.TapeFile
	}
	info, err := f.crcs.Stat()
	if err != nil {
		return err
	}
	if crcs = info.Size() / 4; crcs != records || behind != f.place.Record {
		return &damageError{fmt.Errorf("it lists archives of %d records up to record %d, with %d checksums", records, behind, crcs)}
	}
	if info, err = f.jsonl.Stat(); err != nil {
		return err
	}
	f.place.Bytes, f.place.TapeFile, f.nextFile = info.Size(), tapeFile+1, tapeFile+2
	return nil
}

// fromFront goes over all tape files from the first on and reads the catalogs among them.
func (s *scan) fromFront(ctx context.Context) error {
	for block := int64(firstRecord); ; {
		next, err := s.pass(ctx, block)
		if err != nil {
			return s.over(err)
		}
		block = next
	}
}

// over takes what ends the way over tape files. It is an error only if the drive is to blame.
func (s *scan) over(err error) error {
	var damage *damageError
	switch {
	case errors.Is(err, errEnds), beyond(err):
		return nil
	case errors.As(err, &damage):
		s.note("%v; what lies behind is not looked at", err)
		return nil
	}
	return err
}

// pass goes over one tape file and returns where the next one begins. The error is errEnds, or one that is beyond, if none
// does.
func (s *scan) pass(ctx context.Context, block int64) (int64, error) {
	in, err := s.open(ctx, block)
	if err != nil {
		return 0, err
	}
	switch err := in.fill(); {
	case in.failed != nil:
		return 0, in.failed
	case errors.Is(err, errEnds):
		return 0, err
	}
	s.last = block
	switch catalog.TapeFileKind(in.rest) {
	case catalog.CatalogFile:
		f, err := s.catalog(ctx, block)
		var damage *damageError
		switch {
		case err == nil:
			s.sessions = append(s.sessions, f)
			return f.end, nil
		case !errors.As(err, &damage):
			return 0, err
		}
		s.note("the catalog at record %d is of no use: %v", block, err)
	case catalog.ArchiveFile:
		least, err := s.hop(in, block)
		if err != nil {
			return 0, err
		}
		if least > 0 {
			return s.behindMark(ctx, least)
		}
	default:
		s.note("the tape file at record %d is neither an archive nor a catalog", block)
	}
	return s.behindMark(ctx, block)
}

// hop reads an archive's manifest and returns the first block at which its filemark can be: the members' headers may be longer
// than the manifest lets know. It returns 0 if the manifest is damaged.
func (s *scan) hop(in *tapeFile, block int64) (int64, error) {
	a, err := catalog.ReadArchiveHead(in)
	switch {
	case in.failed != nil:
		return 0, in.failed
	case err != nil:
		s.note("the archive at record %d has no readable manifest: %v", block, err)
		return 0, nil
	case !s.belongs(a, block):
		return 0, errEnds
	}
	least, err := a.LeastRecords()
	return max(block+least, in.next), err
}

// belongs tells whether an archive is one of this tape, at its place. Behind an end of data that was lost there may be others.
func (s *scan) belongs(a *catalog.Archive, block int64) bool {
	return a.Pair == s.r.Label.Pair && a.RecordSize == s.r.Label.RecordSize && a.Record == block
}

// behindMark reads from a block on and returns what block follows the next filemark.
func (s *scan) behindMark(ctx context.Context, block int64) (int64, error) {
	in, err := s.open(ctx, block)
	if err != nil {
		return 0, err
	}
	err = in.toMark()
	return in.next, err
}
