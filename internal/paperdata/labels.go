package paperdata

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Label is a label of table ids.
type Label struct {
	Label string
	Taken string // what its status says if another has taken it
	Ours  bool   // this ledger has taken it
}

// Free tells whether nobody has taken the label.
func (l Label) Free() bool { return l.Taken == "" && !l.Ours }

// TakenError says that a label cannot be had.
type TakenError struct {
	Label string
	By    string // what its status says; empty if the table does not know the label
}

func (e *TakenError) Error() string {
	if e.By == "" {
		return fmt.Sprintf("paper-dump's table ids does not know the label %s", e.Label)
	}
	return fmt.Sprintf("label %s is taken in paper-dump's table ids (status %s)", e.Label, e.By)
}

// Labels returns the labels in their order. Nothing is locked.
func (d *DB) Labels(ctx context.Context) ([]Label, error) {
	all, err := d.labels(ctx, d.db, "")
	return all, d.failed("read the labels", err)
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func (d *DB) labels(ctx context.Context, q querier, lock string) ([]Label, error) {
	rows, err := q.QueryContext(ctx, "SELECT CAST(label AS BINARY), CAST(status AS BINARY) FROM "+d.ids+" WHERE label IS NOT NULL"+lock)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	ours := fmt.Sprint(d.status)
	var all []Label
	at := make(map[string]int)
	for rows.Next() {
		var name string
		var status sql.NullString
		if err := rows.Scan(&name, &status); err != nil {
			return nil, err
		}
		i, twice := at[name] // nothing keeps a label from having two rows: taken in one, it is taken
		if !twice {
			i = len(all)
			at[name] = i
			all = append(all, Label{Label: name})
		}
		switch {
		case !status.Valid:
		case status.String == ours:
			all[i].Ours = true
		default:
			all[i].Taken = fmt.Sprintf("%q", status.String)
		}
	}
	slices.SortFunc(all, func(a, b Label) int { return strings.Compare(a.Label, b.Label) })
	return all, rows.Err()
}

// Reserve takes labels for this ledger, all or none; those that it has already stay its own. The error is a *TakenError if another has one, or
// the table does not know it.
func (d *DB) Reserve(ctx context.Context, labels ...string) error {
	return d.update(ctx, "take the labels "+strings.Join(labels, " and "), func(tx *sql.Tx) error {
		all, err := d.labels(ctx, tx, " FOR UPDATE")
		if err != nil {
			return err
		}
		for _, name := range labels {
			i := slices.IndexFunc(all, func(l Label) bool { return l.Label == name })
			if i < 0 {
				return &TakenError{Label: name}
			}
			if all[i].Taken != "" {
				return &TakenError{Label: name, By: all[i].Taken}
			}
			if err := d.setStatus(ctx, tx, name, d.status); err != nil {
				return err
			}
		}
		return nil
	})
}

// Settle lets a caller judge all labels while they are locked: those that it returns as free are freed if they are this ledger's, those as ours
// are taken if they are free. It returns what was changed.
func (d *DB) Settle(ctx context.Context, judge func([]Label) (free, ours []string, err error)) (freed, taken []string, err error) {
	err = d.update(ctx, "settle the labels", func(tx *sql.Tx) error {
		freed, taken = nil, nil
		all, err := d.labels(ctx, tx, " FOR UPDATE")
		if err != nil {
			return err
		}
		free, ours, err := judge(all)
		if err != nil {
			return err
		}
		for _, l := range all {
			switch {
			case l.Taken == "" && l.Ours && slices.Contains(free, l.Label):
				freed = append(freed, l.Label)
				err = d.setStatus(ctx, tx, l.Label, nil)
			case l.Free() && slices.Contains(ours, l.Label):
				taken = append(taken, l.Label)
				err = d.setStatus(ctx, tx, l.Label, d.status)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return freed, taken, err
}

// isLabel is a condition on a label, byte by byte. The table is small.
const isLabel = "CAST(label AS BINARY) = UNHEX(?)"

func (d *DB) setStatus(ctx context.Context, tx *sql.Tx, label string, status any) error {
	_, err := change(ctx, tx, "UPDATE "+d.ids+" SET status = ? WHERE "+isLabel, status, bytesOf(label))
	return err
}

// setDate dates a label, unless it has a later date; it tells whether the table knows the label.
func (d *DB) setDate(ctx context.Context, tx *sql.Tx, label string, when time.Time) (known bool, err error) {
	date := d.date(when)
	if _, err := change(ctx, tx, "UPDATE "+d.ids+" SET date = ? WHERE "+isLabel+" AND (date IS NULL OR date < ?)", date, bytesOf(label), date); err != nil {
		return false, err
	}
	var n int
	err = tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+d.ids+" WHERE "+isLabel, bytesOf(label)).Scan(&n)
	return n > 0, err
}

// statusFor is what a status of that type says of a label with the claim of a ledger.
func statusFor(c column, claim, ledger string) (any, error) {
	if c.kind == "int" || c.kind == "bigint" {
		n, err := strconv.ParseUint(ledger, 16, 32)
		return int64(1e9 + n%1e9), err // above the numbers of processes
	}
	if c.isText() && c.length >= int64(len(claim)) {
		return claim, nil
	}
	return nil, fmt.Errorf("is %s, too narrow for %q: make it a tinytext, which paper-dump takes as well", c, claim)
}

// dating writes a time as a column takes it.
type dating func(time.Time) any

func datingFor(c column) (dating, error) {
	const minute = "20060102-1504" // as paper-dump writes it
	layout := ""
	switch {
	case c.isText() && c.length >= int64(len(minute)):
		layout = minute
	case c.kind == "datetime", c.kind == "timestamp":
		layout = time.DateTime
	case c.kind == "date":
		layout = time.DateOnly
	case c.kind == "int", c.kind == "bigint":
		return func(t time.Time) any { y, m, d := t.UTC().Date(); return (y*100+int(m))*100 + d }, nil
	default:
		return nil, fmt.Errorf("is %s, which cannot hold a date such as %s: make it a tinytext", c, minute)
	}
	return func(t time.Time) any { return t.UTC().Format(layout) }, nil
}
