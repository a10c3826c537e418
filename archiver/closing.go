package archiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"twintape/archiver/stream"
	"twintape/internal/catalog"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// closeSession writes the session's catalog to both tapes, made from what the ledger holds, and records it. Both drives
// stand behind the last flushed archive.
func (a *Archiver) closeSession(ctx context.Context, session ledger.Session, jobUUID string, tapes [2]*Loaded, tapeFile int, record int64) error {
	jsonl, err := scratch(a.Scratch, "catalog")
	if err != nil {
		return err
	}
	defer jsonl.Close()
	crcs, err := scratch(a.Scratch, "crc32c")
	if err != nil {
		return err
	}
	defer crcs.Close()

	head := catalog.Session{
		Pair: session.Pair, Session: session.UUID, Job: jobUUID, Number: session.Number,
		RecordSize: a.RecordSize, Closed: time.Now().UTC().Truncate(time.Second), Record: session.Record,
	}
	earlier, err := a.Ledger.Sessions(ctx, session.Pair)
	if err != nil {
		return err
	}
	for _, s := range earlier {
		if s.Number < session.Number {
			head.Earlier = append(head.Earlier, catalog.Earlier{
				Session: s.UUID, TapeFile: s.Catalog.TapeFile, Record: s.Catalog.Record, MD5: s.Catalog.MD5,
			})
		}
	}
	w := catalog.NewWriter(jsonl, head)
	planned, err := a.Ledger.Archives(ctx, session.ID)
	if err != nil {
		return err
	}
	var crcSize int64
	for _, p := range planned {
		if !p.Flushed {
			return fmt.Errorf("archive %d of session %s is not flushed", p.Number, session.UUID)
		}
		archive, err := a.Ledger.LoadArchive(ctx, p.ID)
		if err != nil {
			return err
		}
		if err := w.Archive(archive, p.Records); err != nil {
			return err
		}
		sums, err := a.Ledger.CRCs(ctx, p.ID)
		if err != nil {
			return err
		}
		n, err := crcs.Write(sums)
		if err != nil {
			return err
		}
		crcSize += int64(n)
	}
	size, sum, err := w.Close()
	if err != nil {
		return err
	}

	var records [2]int64
	g, gctx := errgroup.WithContext(ctx)
	for side, l := range tapes {
		g.Go(func() (err error) {
			records[side], err = writeCatalog(gctx, l.Drive, head, io.NewSectionReader(jsonl, 0, size), size, sum,
				io.NewSectionReader(crcs, 0, crcSize), crcSize, record)
			if err != nil {
				return fmt.Errorf("tape %s in %s: writing the closing catalog: %w", l.Barcode, l.Drive.Name(), err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	end := record + records[0] + 1
	place := ledger.CatalogPlace{TapeFile: tapeFile, Record: record, Records: records[0], MD5: sum}
	return a.Ledger.CloseSession(ctx, session.ID, place, [2]int64{end, end}, head.Closed)
}

// writeCatalog writes the catalog's tape file at the given block and makes sure that it is on the medium.
func writeCatalog(ctx context.Context, d tape.Drive, head catalog.Session, jsonl io.Reader, size int64, sum catalog.MD5,
	crcs io.Reader, crcSize, block int64) (int64, error) {
	if err := standsAt(ctx, d, block); err != nil {
		return 0, err
	}
	out := &recordWriter{ctx: ctx, drive: d, buf: make([]byte, 0, head.RecordSize)}
	records, err := catalog.WriteTapeFile(out, head, jsonl, size, sum, crcs, crcSize)
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
