package ledger

import (
	"context"
	"database/sql"
	"sync/atomic"
	"time"
)

// defaultPatience is longer than a server takes to start again, or its cluster to agree.
const defaultPatience = 10 * time.Minute

// patience waits for a database to come back. Each call that may have to wait takes a copy of its ledger's.
type patience struct {
	length time.Duration
	told   func(error)
	gone   *atomic.Bool // a call waited in vain, and none came through since: who ends its work for that does not wait each time anew
	until  time.Time    // zero before the first wait
	pause  time.Duration
}

// wait waits a while, a little longer each time; false if it waited long enough, or the context ended.
func (p *patience) wait(ctx context.Context, why error) bool {
	if p.gone.Load() {
		return false
	}
	if p.until.IsZero() {
		p.until, p.pause = time.Now().Add(p.length), 50*time.Millisecond
		p.told(why)
	}
	if time.Now().After(p.until) {
		p.gone.Store(true)
		return false
	}
	pause := time.NewTimer(p.pause)
	defer pause.Stop()
	p.pause = min(2*p.pause, 5*time.Second)
	select {
	case <-pause.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// patientReader reads from a database that may be away for a while. What breaks in the midst of a result is an error here; patiently
// asks again for the whole.
type patientReader struct {
	db       *sql.DB
	dialect  dialect
	patience patience
}

func (r *patientReader) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	for p := r.patience; ; {
		rows, err := r.db.QueryContext(ctx, query, args...)
		if err == nil {
			p.gone.Store(false)
		}
		if again, _ := r.dialect.passing(err); err == nil || !again || !p.wait(ctx, err) {
			return rows, err
		}
	}
}

func (r *patientReader) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	for p := r.patience; ; {
		row := r.db.QueryRowContext(ctx, query, args...)
		if again, _ := r.dialect.passing(row.Err()); row.Err() == nil || !again || !p.wait(ctx, row.Err()) {
			return row
		}
	}
}

// patiently reads by f, again from the beginning where the database goes away in its midst. Within a transaction it does not.
func patiently[T any](ctx context.Context, q querier, f func(q querier) (T, error)) (T, error) {
	r, ok := q.(*patientReader)
	if !ok {
		return f(q)
	}
	for p := r.patience; ; {
		v, err := f(r.db)
		if err == nil {
			p.gone.Store(false)
			return v, nil
		}
		if again, _ := r.dialect.passing(err); !again || !p.wait(ctx, err) {
			return v, err
		}
	}
}

// snapshot begins a transaction that reads what is in the ledger now, whatever is written meanwhile.
func (l *Ledger) snapshot(ctx context.Context) (*sql.Tx, error) {
	for p := l.patience; ; {
		tx, err := l.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: l.dialect.snapshots()})
		if again, _ := l.dialect.passing(err); err == nil || !again || !p.wait(ctx, err) {
			return tx, err
		}
	}
}
