package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"twintape/internal/catalog"

	"github.com/google/uuid"
)

func TestNewerSchemaIsRefused(t *testing.T) {
	l := openTest(t)
	mustExec(t, l.db, "INSERT INTO "+schemaTable+" (version_id, is_applied) VALUES (99, 1)")
	if other, err := Open(t.Context(), l.path, Options{}); err == nil || !strings.Contains(err.Error(), "version 99") || !strings.Contains(err.Error(), l.path) {
		t.Errorf("opened %v, %v", other, err)
	}
}

// TestFillBrowse: a ledger that was written before tapes could be browsed gets what a new one has.
func TestFillBrowse(t *testing.T) {
	inEach(t, func(t *testing.T, l subject) { fillsBrowse(t, l.Ledger) })
}

func fillsBrowse(t *testing.T, l *Ledger) {
	ctx := t.Context()
	for _, barcode := range []string{"A", "B"} {
		if _, err := l.AddTape(ctx, Tape{Barcode: barcode}); err != nil {
			t.Fatal(err)
		}
	}
	out, err := l.Enqueue(ctx, []NewItem{{Host: "h", Path: "/i"}, {Host: "h", Path: "/j"}}, false)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	job, err := l.BeginJob(ctx, Owner{}, 1)
	must(err)
	must(l.ClaimPair(ctx, job.ID, [2]string{"A", "B"}))
	s, err := l.StartSession(ctx, job.ID, StartSession{
		PairUUID: uuid.NewString(), SessionUUID: uuid.NewString(), TapeUUIDs: [2]string{uuid.NewString(), uuid.NewString()}, RecordSize: 512, Number: 1, Record: 2,
	})
	must(err)
	a := testArchive(job, s, 1, Item{ID: out[0].ID, Host: "h", Path: "/i"}, Item{ID: out[1].ID, Host: "h", Path: "/j"})
	a.Record = 2
	for n, it := range a.Items {
		file := it.Entries[0]
		entries := []catalog.Entry{{Host: "h", Path: it.Path, Type: catalog.Dir}, {Host: "h", Path: it.Path + "/d", Type: catalog.Dir}}
		for _, name := range []string{"/d/a", "/d/b", "/c"} {
			file.Path = it.Path + name
			entries = append(entries, file)
		}
		record := a.Record + int64(1+n*8)
		for i := range entries {
			entries[i].Place = catalog.Place{Archive: 1, Record: record, Header: 512}
			if record++; entries[i].Type == catalog.File {
				record++
			}
		}
		a.Items[n].Entries = entries
	}
	id, err := l.PlanArchive(ctx, job.ID, s.ID, a, 50, nil)
	must(err)
	must(l.RecordFlush(ctx, Flush{Session: s.ID, Positions: [2]int64{60, 60}, Archives: []FlushedArchive{{ID: id, Result: a}}}))
	closed := time.Unix(1e9, 0).UTC()
	_, bytes, sum, err := l.WriteCatalog(ctx, io.Discard, s, closed)
	must(err)
	must(l.CloseSession(ctx, s.ID, CatalogPlace{TapeFile: 2, Record: 61, Records: 3, Bytes: bytes, MD5: sum}, [2]int64{65, 65}, closed))

	want := dump(t, l)
	for _, statement := range []string{
		"UPDATE members SET parent = NULL", "UPDATE archive_items SET listed = 0", "UPDATE archives SET sums_bytes = 0",
		"UPDATE sessions SET catalog_bytes = 0", "UPDATE tapes SET twin = ''",
	} {
		before := dump(t, l)
		mustExec(t, l.db, statement)
		if dump(t, l) == before {
			t.Errorf("%s changes nothing", statement)
		}
	}
	must(l.update(ctx, "fill", func(tx *sql.Tx) error { return fillBrowse(ctx, tx) }))
	if got := dump(t, l); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPragmas(t *testing.T) {
	l := openTest(t)
	// Two connections at once, so that the second is a new one.
	for range 2 {
		c, err := l.db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": busyTimeout} {
			var got string
			if err := c.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s is %s, want %s (%v)", pragma, got, want, err)
			}
		}
	}
}

// TestStreamsInOrder makes sure that a caller who takes one item pays for one: nothing is sorted first.
func TestStreamsInOrder(t *testing.T) {
	l := openTest(t)
	for query, want := range map[string]string{
		fmt.Sprintf(l.items, "1 = 1"):                                          "SEARCH i USING INTEGER PRIMARY KEY (rowid>?)",
		fmt.Sprintf(l.items, unsettled+" AND i.state IN ('queued', 'failed')"): "SEARCH i USING INDEX items_unsettled (unsettled=? AND id>?)",
		fmt.Sprintf(copyQuery, "1, 2, 3"):                                      "SEARCH ai USING INDEX archive_items_item (item=? AND archive=?)",
	} {
		plan, err := explainQuery(t.Context(), l, strings.ReplaceAll(query, "?", "5"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(plan, "TEMP B-TREE") || strings.Contains(plan, "MATERIALIZE") || !strings.Contains(plan, want) {
			t.Errorf("%s:\n%s", query, plan)
		}
	}
}

func explainQuery(ctx context.Context, l *Ledger, query string) (string, error) {
	rows, err := l.db.QueryContext(ctx, "EXPLAIN QUERY PLAN "+query)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			return "", err
		}
		plan.WriteString(detail + "\n")
	}
	return plan.String(), rows.Err()
}
