package ledger

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"twintape/internal/catalog"
)

// populate gives a ledger a row in every table.
func populate(t *testing.T, l *Ledger) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range []string{"A", "B"} {
		_, err := l.AddTape(ctx, Tape{Barcode: b})
		must(err)
	}
	_, err := l.Enqueue(ctx, []NewItem{{Host: "h", Path: "/a", Expected: map[string]catalog.MD5{"": {1}}}, {Host: "h", Path: "/b"}}, false)
	must(err)
	job, err := l.BeginJob(ctx, Owner{}, 1)
	must(err)
	must(l.ClaimPair(ctx, job.ID, [2]string{"A", "B"}))
	s, err := l.StartSession(ctx, job.ID, StartSession{PairUUID: "p", SessionUUID: "s", TapeUUIDs: [2]string{"ta", "tb"}, RecordSize: 512, Number: 1})
	must(err)
	items, err := l.NextQueued(ctx, job.ID, 0, 1)
	must(err)
	a := testArchive(job, s, 1, items...)
	id, err := l.PlanArchive(ctx, job.ID, s.ID, a, 9, nil)
	must(err)
	must(l.RecordFlush(ctx, Flush{Session: s.ID, Positions: [2]int64{20, 20}, Archives: []FlushedArchive{{ID: id, Result: a, CRCs: make([]byte, 36)}}}))
	must(l.CloseSession(ctx, s.ID, CatalogPlace{TapeFile: 2, Record: 11, Records: 3, MD5: catalog.MD5{1}}, [2]int64{15, 15}, time.Now()))
	_, err = l.RecordVerification(ctx, Verification{Barcode: "A", Began: time.Now(), Ended: time.Now(), Good: true, Copies: []CheckedCopy{{Item: items[0].ID}}})
	must(err)
	_, err = l.RecordFault(ctx, Fault{Job: job.ID, Barcode: "A", Drive: "D", What: "x"})
	must(err)
}

// Whatever stands in a row that should not, every call that reads says so in an error that names the ledger, or does without;
// none panics, and none takes memory for what the row claims.
func TestMalformedRows(t *testing.T) {
	inEach(t, malformedRows)
}

func malformedRows(t *testing.T, s subject) {
	l := s.Ledger
	populate(t, l)
	s.inside.SetMaxOpenConns(1)
	if s.server {
		mustExec(t, s.inside, "SET foreign_key_checks = OFF, sql_mode = ''")
	} else {
		mustExec(t, s.inside, "PRAGMA foreign_keys = OFF")
	}
	reads := map[string]func(ctx context.Context) error{
		"Tapes":    func(ctx context.Context) error { _, err := l.Tapes(ctx); return err },
		"Jobs":     func(ctx context.Context) error { _, err := l.Jobs(ctx, 0); return err },
		"Live":     func(ctx context.Context) error { _, err := l.LiveJobs(ctx); return err },
		"Pairs":    func(ctx context.Context) error { _, err := l.Sessions(ctx, "p"); return err },
		"Faults":   func(ctx context.Context) error { _, err := l.Faults(ctx); return err },
		"Held":     func(ctx context.Context) error { _, err := l.HeldDrives(ctx); return err },
		"Checks":   func(ctx context.Context) error { _, err := l.Verifications(ctx, "A"); return err },
		"Queue":    func(ctx context.Context) error { _, err := l.NextQueued(ctx, 0, 0, 10); return err },
		"CRCs":     func(ctx context.Context) error { _, err := l.CRCs(ctx, 1); return err },
		"Load":     func(ctx context.Context) error { _, err := l.LoadArchive(ctx, 1); return err },
		"Expected": func(ctx context.Context) error { _, err := l.Expected(ctx, 1); return err },
		"Archives": func(ctx context.Context) error { _, err := l.Archives(ctx, 1); return err },
	}
	// SQLite's one connection serves one iterator at a time, so these are read to their end first.
	l2 := l
	if !s.server {
		var err error
		if l2, err = Open(t.Context(), l.path, Options{}); err != nil {
			t.Fatal(err)
		}
		defer l2.Close()
	}
	reads["Items"] = func(ctx context.Context) error {
		for _, err := range l2.Items(ctx, Filter{}) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	reads["Find"] = func(ctx context.Context) error {
		for _, err := range l2.Find(ctx, Wanted{Pattern: "*"}) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	reads["Open"] = func(ctx context.Context) error { _, err := l2.OpenPairs(ctx); return err }
	reads["Contents"] = func(ctx context.Context) error { _, err := l2.Contents(ctx, "A"); return err }
	reads["Members"] = func(ctx context.Context) error { _, err := l2.ItemMembers(ctx, 1); return err }
	for name, read := range reads {
		if err := read(t.Context()); err != nil {
			t.Fatalf("%s of a sound ledger: %v", name, err)
		}
	}
	values := []string{"NULL", "-1", "9223372036854775807", "'x'", "''", "x'00ff'", "1.5", "'9e99'"}
	changed, refused := 0, 0
	for _, table := range tableNames {
		for _, column := range columnsOf(t, s, table) {
			for _, value := range values {
				if _, err := s.inside.Exec(fmt.Sprintf("UPDATE %s SET %s = %s", table, column, value)); err != nil {
					continue // the schema refuses it
				}
				changed++
				for name, read := range reads {
					if err := read(t.Context()); err != nil {
						refused++
						if !strings.Contains(err.Error(), l.path) {
							t.Errorf("%s.%s = %s: %s says only %v", table, column, value, name, err)
						}
					}
				}
				restore(t, s, table)
			}
		}
	}
	t.Logf("%d malformed values, %d calls refused", changed, refused)
	if changed < 100 || refused < 100 {
		t.Errorf("only %d values were malformed, %d calls refused", changed, refused)
	}
}

// restore puts a table back as it was, from a copy that is made when it is first asked for.
func restore(t *testing.T, s subject, table string) {
	t.Helper()
	mustExec(t, s.inside, "DELETE FROM "+table)
	mustExec(t, s.inside, "INSERT INTO "+table+" SELECT * FROM copy_of_"+table)
}

func columnsOf(t *testing.T, s subject, table string) (names []string) {
	t.Helper()
	mustExec(t, s.inside, "CREATE TABLE copy_of_"+table+" AS SELECT * FROM "+table)
	query := "SELECT name FROM pragma_table_info(?)"
	if s.server {
		query = "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?"
	}
	rows, err := s.inside.Query(query, table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}
