package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// RecordVerification records what reading a tape back found. A good one counts for the copies it lists. One that is not
// good takes all copies on the tape out of the count, whatever was found of them before, and makes the tape suspect; only a
// good verification in full brings them back, each copy that it lists as fully read, and the tape with them. Items all of
// whose copies are damaged wait again with the reason; they are returned. Copies that were given up are passed over.
func (l *Ledger) RecordVerification(ctx context.Context, v Verification) (requeued []Item, err error) {
	err = l.update(ctx, "record a verification of tape "+v.Barcode, func(tx *sql.Tx) error {
		requeued, err = l.recordVerification(ctx, tx, v)
		return err
	})
	return requeued, err
}

func (l *Ledger) recordVerification(ctx context.Context, tx *sql.Tx, v Verification) (requeued []Item, err error) {
	t, err := tape(ctx, tx, v.Barcode)
	if err != nil {
		return nil, err
	}
	var job any
	if v.Job != 0 {
		job = v.Job
	}
	id, err := insert(ctx, tx, `INSERT INTO verifications
		(tape, job, began, ended, drive, seed, sample, good, reason, bytes_total, bytes_read, retried)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		t.ID, job, nanos(v.Began), nanos(v.Ended), text(v.Drive), int64(v.Seed), v.Sample, v.Good, text(v.Reason), v.BytesTotal, v.BytesRead, v.Retried)
	if err != nil {
		return nil, err
	}
	if v.Good {
		if v.Sample >= 1 && t.State == TapeSuspect && t.Pair != "" {
			if err := forgiveTape(ctx, tx, t); err != nil {
				return nil, err
			}
		}
		return nil, countCopies(ctx, tx, t.ID, id, v)
	}
	if err := discountCopies(ctx, tx, t.ID, v); err != nil {
		return nil, err
	}
	if t.State != TapeRetired {
		if _, err := exec(ctx, tx, "UPDATE tapes SET state = ?, why = ? WHERE id = ?", TapeSuspect, text("its verification failed: "+v.Reason), t.ID); err != nil {
			return nil, err
		}
	}
	return l.requeueDamaged(ctx, tx, t.ID)
}

// requeueDamaged says why the items of a tape wait again of whose copies none is undamaged.
func (l *Ledger) requeueDamaged(ctx context.Context, tx *sql.Tx, tape int64) (items []Item, err error) {
	for it, err := range l.selectItems(ctx, tx, `i.id IN (SELECT c.item FROM copies c WHERE c.tape = ? AND c.damaged = 1)
			AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.item = i.id AND c.damaged = 0)`, tape) {
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	for i := range items {
		it := &items[i]
		it.Error = "no copy of it is good:"
		for _, c := range it.Copies {
			it.Error += fmt.Sprintf(" on %s %s;", c.Barcode, c.Bad)
		}
		it.Error = text(it.Error[:len(it.Error)-1])
		if _, err := exec(ctx, tx, "UPDATE items SET error = ? WHERE id = ?", it.Error, it.ID); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// countCopies lets a good verification count for the copies it lists.
func countCopies(ctx context.Context, tx *sql.Tx, tape, id int64, v Verification) error {
	if v.Ended.IsZero() {
		return errors.New("a good verification has an end")
	}
	// What an earlier verification read in full stays read in full: a sample that is good takes nothing away from it.
	sampled, err := tx.PrepareContext(ctx, `UPDATE copies SET verification = ?,
		read_bytes = CASE WHEN read_bytes > ? THEN read_bytes ELSE ? END, read_full = CASE WHEN read_full > ? THEN read_full ELSE ? END
		WHERE item = ? AND tape = ? AND bad = ''`)
	if err != nil {
		return err
	}
	healed, err := tx.PrepareContext(ctx, `UPDATE copies SET verification = ?, read_bytes = ?, read_full = 1, bad = '', damaged = 0
		WHERE item = ? AND tape = ?`)
	if err != nil {
		return err
	}
	settled, err := tx.PrepareContext(ctx, "UPDATE items SET unsettled = 0 WHERE id = ? AND (SELECT COUNT(*) FROM copies c WHERE c.item = items.id AND "+good+") >= 2")
	if err != nil {
		return err
	}
	for _, c := range v.Copies {
		if c.Bad != "" {
			return fmt.Errorf("the verification is good, but the copy of item %d is bad: %s", c.Item, c.Bad)
		}
		if c.Full && v.Sample >= 1 {
			_, err = healed.ExecContext(ctx, id, c.Read, c.Item, tape)
		} else {
			full := 0
			if c.Full {
				full = 1
			}
			_, err = sampled.ExecContext(ctx, id, c.Read, c.Read, full, full, c.Item, tape)
		}
		if err == nil {
			_, err = settled.ExecContext(ctx, c.Item)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unsettle marks the items with a copy on a tape, because a copy there is taken out of the count.
func unsettle(ctx context.Context, tx *sql.Tx, tape int64) error {
	settled, err := collect(ctx, tx, scanID, "SELECT i.id FROM copies c JOIN items i ON i.id = c.item WHERE c.tape = ? AND i.unsettled = 0", tape)
	if err != nil {
		return err
	}
	return execEach(ctx, tx, "UPDATE items SET unsettled = 1 WHERE id", settled)
}

// discountCopies takes all copies on a tape out of the count.
func discountCopies(ctx context.Context, tx *sql.Tx, tape int64, v Verification) error {
	reason := v.Reason
	if reason == "" {
		return errors.New("a verification that is not good needs a reason")
	}
	if err := unsettle(ctx, tx, tape); err != nil {
		return err
	}
	bad := fmt.Sprintf("tape %s failed its verification: %s", v.Barcode, reason)
	if _, err := exec(ctx, tx, "UPDATE copies SET verification = NULL, read_bytes = 0, read_full = 0, bad = ? WHERE tape = ?",
		text(bad), tape); err != nil {
		return err
	}
	for _, c := range v.Copies {
		if c.Bad == "" {
			continue
		}
		if _, err := exec(ctx, tx, "UPDATE copies SET bad = ?, damaged = 1 WHERE item = ? AND tape = ?", text(c.Bad), c.Item, tape); err != nil {
			return err
		}
	}
	return nil
}

// Verifications returns the history of a tape, the oldest first. What each found of single copies is not kept; Item.Copies
// tells what counts now.
func (l *Ledger) Verifications(ctx context.Context, barcode string) ([]Verification, error) {
	all, err := collect(ctx, l.read, func(rows *sql.Rows) (v Verification, err error) {
		var seed int64
		err = rows.Scan(&v.Job, instant{&v.Began}, instant{&v.Ended}, &v.Drive, &seed, &v.Sample, &v.Good, &v.Reason,
			&v.BytesTotal, &v.BytesRead, &v.Retried)
		v.Barcode, v.Seed = barcode, uint64(seed)
		return v, err
	}, `SELECT COALESCE(v.job, 0), v.began, v.ended, v.drive, v.seed, v.sample, v.good, v.reason, v.bytes_total, v.bytes_read, v.retried
		FROM verifications v JOIN tapes t ON t.id = v.tape WHERE t.barcode = ? ORDER BY v.id`, barcode)
	return all, l.failed("list the verifications of tape "+barcode, err)
}

// DueTapes returns the barcodes of the tapes in use that hold something to verify and that no job holds, those that were
// verified longest ago first, and before them those that never were.
func (l *Ledger) DueTapes(ctx context.Context) ([]string, error) {
	due, err := collect(ctx, l.read, scanText, `SELECT t.barcode FROM tapes t WHERE t.state = ?
		AND EXISTS (SELECT 1 FROM sessions s JOIN flushes f ON f.session = s.id AND f.tape = t.id
			WHERE s.closed <> 0 AND f.tape_position > s.catalog_record + s.catalog_records)
		AND NOT EXISTS (SELECT 1 FROM claims cl WHERE cl.kind = 'tape' AND cl.target = t.id)
		ORDER BY (SELECT COALESCE(MAX(v.ended), 0) FROM verifications v WHERE v.tape = t.id), t.barcode`, TapeWritten)
	return due, l.failed("look for tapes to verify", err)
}
