package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// busyTimeout is how long a writer waits for another process's transaction, in milliseconds. The longest are those that
// plan or flush archives of millions of small members.
const busyTimeout = "120000"

// Create makes a new ledger file, readable by its owner only, and opens it. The folder must exist. A file that is there
// already is left alone and the error wraps fs.ErrExist. A half-made ledger never stands at path.
func Create(ctx context.Context, path string) (*Ledger, error) {
	if err := create(ctx, path); err != nil {
		return nil, fmt.Errorf("create ledger %s: %w", path, err)
	}
	return Open(ctx, path, Options{})
}

func create(ctx context.Context, path string) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	draft, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(draft.Name())) }()
	if err := draft.Close(); err != nil {
		return err
	}
	db, err := openFile(draft.Name())
	if err != nil {
		return err
	}
	if err := errors.Join(migrate(ctx, db, sqliteFile{}), db.Close()); err != nil {
		return err
	}
	if err := os.Link(draft.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Open opens the ledger at path and brings its schema up to date. The error wraps ErrNoLedger if there is none: only
// Create makes one. A ledger of a newer twintape is refused.
func Open(ctx context.Context, path string, opt Options) (*Ledger, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w at %s: bring a backup there, `twintape scan` the tapes, or make a new one with `twintape init`",
			ErrNoLedger, path)
	} else if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	db, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", path, err)
	}
	l, err := open(db, db, sqliteFile{}, path, opt)
	if err == nil {
		err = checkSchema(ctx, db, sqliteFile{})
	}
	if err == nil {
		err = migrate(ctx, db, sqliteFile{})
	}
	if err == nil {
		err = l.fillFolders(ctx)
	}
	if err == nil {
		err = l.fillNames(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger %s: %w", path, sqliteFile{}.explain(err)), db.Close())
	}
	return l, nil
}

func openFile(path string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	dsn := url.URL{Scheme: "file", Path: abs, RawQuery: url.Values{
		"mode":    {"rw"}, // never create
		"_txlock": {"immediate"},
		"_dqs":    {"0"},
		"_pragma": {
			"busy_timeout(" + busyTimeout + ")",
			"journal_mode(WAL)",
			"synchronous(FULL)",
			"foreign_keys(ON)",
		},
	}.Encode()}
	return sql.Open("sqlite", dsn.String())
}

// sqliteFile is the dialect of SQLite. Its file is locked as a whole by who writes, and used on one machine at a time.
type sqliteFile struct{}

func (sqliteFile) schema() goose.Dialect { return goose.DialectSQLite3 }
func (sqliteFile) shared() bool          { return false }
func (sqliteFile) now() string           { return "CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000000" }
func (sqliteFile) leaseOver() string     { return "1 = 1" } // its log is shared memory: what another boot began has ended
func (sqliteFile) forUpdate() string     { return "" }
func (sqliteFile) skipLocked() string    { return "" }

func (sqliteFile) snapshots() sql.IsolationLevel { return sql.LevelDefault }

func (sqliteFile) enter(context.Context, *sql.Tx, scope) (string, error) { return "", nil }

func (sqliteFile) outcome(_ context.Context, _ string, err error) error { return err }

func (sqliteFile) passing(error) (again, later bool) { return false, false }

func (sqliteFile) explain(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY:
		return fmt.Errorf("another process has been writing to it for too long; see what runs (`twintape jobs`) and try again: %w", err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("its disk is full; make room and try again: %w", err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN:
		return fmt.Errorf("this user must be able to write the file and its folder: %w", err)
	case sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("the file is damaged; bring a backup there: %w", err)
	case sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("the file is no ledger: %w", err)
	}
	return err
}
