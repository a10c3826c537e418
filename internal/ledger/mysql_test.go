package ledger_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"twintape/internal/ledger"
	"twintape/internal/ledger/mariadbtest"
	"twintape/internal/mycnf"
)

func createMySQL(t testing.TB, c mycnf.Client, o ledger.Options) *ledger.Ledger {
	t.Helper()
	l, err := ledger.CreateMySQL(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func openMySQL(t testing.TB, c mycnf.Client, o ledger.Options) *ledger.Ledger {
	t.Helper()
	l, err := ledger.OpenMySQL(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestMySQLRefused(t *testing.T) {
	s := mariadbtest.Shared(t)
	c := client(t, s.Credentials(t))
	if _, err := ledger.OpenMySQL(t.Context(), c, ledger.Options{}); !errors.Is(err, ledger.ErrNoLedger) || !strings.Contains(err.Error(), "twintape init") {
		t.Errorf("an empty database: %v", err)
	}
	wrong := c
	wrong.Password = "hunter2"
	away := c
	away.Socket = filepath.Join(t.TempDir(), "none")
	other := c
	other.Database = "other"
	for want, c := range map[string]mycnf.Client{"does not let this user in": wrong, "does not answer": away, "user's rights": other} {
		_, err := ledger.OpenMySQL(t.Context(), c, ledger.Options{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), c.Password) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	l := createMySQL(t, c, ledger.Options{})
	must(t, l.Close())
	if _, err := ledger.CreateMySQL(t.Context(), c, ledger.Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created over a ledger: %v", err)
	}
	db := s.Open(c.Database)
	defer db.Close()
	if _, err := db.Exec("INSERT INTO schema_version (version_id, is_applied) VALUES (99, 1)"); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.OpenMySQL(t.Context(), c, ledger.Options{}); err == nil || !strings.Contains(err.Error(), "version 99") {
		t.Errorf("a newer schema: %v", err)
	}
}

// TestMigrateOnce lets several processes bring one ledger up to date at the same time.
func TestMigrateOnce(t *testing.T) {
	s := mariadbtest.Shared(t)
	c := client(t, s.Credentials(t))
	must(t, createMySQL(t, c, ledger.Options{}).Close())
	db := s.Open(c.Database)
	defer db.Close()
	// As an older twintape left it.
	for _, statement := range []string{
		"DELETE FROM schema_version WHERE version_id >= 11", "DROP TABLE names, bridged, identity", "DROP INDEX archives_named ON archives", "ALTER TABLE archives DROP COLUMN named",
		"ALTER TABLE pairs DROP COLUMN written_by",
		"DROP TABLE folders", "DROP INDEX items_folder ON items", "ALTER TABLE items DROP COLUMN folder",
	} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	var g sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		g.Go(func() {
			var l *ledger.Ledger
			if l, errs[i] = ledger.OpenMySQL(t.Context(), c, ledger.Options{}); errs[i] == nil {
				errs[i] = l.Close()
			}
		})
	}
	g.Wait()
	must(t, errors.Join(errs...))
	var n int
	if err := db.QueryRow("SELECT COUNT(*) FROM schema_version WHERE version_id = 11").Scan(&n); err != nil || n != 1 {
		t.Errorf("migrated %d times, %v", n, err)
	}
}

// TestSameSchema: both databases have the same tables and columns, from migrations with the same numbers.
func TestSameSchema(t *testing.T) {
	names := func(db string) []string {
		files, err := os.ReadDir("migrations/" + db)
		must(t, err)
		var out []string
		for _, f := range files {
			out = append(out, f.Name())
		}
		return out
	}
	if a, b := names("sqlite"), names("mysql"); !slices.Equal(a, b) {
		t.Errorf("migrations are %v and %v", a, b)
	}
	s := mariadbtest.Shared(t)
	c := client(t, s.Credentials(t))
	createMySQL(t, c, ledger.Options{})
	db := s.Open("")
	defer db.Close()
	rows, err := db.Query("SELECT CONCAT(table_name, '.', column_name) FROM information_schema.columns WHERE table_schema = ? AND table_name NOT IN ('gates', 'commits', 'schema_version')", c.Database)
	must(t, err)
	defer rows.Close()
	var columns []string
	for rows.Next() {
		var name string
		must(t, rows.Scan(&name))
		columns = append(columns, name)
	}
	must(t, rows.Err())
	slices.Sort(columns)
	if want := ledger.SQLiteColumns(t); !slices.Equal(columns, want) {
		t.Errorf("MariaDB has\n%v\nSQLite\n%v", columns, want)
	}
}

// TestUnknownCommit breaks the connection while calls are committed: each is made once, whatever became of its commit.
func TestUnknownCommit(t *testing.T) {
	s := mariadbtest.Shared(t)
	c := client(t, s.Credentials(t))
	p := s.Proxy(t)
	c.Socket = p.Socket
	l := createMySQL(t, c, ledger.Options{})
	for i, fault := range []mariadbtest.Fault{mariadbtest.LoseOrder, mariadbtest.LoseReply, mariadbtest.LoseReply, mariadbtest.LoseOrder, mariadbtest.Deadlock} {
		p.Next(fault)
		j, err := l.BeginJob(t.Context(), ledger.Owner{}, 1)
		must(t, err)
		if p.Hits() != i+1 {
			t.Fatalf("%d faults befell, want %d", p.Hits(), i+1)
		}
		jobs, err := l.Jobs(t.Context(), 0)
		must(t, err)
		if len(jobs) != i+1 || jobs[0].ID != j.ID {
			t.Fatalf("after %d calls the jobs are %+v", i+1, jobs)
		}
	}
}

// TestUnknownTwice loses a commit on its way, and then the answer of who looks for it: what that left is not taken for the
// transaction's own.
func TestUnknownTwice(t *testing.T) {
	s := mariadbtest.Shared(t)
	c := client(t, s.Credentials(t))
	p := s.Proxy(t)
	c.Socket = p.Socket
	l := createMySQL(t, c, ledger.Options{})
	for again := 1; again <= 9; again++ {
		p.Next(mariadbtest.LoseOrder)
		p.Then(again, mariadbtest.LoseReply)
		j, err := l.BeginJob(t.Context(), ledger.Owner{}, 1)
		must(t, err)
		jobs, err := l.Jobs(t.Context(), 0)
		must(t, err)
		if len(jobs) != again || jobs[0].ID != j.ID {
			t.Fatalf("after %d calls the jobs are %+v", again, jobs)
		}
		p.Next(mariadbtest.NoFault)
	}
}

// TestRestart ends the server in the midst of a job, in order and not: calls go on when it is back.
func TestRestart(t *testing.T) {
	s := mariadbtest.Private(t)
	c := client(t, s.Credentials(t))
	waits := make(chan error, 100)
	l := createMySQL(t, c, ledger.Options{Waiting: func(err error) { waits <- err }})
	for _, stop := range []func() error{s.Stop, s.Kill} {
		j, err := l.BeginJob(t.Context(), ledger.Owner{}, 1)
		must(t, err)
		must(t, stop())
		writes, reads := make(chan error), make(chan error)
		go func() { writes <- l.SetStep(t.Context(), j.ID, ledger.Writing) }()
		go func() {
			_, err := l.Job(t.Context(), j.ID)
			reads <- err
		}()
		<-waits
		<-waits
		must(t, s.Start())
		must(t, <-writes)
		must(t, <-reads)
		if j, err = l.Job(t.Context(), j.ID); err != nil || j.Step != ledger.Writing {
			t.Errorf("the job is %+v, %v", j, err)
		}
		must(t, l.FinishJob(t.Context(), j.ID, ledger.Stopped, ""))
	}
	must(t, s.Stop())
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-waits
		cancel()
	}()
	if _, err := l.BeginJob(ctx, ledger.Owner{}, 1); err == nil {
		t.Error("a call came through without a server")
	}
}

// TestFenced lets a job be taken over by another machine: whoever ran it writes nothing any more, of whatever kind.
func TestFenced(t *testing.T) {
	s := mariadbtest.Shared(t)
	c := client(t, s.Credentials(t))
	const lease = 300 * time.Millisecond
	first, second := createMySQL(t, c, ledger.Options{Lease: lease}), openMySQL(t, c, ledger.Options{Lease: time.Hour})
	ctx := t.Context()
	for _, barcode := range []string{"A", "B"} {
		_, err := first.AddTape(ctx, ledger.Tape{Barcode: barcode})
		must(t, err)
	}
	out, err := first.Enqueue(ctx, []ledger.NewItem{{Host: "h", Path: "/a"}, {Host: "h", Path: "/b"}}, false)
	must(t, err)
	here, there := ledger.Owner{Machine: "one", Boot: "1", PID: 1}, ledger.Owner{Machine: "two", Boot: "2", PID: 1}
	j, err := first.BeginJob(ctx, here, 1)
	must(t, err)
	must(t, first.ClaimPair(ctx, j.ID, [2]string{"A", "B"}))
	session, err := first.StartSession(ctx, j.ID, ledger.StartSession{PairUUID: uuid.NewString(), SessionUUID: uuid.NewString(), RecordSize: 512, Number: 1})
	must(t, err)
	taken, err := first.TakeQueued(ctx, j.ID, 0, 10)
	if err != nil || len(taken) != 2 {
		t.Fatalf("took %v, %v", taken, err)
	}
	if err := second.Beat(ctx); err != nil {
		t.Error(err)
	}
	if err := second.SetStep(ctx, j.ID, ledger.Writing); !errors.Is(err, ledger.ErrClaimed) {
		t.Errorf("another's job: %v", err)
	}
	// As long as it beats, nobody takes it over.
	for range 5 {
		must(t, first.Beat(ctx))
		now, err := second.Job(ctx, j.ID)
		must(t, err)
		if _, err := second.Reopen(ctx, now, there); !errors.Is(err, ledger.ErrClaimed) {
			t.Fatalf("taken over alive: %v", err)
		}
	}
	var now ledger.Job
	for !now.LeaseOver { // by the server's clock
		now, err = second.Job(ctx, j.ID)
		must(t, err)
	}
	must(t, first.Beat(ctx)) // it comes back in time
	if _, err := second.Reopen(ctx, now, there); !errors.Is(err, ledger.ErrClaimed) {
		t.Fatalf("taken over after it came back: %v", err)
	}
	for now.LeaseOver = false; !now.LeaseOver; {
		now, err = second.Job(ctx, j.ID)
		must(t, err)
	}
	again, err := second.Reopen(ctx, now, there)
	must(t, err)
	if again.Epoch != j.Epoch+1 || again.Owner != there {
		t.Errorf("taken over as %+v", again)
	}
	for what, err := range map[string]error{
		"beat": first.Beat(ctx), "step": first.SetStep(ctx, j.ID, ledger.Writing), "drop": first.DropUnflushed(ctx, session.ID),
		"flush": first.RecordFlush(ctx, ledger.Flush{Session: session.ID, Positions: [2]int64{9, 9}}), "doubt": first.Doubt(ctx, "A", "x"),
		"full": first.SetFull(ctx, session.Pair), "fail": first.FailItem(ctx, out[0].ID, "x"), "medium": first.SetTapeMedium(ctx, "A", "S", 1),
		"end": first.FinishJob(ctx, j.ID, ledger.Stopped, "x"),
	} {
		if !errors.Is(err, ledger.ErrFenced) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// The successor has it, and what it did not plan waits again.
	taken, err = second.TakeQueued(ctx, j.ID, 0, 10)
	if err != nil || len(taken) != 2 {
		t.Errorf("took %v, %v", taken, err)
	}
	must(t, second.FinishJob(ctx, j.ID, ledger.Stopped, "x"))
	// And the first, done with that job, may begin another.
	_, err = first.BeginJob(ctx, here, 1)
	must(t, err)
}

// TestTaken lets jobs of several processes take items at once: each item goes to one.
func TestTaken(t *testing.T) {
	s := mariadbtest.Shared(t)
	c := client(t, s.Credentials(t))
	l := createMySQL(t, c, ledger.Options{})
	var add []ledger.NewItem
	for i := range 200 {
		add = append(add, ledger.NewItem{Host: "h", Path: "/" + uuid.NewString(), Bytes: int64(i)})
	}
	_, err := l.Enqueue(t.Context(), add, false)
	must(t, err)
	const jobs = 4
	var g sync.WaitGroup
	var ids [jobs][]int64
	var errs [jobs]error
	for n := range jobs {
		g.Go(func() {
			l := openMySQL(t, c, ledger.Options{})
			j, err := l.BeginJob(t.Context(), ledger.Owner{}, 1)
			for after := int64(0); err == nil; {
				var taken []ledger.Item
				if taken, err = l.TakeQueued(t.Context(), j.ID, after, 3); len(taken) == 0 {
					break
				}
				for _, it := range taken {
					ids[n] = append(ids[n], it.ID)
				}
				after = ids[n][len(ids[n])-1]
			}
			errs[n] = err
		})
	}
	g.Wait()
	must(t, errors.Join(errs[:]...))
	all := slices.Concat(ids[:]...)
	slices.Sort(all)
	if len(all) != len(add) || len(slices.Compact(all)) != len(add) {
		t.Errorf("%d items were taken, of %d", len(all), len(add))
	}
}
