package verify

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"

	"twintape/internal/catalog"
	"twintape/internal/tape"
)

// session is one session of the tape, by its catalog as it was read from the tape, or by the ledger where that is of no
// use.
type session struct {
	Session
	jsonl, crcs *os.File // nil if the tape's catalog is of no use
}

// catalogs reads each session's catalog and compares it with what is expected of it.
func (c *check) catalogs(ctx context.Context) error {
	for n := range c.e.Sessions {
		s := &session{Session: c.e.Sessions[n]}
		c.sessions = append(c.sessions, s)
		if err := c.catalog(ctx, s, c.e.Sessions[:n]); err != nil {
			return fmt.Errorf("the catalog of session %d: %w", s.Number, err)
		}
	}
	return nil
}

// catalog reads one catalog into temporary files.
func (c *check) catalog(ctx context.Context, s *session, earlier []Session) (err error) {
	m := Mismatch{Kind: KindCatalog, Record: s.Record}
	err = c.d.Locate(ctx, s.Record)
	if errors.Is(err, tape.ErrEndOfData) {
		m.Reason = fmt.Sprintf("the tape ends before the catalog of session %d", s.Number)
		c.found(m)
		return nil
	}
	if err != nil && damaged(err) {
		m.Reason = fmt.Sprintf("the catalog of session %d cannot be reached: %v", s.Number, err)
		c.found(m)
		return nil
	}
	if err != nil {
		return fmt.Errorf("locating record %d: %w", s.Record, err)
	}
	if s.jsonl, err = c.scratch(); err != nil {
		return err
	}
	if s.crcs, err = c.scratch(); err != nil {
		return err
	}
	jsonl, crcs := bufio.NewWriterSize(s.jsonl, 64<<10), bufio.NewWriterSize(s.crcs, 64<<10)
	file := &tapeFile{ctx: ctx, check: c, buf: make([]byte, c.e.RecordSize), record: s.Record}
	head, md5, formatErr := catalog.ReadTapeFile(file, jsonl, crcs)
	// Also where the catalog is no good, the rest of its tape file is read: it may say where the damage is.
	_, restErr := io.Copy(io.Discard, file)
	if file.failed != nil {
		return file.failed
	}
	// A bufio.Writer keeps its first error, so these are all the scratch folder's.
	if err := errors.Join(jsonl.Flush(), crcs.Flush()); err != nil {
		return fmt.Errorf("writing its copy to the scratch folder: %w", err)
	}
	if restErr != nil { // which is why ReadTapeFile ended, or what it had not come to
		formatErr = restErr
	}
	if formatErr != nil {
		m.Record, m.Reason = file.record, fmt.Sprintf("the catalog of session %d is unreadable: %v", s.Number, formatErr)
		c.found(m)
		s.forget()
		return nil
	}
	if c.e.Pair != "" && head.Pair == c.e.Pair {
		c.proven = true
	}
	var d difference
	d.differ(s.MD5.IsZero() || md5 == s.MD5, "the catalog's md5", "%s", s.MD5, md5)
	d.differ(head.Session == s.UUID, "the session's UUID", "%s", s.UUID, head.Session)
	d.differ(head.Number == s.Number, "the session's number", "%d", s.Number, head.Number)
	d.differ(head.Pair == c.e.Pair || c.e.Pair == "", "the pair's UUID", "%s", c.e.Pair, head.Pair)
	d.differ(head.RecordSize == c.e.RecordSize, "the record size", "%d", c.e.RecordSize, head.RecordSize)
	d.differ(len(head.Earlier) == len(earlier), "the number of earlier sessions", "%d", len(earlier), len(head.Earlier))
	for n := range min(len(head.Earlier), len(earlier)) {
		h, e := head.Earlier[n], catalog.Earlier{Session: earlier[n].UUID, TapeFile: earlier[n].TapeFile, Record: earlier[n].Record, MD5: earlier[n].MD5}
		d.differ(h == e, "an earlier session", "%+v", e, h)
	}
	if d.field != "" {
		m.Expected, m.Found, m.Reason = d.expected, d.found, fmt.Sprintf("%s differs in the catalog of session %d", d.field, s.Number)
		c.found(m)
	}
	if head.RecordSize != c.e.RecordSize { // nothing it says of places holds
		s.forget()
	}
	return nil
}

// scratch makes a temporary file without a name.
func (c *check) scratch() (*os.File, error) {
	f, err := os.CreateTemp(c.o.Scratch, "verify-")
	if err != nil {
		return nil, fmt.Errorf("making a temporary file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return f, fmt.Errorf("unlinking a temporary file: %w", err)
	}
	return f, nil
}

// forget gives the tape's catalog up.
func (s *session) forget() {
	for _, f := range []*os.File{s.jsonl, s.crcs} {
		if f != nil {
			f.Close() // it was only read from, or is not used
		}
	}
	s.jsonl, s.crcs = nil, nil
}

func (c *check) close() {
	for _, s := range c.sessions {
		s.forget()
	}
}

// tapeFile reads records up to the filemark as a stream.
type tapeFile struct {
	*check
	ctx    context.Context
	buf    []byte
	rest   []byte // of buf, not yet returned
	record int64  // the next one
	err    error  // how it ended
	failed error  // why, if the drive is to blame
}

func (f *tapeFile) Read(p []byte) (int, error) {
	if len(f.rest) == 0 && f.err == nil {
		f.fill()
	}
	if f.err != nil {
		return 0, f.err
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// fill reads one record.
func (f *tapeFile) fill() {
	n, err := f.d.ReadRecord(f.ctx, f.buf)
	if err != nil && !passed(err) && !blameDrive(f.ctx, err) && f.d.Locate(f.ctx, f.record) == nil {
		if again, then := f.d.ReadRecord(f.ctx, f.buf); then == nil || passed(then) {
			n, err = again, then
			f.r.Retried++
		}
	}
	switch {
	case err == nil && n == len(f.buf):
		f.rest = f.buf
		f.record++
		f.passed()
		return
	case err == nil:
		f.err = fmt.Errorf("record %d has %d bytes instead of %d", f.record, n, len(f.buf))
	case errors.Is(err, tape.ErrFilemark):
		f.err = io.EOF
	case errors.Is(err, tape.ErrEndOfData):
		f.err = errors.New("the tape ends without the filemark behind it")
	default:
		f.err = fmt.Errorf("record %d: %w", f.record, err)
		if blameDrive(f.ctx, err) {
			f.failed = f.err
		}
	}
}

// passed counts a record of the label or a catalog.
func (c *check) passed() {
	c.moved += int64(c.e.RecordSize)
	c.fixed += int64(c.e.RecordSize)
	c.r.BytesRead, c.r.BytesTotal = c.fixed, c.fixed
	c.progress(false)
}

// errUseless says that a session's catalog on the tape turned out to be of no use.
var errUseless = errors.New("the catalog is of no use")

// each calls f with the session's archives in order and the records they take: the tape's word if it can be had, else the
// ledger's. An error that wraps errUseless is about the tape's word.
func (s *session) each(ctx context.Context, f func(a *catalog.Archive, records int64) error) error {
	if s.jsonl == nil {
		for a, err := range s.ledger() {
			if err != nil {
				return fmt.Errorf("reading session %d from the ledger: %w", s.Number, err)
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			records := s.Records[a.Number]
			if s.Records == nil {
				layout, err := a.Layout()
				if err != nil {
					return fmt.Errorf("archive %d of session %d in the ledger: %w", a.Number, s.Number, err)
				}
				records = layout.Records
			}
			if err := f(a, records); err != nil {
				return err
			}
		}
		return nil
	}
	r, err := catalog.NewReader(io.NewSectionReader(s.jsonl, 0, math.MaxInt64))
	for err == nil {
		var (
			a       *catalog.Archive
			records int64
		)
		if a, records, err = r.Next(); err == nil {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := f(a, records); err != nil {
				return err
			}
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("%w: %w", errUseless, err)
}

// ledger yields what the ledger says, nothing if there is none.
func (s *session) ledger() iter.Seq2[*catalog.Archive, error] {
	if s.Archives == nil {
		return func(func(*catalog.Archive, error) bool) {}
	}
	return s.Archives()
}
