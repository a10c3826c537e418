package ledger

import (
	"database/sql"
	"path/filepath"
	"testing"

	"twintape/internal/ledger/mariadbtest"
	"twintape/internal/mycnf"
)

// subject is a fresh ledger of a test that looks under its surface.
type subject struct {
	*Ledger
	inside *sql.DB // its database, for who may do anything there
	server bool    // it is MariaDB's
}

// inEach runs a test on a fresh ledger in each database.
func inEach(t *testing.T, test func(t *testing.T, l subject)) {
	t.Run("SQLite", func(t *testing.T) {
		l := openTest(t)
		test(t, subject{Ledger: l, inside: l.db})
	})
	t.Run("MariaDB", func(t *testing.T) {
		file := mariadbtest.Shared(t).Credentials(t)
		test(t, openServer(t, file, file))
	})
}

// openServer makes a ledger in the database that one file names, if there is none, and opens it as another says.
func openServer(t *testing.T, file, as string) subject {
	t.Helper()
	c, err := mycnf.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	l, err := CreateMySQL(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if as != file {
		l.Close()
		if c, err = mycnf.Read(as); err == nil {
			l, err = OpenMySQL(t.Context(), c, Options{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { l.Close() })
	inside := mariadbtest.Shared(t).Open(c.Database)
	t.Cleanup(func() { inside.Close() })
	return subject{Ledger: l, inside: inside, server: true}
}

// openKilled makes an empty ledger for a process that is killed, and returns how it and the test open it.
func openKilled(t *testing.T, server bool) (where string, open func() *Ledger) {
	t.Helper()
	where = filepath.Join(t.TempDir(), "ledger.db")
	if server {
		where = mariadbtest.Shared(t).Credentials(t)
		openServer(t, where, where).Close()
	} else {
		l, err := Create(t.Context(), where)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	return where, func() *Ledger {
		l, err := openWhere(t.Context(), where)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
}
