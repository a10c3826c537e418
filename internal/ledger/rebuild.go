package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"time"

	"twintape/internal/catalog"
)

// Scanned is what was read of one tape.
type Scanned struct {
	Label     catalog.Label    // what stands for it, if another program wrote the tape
	WrittenBy string           // that program; empty for twintape
	Side      int              // 1 or 2 as the barcode says; 0 if it does not tell
	Serial    string           // of the medium; empty where not readable
	Capacity  int64            // native bytes; 0 where unknown
	Sessions  []ScannedSession // in tape order
	Deep      bool             // sessions without a catalog were looked for
	// Fingerprint is what the queue tells an item's versions by.
	Fingerprint func(*catalog.Item) catalog.MD5
}

// ScannedSession is a session as one tape has it.
type ScannedSession struct {
	Head    catalog.Session // its Closed is zero if the tape has no catalog of it that is of use
	Catalog CatalogPlace    // zero if there is none
	End     int64           // block up to which the tape holds it
	// Archives are those on the tape, in order. They are not read from the tape while it is called, which may be more than once.
	Archives iter.Seq2[ScannedArchive, error]
}

// ScannedArchive is an archive as one tape has it.
type ScannedArchive struct {
	*catalog.Archive
	Records int64
	CRCs    []byte         // CRC32C of its records, little-endian, 4 bytes each; nil if not known
	Damaged map[int]string // of items, by their order: why the tape holds no good copy
}

// Rebuilt is what Rebuild added, and what it left alone.
type Rebuilt struct {
	Side                              int
	Sessions, Archives, Items, Copies int
	// Differences are what tape and ledger do not agree on. Nothing was changed for them. At most 100; Unlisted counts the rest.
	Differences []string
	Unlisted    int
	Replaced    string // the tape that this one replaced in its pair, which was taken out
}

// mostDifferences is how many Rebuilt lists.
const mostDifferences = 100

// ContradictionError says that a tape is not what the ledger knows by its barcode or its UUID. Nothing of it was taken in.
type ContradictionError struct{ Barcode, What string }

func (e *ContradictionError) Error() string {
	return fmt.Sprintf("tape %s is left out: %s", e.Barcode, e.What)
}

// Rebuild adds what a tape holds and the ledger does not have, all in one transaction: tape, pair, sessions with jobs that
// have ended, archives, items, members, and copies, which nothing has verified yet. What the ledger knows is compared and
// stays as it is. An item that several sessions list has the copies of the latest one. The error wraps a *ContradictionError
// if the tape is another than the ledger knows, ErrClaimed if a job holds it.
func (l *Ledger) Rebuild(ctx context.Context, s Scanned) (r Rebuilt, err error) {
	err = l.update(ctx, "take in what tape "+s.Label.Barcode+" holds", func(tx *sql.Tx) error {
		b := &rebuilding{ledger: l, tx: tx, s: &s, r: &r}
		r = Rebuilt{}
		if err := b.identify(ctx); err != nil {
			return err
		}
		for i := range s.Sessions {
			if err := b.session(ctx, &s.Sessions[i]); err != nil {
				return fmt.Errorf("session %d: %w", s.Sessions[i].Head.Number, err)
			}
		}
		if r.Replaced != "" {
			if err := dropOrphans(ctx, tx, Tape{Barcode: r.Replaced, Pair: s.Label.Pair}); err != nil {
				return err
			}
		}
		return b.missing(ctx)
	})
	return r, err
}

// rebuilding is one call of Rebuild.
type rebuilding struct {
	ledger *Ledger
	tx     *sql.Tx
	s      *Scanned
	r      *Rebuilt
	tape   int64
	pair   int64
}

func (b *rebuilding) contradiction(format string, args ...any) error {
	return &ContradictionError{Barcode: b.s.Label.Barcode, What: fmt.Sprintf(format, args...)}
}

func (b *rebuilding) differ(format string, args ...any) {
	if len(b.r.Differences) == mostDifferences {
		b.r.Unlisted++
		return
	}
	b.r.Differences = append(b.r.Differences, text(fmt.Sprintf(format, args...)))
}

// identify finds the tape and its pair in the ledger, or adds them.
func (b *rebuilding) identify(ctx context.Context) error {
	label := b.s.Label
	known, err := collect(ctx, b.tx, scanTape, tapeQuery+" WHERE t.barcode = ? OR t.uuid = ?", label.Barcode, label.Tape)
	if err != nil {
		return err
	}
	var t Tape
	for _, k := range known {
		if k.Barcode != label.Barcode {
			return b.contradiction("its label (UUID %s) is that of tape %s in the ledger", label.Tape, k.Barcode)
		}
		t = k
	}
	switch {
	case t.ID == 0:
	case t.Job != 0:
		return fmt.Errorf("tape %s is %w (job %d)", t.Barcode, ErrClaimed, t.Job)
	case t.Recycled == label.Tape:
		return b.contradiction("it was recycled, so what it held (volume %s) was given up", label.Tape)
	case t.Serial != "" && b.s.Serial != "" && t.Serial != b.s.Serial:
		return b.contradiction("the cartridge's serial number is %s, the ledger says %s", b.s.Serial, t.Serial)
	case t.UUID == "":
	case t.UUID != label.Tape:
		return b.contradiction("its label says UUID %s, the ledger %s: it was labelled anew, or two cartridges have one barcode", label.Tape, t.UUID)
	case t.Pair == "":
		return b.contradiction("it belongs to no pair any more: %s", t.Why)
	case t.Label() != (catalog.Label{Tape: label.Tape, Pair: label.Pair, Barcode: label.Barcode, Twin: label.Twin, RecordSize: label.RecordSize, Created: label.Created.UTC()}):
		return b.contradiction("its label says %s, the ledger %s", spellLabel(label), spellLabel(t.Label()))
	}
	if err := b.findPair(ctx); err != nil {
		return err
	}
	if t.Pair != "" {
		b.tape, b.r.Side = t.ID, t.Side
		return nil
	}
	if err := b.findSide(ctx); err != nil {
		return err
	}
	if t.ID == 0 {
		t.State = TapeBlank
		t.ID, err = insert(ctx, b.tx, `INSERT INTO tapes (barcode, uuid, side, state, why, capacity, serial, added, written)
			VALUES (?, '', 0, ?, '', ?, ?, ?, 0)`, label.Barcode, TapeBlank, b.s.Capacity, text(b.s.Serial), time.Now().UnixNano())
		if err != nil {
			return err
		}
	}
	if t.State == TapeBlank {
		t.State = TapeWritten
	}
	b.tape = t.ID
	_, err = exec(ctx, b.tx, "UPDATE tapes SET uuid = ?, pair = ?, side = ?, twin = ?, state = ?, written = ? WHERE id = ?",
		label.Tape, b.pair, b.r.Side, label.Twin, t.State, nanos(label.Created), t.ID)
	return err
}

func spellLabel(l catalog.Label) string {
	return fmt.Sprintf("twin of %s, pair %s, records of %d bytes, created %s", l.Twin, l.Pair, l.RecordSize, l.Created.UTC().Format(time.RFC3339))
}

// findPair finds the pair that the label names, or adds it.
func (b *rebuilding) findPair(ctx context.Context) error {
	var size int
	err := b.tx.QueryRowContext(ctx, "SELECT id, record_size FROM pairs WHERE uuid = ?", b.s.Label.Pair).Scan(&b.pair, &size)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		b.pair, err = insert(ctx, b.tx, "INSERT INTO pairs (uuid, record_size, created, written_by) VALUES (?, ?, ?, ?)",
			b.s.Label.Pair, b.s.Label.RecordSize, nanos(b.s.Label.Created), b.s.WrittenBy)
		return err
	case err == nil && size != b.s.Label.RecordSize:
		return b.contradiction("its records have %d bytes, those of its pair %s %d in the ledger", b.s.Label.RecordSize, b.s.Label.Pair, size)
	}
	return err
}

// findSide finds the tape's side of the pair. A twin that was made later replaces the one before it there.
func (b *rebuilding) findSide(ctx context.Context) error {
	others, err := collect(ctx, b.tx, scanTape, tapeQuery+" WHERE t.pair = ? ORDER BY t.side", b.pair)
	if err != nil {
		return err
	}
	label := b.s.Label
	side := b.s.Side
	if b.s.WrittenBy != "" && len(others) == 1 && others[0].Side == side {
		side = 3 - side // it has no sides; neither was made in the other's place
	}
	if side == 0 || b.s.WrittenBy != "" && len(others) == 2 {
		switch {
		case len(others) == 1:
			side = 3 - others[0].Side
		case len(others) == 2: // neither twin of a pair's names tells which it replaced
			return b.contradiction("its pair %s has two tapes, and its barcode does not tell in whose place it belongs", label.Pair)
		case label.Twin != "" && label.Barcode > label.Twin:
			side = 2
		default:
			side = 1
		}
	}
	b.r.Side = side
	for _, o := range others {
		if o.Side != side {
			continue
		}
		end, err := b.end(ctx, o.ID)
		if err != nil {
			return err
		}
		var mine int64
		for _, s := range b.s.Sessions {
			mine = max(mine, s.End)
		}
		switch {
		case o.Job != 0:
			return fmt.Errorf("tape %s is %w (job %d)", o.Barcode, ErrClaimed, o.Job)
		case !label.Created.After(o.Written.Truncate(time.Second)):
			return b.contradiction("%s replaced it in its pair", o.Barcode)
		case mine < end:
			return b.contradiction("it was to replace %s in its pair, but holds blocks up to %d only, that one up to %d", o.Barcode, mine, end)
		}
		b.r.Replaced = o.Barcode
		return takeOut(ctx, b.tx, o, label.Barcode+" replaced it in its pair")
	}
	return nil
}

// end is up to which block the ledger counts on a tape.
func (b *rebuilding) end(ctx context.Context, tape int64) (block int64, err error) {
	err = b.tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(tape_position), 0) FROM flushes WHERE tape = ?", tape).Scan(&block)
	return block, err
}

// takeOut removes a tape from its pair, with its copies; it is not used again by itself.
func takeOut(ctx context.Context, tx *sql.Tx, t Tape, why string) error {
	if err := forgetCopies(ctx, tx, t.ID); err != nil {
		return err
	}
	if t.State != TapeWritten {
		why = t.Why + "; " + why
	} else {
		t.State = TapeRetired
	}
	_, err := exec(ctx, tx, "UPDATE tapes SET pair = NULL, side = 0, state = ?, why = ? WHERE id = ?", t.State, text(why), t.ID)
	return err
}

func forgetCopies(ctx context.Context, tx *sql.Tx, tape int64) error {
	if err := unsettle(ctx, tx, tape); err != nil {
		return err
	}
	for _, statement := range []string{"DELETE FROM copies WHERE tape = ?", "DELETE FROM flushes WHERE tape = ?"} {
		if _, err := exec(ctx, tx, statement, tape); err != nil {
			return err
		}
	}
	return nil
}

// missing tells of sessions that the ledger has on the tape, and nobody found there.
func (b *rebuilding) missing(ctx context.Context) error {
	found := make(map[string]bool)
	for _, s := range b.s.Sessions {
		found[s.Head.Session] = true
	}
	sessions, err := collect(ctx, b.tx, scanSession, sessionQuery+`p.id = ? AND EXISTS (SELECT 1 FROM flushes f JOIN archives a ON a.session = f.session
		WHERE f.session = s.id AND f.tape = ? AND f.tape_position > a.record + a.records) ORDER BY s.number`, b.pair, b.tape)
	for _, s := range sessions {
		if (b.s.Deep || s.On[b.r.Side-1]) && !found[s.UUID] {
			b.differ("session %d (%s) is on this tape by the ledger, and was not found there", s.Number, s.UUID)
		}
	}
	return err
}
