package archiver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"twintape/internal/catalog"
	"twintape/internal/digest"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// tail is what both tapes must hold before a job may write behind it. It is the ledger's word; an end of data that a tape
// shows, or a filemark that is merely found there, proves nothing.
type tail struct {
	end     place
	archive *ledger.PlannedArchive // the last flushed one of the job's session
	crcs    []byte                 // of archive's records
	session *ledger.Session        // the closed one before, if nothing of the job's session is flushed
}

// tailOf is the tail of a pair where the session with a number goes on, or is to begin.
func (a *Archiver) tailOf(ctx context.Context, pair string, number int) (*tail, error) {
	sessions, err := a.Ledger.Sessions(ctx, pair)
	if err != nil {
		return nil, err
	}
	t := &tail{end: beginning}
	for i := range sessions {
		s := &sessions[i]
		archives, err := a.Ledger.Archives(ctx, s.ID)
		if err != nil {
			return nil, err
		}
		archives = flushed(archives)
		switch {
		case s.Number > number:
			return nil, fmt.Errorf("pair %s goes on behind session %d", pair, number)
		case s.Number < number:
			if s.Closed.IsZero() {
				return nil, fmt.Errorf("session %d of pair %s was not closed: finish or abort its job %d first", s.Number, pair, s.Job)
			}
			t.session = s
			t.end = place{
				number: t.end.behind(archives).number, tapeFile: s.Catalog.TapeFile + 1,
				record: s.Catalog.Record + s.Catalog.Records + 1, earlier: s.Number,
			}
		case len(archives) > 0:
			t.end = t.end.behind(archives)
			t.archive, t.session = &archives[len(archives)-1], nil
			if t.crcs, err = a.Ledger.CRCs(ctx, t.archive.ID); err != nil {
				return nil, err
			}
			if int64(len(t.crcs)) != 4*t.archive.Records {
				return nil, fmt.Errorf("the ledger has %d bytes of checksums for the %d records of archive %d",
					len(t.crcs), t.archive.Records, t.archive.Number)
			}
		}
	}
	return t, nil
}

// nextTail is the tail of a pair where a new session is to begin.
func (a *Archiver) nextTail(ctx context.Context, pair string) (*tail, error) {
	sessions, err := a.Ledger.Sessions(ctx, pair)
	if err != nil {
		return nil, err
	}
	return a.tailOf(ctx, pair, len(sessions)+1)
}

// flushed are those of a session's archives that are on a tape.
func flushed(archives []ledger.PlannedArchive) []ledger.PlannedArchive {
	return slices.DeleteFunc(archives, func(p ledger.PlannedArchive) bool { return !p.Flushed })
}

// fresh tells that nothing on the pair counts yet, not even its labels.
func (t *tail) fresh() bool { return t.archive == nil && t.session == nil }

// checkTail makes sure that a loaded tape is the one that the ledger means and holds the tail. It leaves the drive where
// the job goes on. A *ForeignError says that it is not, or does not.
func (j *job) checkTail(ctx context.Context, l *Loaded, t *tail) error {
	if err := j.isOurs(ctx, l, t.fresh()); err != nil {
		return err
	}
	switch {
	case t.archive != nil:
		if err := j.checkArchive(ctx, l, t); err != nil {
			return err
		}
	case t.session != nil:
		if err := j.checkCatalog(ctx, l, t.session); err != nil {
			return err
		}
	default:
		return l.Drive.Rewind(ctx)
	}
	return standsAt(ctx, l.Drive, t.end.record)
}

// other says that a tape is not what the ledger says it is.
func other(l *Loaded, format string, args ...any) error {
	return &ForeignError{Barcode: l.Barcode, Err: fmt.Errorf("cannot be gone on with, and is left as it is: "+format, args...)}
}

// isOurs makes sure that the tape has the label that the ledger says. One on which nothing was ever flushed may also be
// blank, or have a label that was torn while it was written, or the one from before it was recycled.
func (j *job) isOurs(ctx context.Context, l *Loaded, fresh bool) error {
	t, err := j.Ledger.Tape(ctx, l.Barcode)
	if err != nil {
		return err
	}
	if err := l.writable(); err != nil {
		return err
	}
	if t.Serial != "" && l.Medium.Serial != "" && t.Serial != l.Medium.Serial {
		return other(l, "the cartridge's serial number is %s, the ledger says %s", l.Medium.Serial, t.Serial)
	}
	if fresh && t.Overwrite != "" { // its label was perhaps not written yet
		begins, err := Begins(ctx, l.Drive)
		if err == nil && begins.What == t.Overwrite {
			return nil
		}
		if err := l.Drive.Rewind(ctx); err != nil {
			return err
		}
	}
	buf := make([]byte, max(t.RecordSize, catalog.DefaultRecordSize))
	n, err := l.Drive.ReadRecord(ctx, buf)
	if fresh && errors.Is(err, tape.ErrFilemark) { // a filemark that nothing follows is no data
		if _, err = l.Drive.ReadRecord(ctx, buf); !errors.Is(err, tape.ErrEndOfData) {
			return other(l, "it has no label of ours, but begins with a filemark")
		}
	}
	var sense *tape.SenseError
	if fresh && (errors.Is(err, tape.ErrEndOfData) || errors.As(err, &sense) && sense.Key == tape.MediumError) {
		return nil
	}
	if errors.Is(err, tape.ErrEndOfData) || errors.Is(err, tape.ErrFilemark) || errors.Is(err, tape.ErrShortBuffer) {
		return other(l, "it has no label of ours: %v", err)
	}
	if err != nil {
		return fmt.Errorf("reading its label: %w", err)
	}
	label, err := catalog.ParseLabel(buf[:n])
	if err != nil {
		return other(l, "its label: %v", err)
	}
	if fresh && t.GivenUp(label.Tape) {
		return nil
	}
	if label.Barcode != t.Barcode || label.Tape != t.UUID || label.Pair != t.Pair {
		return other(l, "its label says %s (UUID %s, pair %s), the ledger %s (UUID %s, pair %s)",
			label.Barcode, label.Tape, label.Pair, t.Barcode, t.UUID, t.Pair)
	}
	return nil
}

// tailRecords is how many records of the last flushed archive are read before its tape is gone on with.
const tailRecords = 16

// checkArchive reads the first record of the last flushed archive, which names the session and the archive, its last ones,
// and the filemark behind.
func (j *job) checkArchive(ctx context.Context, l *Loaded, t *tail) error {
	last := t.archive
	buf := make([]byte, j.record)
	check := func(from, to int64) error {
		if err := l.Drive.Locate(ctx, last.Record+from); errors.Is(err, tape.ErrEndOfData) {
			return other(l, "it ends before record %d of archive %d, which was flushed", last.Record+from, last.Number)
		} else if err != nil {
			return err
		}
		for i := from; i < to; i++ {
			n, err := l.Drive.ReadRecord(ctx, buf)
			switch {
			case errors.Is(err, tape.ErrEndOfData), errors.Is(err, tape.ErrFilemark), errors.Is(err, tape.ErrShortBuffer):
				return other(l, "record %d of archive %d, which was flushed, is not there: %v", last.Record+i, last.Number, err)
			case err != nil:
				return fmt.Errorf("reading record %d of archive %d, which was flushed: %w", last.Record+i, last.Number, err)
			case digest.CRC32C(buf[:n]) != binary.LittleEndian.Uint32(t.crcs[4*i:]):
				return other(l, "record %d of archive %d is not what was written", last.Record+i, last.Number)
			}
		}
		return nil
	}
	if err := check(0, 1); err != nil {
		return err
	}
	if err := check(max(0, last.Records-tailRecords), last.Records); err != nil {
		return err
	}
	return filemark(ctx, l, fmt.Sprintf("archive %d", last.Number))
}

// checkCatalog reads the catalog that closed a session.
func (j *job) checkCatalog(ctx context.Context, l *Loaded, s *ledger.Session) error {
	if err := l.Drive.Locate(ctx, s.Catalog.Record); errors.Is(err, tape.ErrEndOfData) {
		return other(l, "it ends before the catalog of session %d", s.Number)
	} else if err != nil {
		return err
	}
	in := &recordReader{ctx: ctx, drive: l.Drive, buf: make([]byte, j.record), left: s.Catalog.Records}
	head, sum, err := catalog.ReadTapeFile(in, io.Discard, io.Discard)
	switch {
	case in.err != nil:
		return fmt.Errorf("reading the catalog of session %d: %w", s.Number, in.err)
	case err != nil:
		return other(l, "the catalog of session %d: %v", s.Number, err)
	case head.Session != s.UUID || !bytes.Equal(sum[:], s.Catalog.MD5[:]):
		return other(l, "the catalog of session %d is of session %s with md5 %s, not of %s with md5 %s",
			s.Number, head.Session, sum, s.UUID, s.Catalog.MD5)
	}
	return filemark(ctx, l, fmt.Sprintf("the catalog of session %d", s.Number))
}

// filemark passes the filemark that must follow.
func filemark(ctx context.Context, l *Loaded, what string) error {
	_, err := l.Drive.ReadRecord(ctx, make([]byte, 512))
	switch {
	case errors.Is(err, tape.ErrFilemark):
		return nil
	case err == nil, errors.Is(err, tape.ErrEndOfData), errors.Is(err, tape.ErrShortBuffer):
		return other(l, "no filemark follows %s", what)
	}
	return fmt.Errorf("reading the filemark behind %s: %w", what, err)
}

// recordReader reads so many records as a stream.
type recordReader struct {
	ctx   context.Context
	drive tape.Drive
	buf   []byte
	rest  []byte // of buf, not returned yet
	left  int64  // records to read
	err   error  // what kept the drive from reading
}

func (r *recordReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.left == 0 {
			return 0, io.EOF
		}
		n, err := r.drive.ReadRecord(r.ctx, r.buf)
		switch {
		case errors.Is(err, tape.ErrEndOfData), errors.Is(err, tape.ErrFilemark), errors.Is(err, tape.ErrShortBuffer):
			return 0, err
		case err != nil:
			r.err = err
			return 0, err
		}
		r.rest = r.buf[:n]
		r.left--
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
