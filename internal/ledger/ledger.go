// Package ledger is the database of what is queued, what lies on which tape, and how each copy was proven: tapes, pairs,
// jobs, sessions, archives, items, members, copies, verifications and claims.
//
// It promises its callers that a call is in the ledger as a whole or not at all, and durably before the call returns,
// whatever kills the process or the machine; that an item or a tape belongs to at most one live job, however many
// processes ask; and that an item's state is nowhere stored but follows from its copies, so it cannot disagree with them.
//
// A Ledger is safe for concurrent use, and several processes may open the same one. Calls end with the context's error
// when it is cancelled; nothing of a cancelled call remains. Iterators read as the caller takes from them, from one
// snapshot; other calls may be made meanwhile. Paths are bytes held in strings, times are UTC.
package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"twintape/internal/catalog"
)

// Ledger is an open ledger.
type Ledger struct {
	db    *sql.DB
	path  string
	items string        // the query of items, see state.go
	turn  chan struct{} // held while writing: writers of one process take turns here instead of polling the file's lock
}

// Options is how a ledger judges.
type Options struct {
	// DeletableAfter is "full" (the default) if an item is deletable only when both copies were read back in full, or
	// "sample" if it is as soon as it is archived.
	DeletableAfter string
}

// Close gives the ledger up. No call may be under way.
func (l *Ledger) Close() error {
	if err := l.db.Close(); err != nil {
		return fmt.Errorf("close ledger %s: %w", l.path, err)
	}
	return nil
}

// querier is what reads: the database, or a transaction of it.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// update runs f in one transaction that no other writer overlaps. what says in an error what was being done.
func (l *Ledger) update(ctx context.Context, what string, f func(tx *sql.Tx) error) error {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return l.failed(what, ctx.Err())
	}
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return l.failed(what, err)
	}
	if err := f(tx); err != nil {
		// The cause is told; a rollback that fails too has lost its connection, and the transaction with it.
		_ = tx.Rollback()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return l.failed(what, err)
	}
	if err := tx.Commit(); err != nil {
		return l.failed(what, err)
	}
	return nil
}

// failed says what could not be done, and in which ledger.
func (l *Ledger) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("ledger %s: %s: %w", l.path, what, explain(err))
}

// exec runs one statement and returns how many rows it touched.
func exec(ctx context.Context, tx *sql.Tx, query string, args ...any) (int64, error) {
	res, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// insert runs an INSERT of one row and returns its automatic key.
func insert(ctx context.Context, tx *sql.Tx, query string, args ...any) (int64, error) {
	res, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// collect runs a query and scans each of its rows.
func collect[T any](ctx context.Context, q querier, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

func scanID(rows *sql.Rows) (id int64, err error) {
	err = rows.Scan(&id)
	return id, err
}

// marks returns n placeholders, for IN.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }

// bytesOf is how a string of any bytes is stored; never nil, which would be NULL.
func bytesOf(s string) []byte { return append([]byte{}, s...) }

// text is how words for people are stored: they may quote a path that is not UTF-8.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func timeOf(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}

// sum is an MD5 column, where none is null or empty.
type sum struct{ md5 *catalog.MD5 }

// Scan implements sql.Scanner.
func (s sum) Scan(v any) error {
	*s.md5 = catalog.MD5{}
	switch b, ok := v.([]byte); {
	case v == nil, ok && len(b) == 0:
	case ok && len(b) == len(s.md5):
		copy(s.md5[:], b)
	default:
		return fmt.Errorf("an MD5 of %d bytes is expected, not %T %v", len(s.md5), v, v)
	}
	return nil
}

// instant is a column of Unix nanoseconds.
type instant struct{ t *time.Time }

// Scan implements sql.Scanner.
func (i instant) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("a time in nanoseconds is expected, not %T", v)
	}
	*i.t = timeOf(n)
	return nil
}
