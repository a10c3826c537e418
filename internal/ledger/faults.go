package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Fault is one failure of a drive with a tape in it.
type Fault struct {
	Job     int64
	Barcode string
	Drive   string // its serial number
	At      time.Time
	What    string
	// Open tells whether it still counts against the drive and the tape.
	OpenTape, OpenDrive bool
}

// Blame is what a failure led to.
type Blame struct {
	TapeSuspect bool // the tape failed in two drives
	DriveHeld   bool // the drive failed with two tapes
}

const (
	drivesOfTape = "SELECT COUNT(DISTINCT drive) FROM faults WHERE tape = ? AND tape_forgiven = 0"
	tapesOfDrive = "SELECT COUNT(DISTINCT tape) FROM faults WHERE drive = ? AND drive_forgiven = 0"
)

// RecordFault counts a failure against the tape and the drive. A tape that failed in two drives is suspect, a drive that
// failed with two tapes is held, until they are forgiven.
func (l *Ledger) RecordFault(ctx context.Context, f Fault) (b Blame, err error) {
	err = l.update(ctx, fmt.Sprintf("record a fault of tape %s in drive %s", f.Barcode, f.Drive), func(tx *sql.Tx) error {
		if f.Drive == "" || f.What == "" {
			return errors.New("a fault has a drive and a reason")
		}
		t, err := tape(ctx, tx, f.Barcode)
		if err != nil {
			return err
		}
		if _, err := insert(ctx, tx, `INSERT INTO faults (job, tape, drive, happened, what, tape_forgiven, drive_forgiven)
			VALUES (?, ?, ?, ?, ?, 0, 0)`, f.Job, t.ID, text(f.Drive), time.Now().UnixNano(), text(f.What)); err != nil {
			return err
		}
		var drives, tapes int
		if err := tx.QueryRowContext(ctx, drivesOfTape, t.ID).Scan(&drives); err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, tapesOfDrive, text(f.Drive)).Scan(&tapes); err != nil {
			return err
		}
		b = Blame{TapeSuspect: drives > 1, DriveHeld: tapes > 1}
		if b.TapeSuspect && t.State != TapeRetired {
			_, err = exec(ctx, tx, "UPDATE tapes SET state = ?, why = ? WHERE id = ?", TapeSuspect, text("it failed in two drives: "+f.What), t.ID)
		}
		return err
	})
	return b, err
}

// Doubt takes all copies on a tape out of the count and makes it suspect, because something may have overwritten them. Only a
// good verification in full brings them back.
func (l *Ledger) Doubt(ctx context.Context, barcode, why string) error {
	return l.update(ctx, "doubt tape "+barcode, func(tx *sql.Tx) error {
		t, err := tape(ctx, tx, barcode)
		if err != nil {
			return err
		}
		if err := unsettle(ctx, tx, t.ID); err != nil {
			return err
		}
		if _, err := exec(ctx, tx, "UPDATE copies SET verification = NULL, read_bytes = 0, read_full = 0, bad = ? WHERE tape = ?", text(why), t.ID); err != nil {
			return err
		}
		_, err = exec(ctx, tx, "UPDATE tapes SET state = ?, why = ? WHERE id = ?", TapeSuspect, text(why), t.ID)
		return err
	})
}

// Faults returns all failures, the newest first.
func (l *Ledger) Faults(ctx context.Context) ([]Fault, error) {
	all, err := collect(ctx, l.read, func(rows *sql.Rows) (f Fault, err error) {
		var tape, drive bool
		err = rows.Scan(&f.Job, &f.Barcode, &f.Drive, instant{&f.At}, &f.What, &tape, &drive)
		f.OpenTape, f.OpenDrive = !tape, !drive
		return f, err
	}, `SELECT f.job, t.barcode, f.drive, f.happened, f.what, f.tape_forgiven, f.drive_forgiven
		FROM faults f JOIN tapes t ON t.id = f.tape ORDER BY f.id DESC`)
	return all, l.failed("list the faults", err)
}

// HeldDrives returns the drives that are held, by their serial numbers, with the reason.
func (l *Ledger) HeldDrives(ctx context.Context) (map[string]string, error) {
	held := make(map[string]string)
	_, err := collect(ctx, l.read, func(rows *sql.Rows) (struct{}, error) {
		var drive, what string
		err := rows.Scan(&drive, &what)
		held[drive] = "it failed with two tapes: " + what
		return struct{}{}, err
	}, `SELECT f.drive, f.what FROM faults f WHERE f.drive_forgiven = 0
		AND (SELECT COUNT(DISTINCT n.tape) FROM faults n WHERE n.drive = f.drive AND n.drive_forgiven = 0) > 1 ORDER BY f.id`)
	return held, l.failed("list the drives that are held", err)
}

// LastFault returns the serial number of the drive in which a tape failed last; empty if it did not, or is forgiven.
func (l *Ledger) LastFault(ctx context.Context, barcode string) (drive string, err error) {
	err = l.read.QueryRowContext(ctx, `SELECT f.drive FROM faults f JOIN tapes t ON t.id = f.tape
		WHERE t.barcode = ? AND f.tape_forgiven = 0 ORDER BY f.id DESC LIMIT 1`, barcode).Scan(&drive)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return drive, l.failed("look for faults of tape "+barcode, err)
}

// ClearDrive forgives a drive its failures. The error wraps ErrNotFound if it has none.
func (l *Ledger) ClearDrive(ctx context.Context, drive string) error {
	return l.update(ctx, "trust drive "+drive+" again", func(tx *sql.Tx) error {
		n, err := exec(ctx, tx, "UPDATE faults SET drive_forgiven = 1 WHERE drive = ? AND drive_forgiven = 0", drive)
		if err == nil && n == 0 {
			err = fmt.Errorf("a fault of it is %w", ErrNotFound)
		}
		return err
	})
}

// ClearTape forgives a tape its failures: a suspect one may be used again.
func (l *Ledger) ClearTape(ctx context.Context, barcode string) error {
	return l.update(ctx, "trust tape "+barcode+" again", func(tx *sql.Tx) error {
		t, err := tape(ctx, tx, barcode)
		if err != nil {
			return err
		}
		if t.State == TapeRetired {
			return errors.New("it is retired")
		}
		return forgiveTape(ctx, tx, t)
	})
}

func forgiveTape(ctx context.Context, tx *sql.Tx, t Tape) error {
	if t.Pair == "" && t.UUID != "" {
		return fmt.Errorf("it holds what counts no more (%s): `twintape tapes recycle %s` makes it blank", t.Why, t.Barcode)
	}
	if _, err := exec(ctx, tx, "UPDATE faults SET tape_forgiven = 1 WHERE tape = ?", t.ID); err != nil {
		return err
	}
	state := TapeBlank
	if t.Pair != "" {
		state = TapeWritten
	}
	_, err := exec(ctx, tx, "UPDATE tapes SET state = ?, why = '' WHERE id = ?", state, t.ID)
	return err
}
