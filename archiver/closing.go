package archiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"twintape/archiver/stream"
	"twintape/internal/catalog"
	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// close drops what a stopped run did not write, and writes the session's catalog behind the last flushed archive. Where the
// room is too short for it, the last archives are given up one by one; their items wait again.
func (j *job) close(ctx context.Context) error {
	if err := j.Ledger.DropUnflushed(ctx, j.session.ID); err != nil {
		return err
	}
	for {
		archives, err := j.flushedArchives(ctx)
		if err != nil {
			return err
		}
		if len(archives) == 0 && j.session.Number > 1 {
			return fmt.Errorf("the pair %s %w", j.names(), errNoRoom)
		}
		if len(archives) == 0 {
			return fmt.Errorf("not even one archive and its catalog fit on %s, %w", j.names(), errTooSmall)
		}
		err = j.writeCatalogs(ctx, place{}.behind(archives))
		if !errors.Is(err, tape.ErrEndOfMedium) {
			return err
		}
		last := archives[len(archives)-1]
		if err := j.Ledger.SetFull(ctx, j.session.Pair); err != nil {
			return err
		}
		if err := j.Ledger.GiveUp(ctx, last.ID); err != nil {
			return err
		}
		j.takeBack(last.ID)
		j.report.Waiting = true
		j.Events.Emit(event.Note{Text: fmt.Sprintf("the catalog does not fit behind archive %d, which is given up: its items wait for the next pair", last.Number)})
	}
}

// writeCatalogs writes the session's catalog to the tapes, made from what the ledger holds, and records it.
func (j *job) writeCatalogs(ctx context.Context, at place) error {
	made, err := j.MakeCatalog(ctx, j.session, time.Now().UTC().Truncate(time.Second))
	if err != nil {
		return err
	}
	defer made.Discard()
	var records, positions [2]int64
	var errs [2]error
	var g sync.WaitGroup
	for side, l := range j.tapes {
		if l == nil {
			continue
		}
		g.Go(func() {
			records[side], errs[side] = made.write(ctx, l.Drive, at.record)
			if errs[side] != nil {
				errs[side] = l.failed(fmt.Errorf("writing the closing catalog: %w", errs[side]))
			}
		})
	}
	g.Wait()
	for side, err := range errs {
		if err != nil && errs[1-side] == nil && j.tapes[1-side] != nil && j.Single && broken(err) {
			errs[side] = j.lose(ctx, side, j.blame(ctx, err))
			records[side] = 0
		}
	}
	if err := errors.Join(errs[0], errs[1]); err != nil {
		return err
	}
	for side, n := range records {
		if n > 0 {
			positions[side] = at.record + n + 1
		}
	}
	where := ledger.CatalogPlace{TapeFile: at.tapeFile, Record: at.record, Records: max(records[0], records[1]), Bytes: made.size, MD5: made.Sum}
	return j.Ledger.CloseSession(ctx, j.session.ID, where, positions, made.head.Closed)
}

// Closing is a session's catalog in temporary files.
type Closing struct {
	Sum           catalog.MD5 // of its catalog.jsonl
	head          catalog.Session
	jsonl, crcs   *os.File
	size, crcSize int64
}

// Discard gives the files up.
func (c *Closing) Discard() {
	for _, f := range []*os.File{c.jsonl, c.crcs} {
		if f != nil {
			f.Close() // it has no name any more
		}
	}
}

// MakeCatalog makes the catalog of a session from the ledger, as of a time; that of its closing gives what is on tape.
func (a *Archiver) MakeCatalog(ctx context.Context, s ledger.Session, closed time.Time) (_ *Closing, err error) {
	c := &Closing{}
	defer func() {
		if err != nil {
			c.Discard()
		}
	}()
	if c.jsonl, err = scratch(a.Scratch, "catalog"); err != nil {
		return nil, err
	}
	if c.crcs, err = scratch(a.Scratch, "crc32c"); err != nil {
		return nil, err
	}
	c.head, c.size, c.Sum, err = a.Ledger.WriteCatalog(ctx, c.jsonl, s, closed)
	if err != nil {
		return nil, err
	}
	archives, err := a.Ledger.Archives(ctx, s.ID)
	if err != nil {
		return nil, err
	}
	for _, p := range archives {
		sums, err := a.Ledger.CRCs(ctx, p.ID)
		if err != nil {
			return nil, err
		}
		n, err := c.crcs.Write(sums)
		if err != nil {
			return nil, err
		}
		c.crcSize += int64(n)
	}
	return c, nil
}

// WriteTapeFile writes the catalog's tape file to w and returns how many records it takes.
func (c *Closing) WriteTapeFile(w io.Writer) (records int64, err error) {
	return catalog.WriteTapeFile(w, c.head, io.NewSectionReader(c.jsonl, 0, c.size), c.size, c.Sum, io.NewSectionReader(c.crcs, 0, c.crcSize), c.crcSize)
}

// write writes the catalog's tape file at the given block and makes sure that it is on the medium.
func (c *Closing) write(ctx context.Context, d tape.Drive, block int64) (int64, error) {
	if err := d.Locate(ctx, block); err != nil {
		return 0, err
	}
	if err := standsAt(ctx, d, block); err != nil {
		return 0, err
	}
	records, err := c.WriteTapeFile(&recordWriter{ctx: ctx, drive: d, buf: make([]byte, 0, c.head.RecordSize)})
	if err != nil {
		return 0, err
	}
	if err := d.WriteFilemark(ctx); err != nil {
		return 0, err
	}
	if err := d.Flush(ctx); err != nil {
		return 0, err
	}
	return records, standsAt(ctx, d, block+records+1)
}

// recordWriter cuts what is written into whole records. catalog.WriteTapeFile writes a multiple of the record size.
type recordWriter struct {
	ctx   context.Context
	drive tape.Drive
	buf   []byte
}

func (w *recordWriter) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		n := min(len(p), cap(w.buf)-len(w.buf))
		w.buf = append(w.buf, p[:n]...)
		p = p[n:]
		if len(w.buf) < cap(w.buf) {
			break
		}
		err := w.drive.WriteRecord(w.ctx, w.buf)
		if errors.Is(err, tape.ErrEarlyWarning) {
			// The room behind it is meant for catalogs: the same call again writes.
			err = w.drive.WriteRecord(w.ctx, w.buf)
		}
		if err != nil {
			return 0, err
		}
		w.buf = w.buf[:0]
	}
	return written, nil
}

func standsAt(ctx context.Context, d tape.Drive, block int64) error {
	at, err := d.Position(ctx)
	if err != nil {
		return err
	}
	if at.Block != block {
		return &stream.PositionError{Want: block, Got: at.Block}
	}
	return nil
}

// scratch makes a temporary file that is gone when it is closed.
func scratch(dir, name string) (*os.File, error) {
	f, err := os.CreateTemp(dir, name+"-*")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}
