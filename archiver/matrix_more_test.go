package archiver_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"twintape/internal/event"
	"twintape/internal/ledger"
)

// spoilers are what may happen to an item's directory at its source; nil is that the host says nothing of it any more.
func spoilers() []struct {
	name string
	do   func(dir string) error
} {
	return []struct {
		name string
		do   func(dir string) error
	}{
		{"the item vanishes", os.RemoveAll},
		{"a member vanishes", func(dir string) error { return os.Remove(filepath.Join(dir, "flags")) }},
		{"a file shrinks", func(dir string) error { return os.Truncate(filepath.Join(dir, "visdata"), 10) }},
		{"a file grows", func(dir string) error { return os.Truncate(filepath.Join(dir, "visdata"), 80_000) }},
		{"a file is rewritten at the same size", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "visdata"), pattern(55, 40_000), 0o644)
		}},
		{"a file's time changes", func(dir string) error {
			return os.Chtimes(filepath.Join(dir, "visdata"), time.Time{}, time.Unix(1, 1))
		}},
		{"a file's mode changes", func(dir string) error { return os.Chmod(filepath.Join(dir, "visdata"), 0o600) }},
		{"a member is added", func(dir string) error { return os.WriteFile(filepath.Join(dir, "new"), nil, 0o644) }},
		{"a member is renamed", func(dir string) error {
			return os.Rename(filepath.Join(dir, "flags"), filepath.Join(dir, "flag"))
		}},
		{"an empty file grows", func(dir string) error { return os.WriteFile(filepath.Join(dir, "flags"), []byte("x"), 0o644) }},
		{"the host hangs", nil},
		{"a file becomes a folder", func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "flags")), os.Mkdir(filepath.Join(dir, "flags"), 0o755))
		}},
	}
}

// TestSourceMatrix lets an item change at its source in every phase. What changes before planning is archived as it is then
// (or fails, if it is gone); what changes between planning and the end of its reading fails; afterwards it is archived as it
// was, and not named as deletable.
func TestSourceMatrix(t *testing.T) {
	phases := []struct {
		name string
		when ledger.Step // the change comes as this step begins; "" is before the job
	}{{"between queueing and planning", ""}, {"between planning and reading", ledger.Writing}, {"after it was read", ledger.Closing}}
	rows := make(map[string]string)
	var order []string
	for n, sp := range spoilers() {
		if raced && n%3 > 0 {
			continue
		}
		for _, ph := range phases {
			key := "| " + sp.name + " | " + ph.name
			order = append(order, key)
			t.Run(sp.name+", "+ph.name, func(t *testing.T) {
				s := newMatrixSite(t, false)
				const path = "/obs/zen.0003.uv"
				hang := s.canHang(t, path)
				change := func() {
					if sp.do == nil {
						hang()
						return
					}
					must(t, sp.do(filepath.Join(s.data, path)))
				}
				if ph.when == "" {
					change()
				} else {
					s.a.Events = onStep{ph.when, change}
				}
				s.a.Sample = 1
				r, err := s.run()
				must(t, err)
				s.truthful(r)
				it, err := s.a.Ledger.ItemByPath(t.Context(), "pot1", path)
				must(t, err)
				named := false
				for d, err := range s.a.Deletable(t.Context(), "") {
					named = named || err == nil && d.ID == it.ID
				}
				outcome := string(it.State)
				if it.State == ledger.Deletable {
					outcome = "archived"
				}
				if it.State == ledger.Deletable && !named {
					outcome += ", not named by deletable"
				}
				if ph.when == ledger.Closing && named {
					t.Error("an item that is not what was archived is named as deletable")
				}
				if r.Archived+len(r.Failed) != matrixItems || len(r.Failed) > 1 {
					t.Errorf("%d items are archived, %d failed", r.Archived, len(r.Failed))
				}
				rows[key] = outcome
				s.close()
				s.auditSources(ph.when != ledger.Closing)
			})
		}
	}
	var table strings.Builder
	table.WriteString("| what happens | when | the item is |\n|---|---|---|\n")
	for _, key := range order {
		fmt.Fprintf(&table, "%s | %s |\n", key, rows[key])
	}
	if !t.Failed() {
		document(t, "sources", table.String())
	}
}

// TestLedgerMatrix has the ledger refuse each kind of change once, at its first and at a later occurrence. The job stops
// and says so, nothing is recorded that did not happen, and it goes on when the ledger works again.
func TestLedgerMatrix(t *testing.T) {
	changes := []string{
		"INSERT ON jobs", "UPDATE ON jobs", "INSERT ON claims", "DELETE ON claims", "UPDATE ON tapes", "INSERT ON pairs", "INSERT ON sessions",
		"UPDATE ON sessions", "INSERT ON archives", "UPDATE ON archives", "INSERT ON archive_items", "INSERT ON members", "UPDATE ON members",
		"INSERT ON flushes", "INSERT ON copies", "UPDATE ON copies", "INSERT ON archive_crcs", "INSERT ON verifications", "UPDATE ON items",
	}
	rows := make(map[string]string)
	var order []string
	for n, change := range changes {
		if raced && n%4 > 0 {
			continue
		}
		for _, after := range []int{0, 3} {
			key := fmt.Sprintf("| %s | %d", strings.ToLower(change), after+1)
			order = append(order, key)
			t.Run(fmt.Sprintf("%s, %d", change, after), func(t *testing.T) {
				s := newMatrixSite(t, false)
				db, err := sql.Open("sqlite", filepath.Join(s.dir, "ledger.db")+"?_pragma=busy_timeout(10000)")
				must(t, err)
				defer db.Close()
				exec := func(statement string) {
					t.Helper()
					_, err := db.Exec(statement)
					must(t, err)
				}
				exec("CREATE TABLE refusal (left_over INTEGER NOT NULL)")
				exec(fmt.Sprintf("INSERT INTO refusal VALUES (%d)", after))
				// A row that is refused takes its transaction with it, so the counter stays at 0 and everything later is refused too,
				// as on a full disk.
				exec("CREATE TRIGGER refusal_change BEFORE " + change + ` BEGIN
					SELECT CASE WHEN left_over = 0 THEN RAISE(ABORT, 'database or disk is full') END FROM refusal;
					UPDATE refusal SET left_over = left_over - 1; END`)
				r, err := s.run()
				refused := err != nil
				if refused && !strings.Contains(err.Error(), "disk is full") {
					t.Errorf("the error is %v", err)
				}
				exec("DROP TRIGGER refusal_change")
				exec("DROP TABLE refusal")
				must(t, db.Close())
				switch {
				case !refused:
					rows[key] = "does not occur"
				case r == nil:
					rows[key] = "no job begins"
				default:
					rows[key] = fmt.Sprintf("%d of %d on both", r.Archived, matrixItems)
				}
				if refused {
					rows[key] += "; " + s.afterRefusal(t)
				}
			})
		}
	}
	var table strings.Builder
	table.WriteString("| refused | from which one on | recorded then; afterwards |\n|---|---|---|\n")
	for _, key := range order {
		fmt.Fprintf(&table, "%s | %s |\n", key, rows[key])
	}
	if !t.Failed() {
		document(t, "ledger", table.String())
	}
}

// afterRefusal goes on as a later process does: the job's own could not even say that it ended.
func (s *site) afterRefusal(t *testing.T) string {
	t.Helper()
	live, err := s.a.Ledger.LiveJobs(t.Context())
	must(t, err)
	for _, j := range live { // its process is this one; to others it looks dead once it has ended
		must(t, s.a.Ledger.FinishJob(t.Context(), j.ID, ledger.Stopped, "its process ended"))
	}
	s.a.Events = event.Discard
	return s.operator(t)
}

// auditSources is audit for sites whose sources were changed: with same they are as they were archived, or were not.
func (s *site) auditSources(same bool) {
	s.t.Helper()
	if !same {
		must(s.t, os.RemoveAll(filepath.Join(s.data, "obs/zen.0003.uv")))
	}
	s.audit(true)
}
