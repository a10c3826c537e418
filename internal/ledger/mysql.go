package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/pressly/goose/v3"

	"twintape/internal/mycnf"
)

// CreateMySQL makes the ledger's tables in an empty database of MariaDB or MySQL, and opens it. The error wraps os.ErrExist if
// there is a ledger already.
func CreateMySQL(ctx context.Context, c mycnf.Client, opt Options) (*Ledger, error) {
	s, err := connect(c)
	if err != nil {
		return nil, fmt.Errorf("create ledger %s: %w", c, err)
	}
	var tables int
	err = s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()").Scan(&tables)
	if err == nil && tables > 0 {
		err = fmt.Errorf("%w: the database holds %d tables, and an empty one is needed", os.ErrExist, tables)
	}
	if err == nil {
		err = s.migrate(ctx)
	}
	if err = errors.Join(err, s.db.Close()); err != nil {
		return nil, fmt.Errorf("create ledger %s: %w", c, s.explain(err))
	}
	return OpenMySQL(ctx, c, opt)
}

// OpenMySQL opens the ledger in a database of MariaDB or MySQL and brings its schema up to date. The error wraps ErrNoLedger if
// there is none: only CreateMySQL makes one. A ledger of a newer twintape is refused. While the Ledger is open its connections
// come and go; a call during which the database goes away waits for it.
func OpenMySQL(ctx context.Context, c mycnf.Client, opt Options) (*Ledger, error) {
	s, err := connect(c)
	if err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", c, err)
	}
	l, err := open(s.db, nil, s, c.String(), opt)
	if err == nil {
		l.read = &patientReader{db: s.db, dialect: s, patience: l.patience}
		s.patience = l.patience
		err = s.prepare(ctx)
	}
	if err == nil {
		err = l.fillFolders(ctx)
	}
	if err == nil {
		err = l.fillNames(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger %s: %w", c, s.explain(err)), s.db.Close())
	}
	return l, nil
}

// server is the dialect of MariaDB and MySQL.
type server struct {
	db       *sql.DB
	patience patience

	connector driver.Connector
}

// lockWait is how long a writer waits for another's transaction, in seconds. The longest are those that plan or flush archives of
// millions of small members.
const lockWait = 120

// settings are made on every connection. A transaction whose process was stopped in its midst would hold its locks; MariaDB ends
// it after ten seconds, and MySQL, which has no such setting, passes over the comment. An EXISTS is asked row by
// row, as SQLite does: where few rows are wanted nothing must be gathered first. In a zone with summer time the clock that leases are
// told by would go back an hour in autumn.
var settings = []string{
	"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
	fmt.Sprintf("SET SESSION time_zone = '+00:00', sql_mode = 'TRADITIONAL', innodb_lock_wait_timeout = %d /*M! , idle_write_transaction_timeout = 10, optimizer_switch = 'exists_to_in=off' */", lockWait),
}

func connect(c mycnf.Client) (*server, error) {
	connector, err := c.Connector("utf8mb4_bin", settings...)
	if err != nil {
		return nil, err
	}
	return &server{db: mycnf.Pool(connector), connector: connector}, nil
}

// forgotten is after how long the outcome of a transaction is not asked for any more.
const forgotten = 24 * time.Hour

// prepare makes the database ready for use.
func (s *server) prepare(ctx context.Context) error {
	known, err := s.known(ctx)
	if err != nil {
		return err
	}
	if !known {
		return fmt.Errorf("%w there: restore a backup, `twintape scan` the tapes, or make a new one with `twintape init --ledger-credentials FILE`", ErrNoLedger)
	}
	half, err := s.halfMade(ctx)
	if err == nil && !half {
		err = checkSchema(ctx, s.db, s)
	}
	if err != nil {
		return err
	}
	current := false
	if !half {
		if current, err = isCurrent(ctx, s.db, s); err != nil {
			return err
		}
	}
	if !current {
		if err := s.migrate(ctx); err != nil {
			return err
		}
	}
	_, err = s.db.ExecContext(ctx, "DELETE FROM commits WHERE begun < "+s.now()+" - ? LIMIT 100000", forgotten.Nanoseconds())
	switch mycnf.Number(err) {
	case mycnf.ReadOnly, mycnf.ReadOnlyEngine, mycnf.CommandDenied: // who only reads, from a replica perhaps, needs no more than that; who writes is told then
		return nil
	}
	return err
}

func (*server) schema() goose.Dialect { return goose.DialectMySQL }
func (*server) shared() bool          { return true }
func (*server) now() string           { return "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED) * 1000" }
func (s *server) leaseOver() string   { return "j.lease < " + s.now() }
func (*server) forUpdate() string     { return " FOR UPDATE" }
func (*server) skipLocked() string    { return " FOR UPDATE SKIP LOCKED" }

func (*server) snapshots() sql.IsolationLevel { return sql.LevelRepeatableRead }

// The rows of table gates: who writes alone locks the first, all others share it; who changes what may be queued locks the second.
const (
	everything = 1
	theQueue   = 2
)

// enter leaves a row that tells later whether the transaction came through, and waits for its scope. The row comes first: from then
// on the server ends the transaction if its process stands still.
func (s *server) enter(ctx context.Context, tx *sql.Tx, in scope) (mark string, err error) {
	mark = uuid.NewString()
	if _, err := tx.ExecContext(ctx, "INSERT INTO commits (token, begun) VALUES (?, "+s.now()+")", mark); err != nil {
		return "", err
	}
	pass := func(gate int, how string) error {
		if err == nil {
			err = tx.QueryRowContext(ctx, "SELECT id FROM gates WHERE id = ? "+how, gate).Scan(&gate)
		}
		return err
	}
	switch in {
	case alone:
		return mark, pass(everything, "FOR UPDATE")
	case queueOnly:
		return mark, errors.Join(pass(everything, "LOCK IN SHARE MODE"), pass(theQueue, "FOR UPDATE"))
	}
	return mark, pass(everything, "LOCK IN SHARE MODE")
}

// asked is the time in the row of a mark that the transaction itself did not leave, but who looked for it.
const asked = 0

// outcome looks a transaction up whose connection broke while it was committed. It leaves the row of the mark itself: as long as
// the transaction is open on the server that waits, then it fails if the transaction came through; if not, it never will. The
// answer to that may be lost as well, so the two rows differ.
func (s *server) outcome(ctx context.Context, mark string, err error) error {
	if again, later := s.passing(err); !again || !later {
		return err
	}
	for p := s.patience; ; {
		begun := int64(asked)
		_, askErr := s.db.ExecContext(ctx, "INSERT INTO commits (token, begun) VALUES (?, ?)", mark, asked)
		if mycnf.Number(askErr) == mycnf.DuplicateKey {
			askErr = s.db.QueryRowContext(ctx, "SELECT begun FROM commits WHERE token = ?", mark).Scan(&begun)
		}
		switch {
		case errors.Is(askErr, sql.ErrNoRows), askErr == nil && begun == asked:
			return err
		case askErr == nil:
			return nil
		}
		if _, later := s.passing(askErr); !later || !p.wait(ctx, askErr) {
			// No caller may make the call again: what broke the connection is not wrapped.
			return fmt.Errorf("its connection broke (%v), and it is not known whether it is recorded: %v", err, askErr)
		}
	}
}

func (*server) passing(err error) (again, later bool) { return mycnf.Passing(err) }

func (*server) explain(err error) error {
	if mycnf.Number(err) == mycnf.LockTimeout {
		return fmt.Errorf("another process has been writing to it for too long; see what runs (`twintape jobs`) and try again: %w", err)
	}
	return mycnf.Explain(err)
}
