package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// ErrLastCopy says that items would lose a copy that they cannot do without.
var ErrLastCopy = errors.New("holds copies that cannot be done without")

// Override is something that an owner did to a tape although the ledger advised against it.
type Override struct {
	At   time.Time
	Who  string
	What string
}

// Overrides returns what was done to a tape against advice, the oldest first.
func (l *Ledger) Overrides(ctx context.Context, barcode string) ([]Override, error) {
	all, err := collect(ctx, l.read, func(rows *sql.Rows) (o Override, err error) {
		err = rows.Scan(instant{&o.At}, &o.Who, &o.What)
		return o, err
	}, "SELECT o.happened, o.who, o.what FROM overrides o JOIN tapes t ON t.id = o.tape WHERE t.barcode = ? ORDER BY o.id", barcode)
	return all, l.failed("list what was done to tape "+barcode, err)
}

// needed is the condition that a copy c is its item's only one, or one of the two verified ones.
const needed = `c.damaged = 0 AND (SELECT COUNT(*) FROM copies o WHERE o.item = c.item AND o.tape <> c.tape AND o.verification IS NOT NULL AND o.bad = '')
	< CASE WHEN ` + good + ` THEN 2 ELSE 1 END`

// letGo refuses what costs n copies that cannot be done without, unless somebody overrides it, which is kept.
func letGo(ctx context.Context, tx *sql.Tx, t Tape, n int64, what, who string) error {
	if n == 0 {
		return nil
	}
	if who == "" {
		return fmt.Errorf("tape %s %w: %d items would have no other copy, or fewer than two verified ones (`twintape copies` lists "+
			"those that have fewer already)", t.Barcode, ErrLastCopy, n)
	}
	_, err := exec(ctx, tx, "INSERT INTO overrides (tape, happened, who, what) VALUES (?, ?, ?, ?)",
		t.ID, time.Now().UnixNano(), text(who), fmt.Sprintf("%s, although %d items needed their copies on it", what, n))
	return err
}

func countNeeded(ctx context.Context, q querier, tape int64) (n int64, err error) {
	err = q.QueryRowContext(ctx, "SELECT COUNT(*) FROM copies c WHERE c.tape = ? AND "+needed, tape).Scan(&n)
	return n, err
}

// Retire takes a tape out of use: it is never chosen again, and no copy on it counts, until a verification of it in full is good.
// The error wraps ErrLastCopy if it holds an item's only copy, or one of two verified ones, and nobody overrides that.
func (l *Ledger) Retire(ctx context.Context, barcode, why, override string) error {
	return l.update(ctx, "retire tape "+barcode, func(tx *sql.Tx) error {
		t, err := l.freeTape(ctx, tx, barcode)
		if err != nil {
			return err
		}
		n, err := countNeeded(ctx, tx, t.ID)
		if err == nil {
			err = letGo(ctx, tx, t, n, "retired", override)
		}
		if err != nil {
			return err
		}
		if err := unsettle(ctx, tx, t.ID); err != nil {
			return err
		}
		if _, err := exec(ctx, tx, "UPDATE copies SET verification = NULL, read_bytes = 0, read_full = 0, bad = ? WHERE tape = ? AND bad = ''",
			text("the tape was retired: "+why), t.ID); err != nil {
			return err
		}
		_, err = exec(ctx, tx, "UPDATE tapes SET state = ?, why = ? WHERE id = ?", TapeRetired, text(why), t.ID)
		return err
	})
}

// Recycle gives up what a tape holds: it leaves its pair, its copies and its label are forgotten, and it is blank again. Items
// whose last copies these were are forgotten, and counted. The error wraps ErrLastCopy if it holds an item's only copy, or one
// of two verified ones, and nobody overrides that.
func (l *Ledger) Recycle(ctx context.Context, barcode, override string) (forgotten int, err error) {
	err = l.update(ctx, "recycle tape "+barcode, func(tx *sql.Tx) error {
		t, err := l.freeTape(ctx, tx, barcode)
		if err != nil {
			return err
		}
		if t.UUID == "" {
			return fmt.Errorf("tape %s was never written: it is %s", barcode, t.State)
		}
		n, err := countNeeded(ctx, tx, t.ID)
		if err == nil {
			err = letGo(ctx, tx, t, n, "recycled", override)
		}
		if err != nil {
			return err
		}
		last, err := collect(ctx, tx, scanID, `SELECT c.item FROM copies c WHERE c.tape = ? AND c.damaged = 0
			AND NOT EXISTS (SELECT 1 FROM copies o WHERE o.item = c.item AND o.tape <> c.tape)`, t.ID)
		if err != nil {
			return err
		}
		forgotten = len(last)
		if err := forgetCopies(ctx, tx, t.ID); err != nil {
			return err
		}
		if err := forgetRows(ctx, tx, last); err != nil {
			return err
		}
		if err := deleteItems(ctx, tx, last); err != nil {
			return err
		}
		if err := dropOrphans(ctx, tx, t); err != nil {
			return err
		}
		if _, err := exec(ctx, tx, "UPDATE faults SET tape_forgiven = 1 WHERE tape = ?", t.ID); err != nil {
			return err
		}
		_, err = exec(ctx, tx, "UPDATE tapes SET uuid = '', pair = NULL, side = 0, twin = '', state = ?, why = '', written = 0, recycled = ? WHERE id = ?",
			TapeBlank, t.UUID, t.ID)
		return err
	})
	return forgotten, err
}

// freeTape returns a tape that no job has to do with.
func (l *Ledger) freeTape(ctx context.Context, tx *sql.Tx, barcode string) (Tape, error) {
	t, err := tape(ctx, tx, barcode)
	if err != nil {
		return t, err
	}
	if t.Job != 0 {
		return t, fmt.Errorf("tape %s is %w (job %d)", barcode, ErrClaimed, t.Job)
	}
	return t, l.unfinished(ctx, tx, t.Pair)
}

// dropOrphans lets the archives of a tape's pair have no items whose last copies were on it; those wait again.
func dropOrphans(ctx context.Context, tx *sql.Tx, t Tape) error {
	const inPair = "archives a JOIN sessions s ON s.id = a.session JOIN pairs p ON p.id = s.pair"
	items, err := collect(ctx, tx, scanID, "SELECT ai.item FROM "+inPair+` JOIN archive_items ai ON ai.archive = a.id
		WHERE p.uuid = ? AND ai.bad = '' AND ai.item IS NOT NULL AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.item = ai.item)`, t.Pair)
	if err != nil {
		return err
	}
	if err := execEach(ctx, tx, "UPDATE items SET error = ? WHERE error = '' AND id", items, "its last copy was on tape "+t.Barcode); err != nil {
		return err
	}
	archives, err := collect(ctx, tx, scanID, "SELECT a.id FROM "+inPair+" WHERE p.uuid = ?", t.Pair)
	if err != nil {
		return err
	}
	return execEach(ctx, tx, `UPDATE archive_items SET item = NULL WHERE bad = '' AND NOT EXISTS (
		SELECT 1 FROM copies c WHERE c.item = archive_items.item AND c.archive = archive_items.archive) AND archive`, archives)
}
