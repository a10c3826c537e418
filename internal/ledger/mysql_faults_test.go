package ledger_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"twintape/internal/ledger"
	"twintape/internal/ledger/mariadbtest"
	"twintape/internal/mycnf"
)

// schemaOf is what a database's tables are made of.
func schemaOf(t *testing.T, db *sql.DB, database string) string {
	t.Helper()
	var out strings.Builder
	for _, query := range []string{
		"SELECT table_name, column_name, column_type, is_nullable, COALESCE(column_default, '-') FROM information_schema.columns WHERE table_schema = ? ORDER BY 1, 2",
		"SELECT table_name, index_name, seq_in_index, column_name, COALESCE(sub_part, 0) FROM information_schema.statistics WHERE table_schema = ? ORDER BY 1, 2, 3",
		"SELECT table_name, column_name, COALESCE(referenced_table_name, '-'), '', '' FROM information_schema.key_column_usage WHERE table_schema = ? ORDER BY 1, 2, 3",
	} {
		rows, err := db.Query(query, database)
		must(t, err)
		for rows.Next() {
			var c [5]string
			must(t, rows.Scan(&c[0], &c[1], &c[2], &c[3], &c[4]))
			fmt.Fprintln(&out, c)
		}
		must(t, rows.Err())
		rows.Close()
	}
	return out.String()
}

// TestMigrationCutOff cuts the making of a ledger off at every one of its commands, before the server got it and after: who comes next
// goes on, and the schema is the same as one that was made at once.
func TestMigrationCutOff(t *testing.T) {
	s := mariadbtest.Shared(t)
	whole := client(t, s.Credentials(t))
	createMySQL(t, whole, ledger.Options{})
	db := s.Open("")
	defer db.Close()
	want := schemaOf(t, db, whole.Database)
	p := s.Proxy(t)
	cut := 0
	for n := 1; ; n++ {
		fault := []mariadbtest.Fault{mariadbtest.LoseOrder, mariadbtest.LoseReply}[n%2]
		c := client(t, s.Credentials(t))
		straight := c.Socket
		c.Socket = p.Socket
		hits := p.Hits()
		p.In(n, fault)
		l, err := ledger.CreateMySQL(t.Context(), c, ledger.Options{Patience: time.Millisecond})
		if err == nil {
			must(t, l.Close())
		}
		if p.Hits() == hits {
			p.Next(mariadbtest.NoFault)
			must(t, err)
			break
		}
		cut++
		c.Socket = straight
		if l, err = ledger.CreateMySQL(t.Context(), c, ledger.Options{}); err != nil {
			if l, err = ledger.OpenMySQL(t.Context(), c, ledger.Options{}); err != nil {
				t.Fatalf("cut off at command %d: %v", n, err)
			}
		}
		_, err = l.BeginJob(t.Context(), ledger.Owner{}, 1)
		must(t, err)
		must(t, l.Close())
		if got := schemaOf(t, db, c.Database); got != want {
			t.Fatalf("cut off at command %d, the schema is\n%s\nnot\n%s", n, got, want)
		}
		_, err = db.Exec("DROP DATABASE " + c.Database)
		must(t, err)
	}
	if cut < 60 {
		t.Errorf("only %d commands were cut off", cut)
	}
}

// TestNewerMeanwhile lets a newer twintape bring the schema up to date while an older one waits to do it.
func TestNewerMeanwhile(t *testing.T) {
	s := mariadbtest.Shared(t)
	c := client(t, s.Credentials(t))
	must(t, createMySQL(t, c, ledger.Options{}).Close())
	db := s.Open(c.Database)
	defer db.Close()
	newer, err := db.Conn(t.Context())
	must(t, err)
	defer newer.Close()
	var newest int
	must(t, db.QueryRow("SELECT MAX(version_id) FROM schema_version").Scan(&newest))
	for _, statement := range []string{
		fmt.Sprintf("DELETE FROM schema_version WHERE version_id = %d", newest), "DO GET_LOCK(CONCAT('twintape.', DATABASE()), 0)",
	} {
		_, err := newer.ExecContext(t.Context(), statement)
		must(t, err)
	}
	opened := make(chan error, 1)
	go func() {
		l, err := ledger.OpenMySQL(t.Context(), c, ledger.Options{})
		if err == nil {
			l.Close()
		}
		opened <- err
	}()
	for waits := 0; waits == 0; {
		must(t, db.QueryRow("SELECT COUNT(*) FROM information_schema.processlist WHERE db = ? AND info LIKE 'SELECT GET_LOCK%'", c.Database).Scan(&waits))
	}
	for _, statement := range []string{
		fmt.Sprintf("INSERT INTO schema_version (version_id, is_applied) VALUES (%d, 1), (99, 1)", newest), "DO RELEASE_LOCK(CONCAT('twintape.', DATABASE()))",
	} {
		_, err := newer.ExecContext(t.Context(), statement)
		must(t, err)
	}
	if err := <-opened; err == nil || !strings.Contains(err.Error(), "version 99") {
		t.Errorf("a newer schema: %v", err)
	}
}

// TestLeaseClock: leases are told by a clock that goes on evenly, whatever zone the server is in.
func TestLeaseClock(t *testing.T) {
	t.Setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
	s := mariadbtest.Private(t, "--secure-timestamp=NO")
	c := client(t, s.Credentials(t))
	l := createMySQL(t, c, ledger.Options{Lease: time.Minute})
	db := s.Open("")
	defer db.Close()
	var last time.Time
	// The hour that comes twice: 2026-10-25 00:00 to 02:00 UTC.
	for at := time.Date(2026, 10, 24, 23, 50, 0, 0, time.UTC); at.Hour() != 2; at = at.Add(10 * time.Minute) {
		_, err := db.Exec(fmt.Sprintf("SET GLOBAL init_connect = 'SET timestamp = %d'", at.Unix()))
		must(t, err)
		must(t, l.Close())
		l = openMySQL(t, c, ledger.Options{Lease: time.Minute})
		j, err := l.BeginJob(t.Context(), ledger.Owner{}, 1)
		must(t, err)
		if got := j.Lease.Sub(at); got != time.Minute || !j.Lease.After(last) {
			t.Errorf("at %v the lease is until %v", at, j.Lease)
		}
		last = j.Lease
		must(t, l.FinishJob(t.Context(), j.ID, ledger.Stopped, ""))
	}
}

// TestServerRefuses: what the server itself does not do is said in words that tell what to do, nothing is recorded, and calls come
// through when it is over.
func TestServerRefuses(t *testing.T) {
	s := mariadbtest.Private(t, "--max-connections=12")
	c := client(t, s.Credentials(t))
	l := createMySQL(t, c, ledger.Options{Patience: 300 * time.Millisecond})
	root := s.Open(c.Database)
	defer root.Close()
	do := func(statements ...string) {
		t.Helper()
		for _, s := range statements {
			_, err := root.Exec(s)
			must(t, err)
		}
	}
	begin := func() error { _, err := l.BeginJob(t.Context(), ledger.Owner{}, 1); return err }
	open := func() error {
		l, err := ledger.OpenMySQL(t.Context(), c, ledger.Options{})
		if err == nil {
			err = l.Close()
		}
		return err
	}
	jobs := 0
	refused := func(call func() error, want string) {
		t.Helper()
		err := call()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), c.Password) {
			t.Errorf("%v, want %s", err, want)
		}
		var n int
		if err := root.QueryRow("SELECT COUNT(*) FROM jobs").Scan(&n); err != nil || n != jobs {
			t.Errorf("%d jobs after %q, want %d (%v)", n, want, jobs, err)
		}
	}
	fine := func(call func() error) {
		t.Helper()
		must(t, call())
	}

	do("SET GLOBAL read_only = 1")
	refused(begin, "the server takes no writes")
	fine(open) // who reads may: a replica does while the other is away
	do("SET GLOBAL read_only = 0")
	fine(begin)
	jobs++

	user := c.User + "@localhost"
	do("DROP USER "+c.User+"@'%'", "REVOKE ALL ON "+c.Database+".* FROM "+user, "GRANT SELECT ON "+c.Database+".* TO "+user)
	must(t, l.Close())
	l = openMySQL(t, c, ledger.Options{Patience: 300 * time.Millisecond})
	refused(begin, "the user lacks a right there")
	do("REVOKE SELECT ON " + c.Database + ".* FROM " + user)
	refused(open, "user's rights")
	do("GRANT ALL ON " + c.Database + ".* TO " + user)
	must(t, l.Close())
	l = openMySQL(t, c, ledger.Options{Patience: 300 * time.Millisecond})
	fine(begin)
	jobs++

	// The test's own connection is there already.
	must(t, l.Close())
	l = openMySQL(t, c, ledger.Options{Patience: 300 * time.Millisecond})
	var others []io.Closer
	for range 20 {
		other := openTogether(t, s, c)
		if other == nil {
			break
		}
		others = append(others, other)
	}
	refused(open, "the server has as many connections as it allows")
	for _, o := range others {
		must(t, o.Close())
	}
	for err := open(); err != nil; err = open() { // the server may count them a little longer
		if !strings.Contains(err.Error(), "as many connections") {
			t.Fatal(err)
		}
	}
	fine(begin)
	jobs++
}

// TestWaitedTooLong: the server gave up waiting for another's transaction. The call waits again, for as long as its patience goes.
func TestWaitedTooLong(t *testing.T) {
	s := mariadbtest.Shared(t)
	c := client(t, s.Credentials(t))
	p := s.Proxy(t)
	c.Socket = p.Socket
	for _, patience := range []time.Duration{time.Minute, time.Nanosecond} {
		l, err := ledger.CreateMySQL(t.Context(), c, ledger.Options{Patience: patience})
		if err != nil {
			l = openMySQL(t, c, ledger.Options{Patience: patience})
		}
		p.In(3, mariadbtest.LockWait)
		p.Then(5, mariadbtest.LockWait)
		_, err = l.BeginJob(t.Context(), ledger.Owner{}, 1)
		jobs, listErr := l.Jobs(t.Context(), 0)
		must(t, listErr)
		if patience == time.Minute && (err != nil || len(jobs) != 1) ||
			patience == time.Nanosecond && (len(jobs) != 1 || err == nil || !strings.Contains(err.Error(), "another process has been writing to it for too long")) {
			t.Errorf("with %v: %d jobs, %v", patience, len(jobs), err)
		}
		p.Next(mariadbtest.NoFault)
		must(t, l.Close())
	}
	if p.Hits() != 3 {
		t.Errorf("%d faults", p.Hits())
	}
}

// openTogether holds a connection as the user of c; nil if the server has no more.
func openTogether(t *testing.T, s *mariadbtest.Server, c mycnf.Client) io.Closer {
	t.Helper()
	db := s.OpenAs(c.User, c.Password, c.Database)
	if err := db.PingContext(t.Context()); err != nil {
		must(t, db.Close())
		return nil
	}
	return db
}

// TestServerDiskFull lets the server's disk be full in the midst of a call, of which a server may die.
func TestServerDiskFull(t *testing.T) {
	s := mariadbtest.Private(t)
	c := client(t, s.Credentials(t))
	must(t, createMySQL(t, c, ledger.Options{}).Close())
	must(t, s.Stop())
	data, aside := filepath.Join(s.Dir, "data"), filepath.Join(s.Dir, "aside")
	must(t, os.Rename(data, aside))
	must(t, os.Mkdir(data, 0o700))
	if err := unix.Mount("tmpfs", data, "tmpfs", 0, "size=400m"); err != nil {
		t.Fatalf("a disk of its own needs root: %v", err)
	}
	t.Cleanup(func() {
		s.Kill()
		must(t, unix.Unmount(data, 0))
	})
	if out, err := exec.Command("cp", "-a", aside+"/.", data).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, s.Start())
	l := openMySQL(t, c, ledger.Options{Patience: time.Second})
	filler := filepath.Join(data, "filler")
	var fs unix.Statfs_t
	must(t, unix.Statfs(data, &fs))
	f, err := os.Create(filler)
	must(t, err)
	must(t, unix.Fallocate(int(f.Fd()), 0, 0, int64(fs.Bavail)*fs.Bsize-(1<<20)))
	must(t, f.Close())
	var add []ledger.NewItem
	for i := range 5000 {
		add = append(add, ledger.NewItem{Host: "h", Path: fmt.Sprintf("/%d%s", i, strings.Repeat("x", 2500))})
	}
	_, err = l.Enqueue(t.Context(), add, false)
	if err == nil || !strings.Contains(err.Error(), "its disk is full") {
		t.Errorf("queued on a full disk: %v", err)
	}
	must(t, s.Kill()) // it may have died of it; if not, it does now
	must(t, os.Remove(filler))
	must(t, s.Start())
	count := func() (n int) {
		for _, err := range l.Items(context.Background(), ledger.Filter{}) {
			must(t, err)
			n++
		}
		return n
	}
	if n := count(); n != 0 {
		t.Errorf("%d items are left of a call that failed", n)
	}
	_, err = l.Enqueue(t.Context(), add, false)
	must(t, err)
	if n := count(); n != len(add) {
		t.Errorf("%d items, want %d", n, len(add))
	}
}
