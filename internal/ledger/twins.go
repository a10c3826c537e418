package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// NewTwin is what begins the making of a new twin.
type NewTwin struct {
	Source string // barcode of the tape that is copied
	Target string // barcode of a blank tape, or of one on which the same was begun before
	UUID   string // for the target's volume label
	Why    string // the target is in its state
	// Forced says that what only the tape holds that is to be replaced is let go of.
	Forced bool
}

// BeginTwin records that a new twin of a tape is being made on a blank one. It comes before anything is written there. Nothing on
// the target counts until AdoptTwin. It returns the target. The error wraps ErrClaimed if a job holds one of the pair's
// tapes, ErrNotBlank if the target is not free, ErrLastCopy if the tape that is to be replaced holds copies that the source does
// not hold and nobody else has.
func (l *Ledger) BeginTwin(ctx context.Context, n NewTwin) (target Tape, err error) {
	err = l.update(ctx, fmt.Sprintf("begin a twin of tape %s on %s", n.Source, n.Target), func(tx *sql.Tx) error {
		source, other, err := pairOf(ctx, tx, n.Source)
		if err != nil {
			return err
		}
		if target, err = tape(ctx, tx, n.Target); err != nil {
			return err
		}
		for _, t := range []Tape{source, other, target} {
			if t.Job != 0 {
				return fmt.Errorf("tape %s is %w (job %d)", t.Barcode, ErrClaimed, t.Job)
			}
		}
		if target.State != TapeBlank && target.State != TapeCopying {
			return fmt.Errorf("tape %s is %w: it is %s", n.Target, ErrNotBlank, target.State)
		}
		if err := l.unfinished(ctx, tx, source.Pair); err != nil {
			return err
		}
		if !n.Forced {
			if err := mayReplace(ctx, tx, other, source, ""); err != nil {
				return err
			}
		}
		// A label that was begun here before may be overwritten, as one from before the tape was recycled.
		recycled := target.Recycled
		if target.UUID != "" {
			recycled = target.UUID
		}
		if _, err := exec(ctx, tx, "UPDATE tapes SET uuid = ?, twin = ?, state = ?, why = ?, written = ?, recycled = ? WHERE id = ?",
			n.UUID, n.Source, TapeCopying, text(n.Why), time.Now().Truncate(time.Second).UnixNano(), recycled, target.ID); err != nil {
			return err
		}
		target, err = tape(ctx, tx, n.Target)
		return err
	})
	return target, err
}

// pairOf returns a tape that belongs to a pair, and its twin; that is zero if it has none.
func pairOf(ctx context.Context, q querier, barcode string) (t, twin Tape, err error) {
	if t, err = tape(ctx, q, barcode); err != nil {
		return t, twin, err
	}
	if t.Pair == "" {
		return t, twin, fmt.Errorf("tape %s belongs to no pair: it is %s", barcode, t.State)
	}
	twins, err := collect(ctx, q, scanTape, tapeQuery+" WHERE t.id <> ? AND t.pair = (SELECT n.pair FROM tapes n WHERE n.id = ?)", t.ID, t.ID)
	if len(twins) > 0 {
		twin = twins[0]
	}
	return t, twin, err
}

// Twin returns the other tape of a tape's pair, zero if it has none.
func (l *Ledger) Twin(ctx context.Context, barcode string) (Tape, error) {
	_, twin, err := pairOf(ctx, l.read, barcode)
	return twin, l.failed("look the twin of tape "+barcode+" up", err)
}

// unfinished refuses a pair with a session that a job is to go on with.
func (l *Ledger) unfinished(ctx context.Context, q querier, pair string) error {
	jobs, err := collect(ctx, q, scanJob, l.jobQuery()+" WHERE p.uuid = ? AND (j.ended = 0 OR j.step = ?) ORDER BY j.id", pair, Stopped)
	if err == nil && len(jobs) > 0 {
		err = fmt.Errorf("job %d on this pair is not finished: `twintape resume %[1]d` or `twintape abort %[1]d` first", jobs[0].ID)
	}
	return err
}

// FailTwin records that what was written to a new twin is no good.
func (l *Ledger) FailTwin(ctx context.Context, barcode, why string) error {
	return l.update(ctx, "give the new twin on tape "+barcode+" up", func(tx *sql.Tx) error {
		n, err := exec(ctx, tx, "UPDATE tapes SET state = ?, why = ? WHERE barcode = ? AND state = ?", TapeSuspect, text(why), barcode, TapeCopying)
		if err == nil && n == 0 {
			err = errors.New("no twin is being made on it")
		}
		return err
	})
}

// MadeTwin is a new twin that was read back in full with a good result.
type MadeTwin struct {
	Source       string          // barcode
	Ends         map[int64]int64 // by session: block up to which the target holds it
	Flushed      time.Time
	Verification Verification // of the target
	Override     string       // who lets go of what only the tape that it replaces holds; empty if nobody does
}

// AdoptTwin puts a new twin into its pair, in the place of the one before, which is taken out and returned, zero if there was
// none. The target's copies count as far as the verification lists them. The error wraps ErrLastCopy if the
// tape that it replaces holds copies that neither it nor another tape has.
func (l *Ledger) AdoptTwin(ctx context.Context, m MadeTwin) (replaced Tape, err error) {
	barcode := m.Verification.Barcode
	err = l.update(ctx, fmt.Sprintf("make tape %s the twin of %s", barcode, m.Source), func(tx *sql.Tx) error {
		source, other, err := pairOf(ctx, tx, m.Source)
		if err != nil {
			return err
		}
		target, err := tape(ctx, tx, barcode)
		if err != nil {
			return err
		}
		if target.State != TapeCopying || !m.Verification.Good {
			return fmt.Errorf("it is %s, and its verification good is %v", target.State, m.Verification.Good)
		}
		if replaced = other; other.ID != 0 {
			if err := mayReplace(ctx, tx, other, source, m.Override); err != nil {
				return err
			}
			if err := takeOut(ctx, tx, other, fmt.Sprintf("%s is the twin of %s in its place", barcode, m.Source)); err != nil {
				return err
			}
		}
		pairs, err := collect(ctx, tx, scanID, "SELECT pair FROM tapes WHERE id = ?", source.ID)
		if err != nil {
			return err
		}
		if _, err := exec(ctx, tx, "UPDATE tapes SET pair = ?, side = ?, state = ?, why = '' WHERE id = ?",
			pairs[0], 3-source.Side, TapeWritten, target.ID); err != nil {
			return err
		}
		for session, end := range m.Ends {
			flush, err := insert(ctx, tx, "INSERT INTO flushes (session, tape, tape_position, flushed) VALUES (?, ?, ?, ?)", session, target.ID, end, nanos(m.Flushed))
			if err != nil {
				return err
			}
			if _, err := exec(ctx, tx, `INSERT INTO copies (item, tape, archive, flush, verification, read_bytes, read_full, bad)
				SELECT ai.item, ?, a.id, ?, NULL, 0, 0, '' FROM archives a JOIN archive_items ai ON ai.archive = a.id
				WHERE a.session = ? AND a.flushed <> 0 AND a.record + a.records < ? AND ai.item IS NOT NULL AND ai.bad = ''`,
				target.ID, flush, session, end); err != nil {
				return err
			}
		}
		if _, err := l.recordVerification(ctx, tx, m.Verification); err != nil {
			return err
		}
		// Some waited because they were damaged on both tapes before.
		failed, err := collect(ctx, tx, scanID, "SELECT i.id FROM copies c JOIN items i ON i.id = c.item WHERE c.tape = ? AND i.error <> ''", target.ID)
		if err != nil {
			return err
		}
		if err := execEach(ctx, tx, "UPDATE items SET error = '' WHERE id", failed); err != nil {
			return err
		}
		return dropOrphans(ctx, tx, Tape{Barcode: other.Barcode, Pair: source.Pair})
	})
	return replaced, err
}

// mayReplace refuses to take a tape out of its pair that holds the only copies of items which the source does not hold.
func mayReplace(ctx context.Context, tx *sql.Tx, other, source Tape, override string) error {
	var n int64
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM copies c JOIN archives a ON a.id = c.archive WHERE c.tape = ? AND c.damaged = 0
		AND a.record + a.records >= (SELECT COALESCE(MAX(f.tape_position), 0) FROM flushes f WHERE f.session = a.session AND f.tape = ?)
		AND NOT EXISTS (SELECT 1 FROM copies o WHERE o.item = c.item AND o.tape <> c.tape AND o.damaged = 0)`, other.ID, source.ID).Scan(&n)
	if err != nil {
		return err
	}
	return letGo(ctx, tx, other, n, "replaced by a twin of "+source.Barcode, override)
}
