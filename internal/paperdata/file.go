package paperdata

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
)

// Row is a row of File.
type Row struct {
	Source    string // as it stands there
	MD5       string // of its visdata; empty where there is none
	Obsnum    sql.NullInt64
	TapeIndex string // empty if it is free
	Deletable bool
}

const rowColumns = "CAST(source AS BINARY), COALESCE(CAST(md5sum AS BINARY), ''), obsnum, COALESCE(CAST(tape_index AS BINARY), ''), COALESCE(is_deletable, 0) <> 0"

func scanRow(scan func(...any) error) (r Row, err error) {
	err = scan(&r.Source, &r.MD5, &r.Obsnum, &r.TapeIndex, &r.Deletable)
	return r, err
}

// tapeable is paper-dump's condition on what is to go to tape.
const tapeable = "source IS NOT NULL AND filetype = 'uv' AND is_tapeable = 1 AND tape_index IS NULL"

// Tapeable returns up to limit rows that are to go to tape and that nobody has taken, in paper-dump's order, behind the row after;
// from the first if that is nil. Nothing is locked.
func (d *DB) Tapeable(ctx context.Context, after *Row, limit int) ([]Row, error) {
	where, args := tapeable, []any(nil)
	switch {
	case after != nil && after.Obsnum.Valid:
		where += " AND (obsnum > ? OR obsnum = ? AND CAST(source AS BINARY) > UNHEX(?))"
		args = []any{after.Obsnum.Int64, after.Obsnum.Int64, bytesOf(after.Source)}
	case after != nil: // those without a number come first
		where += " AND (obsnum IS NOT NULL OR CAST(source AS BINARY) > UNHEX(?))"
		args = []any{bytesOf(after.Source)}
	}
	var page []Row
	for r, err := range d.rows(ctx, where+" ORDER BY obsnum, CAST(source AS BINARY) LIMIT ?", append(args, limit)...) {
		if err != nil {
			return nil, d.failed("read what is to go to tape", err)
		}
		page = append(page, r)
	}
	return page, nil
}

func (d *DB) rows(ctx context.Context, where string, args ...any) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		rows, err := d.db.QueryContext(ctx, "SELECT "+rowColumns+" FROM "+d.file+" WHERE "+where, args...)
		if err != nil {
			yield(Row{}, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			r, err := scanRow(rows.Scan)
			if !yield(r, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(Row{}, err)
		}
	}
}

// Claims streams the rows that this ledger has taken and that do not say yet where they lie, in paper-dump's order. The caller should
// not take long between them.
func (d *DB) Claims(ctx context.Context) iter.Seq2[Row, error] {
	return d.taken(ctx, "tape_index = ? ORDER BY obsnum, CAST(source AS BINARY)", d.claim)
}

// Ours is Claims with those that say where they lie, in no order.
func (d *DB) Ours(ctx context.Context) iter.Seq2[Row, error] {
	return d.taken(ctx, "tape_index = ? OR tape_index LIKE ?", d.claim, d.claim+"[%")
}

func (d *DB) taken(ctx context.Context, where string, args ...any) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for r, err := range d.rows(ctx, where, args...) {
			if !yield(r, d.failed("read what this ledger has taken", err)) {
				return
			}
		}
	}
}

// OtherClaims counts the rows that other ledgers have taken and not brought to tape, by their claims.
func (d *DB) OtherClaims(ctx context.Context) (map[string]int, error) {
	const what = "count what other ledgers have taken"
	rows, err := d.db.QueryContext(ctx, "SELECT CAST(tape_index AS BINARY), COUNT(*) FROM "+d.file+
		" WHERE tape_index LIKE 'twintape:%' AND tape_index NOT LIKE '%[%' AND tape_index <> ? GROUP BY CAST(tape_index AS BINARY)", d.claim)
	if err != nil {
		return nil, d.failed(what, err)
	}
	defer rows.Close()
	counts := make(map[string]int)
	for rows.Next() {
		var claim string
		var n int
		if err := rows.Scan(&claim, &n); err != nil {
			return nil, d.failed(what, err)
		}
		counts[claim] = n
	}
	return counts, d.failed(what, rows.Err())
}

// Take takes those of some rows for this ledger that are still to go to tape, free and of the same MD5 as when they were read, and returns them.
func (d *DB) Take(ctx context.Context, rows []Row) (taken []Row, err error) {
	err = d.update(ctx, fmt.Sprintf("take %d rows", len(rows)), func(tx *sql.Tx) error {
		taken = nil
		for _, r := range rows {
			now, err := d.locked(ctx, tx, r.Source, tapeable)
			if errors.Is(err, sql.ErrNoRows) || err == nil && now.MD5 != r.MD5 {
				continue // another was faster
			}
			if err != nil {
				return err
			}
			n, err := change(ctx, tx, "UPDATE "+d.file+" SET tape_index = ? WHERE "+d.key+" AND tape_index IS NULL", d.claim, bytesOf(r.Source), bytesOf(r.Source))
			if err != nil {
				return err
			}
			if n > 0 {
				now.TapeIndex = d.claim
				taken = append(taken, now)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return taken, nil
}

// locked reads a row that fits the condition and locks it.
func (d *DB) locked(ctx context.Context, tx *sql.Tx, source, where string) (Row, error) {
	return scanRow(tx.QueryRowContext(ctx, "SELECT "+rowColumns+" FROM "+d.file+" WHERE "+d.key+" AND "+where+" LIMIT 1 FOR UPDATE",
		bytesOf(source), bytesOf(source)).Scan)
}

// Release gives rows back that this ledger has taken and that are not on tape; others are left alone. It returns how many.
func (d *DB) Release(ctx context.Context, sources []string) (released int, err error) {
	err = d.update(ctx, fmt.Sprintf("give %d rows back", len(sources)), func(tx *sql.Tx) error {
		released = 0
		for _, s := range sources {
			n, err := change(ctx, tx, "UPDATE "+d.file+" SET tape_index = NULL WHERE "+d.key+" AND tape_index = ?", bytesOf(s), bytesOf(s), d.claim)
			if err != nil {
				return err
			}
			if n > 0 {
				released++
			}
		}
		return nil
	})
	return released, err
}

// Holders returns what tape_index says of some rows, empty for those that nobody has taken; rows that are not there are left out.
func (d *DB) Holders(ctx context.Context, sources []string) (map[string]string, error) {
	held := make(map[string]string)
	if len(sources) == 0 {
		return held, nil
	}
	var args []any
	for _, s := range sources {
		args = append(args, bytesOf(s))
	}
	for r, err := range d.rows(ctx, "source IN ("+strings.TrimSuffix(strings.Repeat(d.value+",", len(args)), ",")+")", args...) {
		if err != nil {
			return nil, d.failed("look who has rows", err)
		}
		if slices.Contains(sources, r.Source) { // the column may compare texts otherwise
			held[r.Source] = r.TapeIndex
		}
	}
	return held, nil
}

// Place is what a row is to say of where it lies.
type Place struct {
	Row                 // as it was read
	Index     string    // the new tape_index
	Deletable bool      // the new is_deletable
	Tapes     [2]string // the labels that get the date
	When      time.Time // both were verified
}

// Index is what tape_index says of an item that is on tape, in paper-dump's form.
func (d *DB) Index(tapes [2]string, archive, item int) (string, error) {
	index := fmt.Sprintf("%s[%s,%s]-%d:%d", d.claim, tapes[0], tapes[1], archive, item)
	if len(index) > d.index {
		return "", fmt.Errorf("%s is longer than tape_index may be (%d characters): widen that column", index, d.index)
	}
	return index, nil
}

// OnTape tells whether a row of this ledger's says where it lies.
func (d *DB) OnTape(r Row) bool { return strings.HasPrefix(r.TapeIndex, d.claim+"[") }

// WriteBack records places, all or none. Rows that are no longer what they were when they were read are left alone. What is new on a
// label gets the label its date, unless that has a later one. It returns how many rows were written, and the labels that table ids does not know.
func (d *DB) WriteBack(ctx context.Context, places []Place) (written int, unknown []string, err error) {
	err = d.update(ctx, fmt.Sprintf("write the places of %d rows", len(places)), func(tx *sql.Tx) error {
		written, unknown = 0, nil
		dates := make(map[string]time.Time)
		var labels []string
		for _, p := range places {
			now, err := d.locked(ctx, tx, p.Source, "1 = 1")
			if errors.Is(err, sql.ErrNoRows) || err == nil && (now.TapeIndex != p.TapeIndex || now.MD5 != p.MD5) {
				continue
			}
			if err != nil {
				return err
			}
			if _, err := change(ctx, tx, "UPDATE "+d.file+" SET tape_index = ?, is_deletable = ? WHERE "+d.key+" AND tape_index = ?",
				p.Index, p.Deletable, bytesOf(p.Source), bytesOf(p.Source), p.TapeIndex); err != nil {
				return err
			}
			written++
			if p.Index == p.TapeIndex {
				continue
			}
			for _, label := range p.Tapes {
				if _, ok := dates[label]; !ok {
					labels = append(labels, label)
				}
				if p.When.After(dates[label]) {
					dates[label] = p.When
				}
			}
		}
		for _, label := range labels {
			known, err := d.setDate(ctx, tx, label, dates[label])
			if err != nil {
				return err
			}
			if !known {
				unknown = append(unknown, label)
			}
		}
		return nil
	})
	return written, unknown, err
}
