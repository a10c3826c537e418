// Package paperdatatest makes the two databases of paper-dump for tests, and has a small paper-dump of its own, which takes rows and
// labels as the old one does. It shares no code with what is tested against it.
package paperdatatest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"twintape/internal/ledger/mariadbtest"
)

// Databases are paper-dump's two, on one server.
type Databases struct {
	Files, Labels string  // their names
	DB            *sql.DB // as root, whose default database has table File
	Socket        string
	User          string // may read and update both tables, no more
	Password      string
}

// Tables are as paper-dump's have been seen; columns that it does not use are left out.
const (
	fileTable = `CREATE TABLE %s.File (
		host varchar(100), filename varchar(100), filetype varchar(20), source varchar(200) NOT NULL PRIMARY KEY, obsnum bigint(20),
		filesize decimal(7,2), md5sum varchar(32), tape_index varchar(100), is_tapeable tinyint(1), is_deletable tinyint(1), KEY (obsnum)
	) ENGINE=InnoDB DEFAULT CHARSET=latin1`
	idsTable = `CREATE TABLE %s.ids (
		id mediumint(9) NOT NULL AUTO_INCREMENT PRIMARY KEY, label char(8), description text, date tinytext, status tinytext, capacity int(11)
	) ENGINE=InnoDB DEFAULT CHARSET=latin1`
)

// New makes the databases, gone after the test, with the labels in table ids.
func New(t testing.TB, s *mariadbtest.Server, labels ...string) *Databases {
	t.Helper()
	name, password := s.Database(t)
	d := &Databases{Files: name + "_files", Labels: name + "_mtx", Socket: s.Socket(), User: name, Password: password}
	root := s.Open("")
	defer root.Close()
	for _, statement := range []string{
		"CREATE DATABASE " + d.Files, "CREATE DATABASE " + d.Labels, fmt.Sprintf(fileTable, d.Files), fmt.Sprintf(idsTable, d.Labels),
		"GRANT SELECT, UPDATE ON " + d.Files + ".File TO " + name + "@localhost", "GRANT SELECT, UPDATE ON " + d.Labels + ".ids TO " + name + "@localhost",
	} {
		if _, err := root.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	d.DB = s.Open(d.Files)
	t.Cleanup(func() {
		for _, name := range []string{d.Files, d.Labels} {
			_, _ = d.DB.ExecContext(context.Background(), "DROP DATABASE "+name) // the server may be stopped; then they go with its folder
		}
		d.DB.Close()
	})
	for _, l := range labels {
		d.Exec(t, "INSERT INTO "+d.Labels+".ids (label) VALUES (?)", l)
	}
	return d
}

// Credentials writes an option file for a user who may not do more than is needed; it names no database.
func (d *Databases) Credentials(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "paperdata.cnf")
	if err := os.WriteFile(file, []byte(d.Options()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Options is the text of the option file.
func (d *Databases) Options() string {
	return fmt.Sprintf("[client]\nsocket = %s\nuser = %s\npassword = \"%s\"\n", d.Socket, d.User, d.Password)
}

// Exec runs a statement as root.
func (d *Databases) Exec(t testing.TB, query string, args ...any) {
	t.Helper()
	if _, err := d.DB.Exec(query, args...); err != nil {
		t.Fatal(err)
	}
}

// Add adds a row that is to go to tape.
func (d *Databases) Add(t testing.TB, source string, obsnum int64, md5 string) {
	t.Helper()
	d.Exec(t, "INSERT INTO File (source, filetype, obsnum, filesize, md5sum, is_tapeable, is_deletable) VALUES (CONVERT(UNHEX(?) USING latin1), 'uv', ?, 1.5, ?, 1, 0)", fmt.Sprintf("%x", source), obsnum, md5)
}

// Text returns what a query returns, a line for each row, columns apart by a space.
func (d *Databases) Text(query string, args ...any) (string, error) {
	rows, err := d.DB.Query(query, args...)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return "", err
	}
	var lines strings.Builder
	for rows.Next() {
		values := make([]sql.NullString, len(names))
		to := make([]any, len(names))
		for i := range values {
			to[i] = &values[i]
		}
		if err := rows.Scan(to...); err != nil {
			return "", err
		}
		for i, v := range values {
			if i > 0 {
				lines.WriteByte(' ')
			}
			if v.Valid {
				lines.WriteString(v.String)
			} else {
				lines.WriteString("NULL")
			}
		}
		lines.WriteByte('\n')
	}
	return lines.String(), rows.Err()
}

// Query is Text for a test.
func (d *Databases) Query(t testing.TB, query string, args ...any) string {
	t.Helper()
	text, err := d.Text(query, args...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// PaperDump is the old one, a process with a number.
type PaperDump struct {
	*Databases
	PID int
}

// TakeRows takes up to n rows, as it does: it reads which are free, then takes each by its name, whoever has it by then. It returns
// what it believes to have.
func (p *PaperDump) TakeRows(ctx context.Context, n int) (sources []string, err error) {
	rows, err := p.DB.QueryContext(ctx, "select source, filesize, md5sum from File where source is not null and filetype = 'uv' and is_tapeable = 1"+
		" and tape_index is null group by source order by obsnum limit ?", n)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		var source string
		var size, md5 sql.NullString
		if err := rows.Scan(&source, &size, &md5); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		sources = append(sources, source)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	tx, err := p.DB.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	for _, s := range sources {
		if _, err := tx.ExecContext(ctx, "update File set tape_index = ? where source = ?", fmt.Sprintf("1%d", p.PID), s); err != nil {
			return nil, errors.Join(err, tx.Rollback())
		}
	}
	return sources, tx.Commit()
}

// TakeLabels takes the lowest free label of each side.
func (p *PaperDump) TakeLabels(ctx context.Context) (labels [2]string, err error) {
	for side := range labels {
		err := p.DB.QueryRowContext(ctx, fmt.Sprintf("select label from %s.ids where status is null and label like 'PAPR%d%%' order by label", p.Labels, side+1)).Scan(&labels[side])
		if err != nil {
			return labels, err
		}
	}
	for _, l := range labels {
		res, err := p.DB.ExecContext(ctx, "update "+p.Labels+".ids set status = ?, description = 'Paper dump version:20260101' where label = ? and status is null", p.PID, l)
		if err != nil {
			return labels, err
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return labels, errors.Join(err, fmt.Errorf("label %s is gone", l))
		}
	}
	return labels, nil
}
