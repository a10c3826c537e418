package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// StartSession is what begins a pair and its first session.
type StartSession struct {
	PairUUID    string
	SessionUUID string
	TapeUUIDs   [2]string // for the volume labels, by side
	RecordSize  int       // bytes
	Number      int       // of the session on the pair, from 1
	Record      int64     // logical block number of the session's first record
}

// ClaimPair gives two blank tapes to a live job, by side. The error wraps ErrClaimed and names the holder if another job
// has one of them, ErrNotBlank if one is not blank; then neither is claimed.
func (l *Ledger) ClaimPair(ctx context.Context, job int64, barcodes [2]string) error {
	return l.update(ctx, fmt.Sprintf("claim tapes %s and %s for job %d", barcodes[0], barcodes[1], job), func(tx *sql.Tx) error {
		if err := checkLive(ctx, tx, job); err != nil {
			return err
		}
		if barcodes[0] == barcodes[1] {
			return errors.New("a pair needs two tapes")
		}
		var ids [2]int64
		for side, barcode := range barcodes {
			t, err := tape(ctx, tx, barcode)
			if err != nil {
				return err
			}
			if t.Job != 0 {
				return fmt.Errorf("tape %s is %w (job %d)", barcode, ErrClaimed, t.Job)
			}
			if t.State != TapeBlank {
				return fmt.Errorf("tape %s is %w: it is %s", barcode, ErrNotBlank, t.State)
			}
			if _, err := exec(ctx, tx, "INSERT INTO claims (kind, target, job) VALUES ('tape', ?, ?)", t.ID, job); err != nil {
				return err
			}
			ids[side] = t.ID
		}
		n, err := exec(ctx, tx, "UPDATE jobs SET tape1 = ?, tape2 = ? WHERE id = ? AND tape1 IS NULL", ids[0], ids[1], job)
		if err == nil && n == 0 {
			err = errors.New("the job has a pair already")
		}
		return err
	})
}

// StartSession records that the tapes which the job has claimed are a pair now, written by us, and begins the job's
// session on it. It comes before anything is written to the tapes.
func (l *Ledger) StartSession(ctx context.Context, job int64, s StartSession) (out Session, err error) {
	err = l.update(ctx, fmt.Sprintf("start session %s of job %d", s.SessionUUID, job), func(tx *sql.Tx) error {
		if err := checkLive(ctx, tx, job); err != nil {
			return err
		}
		now := time.Now().UnixNano()
		pair, err := insert(ctx, tx, "INSERT INTO pairs (uuid, record_size, created) VALUES (?, ?, ?)", s.PairUUID, s.RecordSize, now)
		if err != nil {
			return err
		}
		for side, column := range []string{"tape1", "tape2"} {
			n, err := exec(ctx, tx, `UPDATE tapes SET uuid = ?, pair = ?, side = ?, state = ?, why = '', written = ?
				WHERE state = ? AND id = (SELECT `+column+` FROM jobs WHERE id = ?)`, // a live job holds them still
				s.TapeUUIDs[side], pair, side+1, TapeWritten, now, TapeBlank, job)
			if err != nil {
				return err
			}
			if n == 0 {
				return fmt.Errorf("the job holds no blank tape for side %d", side+1)
			}
		}
		if _, err := insert(ctx, tx, `INSERT INTO sessions
			(uuid, pair, job, number, record, closed, catalog_file, catalog_record, catalog_records, catalog_md5)
			VALUES (?, ?, ?, ?, ?, 0, 0, 0, 0, ?)`, s.SessionUUID, pair, job, s.Number, s.Record, []byte{}); err != nil {
			return err
		}
		out, err = one(ctx, tx, "s.uuid = ?", s.SessionUUID)
		return err
	})
	return out, err
}

const sessionQuery = `
SELECT s.id, s.uuid, p.uuid, s.job, s.number, s.record, s.closed, s.catalog_file, s.catalog_record, s.catalog_records, s.catalog_md5
FROM sessions s JOIN pairs p ON p.id = s.pair WHERE `

func scanSession(rows *sql.Rows) (s Session, err error) {
	err = rows.Scan(&s.ID, &s.UUID, &s.Pair, &s.Job, &s.Number, &s.Record, instant{&s.Closed},
		&s.Catalog.TapeFile, &s.Catalog.Record, &s.Catalog.Records, sum{&s.Catalog.MD5})
	return s, err
}

func one(ctx context.Context, q querier, where string, arg any) (Session, error) {
	sessions, err := collect(ctx, q, scanSession, sessionQuery+where, arg)
	if err != nil {
		return Session{}, err
	}
	if len(sessions) == 0 {
		return Session{}, fmt.Errorf("the session is %w", ErrNotFound)
	}
	return sessions[0], nil
}

// Session returns the session with a UUID, or an error that wraps ErrNotFound.
func (l *Ledger) Session(ctx context.Context, uuid string) (Session, error) {
	s, err := one(ctx, l.db, "s.uuid = ?", uuid)
	return s, l.failed("look session "+uuid+" up", err)
}

// Sessions returns the sessions of a pair, in the order of their numbers.
func (l *Ledger) Sessions(ctx context.Context, pair string) ([]Session, error) {
	sessions, err := collect(ctx, l.db, scanSession, sessionQuery+"p.uuid = ? ORDER BY s.number", pair)
	return sessions, l.failed("list the sessions of pair "+pair, err)
}

// CloseSession records the good flush that closed a session on both tapes, where its catalog lies and when that was made.
// No archive of it may be planned and not flushed.
func (l *Ledger) CloseSession(ctx context.Context, session int64, place CatalogPlace, positions [2]int64, closed time.Time) error {
	return l.update(ctx, fmt.Sprintf("close session %d", session), func(tx *sql.Tx) error {
		if closed.IsZero() {
			return errors.New("the time of its closing is missing")
		}
		s, err := one(ctx, tx, "s.id = ?", session)
		if err != nil {
			return err
		}
		if !s.Closed.IsZero() {
			return errors.New("it is closed already")
		}
		if err := checkLive(ctx, tx, s.Job); err != nil {
			return err
		}
		planned, err := collect(ctx, tx, scanID, "SELECT number FROM archives WHERE session = ? AND flushed = 0 ORDER BY number", session)
		if err != nil {
			return err
		}
		if len(planned) > 0 {
			return fmt.Errorf("archive %d is planned and not flushed", planned[0])
		}
		if _, err := recordPositions(ctx, tx, session, positions); err != nil {
			return err
		}
		_, err = exec(ctx, tx, `UPDATE sessions SET closed = ?, catalog_file = ?, catalog_record = ?, catalog_records = ?, catalog_md5 = ?
			WHERE id = ?`, nanos(closed), place.TapeFile, place.Record, place.Records, place.MD5[:], session)
		return err
	})
}
