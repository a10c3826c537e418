package ledger

import (
	"context"
	"database/sql"
	"fmt"

	"twintape/internal/catalog"
)

// Contents is what lies on a tape.
type Contents struct {
	Tape     Tape
	Sessions []SessionContents // in tape order
}

// SessionContents is what one session wrote, or is writing.
type SessionContents struct {
	Session
	Archives []ArchiveContents // in tape order
}

// ArchiveContents is an archive with its items.
type ArchiveContents struct {
	PlannedArchive
	Items []ArchivedItem // in tape order
}

// ArchivedItem is an item as it lies in an archive.
type ArchivedItem struct {
	ID      int64 // 0 if it left the queue after it went bad
	Host    string
	Path    string
	Record  int64 // logical block number of its first record
	Members int64
	Bytes   int64  // of its members' data
	Bad     string // why this is no copy of it; empty if it is
}

// Contents returns what lies on a tape, or is planned to.
func (l *Ledger) Contents(ctx context.Context, barcode string) (Contents, error) {
	c, err := l.contents(ctx, barcode)
	return c, l.failed("list the contents of tape "+barcode, err)
}

func (l *Ledger) contents(ctx context.Context, barcode string) (c Contents, err error) {
	if c.Tape, err = tape(ctx, l.read, barcode); err != nil || c.Tape.Pair == "" {
		return c, err
	}
	sessions, err := collect(ctx, l.read, scanSession, sessionQuery+"p.uuid = ? ORDER BY s.number", c.Tape.Pair)
	if err != nil {
		return c, err
	}
	for _, s := range sessions {
		session := SessionContents{Session: s}
		planned, err := archives(ctx, l.read, s.ID)
		if err != nil {
			return c, err
		}
		for _, p := range planned {
			a := ArchiveContents{PlannedArchive: p}
			a.Items, err = collect(ctx, l.read, func(rows *sql.Rows) (it ArchivedItem, err error) {
				var path []byte
				err = rows.Scan(&it.ID, &it.Host, &path, &it.Record, &it.Members, &it.Bytes, &it.Bad)
				it.Path = string(path)
				return it, err
			}, `SELECT COALESCE(item, 0), host, path, record, members, bytes, bad
				FROM archive_items WHERE archive = ? ORDER BY seq`, p.ID)
			if err != nil {
				return c, err
			}
			session.Archives = append(session.Archives, a)
		}
		c.Sessions = append(c.Sessions, session)
	}
	return c, nil
}

// ItemMembers returns an item as the catalog of its first copy has it, or an error that wraps ErrNotFound if it has none.
func (l *Ledger) ItemMembers(ctx context.Context, item int64) (catalog.Item, error) {
	for it, err := range l.selectItems(ctx, l.read, "i.id = ?", item) {
		if err != nil {
			return catalog.Item{}, l.failed(fmt.Sprintf("look item %d up", item), err)
		}
		if len(it.Copies) == 0 {
			break
		}
		out := catalog.Item{ID: it.ID, Host: it.Host, Path: it.Path}
		for e, err := range l.members(ctx, it) {
			if err != nil {
				return out, l.failed("list the members of "+spell(it.Host, it.Path), err)
			}
			out.Entries = append(out.Entries, e)
		}
		return out, nil
	}
	return catalog.Item{}, l.failed(fmt.Sprintf("look item %d up", item), fmt.Errorf("a copy of it is %w", ErrNotFound))
}
