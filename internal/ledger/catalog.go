package ledger

import (
	"context"
	"fmt"
	"io"
	"time"

	"twintape/internal/catalog"
)

// WriteCatalog writes the catalog of a session, made at the given time, as the archives that are flushed make it: byte for
// byte what is on tape, if the session is closed and closed is when. It returns the catalog's head, length and MD5. An
// archive that is planned and not flushed is an error.
func (l *Ledger) WriteCatalog(ctx context.Context, w io.Writer, s Session, closed time.Time) (head catalog.Session, bytes int64, sum catalog.MD5, err error) {
	head, bytes, sum, err = writeCatalog(ctx, l.read, w, s, closed)
	return head, bytes, sum, l.failed("make the catalog of session "+s.UUID, err)
}

func writeCatalog(ctx context.Context, q querier, w io.Writer, s Session, closed time.Time) (head catalog.Session, bytes int64, sum catalog.MD5, err error) {
	of, err := sessionHead(ctx, q, s.ID)
	if err != nil {
		return head, 0, sum, err
	}
	head = catalog.Session{
		Pair: s.Pair, Session: s.UUID, Job: of.Job, Number: s.Number, RecordSize: of.RecordSize, Closed: closed, Record: s.Record,
	}
	sessions, err := collect(ctx, q, scanSession, sessionQuery+"p.uuid = ? ORDER BY s.number", s.Pair)
	if err != nil {
		return head, 0, sum, err
	}
	for _, e := range sessions {
		if e.Number < s.Number {
			head.Earlier = append(head.Earlier, catalog.Earlier{
				Session: e.UUID, TapeFile: e.Catalog.TapeFile, Record: e.Catalog.Record, MD5: e.Catalog.MD5,
			})
		}
	}
	out := catalog.NewWriter(w, head)
	planned, err := archives(ctx, q, s.ID)
	if err != nil {
		return head, 0, sum, err
	}
	for _, p := range planned {
		if !p.Flushed {
			return head, 0, sum, fmt.Errorf("archive %d is not flushed", p.Number)
		}
		a, err := loadArchive(ctx, q, p.ID)
		if err != nil {
			return head, 0, sum, err
		}
		listed, err := collect(ctx, q, scanID, "SELECT listed FROM archive_items WHERE archive = ? ORDER BY seq", p.ID)
		if err != nil {
			return head, 0, sum, err
		}
		for i, id := range listed {
			a.Items[i].ID = id
		}
		if err := out.Archive(a, p.Records); err != nil {
			return head, 0, sum, err
		}
	}
	bytes, sum, err = out.Close()
	return head, bytes, sum, err
}
