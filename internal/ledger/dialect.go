package ledger

import (
	"context"
	"database/sql"

	"github.com/pressly/goose/v3"
)

// dialect is all in which the databases differ. Queries are written once, for both.
type dialect interface {
	// schema is how goose calls the database.
	schema() goose.Dialect
	// shared tells whether several machines may use it at once.
	shared() bool
	// now is an expression: the database's clock, in Unix nanoseconds.
	now() string
	// leaseOver is a condition on a job j: its process counts as dead to who is on another machine.
	leaseOver() string
	// forUpdate makes a SELECT lock the rows it returns until the transaction ends; skipLocked leaves out what others have locked.
	forUpdate() string
	skipLocked() string
	// snapshots is the isolation of a transaction that reads one state.
	snapshots() sql.IsolationLevel
	// enter is the first thing in a transaction that writes. The mark is for outcome.
	enter(ctx context.Context, tx *sql.Tx, s scope) (mark string, err error)
	// outcome finds out whether a transaction is in the ledger whose commit returned an error; nil if it is.
	outcome(ctx context.Context, mark string, err error) error
	// passing tells whether an error passes, so that the same call may be made again: at once, or after a while.
	passing(err error) (again, later bool)
	// explain says what to do about the database's own errors where that is known.
	explain(err error) error
}

// scope is what a transaction that writes keeps others from doing meanwhile.
type scope int

const (
	// alone: no other writer overlaps. The rule.
	alone scope = iota
	// queueOnly: no other writer changes what may be queued. Writers of other scopes overlap, but for alone.
	queueOnly
	// beside: like writers overlap. For what comes often or takes long in a job; it must lock the rows that it decides by.
	beside
)
