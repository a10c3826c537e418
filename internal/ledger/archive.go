package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"twintape/internal/catalog"
)

func scanArchive(rows *sql.Rows) (a PlannedArchive, err error) {
	var flushed time.Time
	var held [2]int64 // the position up to which each tape was flushed
	err = rows.Scan(&a.ID, &a.Number, &a.TapeFile, &a.Record, &a.Records, &a.Items, &a.Bytes, &a.Sums, instant{&flushed}, &held[0], &held[1])
	a.Flushed = !flushed.IsZero()
	for side, position := range held {
		a.On[side] = a.Flushed && position > a.Record+a.Records
	}
	return a, err
}

func archives(ctx context.Context, q querier, session int64) ([]PlannedArchive, error) {
	return collect(ctx, q, scanArchive, `SELECT a.id, a.number, a.tape_file, a.record, a.records, a.items, a.bytes, a.sums_bytes, a.flushed,
			(SELECT COALESCE(MAX(f.tape_position), 0) FROM flushes f JOIN tapes t ON t.id = f.tape WHERE f.session = a.session AND t.side = 1),
			(SELECT COALESCE(MAX(f.tape_position), 0) FROM flushes f JOIN tapes t ON t.id = f.tape WHERE f.session = a.session AND t.side = 2)
		FROM archives a WHERE a.session = ? ORDER BY a.number`, session)
}

// Archives returns the archives of a session, planned and flushed, in tape order.
func (l *Ledger) Archives(ctx context.Context, session int64) ([]PlannedArchive, error) {
	all, err := archives(ctx, l.read, session)
	return all, l.failed(fmt.Sprintf("list the archives of session %d", session), err)
}

// CRCs returns the CRC32C of each record of a flushed archive, little-endian, or an error that wraps ErrNotFound.
func (l *Ledger) CRCs(ctx context.Context, archive int64) (crcs []byte, err error) {
	err = l.read.QueryRowContext(ctx, "SELECT crcs FROM archive_crcs WHERE archive = ?", archive).Scan(&crcs)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return crcs, l.failed(fmt.Sprintf("read the CRCs of archive %d", archive), err)
}

// Entries reads the archives of a session that are on the tape of a side, 1 or 2, one after the other, in tape order, as
// LoadArchive does.
func (l *Ledger) Entries(ctx context.Context, session int64, side int) iter.Seq2[*catalog.Archive, error] {
	return func(yield func(*catalog.Archive, error) bool) {
		all, err := l.Archives(ctx, session)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, planned := range all {
			if !planned.On[side-1] {
				continue
			}
			a, err := l.LoadArchive(ctx, planned.ID)
			if !yield(a, err) || err != nil {
				return
			}
		}
	}
}

// LoadArchive returns an archive as it was planned, in tape order, with what its flush told: MD5s, and what went bad.
func (l *Ledger) LoadArchive(ctx context.Context, archive int64) (*catalog.Archive, error) {
	a, err := loadArchive(ctx, l.read, archive)
	return a, l.failed(fmt.Sprintf("load archive %d", archive), err)
}

// sessionHead returns the fields that all archives of a session share.
func sessionHead(ctx context.Context, q querier, session int64) (a catalog.Archive, err error) {
	err = q.QueryRowContext(ctx, `SELECT p.uuid, s.uuid, j.uuid, p.record_size
		FROM sessions s JOIN pairs p ON p.id = s.pair JOIN jobs j ON j.id = s.job WHERE s.id = ?`, session).
		Scan(&a.Pair, &a.Session, &a.Job, &a.RecordSize)
	return a, err
}

func loadArchive(ctx context.Context, q querier, id int64) (*catalog.Archive, error) {
	return patiently(ctx, q, func(q querier) (*catalog.Archive, error) { return loadArchiveOnce(ctx, q, id) })
}

func loadArchiveOnce(ctx context.Context, q querier, id int64) (*catalog.Archive, error) {
	var session int64
	var number, tapeFile int
	var record int64
	err := q.QueryRowContext(ctx, "SELECT session, number, tape_file, record FROM archives WHERE id = ?", id).
		Scan(&session, &number, &tapeFile, &record)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	a, err := sessionHead(ctx, q, session)
	if err != nil {
		return nil, err
	}
	a.Number, a.TapeFile, a.Record = number, tapeFile, record

	var counts []int
	a.Items, err = collect(ctx, q, func(rows *sql.Rows) (it catalog.Item, err error) {
		var path []byte
		var members int
		err = rows.Scan(&it.ID, &it.Host, &path, &it.Bad, &members)
		it.Path = string(path)
		counts = append(counts, members)
		return it, err
	}, "SELECT COALESCE(item, 0), host, path, bad, members FROM archive_items WHERE archive = ? ORDER BY seq", id)
	if err != nil {
		return nil, err
	}
	rows, err := q.QueryContext(ctx, "SELECT "+memberColumns+" FROM members WHERE archive = ? ORDER BY seq", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for i := range a.Items {
		it := &a.Items[i]
		if counts[i] < 0 {
			return nil, fmt.Errorf("%s has %d members", spell(it.Host, it.Path), counts[i])
		}
		for range counts[i] {
			if !rows.Next() {
				return nil, errors.Join(fmt.Errorf("members of %s are missing", spell(it.Host, it.Path)), rows.Err())
			}
			e, err := scanMember(rows, it.Host, it.Path, number)
			if err != nil {
				return nil, err
			}
			it.Entries = append(it.Entries, e)
		}
	}
	return &a, rows.Err()
}

// scanMember reads memberColumns of a member of the item at host and path, and more columns that follow.
func scanMember(rows *sql.Rows, host, path string, archive int, more ...any) (e catalog.Entry, err error) {
	var name, user, group, link, xattrs []byte
	var mtime, ctime [2]int64 // seconds, nanoseconds
	var record, offset, header sql.NullInt64
	if err := rows.Scan(append([]any{&name, &e.Type, &e.Size, &e.Mode, &mtime[0], &mtime[1], &ctime[0], &ctime[1], &e.UID, &e.GID,
		&user, &group, &link, &xattrs, sum{&e.MD5}, &e.Bad, &record, &offset, &header}, more...)...); err != nil {
		return e, err
	}
	e.Host, e.Path = host, memberPath(path, string(name))
	e.MTime, e.CTime = time.Unix(mtime[0], mtime[1]).UTC(), time.Unix(ctime[0], ctime[1]).UTC()
	e.User, e.Group, e.Link = string(user), string(group), string(link)
	if xattrs != nil {
		var pairs [][2][]byte
		if err := json.Unmarshal(xattrs, &pairs); err != nil {
			return e, fmt.Errorf("extended attributes of %s: %w", spell(host, e.Path), err)
		}
		e.Xattrs = make(map[string]string, len(pairs))
		for _, p := range pairs {
			e.Xattrs[string(p[0])] = string(p[1])
		}
	}
	if record.Valid {
		e.Place = catalog.Place{Archive: archive, Record: record.Int64, Offset: int(offset.Int64), Header: int(header.Int64)}
	}
	return e, nil
}
