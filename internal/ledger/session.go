package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// StartSession is what begins a session, and a pair if it is the first.
type StartSession struct {
	PairUUID    string // of the claimed tapes' pair, or a new one
	SessionUUID string
	TapeUUIDs   [2]string // for the volume labels of a new pair, by side
	RecordSize  int       // bytes
	Number      int       // of the session on the pair, from 1
	Record      int64     // logical block number of the session's first record
}

// ClaimPair gives two tapes to a live job, by side: blank ones, or those of one pair that is open (OpenPairs). The error
// wraps ErrClaimed and names the holder if another job has one of them, ErrNotBlank or ErrNotOpen if they cannot be written
// on; then neither is claimed.
func (l *Ledger) ClaimPair(ctx context.Context, job int64, barcodes [2]string) error {
	return l.update(ctx, fmt.Sprintf("claim tapes %s and %s for job %d", barcodes[0], barcodes[1], job), func(tx *sql.Tx) error {
		if err := l.checkLive(ctx, tx, job); err != nil {
			return err
		}
		if barcodes[0] == barcodes[1] {
			return errors.New("a pair needs two tapes")
		}
		var pair [2]Tape
		for side, barcode := range barcodes {
			t, err := tape(ctx, tx, barcode)
			if err != nil {
				return err
			}
			if t.Job != 0 {
				return fmt.Errorf("tape %s is %w (job %d)", barcode, ErrClaimed, t.Job)
			}
			if _, err := exec(ctx, tx, "INSERT INTO claims (kind, target, job) VALUES ('tape', ?, ?)", t.ID, job); err != nil {
				return err
			}
			pair[side] = t
		}
		if err := mayBeWritten(ctx, tx, pair); err != nil {
			return err
		}
		n, err := exec(ctx, tx, "UPDATE jobs SET tape1 = ?, tape2 = ? WHERE id = ? AND tape1 IS NULL", pair[0].ID, pair[1].ID, job)
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
		if err := l.checkLive(ctx, tx, job); err != nil {
			return err
		}
		now := time.Now().UnixNano()
		pair, last, err := claimedPair(ctx, tx, job, s.PairUUID)
		if err != nil {
			return err
		}
		if s.Number != last+1 {
			return fmt.Errorf("its number is %d, but the last one on the pair is %d", s.Number, last)
		}
		if pair != 0 {
			return addSession(ctx, tx, pair, job, s, &out)
		}
		pair, err = insert(ctx, tx, "INSERT INTO pairs (uuid, record_size, created) VALUES (?, ?, ?)", s.PairUUID, s.RecordSize, now)
		if err != nil {
			return err
		}
		j, err := l.job(ctx, tx, job)
		if err != nil {
			return err
		}
		for side, barcode := range j.Tapes {
			n, err := exec(ctx, tx, `UPDATE tapes SET uuid = ?, pair = ?, side = ?, state = ?, why = '', written = ?, twin = ?
				WHERE state = ? AND barcode = ?`, // a live job holds them still
				s.TapeUUIDs[side], pair, side+1, TapeWritten, now, j.Tapes[1-side], TapeBlank, barcode)
			if err != nil {
				return err
			}
			if n == 0 {
				return fmt.Errorf("the job holds no blank tape for side %d", side+1)
			}
		}
		return addSession(ctx, tx, pair, job, s, &out)
	})
	return out, err
}

func addSession(ctx context.Context, tx *sql.Tx, pair, job int64, s StartSession, out *Session) error {
	_, err := insert(ctx, tx, `INSERT INTO sessions
		(uuid, pair, job, number, record, closed, catalog_file, catalog_record, catalog_records, catalog_md5)
		VALUES (?, ?, ?, ?, ?, 0, 0, 0, 0, ?)`, s.SessionUUID, pair, job, s.Number, s.Record, []byte{})
	if err == nil {
		*out, err = one(ctx, tx, "s.uuid = ?", s.SessionUUID)
	}
	return err
}

// claimedPair is the pair of the tapes that a job has claimed, and the number of its last session; 0 and 0 if they are
// blank. It must be the one with the UUID.
func claimedPair(ctx context.Context, tx *sql.Tx, job int64, uuid string) (pair int64, last int, err error) {
	var known sql.NullInt64
	err = tx.QueryRowContext(ctx, `SELECT t.pair, (SELECT COALESCE(MAX(s.number), 0) FROM sessions s WHERE s.pair = t.pair)
		FROM jobs j JOIN tapes t ON t.id = j.tape1 WHERE j.id = ?`, job).Scan(&known, &last)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, 0, errors.New("the job has claimed no tapes")
	}
	if err != nil || !known.Valid {
		return 0, 0, err
	}
	var same bool
	err = tx.QueryRowContext(ctx, "SELECT uuid = ? FROM pairs WHERE id = ?", uuid, known.Int64).Scan(&same)
	if err == nil && !same {
		err = fmt.Errorf("the job's tapes belong to another pair than %s", uuid)
	}
	return known.Int64, last, err
}

const sessionQuery = `
SELECT s.id, s.uuid, p.uuid, s.job, s.number, s.record, s.closed, s.catalog_file, s.catalog_record, s.catalog_records, s.catalog_bytes, s.catalog_md5,
  (SELECT COALESCE(MAX(f.tape_position), 0) FROM flushes f JOIN tapes t ON t.id = f.tape WHERE f.session = s.id AND t.side = 1),
  (SELECT COALESCE(MAX(f.tape_position), 0) FROM flushes f JOIN tapes t ON t.id = f.tape WHERE f.session = s.id AND t.side = 2)
FROM sessions s JOIN pairs p ON p.id = s.pair WHERE `

func scanSession(rows *sql.Rows) (s Session, err error) {
	var held [2]int64 // the position up to which each tape was flushed
	err = rows.Scan(&s.ID, &s.UUID, &s.Pair, &s.Job, &s.Number, &s.Record, instant{&s.Closed},
		&s.Catalog.TapeFile, &s.Catalog.Record, &s.Catalog.Records, &s.Catalog.Bytes, sum{&s.Catalog.MD5}, &held[0], &held[1])
	for side, position := range held {
		s.On[side] = !s.Closed.IsZero() && position > s.Catalog.Record+s.Catalog.Records
	}
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
	s, err := one(ctx, l.read, "s.uuid = ?", uuid)
	return s, l.failed("look session "+uuid+" up", err)
}

// Sessions returns the sessions of a pair, in the order of their numbers.
func (l *Ledger) Sessions(ctx context.Context, pair string) ([]Session, error) {
	sessions, err := collect(ctx, l.read, scanSession, sessionQuery+"p.uuid = ? ORDER BY s.number", pair)
	return sessions, l.failed("list the sessions of pair "+pair, err)
}

// CloseSession records the good flush that closed a session, where its catalog lies and when that was made; the position of
// a lost side is 0.
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
		if err := l.checkLive(ctx, tx, s.Job); err != nil {
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
		_, err = exec(ctx, tx, `UPDATE sessions SET closed = ?, catalog_file = ?, catalog_record = ?, catalog_records = ?, catalog_bytes = ?, catalog_md5 = ?
			WHERE id = ?`, nanos(closed), place.TapeFile, place.Record, place.Records, place.Bytes, place.MD5[:], session)
		return err
	})
}
