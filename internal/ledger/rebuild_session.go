package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"twintape/internal/catalog"
)

// session takes one session in.
func (b *rebuilding) session(ctx context.Context, s *ScannedSession) error {
	known, err := b.findSession(ctx, s)
	if err != nil || known == nil {
		return err
	}
	planned, err := archives(ctx, b.tx, known.ID)
	if err != nil {
		return err
	}
	byNumber := make(map[int]PlannedArchive, len(planned))
	for _, p := range planned {
		byNumber[p.Number] = p
	}
	flush, err := b.flush(ctx, known.ID, s)
	if err != nil {
		return err
	}
	for a, err := range s.Archives {
		if err != nil {
			return err
		}
		p, ok := byNumber[a.Number]
		id := p.ID
		switch {
		case ok && !p.Flushed:
			b.differ("archive %d is on the tape, in the ledger it is only planned", a.Number)
			continue
		case ok && b.s.WrittenBy != "":
			var same bool
			if a, same, err = b.mergeArchive(ctx, p, a, s); err == nil && !same {
				continue
			}
		case ok && known.renew:
			err = b.renewArchive(ctx, id, a, s)
		case ok:
			var same bool
			if same, err = b.compare(ctx, p, a, s); err == nil && !same {
				continue
			}
		case !known.grows:
			b.differ("archive %d is on the tape, the ledger's session %d does not have it", a.Number, known.Number)
			continue
		default:
			id, err = b.addArchive(ctx, known.ID, a, s)
		}
		if err == nil {
			err = b.copies(ctx, id, a, s, flush)
		}
		if err != nil {
			return fmt.Errorf("archive %d: %w", a.Number, err)
		}
	}
	if !known.renew {
		return nil
	}
	c := s.Catalog
	_, err = exec(ctx, b.tx, `UPDATE sessions SET closed = ?, catalog_file = ?, catalog_record = ?, catalog_records = ?, catalog_bytes = ?, catalog_md5 = ?
		WHERE id = ?`, nanos(s.Head.Closed), c.TapeFile, c.Record, c.Records, c.Bytes, c.MD5[:], known.ID)
	if err == nil {
		_, err = exec(ctx, b.tx, "UPDATE jobs SET step = ?, reached = ?, reason = ? WHERE id = ?", Done, Done, rebuiltWhole, known.Job)
	}
	return err
}

// Why a job that was rebuilt ended.
const (
	rebuiltWhole = "its session was rebuilt from its tapes"
	rebuiltPart  = "its session was rebuilt from archives on its tapes, without a catalog"
)

// joined is a session of the ledger that a tape's is.
type joined struct {
	Session
	grows bool // it may have more archives than the ledger has
	renew bool // the tape's catalog says what it holds: it is new, or was rebuilt without a catalog
}

// findSession finds the session in the ledger, or adds it. It returns nil for one that cannot be taken in.
func (b *rebuilding) findSession(ctx context.Context, s *ScannedSession) (*joined, error) {
	head := s.Head
	all, err := collect(ctx, b.tx, scanSession, sessionQuery+"s.uuid = ? OR s.pair = ? AND s.number = ?", head.Session, b.pair, head.Number)
	if err != nil {
		return nil, err
	}
	closes := !head.Closed.IsZero()
	if len(all) == 0 {
		k, err := b.addSession(ctx, s)
		if err != nil || k.ID == 0 {
			return nil, err
		}
		return &joined{Session: k, grows: true, renew: closes}, nil
	}
	k := all[0]
	if len(all) > 1 || k.UUID != head.Session || k.Pair != head.Pair || k.Number != head.Number || k.Record != head.Record {
		b.differ("session %d (%s) from record %d on is session %d (%s) from record %d on in the ledger", head.Number, head.Session, head.Record, k.Number, k.UUID, k.Record)
		return nil, nil
	}
	j, err := b.ledger.job(ctx, b.tx, k.Job)
	if err != nil {
		return nil, err
	}
	rebuilt := j.Owner == Owner{}
	switch {
	case j.UUID != head.Job:
		b.differ("session %d was written by job %s, the ledger says %s", head.Number, head.Job, j.UUID)
		return nil, nil
	case !j.Step.Ends(), j.Step == Stopped:
		b.differ("session %d is left as it is: job %d is not finished (`twintape resume %d`)", head.Number, j.ID, j.ID)
		return nil, nil
	case closes && k.Closed.IsZero() && !rebuilt:
		b.differ("session %d is closed by a catalog on the tape, in the ledger it is not", head.Number)
		return nil, nil
	case closes && !k.Closed.IsZero() && k.Catalog != s.Catalog:
		b.differ("the catalog of session %d is %+v, the ledger says %+v", head.Number, s.Catalog, k.Catalog)
		return nil, nil
	}
	if err := b.jobTape(ctx, k.Job); err != nil {
		return nil, err
	}
	open := rebuilt && k.Closed.IsZero() // what the job of another gave up is not to come back
	// What another program calls its catalog does not say which archives its twin could still give.
	return &joined{Session: k, grows: open || b.s.WrittenBy != "", renew: open && closes}, nil
}

func (b *rebuilding) addSession(ctx context.Context, s *ScannedSession) (Session, error) {
	head := s.Head
	taken, err := collect(ctx, b.tx, scanID, "SELECT id FROM jobs WHERE uuid = ?", head.Job)
	if err != nil {
		return Session{}, err
	}
	if len(taken) > 0 {
		b.differ("session %d was written by job %s, which wrote another session, or none, in the ledger", head.Number, head.Job)
		return Session{}, nil
	}
	when, step, why := b.when(s), Done, rebuiltWhole
	if head.Closed.IsZero() {
		step, why = Aborted, rebuiltPart
	}
	id, err := insert(ctx, b.tx, `INSERT INTO jobs (uuid, machine, boot, pid, proc_start, step, reached, reason, sample, began, ended)
		VALUES (?, '', '', 0, 0, ?, ?, ?, 0, ?, ?)`, head.Job, step, step, why, when, when)
	if err != nil {
		return Session{}, err
	}
	if err := b.jobTape(ctx, id); err != nil {
		return Session{}, err
	}
	var out Session
	err = addSession(ctx, b.tx, b.pair, id, StartSession{SessionUUID: head.Session, Number: head.Number, Record: head.Record}, &out)
	b.r.Sessions++
	return out, err
}

// jobTape records the tape as one of a rebuilt job's.
func (b *rebuilding) jobTape(ctx context.Context, job int64) error {
	column := [2]string{"tape1", "tape2"}[b.r.Side-1]
	_, err := exec(ctx, b.tx, "UPDATE jobs SET "+column+" = ? WHERE id = ? AND machine = ''", b.tape, job)
	return err
}

// when is about when a session was written, in nanoseconds.
func (b *rebuilding) when(s *ScannedSession) int64 {
	if s.Head.Closed.IsZero() {
		return nanos(b.s.Label.Created)
	}
	return nanos(s.Head.Closed)
}

// flush returns the flush of the tape that its copies in the session are before.
func (b *rebuilding) flush(ctx context.Context, session int64, s *ScannedSession) (id int64, err error) {
	var position int64
	err = b.tx.QueryRowContext(ctx, "SELECT id, tape_position FROM flushes WHERE session = ? AND tape = ? ORDER BY tape_position DESC, id LIMIT 1", session, b.tape).
		Scan(&id, &position)
	if err == nil && position > s.End {
		b.differ("session %d is on the tape up to block %d by the ledger, and was found up to %d", s.Head.Number, position, s.End)
	}
	if err == nil && position >= s.End || err != nil && !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	return insert(ctx, b.tx, "INSERT INTO flushes (session, tape, tape_position, flushed) VALUES (?, ?, ?, ?)", session, b.tape, s.End, b.when(s))
}

// addArchive adds an archive with its members; its items come with their copies.
func (b *rebuilding) addArchive(ctx context.Context, session int64, a ScannedArchive, s *ScannedSession) (int64, error) {
	id, err := insert(ctx, b.tx, `INSERT INTO archives (session, number, tape_file, record, records, items, bytes, sums_bytes, good, flushed, named)
		VALUES (?, ?, ?, ?, ?, 0, 0, 0, 0, ?, 1)`, session, a.Number, a.TapeFile, a.Record, a.Records, b.when(s))
	if err != nil {
		return 0, err
	}
	b.r.Archives++
	return id, b.fillArchive(ctx, id, a)
}

// fillArchive records what an archive holds.
func (b *rebuilding) fillArchive(ctx context.Context, id int64, a ScannedArchive) error {
	var bytes, first int64
	good := 0
	for seq := range a.Items {
		it := &a.Items[seq]
		bad := reasonOf(*it)
		if bad == "" {
			good++
		}
		if _, err := exec(ctx, b.tx, `INSERT INTO archive_items (archive, seq, item, listed, host, path, first_member, members, record, bytes, bad)
			VALUES (?, ?, NULL, ?, ?, ?, ?, ?, ?, ?, ?)`,
			id, seq, it.ID, it.Host, bytesOf(it.Path), first, len(it.Entries), firstRecord(it), dataBytes(*it), bad); err != nil {
			return err
		}
		first += int64(len(it.Entries))
		bytes += dataBytes(*it)
	}
	if err := insertMembers(ctx, b.tx, id, a.Archive); err != nil {
		return err
	}
	if _, err := exec(ctx, b.tx, "UPDATE archives SET items = ?, bytes = ?, sums_bytes = ?, good = ? WHERE id = ?",
		len(a.Items), bytes, a.SumsSize(), good, id); err != nil {
		return err
	}
	return b.addCRCs(ctx, id, a)
}

// addCRCs records the checksums of an archive's records, if they are known and were not.
func (b *rebuilding) addCRCs(ctx context.Context, id int64, a ScannedArchive) error {
	known, err := collect(ctx, b.tx, scanID, "SELECT archive FROM archive_crcs WHERE archive = ?", id)
	if err != nil || len(known) > 0 || a.CRCs == nil {
		return err
	}
	_, err = exec(ctx, b.tx, "INSERT INTO archive_crcs (archive, crcs) VALUES (?, ?)", id, a.CRCs)
	return err
}

// renewArchive lets a catalog, or a twin that gives back more, say what an archive holds that was rebuilt without.
func (b *rebuilding) renewArchive(ctx context.Context, id int64, a ScannedArchive, s *ScannedSession) error {
	type row struct {
		seq        int
		item       sql.NullInt64
		host, path string
	}
	rows, err := collect(ctx, b.tx, func(rows *sql.Rows) (r row, err error) {
		var path []byte
		err = rows.Scan(&r.seq, &r.item, &r.host, &path)
		r.path = string(path)
		return r, err
	}, "SELECT seq, item, host, path FROM archive_items WHERE archive = ? ORDER BY seq", id)
	if err != nil {
		return err
	}
	if err := deleteNames(ctx, b.tx, id); err != nil {
		return err
	}
	for _, statement := range []string{
		"DELETE FROM members WHERE archive = ?", "DELETE FROM archive_items WHERE archive = ?", "DELETE FROM archive_crcs WHERE archive = ?",
	} {
		if _, err := exec(ctx, b.tx, statement, id); err != nil {
			return err
		}
	}
	if _, err := exec(ctx, b.tx, "UPDATE archives SET tape_file = ?, record = ?, records = ?, flushed = ? WHERE id = ?",
		a.TapeFile, a.Record, a.Records, b.when(s), id); err != nil {
		return err
	}
	if err := b.fillArchive(ctx, id, a); err != nil {
		return err
	}
	for _, r := range rows {
		if !r.item.Valid {
			continue
		}
		seq := slices.IndexFunc(a.Items, func(it catalog.Item) bool { return it.Host == r.host && it.Path == r.path })
		if seq < 0 || seq != r.seq && b.s.WrittenBy == "" {
			return fmt.Errorf("its catalog does not have %s where the archive has it", spell(r.host, r.path))
		}
		it := &a.Items[seq]
		if reasonOf(*it) != "" {
			if _, err := exec(ctx, b.tx, "DELETE FROM copies WHERE item = ? AND archive = ?", r.item.Int64, id); err != nil {
				return err
			}
			if _, err := exec(ctx, b.tx, "UPDATE items SET error = ?, unsettled = 1 WHERE id = ?", reasonOf(*it), r.item.Int64); err != nil {
				return err
			}
		}
		if _, err := exec(ctx, b.tx, "UPDATE archive_items SET item = ? WHERE archive = ? AND seq = ?", r.item.Int64, id, seq); err != nil {
			return err
		}
		if err := b.look(ctx, r.item.Int64, it); err != nil {
			return err
		}
	}
	return nil
}

// firstRecord is where an item begins on tape; 0 if nothing of it does.
func firstRecord(it *catalog.Item) int64 {
	for i := range it.Entries {
		if it.Entries[i].Type.OnTape() {
			return it.Entries[i].Record
		}
	}
	return 0
}
