package ledger

import (
	"slices"
	"testing"
)

// SQLiteColumns are the columns of a new SQLite ledger, with their tables.
func SQLiteColumns(t *testing.T) []string {
	l := openTest(t)
	var all []string
	tables, err := collect(t.Context(), l.db, scanText, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name <> ?", schemaTable)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		names, err := collect(t.Context(), l.db, scanText, "SELECT name FROM pragma_table_info(?)", table)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			all = append(all, table+"."+n)
		}
	}
	slices.Sort(all)
	return all
}
