// Package paperdata is the SQL to the two databases of paper-dump: table File, which says what is to go to tape and where it lies
// there, and table ids, which says which labels are free.
//
// It promises that a row or a label is changed only while it is free or this ledger's own, under a lock on it and in a transaction;
// that an old paper-dump passes over what this ledger has taken; and that every call may be repeated. Whoever takes rows and labels
// the same way never gets what another has. An old paper-dump does not look again before it takes a row that it read some time
// ago: that it overwrote a claim is seen by Holders and Reserve. Texts are bytes. A DB may be used concurrently.
package paperdata

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"twintape/internal/mycnf"
)

// Config names the databases, and the ledger on whose behalf they are used.
type Config struct {
	Server mycnf.Client
	Files  string // database with table File; letters, digits, _, $ and - only, as in Labels
	Labels string // database with table ids
	Ledger string // what tells the ledger from others: eight hexadecimal digits
}

// DB is an open connection to both databases.
type DB struct {
	db    *sql.DB
	where string
	claim string // what tape_index says of a row that this ledger has taken, and how it begins where the row is on tape

	file  string // table File, as a query names it
	value string // a source, as its column compares it; bytesOf it is the argument
	key   string // condition on a row of File; bytesOf its source is both arguments
	index int    // the longest tape_index, in characters

	ids    string // table ids
	status any    // what status says of a label that this ledger has taken
	date   dating
}

// waitForLocks is how long a statement waits for another's transaction, in seconds: all are short.
const waitForLocks = 30

// Open makes sure that the databases answer and that their tables are such that what is promised can be kept.
func Open(ctx context.Context, c Config) (*DB, error) {
	server := c.Server
	server.Database = "" // both are named in each query
	connector, err := server.Connector("utf8mb4_bin", "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
		fmt.Sprintf("SET SESSION sql_mode = 'TRADITIONAL', innodb_lock_wait_timeout = %d", waitForLocks))
	_, address := server.Address()
	d := &DB{
		where: fmt.Sprintf("%s and %s on %s", c.Files, c.Labels, address), claim: "twintape:" + c.Ledger,
		file: quoted(c.Files, "File"), ids: quoted(c.Labels, "ids"),
	}
	if err != nil {
		return nil, d.failed("open", err)
	}
	d.db = mycnf.Pool(connector)
	if err = d.look(ctx, c); err != nil {
		return nil, errors.Join(d.failed("open", err), d.db.Close())
	}
	return d, nil
}

func quoted(database, table string) string { return "`" + database + "`.`" + table + "`" }

// Close gives the connections up.
func (d *DB) Close() error { return d.db.Close() }

// Claim is what tape_index says of a row that this ledger has taken.
func (d *DB) Claim() string { return d.claim }

func (d *DB) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	if mycnf.Number(err) == mycnf.LockTimeout {
		err = fmt.Errorf("another has held its rows for too long; try again: %w", err)
	}
	return fmt.Errorf("paper-dump's databases %s: %s: %w", d.where, what, mycnf.Explain(err))
}

// column is what the server tells of one.
type column struct {
	kind      string // its type without lengths
	length    int64  // of a text, in characters; else 0
	charset   string // of a text, else empty
	collation string
}

func (c column) isText() bool {
	return strings.HasSuffix(c.kind, "char") || strings.HasSuffix(c.kind, "text")
}

func (c column) String() string {
	if strings.HasSuffix(c.kind, "char") {
		return fmt.Sprintf("%s(%d)", c.kind, c.length)
	}
	return c.kind
}

// columns returns a table's columns by their names.
func (d *DB) columns(ctx context.Context, database, table string, want ...string) (map[string]column, error) {
	var engine sql.NullString
	err := d.db.QueryRowContext(ctx, "SELECT engine FROM information_schema.tables WHERE table_schema = ? AND table_name = ?", database, table).Scan(&engine)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("there is no table %s.%s, or the user of the credentials file may not see it", database, table)
	}
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(engine.String, "InnoDB") {
		return nil, fmt.Errorf("table %s.%s is kept by %s, which has no transactions: `ALTER TABLE %[1]s.%[2]s ENGINE = InnoDB`", database, table, engine.String)
	}
	rows, err := d.db.QueryContext(ctx, `SELECT column_name, data_type, COALESCE(character_maximum_length, 0), COALESCE(character_set_name, ''),
		COALESCE(collation_name, '') FROM information_schema.columns WHERE table_schema = ? AND table_name = ?`, database, table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make(map[string]column)
	for rows.Next() {
		var name string
		var c column
		if err := rows.Scan(&name, &c.kind, &c.length, &c.charset, &c.collation); err != nil {
			return nil, err
		}
		c.kind = strings.ToLower(c.kind)
		found[strings.ToLower(name)] = c
	}
	for _, name := range want {
		if _, ok := found[name]; !ok {
			return nil, fmt.Errorf("table %s.%s has no column %s", database, table, name)
		}
	}
	return found, rows.Err()
}

// leastIndex is what tape_index must hold: a claim, two labels of eight characters, and numbers.
const leastIndex = len("twintape:12345678[PAPR1001,PAPR2001]-123456:123456")

// plainName is a name of the server's own, which can stand in a query.
var plainName = regexp.MustCompile(`^[0-9A-Za-z_]*$`)

// look learns how the columns are made, and refuses those that cannot hold what must be written.
func (d *DB) look(ctx context.Context, c Config) error {
	file, err := d.columns(ctx, c.Files, "File", "source", "md5sum", "filetype", "is_tapeable", "obsnum", "tape_index", "is_deletable")
	if err != nil {
		return err
	}
	index, source := file["tape_index"], file["source"]
	if !index.isText() || index.length < int64(leastIndex) {
		return fmt.Errorf("%s.File.tape_index is %s, too narrow for what twintape writes: it takes up to %d characters; "+
			"`ALTER TABLE %[1]s.File MODIFY tape_index varchar(100)`", c.Files, index, leastIndex)
	}
	d.index = int(min(index.length, 1<<16))
	if !plainName.MatchString(source.charset + source.collation) {
		return fmt.Errorf("%s.File.source has the collation %q", c.Files, source.collation)
	}
	d.value = "UNHEX(?)"
	if source.charset != "" {
		d.value = fmt.Sprintf("CONVERT(UNHEX(?) USING %s) COLLATE %s", source.charset, source.collation)
	}
	d.key = "source = " + d.value + " AND CAST(source AS BINARY) = UNHEX(?)" // the first finds it by an index, the second is about its bytes

	ids, err := d.columns(ctx, c.Labels, "ids", "label", "date", "status")
	if err != nil {
		return err
	}
	if d.status, err = statusFor(ids["status"], d.claim, c.Ledger); err != nil {
		return fmt.Errorf("%s.ids.status %w", c.Labels, err)
	}
	if d.date, err = datingFor(ids["date"]); err != nil {
		return fmt.Errorf("%s.ids.date %w", c.Labels, err)
	}
	return nil
}

// bytesOf is how bytes are handed over, for UNHEX: the server takes no text that is not of the connection's charset.
func bytesOf(s string) string { return hex.EncodeToString([]byte(s)) }

// attempts is how often a transaction is tried that loses against another one.
const attempts = 20

// update runs f in a transaction, again if the server ends it in favour of another.
func (d *DB) update(ctx context.Context, what string, f func(tx *sql.Tx) error) error {
	var err error
	for range attempts {
		if err = d.transact(ctx, f); err == nil {
			return nil
		}
		if again, later := mycnf.Passing(err); !again || later {
			break
		}
	}
	return d.failed(what, err)
}

func (d *DB) transact(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback() // the cause is told; a rollback that fails too has lost its connection, and the transaction with it
		return err
	}
	return tx.Commit()
}

// change runs one statement and returns how many rows it is about.
func change(ctx context.Context, tx *sql.Tx, query string, args ...any) (int64, error) {
	res, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
