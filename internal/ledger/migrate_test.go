package ledger

import (
	"context"
	"strings"
	"testing"
)

func TestNewerSchemaIsRefused(t *testing.T) {
	l := openTest(t)
	mustExec(t, l.db, "INSERT INTO "+schemaTable+" (version_id, is_applied) VALUES (99, 1)")
	if other, err := Open(t.Context(), l.path, Options{}); err == nil || !strings.Contains(err.Error(), "version 99") || !strings.Contains(err.Error(), l.path) {
		t.Errorf("opened %v, %v", other, err)
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
	for _, where := range []string{"1 = 1", "i.id > 5 AND i.state IN ('queued', 'failed')"} {
		plan, err := explainQuery(t.Context(), l, strings.Replace(l.items, "%s", where, 1))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(plan, "TEMP B-TREE") || strings.Contains(plan, "MATERIALIZE") || !strings.Contains(plan, "SEARCH ai USING INDEX archive_items_item (item=? AND archive=?)") {
			t.Errorf("items %s:\n%s", where, plan)
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
