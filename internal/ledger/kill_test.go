package ledger

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"twintape/internal/ledger/mariadbtest"
	"twintape/internal/mycnf"
)

// killChild is set to the ledger's path, or its credentials file, in the process that is killed.
const killChild = "TWINTAPE_LEDGER_KILL_CHILD"

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv(killChild); path != "" {
		if err := writeUntilKilled(context.Background(), path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(mariadbtest.Run(m))
}

const killItems = 20 // of each archive

// openWhere opens the ledger in a file, or in the database that a credentials file names.
func openWhere(ctx context.Context, path string) (*Ledger, error) {
	if filepath.Ext(path) != ".cnf" {
		return Open(ctx, path, Options{})
	}
	c, err := mycnf.Read(path)
	if err != nil {
		return nil, err
	}
	return OpenMySQL(ctx, c, Options{})
}

// writeUntilKilled queues, plans and flushes archive after archive, and says each thing after the ledger has taken it.
func writeUntilKilled(ctx context.Context, path string) error {
	l, err := openWhere(ctx, path)
	if err != nil {
		return err
	}
	for _, barcode := range []string{"A", "B"} {
		if _, err := l.AddTape(ctx, Tape{Barcode: barcode}); err != nil {
			return err
		}
	}
	job, err := l.BeginJob(ctx, Owner{}, 1)
	if err != nil {
		return err
	}
	if err := l.ClaimPair(ctx, job.ID, [2]string{"A", "B"}); err != nil {
		return err
	}
	s, err := l.StartSession(ctx, job.ID, StartSession{PairUUID: "p", SessionUUID: "s", RecordSize: 512, Number: 1})
	if err != nil {
		return err
	}
	for number := 1; ; number++ {
		var add []NewItem
		for i := range killItems {
			add = append(add, NewItem{Host: "h", Path: fmt.Sprintf("/%d/%d", number, i)})
		}
		if _, err := l.Enqueue(ctx, add, false); err != nil {
			return err
		}
		fmt.Println("queued", number)
		items, err := l.NextQueued(ctx, job.ID, 0, killItems)
		if err != nil {
			return err
		}
		a := testArchive(job, s, number, items...)
		id, err := l.PlanArchive(ctx, job.ID, s.ID, a, 1, nil)
		if err != nil {
			return err
		}
		fmt.Println("planned", number)
		if err := l.RecordFlush(ctx, Flush{Session: s.ID, Positions: [2]int64{1 << 40, 1 << 40}, Archives: []FlushedArchive{{ID: id, Result: a}}}); err != nil {
			return err
		}
		fmt.Println("flushed", number)
	}
}

// TestKill kills a writing process at many points: what it was told is in the ledger is there, what it was not told yet
// is there as a whole or not at all.
func TestKill(t *testing.T) {
	for _, server := range []bool{false, true} {
		for lines := 1; lines <= 12; lines++ {
			where, open := openKilled(t, server)
			told := killAfter(t, where, lines)
			l := open()
			checkKilled(t, l, told)
			l.Close()
		}
	}
}

// killAfter runs writeUntilKilled and kills it in the midst of what follows the given line; it returns how many
// archives it said to be queued, planned and flushed.
func killAfter(t *testing.T, path string, lines int) map[string]int {
	t.Helper()
	child := osexec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), killChild+"="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	told := make(map[string]int)
	for scan := bufio.NewScanner(out); scan.Scan(); lines-- { // what it said after the kill counts too
		what, number, _ := strings.Cut(scan.Text(), " ")
		if _, err := fmt.Sscan(number, new(int)); err != nil {
			t.Fatalf("the writer says %q", scan.Text())
		}
		told[what]++
		if lines == 1 {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Wait(); err == nil {
		t.Fatal("the writer ended by itself")
	}
	return told
}

func checkKilled(t *testing.T, l *Ledger, told map[string]int) {
	t.Helper()
	// A server may still be at what the process asked for last: who writes alone comes after it.
	if err := l.update(t.Context(), "wait", func(*sql.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if !l.Shared() {
		var check string
		if err := l.db.QueryRow("PRAGMA integrity_check").Scan(&check); err != nil || check != "ok" {
			t.Errorf("integrity: %s, %v", check, err)
		}
	}
	states := make(map[string]map[ItemState]int) // by folder, of which each is one archive
	for it, err := range l.Items(t.Context(), Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.Dir(it.Path)
		if states[folder] == nil {
			states[folder] = make(map[ItemState]int)
		}
		states[folder][it.State]++
		if it.State == Written && len(it.Copies) != 2 {
			t.Errorf("%s has %d copies", it.Path, len(it.Copies))
		}
	}
	var queued, planned, flushed int
	for folder, s := range states {
		if len(s) != 1 || s[Queued]+s[Claimed]+s[Written] != killItems {
			t.Errorf("items in %s are %v", folder, s)
		}
		queued++
		if s[Queued] == 0 {
			planned++
		}
		if s[Written] > 0 {
			flushed++
		}
	}
	for what, got := range map[string]int{"queued": queued, "planned": planned, "flushed": flushed} {
		if got < told[what] || got > told[what]+1 {
			t.Errorf("%d archives are %s, %d were told", got, what, told[what])
		}
	}
	archives, err := l.Archives(t.Context(), 1)
	if err != nil || len(archives) != planned {
		t.Errorf("%d archives, want %d (%v)", len(archives), planned, err)
	}
	for _, a := range archives {
		if loaded, err := l.LoadArchive(t.Context(), a.ID); err != nil || len(loaded.Items) != killItems {
			t.Errorf("archive %d: %v", a.Number, err)
		}
	}
}
