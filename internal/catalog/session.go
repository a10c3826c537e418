package catalog

import "fmt"

func (s *Session) lineOf() *sessionLine {
	return &sessionLine{
		kind: kind{"session"}, Version: Version, Pair: s.Pair, Session: s.Session, Job: s.Job, Number: s.Number,
		RecordSize: s.RecordSize, Closed: s.Closed.UTC(), Record: s.Record, Earlier: len(s.Earlier),
	}
}

func (e *Earlier) lineOf() *earlierLine {
	return &earlierLine{kind: kind{"earlier"}, Session: e.Session, TapeFile: e.TapeFile, Record: e.Record, MD5: e.MD5}
}

// check looks at the head of a session's catalog.
func (s *Session) check() error {
	if err := checkUUIDs(s.Pair, s.Session, s.Job); err != nil {
		return err
	}
	if err := checkRecordSize(s.RecordSize); err != nil {
		return err
	}
	if y := s.Closed.UTC().Year(); s.Number < 1 || s.Record < 1 || y < 1 || y > 9999 {
		return fmt.Errorf("%w: session %d at record %d, closed %v", ErrFormat, s.Number, s.Record, s.Closed)
	}
	last := Earlier{}
	for _, e := range s.Earlier {
		if err := checkUUIDs(e.Session); err != nil {
			return err
		}
		if e.TapeFile <= last.TapeFile || e.Record <= last.Record || e.Record >= s.Record || e.MD5.IsZero() {
			return fmt.Errorf("%w: catalog of earlier session %s in tape file %d at record %d", ErrFormat, e.Session, e.TapeFile, e.Record)
		}
		last = e
	}
	return nil
}

// span is where an archive of the session lies; the next one lies behind it.
type span struct {
	number   int
	tapeFile int
	end      int64 // record number behind it
}

// before is where the session begins.
func (s *Session) before() span { return span{end: s.Record - 1} }

// checkArchive tells whether an archive can lie behind the last one, and its members in it. It moves last on.
func (s *Session) checkArchive(a *Archive, records int64, last *span) error {
	if a.Pair != s.Pair || a.Session != s.Session || a.Job != s.Job || a.RecordSize != s.RecordSize {
		return fmt.Errorf("%w: archive %d is of session %s of job %s on pair %s with records of %d bytes, the catalog is of %s, %s, %s, %d",
			ErrFormat, a.Number, a.Session, a.Job, a.Pair, a.RecordSize, s.Session, s.Job, s.Pair, s.RecordSize)
	}
	if err := a.check(); err != nil {
		return err
	}
	if err := a.checkItems(); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	// A filemark takes a logical block number, so there is at least one between archives.
	if a.Number <= last.number || a.TapeFile <= last.tapeFile || a.Record <= last.end || records < 1 || records > maxSize/int64(s.RecordSize) {
		return fmt.Errorf("%w: archive %d in tape file %d, %d records from %d on, cannot lie behind archive %d in tape file %d up to %d",
			ErrFormat, a.Number, a.TapeFile, records, a.Record, last.number, last.tapeFile, last.end)
	}
	*last = span{number: a.Number, tapeFile: a.TapeFile, end: a.Record + records}
	pos := int64(-1) // of the byte behind the last member; the manifest before the first has any length
	for i := range a.Items {
		it := &a.Items[i]
		for j := range it.Entries {
			e := &it.Entries[j]
			if err := e.Check(); err != nil {
				return fmt.Errorf("%w: %w", ErrFormat, err)
			}
			if e.Type == File && e.MD5.IsZero() && e.Bad == "" && it.Bad == "" {
				return fmt.Errorf("%w: %s:%s has neither a checksum nor a reason", ErrFormat, e.Host, printable(e.Path))
			}
			if !e.Type.OnTape() {
				continue
			}
			at := (e.Record-a.Record)*int64(a.RecordSize) + int64(e.Offset)
			end := at + int64(e.Header) + padded(e.Size)
			if e.Archive != a.Number || e.Record < a.Record || e.Record-a.Record >= records || e.Offset < 0 || e.Offset >= a.RecordSize ||
				e.Offset%block != 0 || e.Header < block || e.Header > maxHeader || e.Header%block != 0 ||
				pos >= 0 && at != pos || end > records*int64(a.RecordSize) {
				return fmt.Errorf("%w: %s:%s cannot lie in archive %d, record %d, byte %d with a header of %d",
					ErrFormat, e.Host, printable(e.Path), e.Archive, e.Record, e.Offset, e.Header)
			}
			pos = end
		}
	}
	return nil
}
