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
	if err := errors.Join(migrate(ctx, db), db.Close()); err != nil {
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
	items, err := itemQuery(opt.DeletableAfter)
	if err != nil {
		return nil, err
	}
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
	err = checkSchema(ctx, db)
	if err == nil {
		err = migrate(ctx, db)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger %s: %w", path, explain(err)), db.Close())
	}
	return &Ledger{db: db, path: path, items: items, turn: make(chan struct{}, 1)}, nil
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

// explain says what to do about SQLite's own errors where that is known.
func explain(err error) error {
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
