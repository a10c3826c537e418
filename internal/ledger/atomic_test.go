package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"twintape/internal/catalog"
)

// openTest makes a ledger for a test.
func openTest(t testing.TB) *Ledger {
	t.Helper()
	l, err := Create(context.Background(), filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

var tableNames = []string{
	"pairs", "tapes", "jobs", "sessions", "items", "expected_md5s", "claims", "archives", "archive_crcs", "archive_items", "members",
	"flushes", "verifications", "copies", "faults", "overrides", "folders", "names",
}

// dump returns the content of all tables, but for leases, which every call renews.
func dump(t testing.TB, l *Ledger) string {
	t.Helper()
	var out strings.Builder
	for _, table := range tableNames {
		rows, err := l.db.Query("SELECT * FROM " + table + " ORDER BY 1, 2")
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				t.Fatal(err)
			}
			out.WriteString(table)
			for i, v := range values {
				if columns[i] == "lease" {
					continue
				}
				fmt.Fprintf(&out, " %q", fmt.Sprint(*v.(*any)))
			}
			out.WriteByte('\n')
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		rows.Close()
	}
	return out.String()
}

func testArchive(job Job, s Session, number int, items ...Item) *catalog.Archive {
	a := &catalog.Archive{Pair: s.Pair, Session: s.UUID, Job: job.UUID, Number: number, TapeFile: number, RecordSize: 512}
	for _, it := range items {
		file := catalog.Entry{Host: it.Host, Path: it.Path, Type: catalog.File, Size: 5, MD5: catalog.MD5{7}}
		a.Items = append(a.Items, catalog.Item{ID: it.ID, Host: it.Host, Path: it.Path, Entries: []catalog.Entry{file}})
	}
	return a
}

// writingCall is a call that writes.
type writingCall struct {
	name string
	rows int // that it writes, at least
	call func() error
}

// writingCalls are calls to a fresh ledger, in their order.
func writingCalls(ctx context.Context, l *Ledger) []writingCall {
	var job Job
	var session Session
	var items []Item
	var archive int64
	return []writingCall{
		{"AddTape", 1, func() error {
			_, err := l.AddTape(ctx, Tape{Barcode: "A"})
			return err
		}},
		{"AddTape", 1, func() error {
			_, err := l.AddTape(ctx, Tape{Barcode: "B"})
			return err
		}},
		{"Enqueue", 5, func() error {
			_, err := l.Enqueue(ctx, []NewItem{
				{Host: "h", Path: "/a", Expected: map[string]catalog.MD5{"x": {1}}}, {Host: "h", Path: "/b"}, {Host: "h", Path: "/c"}, {Host: "h", Path: "/d"},
			}, false)
			return err
		}},
		{"BeginJob", 1, func() (err error) {
			job, err = l.BeginJob(ctx, Owner{}, 1)
			return err
		}},
		{"ClaimPair", 3, func() error { return l.ClaimPair(ctx, job.ID, [2]string{"A", "B"}) }},
		{"StartSession", 4, func() (err error) {
			session, err = l.StartSession(ctx, job.ID, StartSession{PairUUID: "p", SessionUUID: "s", TapeUUIDs: [2]string{"ta", "tb"}, RecordSize: 512, Number: 1})
			return err
		}},
		{"PlanArchive", 8, func() (err error) {
			if items, err = l.NextQueued(ctx, job.ID, 0, 10); err != nil {
				return err
			}
			archive, err = l.PlanArchive(ctx, job.ID, session.ID, testArchive(job, session, 1, items[0], items[1]), 9, []ItemLook{{ID: items[0].ID, Bytes: 1}})
			return err
		}},
		{"RecordFlush", 12, func() error {
			a := testArchive(job, session, 1, items[0], items[1])
			a.Items[1].Bad = "changed"
			return l.RecordFlush(ctx, Flush{Session: session.ID, Positions: [2]int64{20, 20}, Archives: []FlushedArchive{{ID: archive, Result: a}}})
		}},
		{"FailItem", 1, func() error { return l.FailItem(ctx, items[2].ID, "unreadable") }},
		{"Dequeue", 2, func() error {
			_, err := l.Dequeue(ctx, []int64{items[1].ID})
			return err
		}},
		{"PlanArchive", 5, func() error {
			_, err := l.PlanArchive(ctx, job.ID, session.ID, testArchive(job, session, 2, items[2]), 9, []ItemLook{{ID: items[2].ID}})
			return err
		}},
		{"DropUnflushed", 4, func() error { return l.DropUnflushed(ctx, session.ID) }},
		{"CloseSession", 3, func() error {
			return l.CloseSession(ctx, session.ID, CatalogPlace{TapeFile: 2}, [2]int64{1, 1}, time.Now())
		}},
		{"RecordVerification", 2, func() error {
			_, err := l.RecordVerification(ctx, Verification{Barcode: "A", Ended: time.Now(), Good: true, Copies: []CheckedCopy{{Item: items[0].ID}}})
			return err
		}},
		{"RecordVerification", 2, func() error {
			_, err := l.RecordVerification(ctx, Verification{Barcode: "A", Ended: time.Now(), Reason: "differs", Copies: []CheckedCopy{{Item: items[0].ID}}})
			return err
		}},
		{"SetTapeState", 1, func() error { return l.SetTapeState(ctx, "A", TapeSuspect, "x") }},
		{"SetTapeMedium", 1, func() error { return l.SetTapeMedium(ctx, "A", "S", 1) }},
		{"SetStep", 1, func() error { return l.SetStep(ctx, job.ID, Closing) }},
		{"RecordFault", 1, func() error {
			_, err := l.RecordFault(ctx, Fault{Job: job.ID, Barcode: "A", Drive: "D0", What: "broke"})
			return err
		}},
		{"RecordFault", 2, func() error {
			_, err := l.RecordFault(ctx, Fault{Job: job.ID, Barcode: "A", Drive: "D1", What: "broke"})
			return err
		}},
		{"ClearTape", 3, func() error { return l.ClearTape(ctx, "A") }},
		{"ClearDrive", 1, func() error { return l.ClearDrive(ctx, "D1") }},
		{"Doubt", 2, func() error { return l.Doubt(ctx, "B", "overwritten") }},
		{"LoseSide", 2, func() error { return l.LoseSide(ctx, job.ID, 2, "broke") }},
		{"SetFull", 1, func() error { return l.SetFull(ctx, "p") }},
		{"FinishJob", 3, func() error { return l.FinishJob(ctx, job.ID, Stopped, "x") }},
	}
}

// inject lets triggers count down with each row that is written, in any table.
func (l subject) inject(t *testing.T) {
	t.Helper()
	mustExec(t, l.inside, "CREATE TABLE injected (left_over INTEGER NOT NULL)")
	mustExec(t, l.inside, "INSERT INTO injected VALUES (0)")
	body := "BEGIN UPDATE injected SET left_over = left_over - 1; SELECT CASE WHEN left_over = 0 THEN RAISE(ABORT, 'injected') END FROM injected; END"
	if l.server {
		mustExec(t, l.inside, "ALTER TABLE injected ENGINE=InnoDB")
		body = "FOR EACH ROW BEGIN UPDATE injected SET left_over = left_over - 1; IF (SELECT left_over FROM injected) = 0 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'injected'; END IF; END"
	}
	for _, table := range tableNames {
		for _, what := range []string{"INSERT", "UPDATE", "DELETE"} {
			mustExec(t, l.inside, "CREATE TRIGGER injected_"+what+"_"+table+" AFTER "+what+" ON "+table+" "+body)
		}
	}
}

// TestErrorLeavesNothing lets every call that writes fail at the first row it writes, then at the second, and so on, and
// each time expects the ledger to be as before, until the call comes through.
func TestErrorLeavesNothing(t *testing.T) {
	inEach(t, func(t *testing.T, s subject) {
		l := s.Ledger
		s.inject(t)
		for _, c := range writingCalls(t.Context(), l) {
			before := dump(t, l)
			rows := 0
			for ; ; rows++ {
				mustExec(t, s.inside, fmt.Sprintf("UPDATE injected SET left_over = %d", rows+1))
				err := c.call()
				if err == nil {
					break
				}
				if !strings.Contains(err.Error(), "injected") {
					t.Fatalf("%s, failing at row %d: %v", c.name, rows+1, err)
				}
				if after := dump(t, l); after != before {
					t.Fatalf("%s, failing at row %d, left\n%s\nof\n%s", c.name, rows+1, after, before)
				}
			}
			if rows < c.rows {
				t.Errorf("%s wrote %d rows, want at least %d", c.name, rows, c.rows)
			}
			if dump(t, l) == before {
				t.Errorf("%s changed nothing", c.name)
			}
		}
	})
}

func mustExec(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	if _, err := db.Exec(query); err != nil {
		t.Fatal(err)
	}
}
