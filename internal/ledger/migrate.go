package ledger

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// schemaTable is where the version of a ledger's schema is kept.
const schemaTable = "schema_version"

// migrate brings the schema up to date.
func migrate(ctx context.Context, db *sql.DB, d dialect) error {
	p, err := provider(db, d)
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring its schema up to date: %w", err)
	}
	return nil
}

// isCurrent tells whether the schema is up to date.
func isCurrent(ctx context.Context, db *sql.DB, d dialect) (bool, error) {
	p, err := provider(db, d)
	if err != nil {
		return false, err
	}
	pending, err := p.HasPending(ctx)
	return !pending, err
}

// checkSchema refuses files that are no ledger or one of a newer twintape, before anything is changed in them.
func checkSchema(ctx context.Context, db *sql.DB, d dialect) error {
	p, err := provider(db, d)
	if err != nil {
		return err
	}
	known := p.ListSources()
	newest := known[len(known)-1].Version
	var has sql.NullInt64
	if err := db.QueryRowContext(ctx, "SELECT MAX(version_id) FROM "+schemaTable).Scan(&has); err != nil {
		return fmt.Errorf("it has no readable schema version, so it is no ledger: %w", err)
	}
	if !has.Valid {
		return errors.New("it has no schema version, so it is no ledger")
	}
	if has.Int64 > newest {
		return fmt.Errorf("its schema is version %d, but this twintape knows only up to %d: use the newer twintape that wrote it",
			has.Int64, newest)
	}
	return nil
}

// provider has the migrations of a database. Their numbers are the same in all.
func provider(db *sql.DB, d dialect) (*goose.Provider, error) {
	folder := "migrations/mysql"
	if d.schema() == goose.DialectSQLite3 {
		folder = "migrations/sqlite"
	}
	dir, err := fs.Sub(migrations, folder)
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(d.schema(), db, dir,
		goose.WithTableName(schemaTable), goose.WithDisableGlobalRegistry(true),
		goose.WithGoMigrations(goose.NewGoMigration(4, &goose.GoFunc{RunTx: fillBrowse}, nil)))
}
