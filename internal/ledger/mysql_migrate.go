package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"twintape/internal/mycnf"
)

// Numbers of the servers' errors about what is there already, or not any more.
const (
	tableExists      = 1050
	unknownTable     = 1051
	columnExists     = 1060
	keyExists        = 1061
	nothingToDrop    = 1091
	constraintExists = 1826
)

// known tells whether the database holds a ledger's table of its schema's version.
func (s *server) known(ctx context.Context) (bool, error) {
	var n int
	err := s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?", schemaTable).Scan(&n)
	return n > 0, err
}

// halfMade tells whether somebody began to make a ledger here, and did not come further than to the empty table of its version.
func (s *server) halfMade(ctx context.Context) (bool, error) {
	known, err := s.known(ctx)
	if err != nil || !known {
		return false, err
	}
	var rows, columns int
	err = s.db.QueryRowContext(ctx, "SELECT (SELECT COUNT(*) FROM "+schemaTable+"), (SELECT COUNT(*) FROM information_schema.columns"+
		" WHERE table_schema = DATABASE() AND table_name = ? AND column_name IN ('version_id', 'is_applied'))", schemaTable).Scan(&rows, &columns)
	return rows == 0 && columns == 2, err
}

// migrate brings the schema up to date, one process at a time. What an earlier one began and did not end, because it, the server
// or the connection was killed, is gone on with.
func (s *server) migrate(ctx context.Context) (err error) {
	conn, err := s.db.Conn(ctx) // the lock is the connection's
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	var got sql.NullInt64
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(CONCAT('twintape.', LEFT(DATABASE(), 50)), ?)", lockWait).Scan(&got); err != nil {
		return err
	}
	if got.Int64 != 1 {
		return errors.New("another process is bringing its schema up to date for too long; see what runs and try again")
	}
	err = s.mayMigrate(ctx)
	if err == nil {
		again := sql.OpenDB(resuming{s.connector})
		err = errors.Join(migrate(ctx, again, s), again.Close())
	}
	_, unlockErr := conn.ExecContext(context.WithoutCancel(ctx), "SELECT RELEASE_LOCK(CONCAT('twintape.', LEFT(DATABASE(), 50)))")
	return errors.Join(err, unlockErr)
}

// mayMigrate makes sure, under the lock, that the schema is not newer than what is known here: whoever had the lock may have
// been a newer twintape.
func (s *server) mayMigrate(ctx context.Context) error {
	known, err := s.known(ctx)
	if err != nil || !known {
		return err
	}
	half, err := s.halfMade(ctx)
	if err != nil || !half {
		return errors.Join(err, checkSchema(ctx, s.db, s))
	}
	_, err = s.db.ExecContext(ctx, "DROP TABLE "+schemaTable) // goose makes it, with its first row
	return err
}

// resuming makes connections for migrations. The servers commit each statement that changes the schema by itself, so one that was
// killed in the midst of a migration has left the first of its statements done. They pass when they are met again.
type resuming struct{ driver.Connector }

func (r resuming) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := r.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return resumingConn{c.(wholeConn)}, nil
}

// wholeConn is what database/sql asks a connection of this driver for.
type wholeConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type resumingConn struct{ wholeConn }

func (c resumingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	r, err := c.wholeConn.ExecContext(ctx, query, args)
	switch mycnf.Number(err) {
	case tableExists, columnExists, keyExists, constraintExists, unknownTable, nothingToDrop:
		return driver.RowsAffected(0), nil
	}
	return r, err
}
