package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
	"twintape/internal/catalog"
)

// What a tape holds follows from its own flushes: it ends where the last of them was. Twins that end in different places, or
// of whose sessions one has more, have diverged.
const tapeQuery = `
SELECT t.id, t.barcode, t.uuid, COALESCE(p.uuid, ''), t.side, t.twin, t.state, t.why, COALESCE(p.record_size, 0), COALESCE(p.written_by, ''), t.capacity,
  COALESCE(p.record_size, 0) * (
    (SELECT COALESCE(SUM(a.records), 0) FROM archives a WHERE a.flushed <> 0 AND a.session IN (SELECT s.id FROM sessions s WHERE s.pair = t.pair)
      AND a.record + a.records < (SELECT COALESCE(MAX(f.tape_position), 0) FROM flushes f WHERE f.session = a.session AND f.tape = t.id))
    + (SELECT COALESCE(SUM(s.catalog_records), 0) FROM sessions s WHERE s.pair = t.pair
      AND s.catalog_record + s.catalog_records < (SELECT COALESCE(MAX(f.tape_position), 0) FROM flushes f WHERE f.session = s.id AND f.tape = t.id))),
  COALESCE(p.full, 0),
  EXISTS (SELECT 1 FROM tapes n WHERE n.pair = t.pair AND n.id <> t.id
    AND (SELECT COALESCE(MAX(f.tape_position), 0) FROM flushes f WHERE f.tape = n.id)
      <> (SELECT COALESCE(MAX(f.tape_position), 0) FROM flushes f WHERE f.tape = t.id)),
  t.serial, t.added, t.written, t.recycled, COALESCE(cl.job, 0), t.overwrite
FROM tapes t LEFT JOIN pairs p ON p.id = t.pair LEFT JOIN claims cl ON cl.kind = 'tape' AND cl.target = t.id`

func scanTape(rows *sql.Rows) (t Tape, err error) {
	err = rows.Scan(&t.ID, &t.Barcode, &t.UUID, &t.Pair, &t.Side, &t.Twin, &t.State, &t.Why, &t.RecordSize, &t.WrittenBy, &t.Capacity, &t.Used,
		&t.Full, &t.Diverged, &t.Serial, instant{&t.Added}, instant{&t.Written}, &t.Recycled, &t.Job, &t.Overwrite)
	return t, err
}

// Label is the volume label of a tape that is written.
func (t Tape) Label() catalog.Label {
	return catalog.Label{
		Tape: t.UUID, Pair: t.Pair, Barcode: t.Barcode, Twin: t.Twin, RecordSize: t.RecordSize, Created: t.Written.Truncate(time.Second),
	}
}

// GivenUp tells whether the tape's volume with a UUID may be overwritten: it was recycled, or is a new twin that never
// became one.
func (t Tape) GivenUp(volume string) bool {
	return volume != "" && (volume == t.Recycled || t.State == TapeCopying && volume == t.UUID)
}

// AddTape makes a blank cartridge known and returns its id. Of t, Barcode, Serial and Capacity are used. The error wraps
// ErrDuplicate if the barcode is known.
func (l *Ledger) AddTape(ctx context.Context, t Tape) (id int64, err error) {
	err = l.update(ctx, "add tape "+t.Barcode, func(tx *sql.Tx) error {
		if t.Barcode == "" {
			return errors.New("a tape without a barcode cannot be told from others")
		}
		known, err := collect(ctx, tx, scanID, "SELECT id FROM tapes WHERE barcode = ?", t.Barcode)
		if err != nil {
			return err
		}
		if len(known) > 0 {
			return fmt.Errorf("a tape with this barcode is %w", ErrDuplicate)
		}
		id, err = insert(ctx, tx, `INSERT INTO tapes (barcode, uuid, side, state, why, capacity, serial, added, written)
			VALUES (?, '', 0, ?, '', ?, ?, ?, 0)`, t.Barcode, TapeBlank, t.Capacity, text(t.Serial), time.Now().UnixNano())
		return err
	})
	return id, err
}

// Tapes returns all tapes, ordered by barcode.
func (l *Ledger) Tapes(ctx context.Context) ([]Tape, error) {
	tapes, err := collect(ctx, l.read, scanTape, tapeQuery+" ORDER BY t.barcode")
	return tapes, l.failed("list the tapes", err)
}

// Tape returns the tape with a barcode, or an error that wraps ErrNotFound.
func (l *Ledger) Tape(ctx context.Context, barcode string) (Tape, error) {
	t, err := tape(ctx, l.read, barcode)
	return t, l.failed("look tape "+barcode+" up", err)
}

func tape(ctx context.Context, q querier, barcode string) (Tape, error) {
	tapes, err := collect(ctx, q, scanTape, tapeQuery+" WHERE t.barcode = ?", barcode)
	if err != nil {
		return Tape{}, err
	}
	if len(tapes) == 0 {
		return Tape{}, fmt.Errorf("tape %s is %w; `twintape tapes` lists the known ones", barcode, ErrNotFound)
	}
	return tapes[0], nil
}

// SetTapeState records what a tape may be used for from now on, and why. A tape that belongs to a pair never becomes
// blank again, and one that belongs to none is not written.
func (l *Ledger) SetTapeState(ctx context.Context, barcode string, state TapeState, why string) error {
	return l.update(ctx, fmt.Sprintf("mark tape %s as %s", barcode, state), func(tx *sql.Tx) error {
		t, err := tape(ctx, tx, barcode)
		if err != nil {
			return err
		}
		switch state {
		case TapeBlank:
			if t.Pair != "" {
				return fmt.Errorf("it belongs to pair %s, and the ledger counts what lies on it", t.Pair)
			}
		case TapeWritten:
			if t.Pair == "" {
				return errors.New("it belongs to no pair")
			}
		case TapeSuspect, TapeRetired:
		default:
			return errors.New("no such state")
		}
		_, err = exec(ctx, tx, "UPDATE tapes SET state = ?, why = ? WHERE id = ?", state, text(why), t.ID)
		return err
	})
}

// SetTapeMedium records what a drive told of the cartridge: its serial number, empty where not readable, and its native
// capacity in bytes, 0 where unknown.
func (l *Ledger) SetTapeMedium(ctx context.Context, barcode, serial string, capacity int64) error {
	return l.update(ctx, "record the medium of tape "+barcode, func(tx *sql.Tx) error {
		t, err := tape(ctx, tx, barcode)
		if err != nil {
			return err
		}
		_, err = exec(ctx, tx, "UPDATE tapes SET serial = ?, capacity = ? WHERE id = ?", text(serial), capacity, t.ID)
		return err
	})
}

// AllowOverwrite records what a tape that holds no copies begins with, in words, and that its owner lets it be overwritten.
func (l *Ledger) AllowOverwrite(ctx context.Context, barcode, what string) error {
	return l.update(ctx, "let tape "+barcode+" be overwritten", func(tx *sql.Tx) error {
		t, err := tape(ctx, tx, barcode)
		if err != nil {
			return err
		}
		if t.Pair != "" || t.State != TapeBlank {
			return fmt.Errorf("it is %w: %s", ErrNotBlank, t.State)
		}
		_, err = exec(ctx, tx, "UPDATE tapes SET overwrite = ? WHERE id = ?", text(what), t.ID)
		return err
	})
}
