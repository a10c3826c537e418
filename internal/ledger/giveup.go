package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// GiveUp takes the last flushed archive of a live job's session back, because the room behind it is needed: its copies are
// gone, its items wait again, and its tapes end before it.
func (l *Ledger) GiveUp(ctx context.Context, archive int64) error {
	return l.update(ctx, fmt.Sprintf("give up archive %d", archive), func(tx *sql.Tx) error {
		var session, job, record, later int64
		err := tx.QueryRowContext(ctx, `SELECT s.id, s.job, a.record,
				(SELECT COUNT(*) FROM archives n WHERE n.session = a.session AND n.number > a.number)
			FROM archives a JOIN sessions s ON s.id = a.session WHERE a.id = ? AND a.flushed <> 0 AND s.closed = 0`, archive).
			Scan(&session, &job, &record, &later)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return errors.New("it is no flushed archive of an open session")
		case err != nil:
			return err
		case later > 0:
			return errors.New("others lie behind it")
		}
		if err := l.checkLive(ctx, tx, job); err != nil {
			return err
		}
		if err := deleteNames(ctx, tx, archive); err != nil {
			return err
		}
		for _, statement := range []string{
			"DELETE FROM copies WHERE archive = ?",
			"DELETE FROM archive_crcs WHERE archive = ?",
			"DELETE FROM members WHERE archive = ?",
			"DELETE FROM archive_items WHERE archive = ?",
			"DELETE FROM archives WHERE id = ?",
		} {
			if _, err := exec(ctx, tx, statement, archive); err != nil {
				return err
			}
		}
		_, err = exec(ctx, tx, "UPDATE flushes SET tape_position = ? WHERE session = ? AND tape_position > ?", record, session, record)
		return err
	})
}
