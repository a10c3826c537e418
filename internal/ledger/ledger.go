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
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"twintape/internal/catalog"
)

// Ledger is an open ledger.
type Ledger struct {
	db      *sql.DB
	read    querier // the database, for reading outside of transactions; it rides out that the database is away
	dialect dialect
	path    string        // where it is, for messages
	items   string        // the query of items, see state.go
	turn    chan struct{} // held while writing: writers of one process take turns here instead of polling the file's lock
	held    leases

	patience patience // with a database that goes away
}

// Options is how a ledger judges.
type Options struct {
	// DeletableAfter is "full" (the default) if an item is deletable only when both copies were read back in full, or
	// "sample" if it is as soon as it is archived.
	DeletableAfter string
	// Lease is for how long a job's process that is not heard of counts as alive on other machines; 5 minutes if 0. SQLite has
	// no other machines.
	Lease time.Duration
	// Patience is for how long a call waits for a server that went away; 10 minutes if 0.
	Patience time.Duration
	// Waiting is told, if it is not nil, that the database cannot be used now and a call waits for it, and why.
	Waiting func(error)
}

// open makes a Ledger of an open database.
func open(db *sql.DB, read querier, d dialect, path string, o Options) (*Ledger, error) {
	items, err := itemQuery(o.DeletableAfter)
	if err != nil {
		return nil, err
	}
	if o.Lease == 0 {
		o.Lease = defaultLease
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	if o.Waiting == nil {
		o.Waiting = func(error) {}
	}
	return &Ledger{
		db: db, read: read, dialect: d, path: path, items: items, turn: make(chan struct{}, 1),
		held: leases{length: o.Lease, epochs: make(map[int64]int64)}, patience: patience{length: o.Patience, told: o.Waiting, gone: new(atomic.Bool)},
	}, nil
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

// update runs f in one transaction that no other writer overlaps. what says in an error what was being done. f may be run again,
// after all that it did to the ledger was taken back.
func (l *Ledger) update(ctx context.Context, what string, f func(tx *sql.Tx) error) error {
	return l.updateIn(ctx, alone, what, f)
}

// updateIn is update in a scope.
func (l *Ledger) updateIn(ctx context.Context, s scope, what string, f func(tx *sql.Tx) error) error {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return l.failed(what, ctx.Err())
	}
	away, beaten := l.patience, l.patience
	beaten.told = func(error) {} // by another's transaction, which is in use
	for {
		began := uptime()
		err := l.transact(ctx, s, f)
		if err == nil {
			l.patience.gone.Store(false)
			l.held.renewed(began)
			return nil
		}
		again, later := l.dialect.passing(err)
		if !again || later && !away.wait(ctx, err) || !later && !beaten.wait(ctx, err) {
			return l.failed(what, err)
		}
	}
}

func (l *Ledger) transact(ctx context.Context, s scope, f func(tx *sql.Tx) error) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	mark, err := l.dialect.enter(ctx, tx, s)
	if err == nil {
		err = l.fence(ctx, tx)
	}
	if err == nil {
		err = f(tx)
	}
	if err != nil {
		// The cause is told; a rollback that fails too has lost its connection, and the transaction with it.
		_ = tx.Rollback()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return err
	}
	if err := tx.Commit(); err != nil {
		return l.dialect.outcome(ctx, mark, err)
	}
	return nil
}

// failed says what could not be done, and in which ledger.
func (l *Ledger) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("ledger %s: %s: %w", l.path, what, l.dialect.explain(err))
}

// lock keeps the rows that a query returns as they are until the transaction ends. Transactions in scope beside need it where SQLite
// does not: there nobody else writes.
func (l *Ledger) lock(ctx context.Context, tx *sql.Tx, query string, args ...any) error {
	if l.dialect.forUpdate() == "" {
		return nil
	}
	_, err := collect(ctx, tx, scanID, query+l.dialect.forUpdate(), args...)
	return err
}

// exec runs one statement and returns how many rows it touched.
func exec(ctx context.Context, tx *sql.Tx, query string, args ...any) (int64, error) {
	res, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// execEach runs a statement that ends in a column, whose values shall be ids. A subquery would say it too, but to find what a DELETE or
// an UPDATE is about by one MariaDB reads the whole table.
func execEach(ctx context.Context, tx *sql.Tx, statement string, ids []int64, args ...any) error {
	for some := range slices.Chunk(ids, idsAtOnce) {
		if _, err := exec(ctx, tx, statement+" IN ("+marks(len(some))+")", append(slices.Clip(args), anys(some)...)...); err != nil {
			return err
		}
	}
	return nil
}

// insert runs an INSERT of one row and returns its automatic key.
func insert(ctx context.Context, tx *sql.Tx, query string, args ...any) (int64, error) {
	res, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// collect runs a query and scans each of its rows. scan may see the first rows again.
func collect[T any](ctx context.Context, q querier, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	return patiently(ctx, q, func(q querier) ([]T, error) { return collectOnce(ctx, q, scan, query, args...) })
}

func collectOnce[T any](ctx context.Context, q querier, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
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
