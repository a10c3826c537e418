package ledger

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	pathpkg "path"
	"path/filepath"
	"slices"
	"testing"

	"twintape/internal/ledger/mariadbtest"
	"twintape/internal/mycnf"
)

// onBoth runs a test on a new ledger of each database. open opens it once more, as its schema is then.
func onBoth(t *testing.T, test func(t *testing.T, db *sql.DB, open func() *Ledger)) {
	t.Run("SQLite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "ledger.db")
		l, err := Create(t.Context(), path)
		must(t, err)
		t.Cleanup(func() { l.Close() })
		test(t, l.db, func() *Ledger {
			l, err := Open(t.Context(), path, Options{})
			must(t, err)
			t.Cleanup(func() { l.Close() })
			return l
		})
	})
	t.Run("MariaDB", func(t *testing.T) {
		c, err := mycnf.Read(mariadbtest.Shared(t).Credentials(t))
		must(t, err)
		l, err := CreateMySQL(t.Context(), c, Options{})
		must(t, err)
		t.Cleanup(func() { l.Close() })
		test(t, l.db, func() *Ledger {
			l, err := OpenMySQL(t.Context(), c, Options{})
			must(t, err)
			t.Cleanup(func() { l.Close() })
			return l
		})
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// checkFolders compares the folders with what the items make them be, and returns how many there are.
func checkFolders(t *testing.T, l *Ledger) int {
	t.Helper()
	type row struct {
		id, in     int64
		host, path string
	}
	scan := func(rows *sql.Rows) (r row, err error) {
		var path []byte
		err = rows.Scan(&r.id, &r.host, &path, &r.in)
		r.path = string(path)
		return r, err
	}
	folders, err := collect(t.Context(), l.db, scan, "SELECT id, host, path, parent FROM folders")
	must(t, err)
	items, err := collect(t.Context(), l.db, scan, "SELECT id, host, path, folder FROM items")
	must(t, err)
	byID, want := make(map[int64]row), make(map[string]bool)
	for _, f := range folders {
		byID[f.id] = f
	}
	lies := func(r row) {
		dir := pathpkg.Dir(r.path)
		if in := byID[r.in]; in.host != r.host || in.path != dir {
			t.Errorf("%s lies in %s", spell(r.host, r.path), spell(in.host, in.path))
		}
	}
	for _, it := range items {
		lies(it)
		for dir := it.path; dir != "/" || it.path == "/"; {
			dir = pathpkg.Dir(dir)
			want[spell(it.host, dir)] = true
			if dir == "/" {
				break
			}
		}
	}
	for _, f := range folders {
		if f.path != "/" {
			lies(f)
		} else if f.in != 0 {
			t.Errorf("%s lies in %d", spell(f.host, f.path), f.in)
		}
		if !want[spell(f.host, f.path)] {
			t.Errorf("%s holds nothing", spell(f.host, f.path))
		}
	}
	if len(folders) != len(want) {
		t.Errorf("%d folders, want %d", len(folders), len(want))
	}
	return len(folders)
}

// TestFolders queues and removes items at random.
func TestFolders(t *testing.T) {
	onBoth(t, func(t *testing.T, _ *sql.DB, open func() *Ledger) {
		l, r, most := open(), rand.New(rand.NewPCG(1, 2)), 0
		for range 30 {
			var add []NewItem
			for range r.IntN(20) {
				p := "/"
				for range r.IntN(8) {
					p = pathpkg.Join(p, []string{"a", "A", "a ", "a\xff", "%", "\n"}[r.IntN(6)])
				}
				add = append(add, NewItem{Host: []string{"h", "H"}[r.IntN(2)], Path: p})
			}
			_, err := l.Enqueue(t.Context(), add, false)
			must(t, err)
			most = max(most, checkFolders(t, l))
			ids, err := collect(t.Context(), l.db, scanID, "SELECT id FROM items")
			must(t, err)
			_, err = l.Dequeue(t.Context(), slices.DeleteFunc(ids, func(int64) bool { return r.IntN(2) == 0 }))
			must(t, err)
			checkFolders(t, l)
		}
		if most < 20 {
			t.Errorf("at most %d folders", most)
		}
	})
}

// onOlder runs a test on a database of each kind without a schema, which opens as a ledger when it has one.
func onOlder(t *testing.T, test func(t *testing.T, db *sql.DB, d dialect, open func() (*Ledger, error))) {
	t.Run("SQLite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "ledger.db")
		must(t, os.WriteFile(path, nil, 0o600))
		db, err := openFile(path)
		must(t, err)
		t.Cleanup(func() { db.Close() })
		test(t, db, sqliteFile{}, func() (*Ledger, error) { return Open(t.Context(), path, Options{}) })
	})
	t.Run("MariaDB", func(t *testing.T) {
		c, err := mycnf.Read(mariadbtest.Shared(t).Credentials(t))
		must(t, err)
		s, err := connect(c)
		must(t, err)
		t.Cleanup(func() { s.db.Close() })
		test(t, s.db, s, func() (*Ledger, error) { return OpenMySQL(t.Context(), c, Options{}) })
	})
}

// TestFillFolders: a ledger from before there were folders gets what a new one has, also if that was broken off.
func TestFillFolders(t *testing.T) { onOlder(t, testFillFolders) }

func testFillFolders(t *testing.T, db *sql.DB, d dialect, open func() (*Ledger, error)) {
	before, err := provider(db, d)
	must(t, err)
	_, err = before.UpTo(t.Context(), 10)
	must(t, err)
	tx, err := db.BeginTx(t.Context(), nil)
	must(t, err)
	rows := newInsertion(tx, "items (host, path, path_hash, version, bytes, members, fingerprint, queued, error)")
	for i := range lastPage + 100 { // more than are filled at once
		p := fmt.Sprintf("/d\xff/%d/%d", i%77, i)
		must(t, rows.add(t.Context(), "h", []byte(p), pathHash("h", p), 1, 0, 0, make([]byte, 16), 0, ""))
	}
	must(t, rows.add(t.Context(), "g", []byte("/"), pathHash("g", "/"), 1, 0, 0, make([]byte, 16), 0, ""))
	must(t, rows.rest(t.Context()))
	must(t, tx.Commit())
	for range 2 {
		l, err := open()
		must(t, err)
		defer l.Close()
		if n := checkFolders(t, l); n != 77+3 {
			t.Errorf("%d folders", n)
		}
		mustExec(t, db, "UPDATE items SET folder = 0 WHERE id % 3 = 0")
	}
}

// TestManyMatching: what a pattern matches comes in the order of the queue, whether it is found by its path or passed.
func TestManyMatching(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sql.DB, open func() *Ledger) {
		tx, err := db.BeginTx(t.Context(), nil)
		must(t, err)
		rows := newInsertion(tx, "items (host, path, path_hash, version, bytes, members, fingerprint, queued, error)")
		add := func(p string) {
			must(t, rows.add(t.Context(), "h", []byte(p), pathHash("h", p), 1, 0, 0, make([]byte, 16), 0, ""))
		}
		add("/z/first")
		for i := range mostMatching + 1 {
			add(fmt.Sprintf("/many/%d", i*7919%(mostMatching+1)))
		}
		add("/a/last")
		must(t, rows.rest(t.Context()))
		must(t, tx.Commit())
		l := open()
		for pattern, want := range map[string]int{"/many/*": mostMatching + 1, "h:/many/10*": 112, "/many/1*": 1112, "/{z,many,a}/**": mostMatching + 3, "/*/{first,last}": 2, "/a/last": 1} {
			n, last := 0, int64(0)
			for it, err := range l.Items(t.Context(), Filter{Pattern: pattern}) {
				must(t, err)
				if it.ID <= last {
					t.Fatalf("%s: item %d comes after %d", pattern, it.ID, last)
				}
				n, last = n+1, it.ID
			}
			if n != want {
				t.Errorf("%s: %d items, want %d", pattern, n, want)
			}
		}
	})
}
