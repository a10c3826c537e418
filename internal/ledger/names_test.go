package ledger

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"twintape/internal/catalog"
)

func TestPatternNames(t *testing.T) {
	for glob, want := range map[string]string{
		"zen.uv/visdata":           "zen.uv visdata",
		"*.uv/visdata":             "visdata",
		"h:/data/**/x/y*/z":        "data x z",
		"a/{b/c,d}/e":              "a e",
		"a/{b/c,d}e/f/[g/]h]/i":    "a i",
		`a/\b/c`:                   "a c",
		`a\/b`:                     "b",
		"a/]/b":                    "a ] b",
		"x/y/x":                    "x y",
		"a\xff/b/\xff/\uFFFD/\xfe": "b",
		"*":                        "", "/": "", "?/[a]": "",
	} {
		p, err := parsePattern(glob)
		must(t, err)
		if got := strings.Join(p.names(), " "); got != want {
			t.Errorf("%q has names %q, want %q", glob, got, want)
		}
	}
}

// FuzzPatternNames: a path that matches has the pattern's names.
func FuzzPatternNames(f *testing.F) {
	for _, seed := range [][2]string{
		{"zen.uv/visdata", "/data/zen.uv/visdata"}, {"a/{b/c,d}/e", "/a/b/c/e"}, {`a\/b/{x,y/z}\{/w`, "/a/b/y/z{/w"}, {"[]]/]/a", "/]/]/a"},
		{"{[}]/b,c}/d", "/c/d"}, {"**/a/**", "/a"}, {"\xff/a", "/\xfe/a"}, {"\uFFFD", "/\xfe"}, {"h:/{a/,b/}c", "/a/c"}, {`a\`, "/a"}, {"{a,{b/c,d}}/e", "/b/c/e"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, glob, path string) {
		p, err := parsePattern(glob)
		if err != nil {
			return
		}
		for _, host := range []string{"h", p.host} {
			if !p.match(host, path) {
				continue
			}
			for _, name := range p.names() {
				if !slices.Contains(strings.Split(path, "/"), name) {
					t.Errorf("%q matches %q, which has no %q", glob, path, name)
				}
			}
		}
	})
}

// namedLedger plans and flushes archives of 700 items: every tenth item has a member called often, item 555 one called rare, two
// far from each other one called twice; members are called some in one item, and more in the next.
func namedLedger(t *testing.T, l *Ledger) []string {
	ctx := t.Context()
	for _, barcode := range []string{"A", "B"} {
		_, err := l.AddTape(ctx, Tape{Barcode: barcode})
		must(t, err)
	}
	job, err := l.BeginJob(ctx, Owner{}, 1)
	must(t, err)
	must(t, l.ClaimPair(ctx, job.ID, [2]string{"A", "B"}))
	s, err := l.StartSession(ctx, job.ID, StartSession{
		PairUUID: uuid.NewString(), SessionUUID: uuid.NewString(), TapeUUIDs: [2]string{uuid.NewString(), uuid.NewString()}, RecordSize: 512, Number: 1, Record: 2,
	})
	must(t, err)
	var paths []string
	for number := 1; number <= 3; number++ {
		var add []NewItem
		for n := range 700 {
			add = append(add, NewItem{Host: "h", Path: fmt.Sprintf("/data/%d/item%d", number, n)})
		}
		out, err := l.Enqueue(ctx, add, false)
		must(t, err)
		a := &catalog.Archive{Pair: s.Pair, Session: s.UUID, Job: job.UUID, Number: number, TapeFile: number, RecordSize: 512, Record: int64(number * 10)}
		for n, e := range out {
			it := catalog.Item{ID: e.ID, Host: e.Host, Path: e.Path, Entries: []catalog.Entry{{Host: e.Host, Path: e.Path, Type: catalog.Dir}}}
			member := func(name string) {
				it.Entries = append(it.Entries, catalog.Entry{Host: e.Host, Path: e.Path + "/" + name, Type: catalog.File})
			}
			member([]string{"some", "more"}[n%2])
			if n%10 == 0 {
				member("often")
			}
			if number == 2 && n == 555 {
				member("rare")
			}
			if number != 2 && n == 444 {
				member("twice")
			}
			for _, entry := range it.Entries {
				paths = append(paths, entry.Path)
			}
			a.Items = append(a.Items, it)
		}
		id, err := l.PlanArchive(ctx, job.ID, s.ID, a, 9, nil)
		must(t, err)
		end := int64(number*10 + 10)
		must(t, l.RecordFlush(ctx, Flush{Session: s.ID, Positions: [2]int64{end, end}, Archives: []FlushedArchive{{ID: id, Result: a}}}))
	}
	return paths
}

// planOneMore plans an archive of one item, with a name of its own and one that others have.
func planOneMore(t *testing.T, l *Ledger) {
	out, err := l.Enqueue(t.Context(), []NewItem{{Host: "h", Path: "/data/once"}}, false)
	must(t, err)
	job, err := l.Job(t.Context(), 1)
	must(t, err)
	s, err := one(t.Context(), l.db, "s.id = ?", 1)
	must(t, err)
	_, err = l.PlanArchive(t.Context(), 1, 1, testArchive(job, s, 4, Item{ID: out[0].ID, Host: "h", Path: "/data/once"}), 9, nil)
	must(t, err)
}

// checkFound compares what names find with what a walk does, and how many items are looked at with how many that should be; -1: all.
func checkFound(t *testing.T, l *Ledger, paths []string) {
	t.Helper()
	for glob, looked := range map[string]int{
		"nowhere": 0, "item555/nowhere": 0, "rare": 1, "item555/rare": 1, "item77/rare": 0, "twice": 2, "/*/3/**/twice": 1, "item500": 3,
		"2/item500/*": 1, "*/1/item9/**": 1, "{no,data}/*/{item5,item6}/often": -1, "often": -1, "2/*/rare": 1, "/data/**/item4/some": 3,
		"data": 2100, "item[0-4]/[mo]*": -1, "some/more": 2094, "item7/more": 3, "ITEM555": 0, "h": 0,
	} {
		p, err := parsePattern(glob)
		must(t, err)
		ids, few, err := l.byName(t.Context(), l.db, p)
		must(t, err)
		if few != (looked >= 0) || few && len(ids) != looked {
			t.Errorf("%s: %d items are looked at, %v; want %d", glob, len(ids), few, looked)
		}
		var want, got []string
		for _, path := range paths {
			if p.match("h", path) {
				want = append(want, path)
			}
		}
		for f, err := range l.Find(t.Context(), Wanted{Pattern: glob}) {
			must(t, err)
			got = append(got, f.Entry.Path)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: found %d, want %d: %.3q", glob, len(got), len(want), got)
		}
	}
}

func tableOfNames(t *testing.T, l *Ledger) []string {
	t.Helper()
	all, err := collect(t.Context(), l.db, func(rows *sql.Rows) (string, error) {
		var name, archive, first, last int64
		err := rows.Scan(&name, &archive, &first, &last)
		return fmt.Sprintf("%d in %d: %d to %d", name, archive, first, last), err
	}, "SELECT name, archive, first_item, last_item FROM names ORDER BY name, archive, first_item")
	must(t, err)
	return all
}

// TestNames: few items are looked at for what is rare, in a new ledger and in one from before there were names, also while an older
// twintape plans an archive there.
func TestNames(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sql.DB, open func() *Ledger) {
		first := open()
		l := first
		paths := namedLedger(t, l)
		checkFound(t, l, paths)
		table := tableOfNames(t, l)
		if len(table) < 2100 || len(table) > 2600 {
			t.Errorf("%d names", len(table))
		}
		for _, forget := range []string{"archive > 0", "archive = 2"} { // all, and where that was broken off
			mustExec(t, db, "DELETE FROM names WHERE "+forget)
			mustExec(t, db, "UPDATE archives SET named = 0 WHERE "+strings.Replace(forget, "archive", "id", 1))
			for f, err := range l.Find(t.Context(), Wanted{Pattern: "rare"}) {
				must(t, err)
				if f.Entry.Path != "/data/2/item555/rare" {
					t.Errorf("found %s", f.Entry.Path)
				}
				forget = ""
			}
			if forget != "" {
				t.Error("what has no names yet is not found")
			}
			l = open()
			if got := tableOfNames(t, l); !slices.Equal(got, table) {
				t.Errorf("%d names were filled in, want %d", len(got), len(table))
			}
		}
		planOneMore(t, first)
		if got := tableOfNames(t, l); len(got) != len(table)+2 {
			t.Errorf("%d names with one more archive of /data/once, %d without", len(got), len(table))
		}
		must(t, first.DropUnflushed(t.Context(), 1))
		if got := tableOfNames(t, l); !slices.Equal(got, table) {
			t.Errorf("%d names after that was dropped, want %d", len(got), len(table))
		}
		must(t, first.GiveUp(t.Context(), 3)) // whose job it is
		for _, row := range tableOfNames(t, l) {
			if strings.Contains(row, " in 3:") {
				t.Fatalf("an archive that was given up has name %s", row)
			}
		}
	})
}

// TestNamesFromBefore brings the schema of an older ledger up to date, with more members than are gone through at once.
func TestNamesFromBefore(t *testing.T) {
	onOlder(t, func(t *testing.T, db *sql.DB, d dialect, open func() (*Ledger, error)) {
		before, err := provider(db, d)
		must(t, err)
		_, err = before.UpTo(t.Context(), 11)
		must(t, err)
		tx, err := db.BeginTx(t.Context(), nil)
		must(t, err)
		for _, statement := range []string{
			"INSERT INTO pairs (id, uuid, record_size, created) VALUES (1, 'p', 512, 0)",
			"INSERT INTO jobs (id, uuid, machine, boot, pid, proc_start, step, reached, reason, sample, began, ended) VALUES (1, 'j', '', '', 0, 0, 'done', 'done', '', 0, 0, 0)",
			"INSERT INTO sessions (id, uuid, pair, job, number, record, closed, catalog_file, catalog_record, catalog_records, catalog_md5) VALUES (1, 's', 1, 1, 1, 2, 0, 0, 0, 0, '')",
		} {
			_, err := exec(t.Context(), tx, statement)
			must(t, err)
		}
		rows := newInsertion(tx, "members (archive, seq, name, type, size, mode, mtime_s, mtime_ns, ctime_s, ctime_ns, uid, gid, user_name, group_name, link, bad)")
		for archive := range 3 {
			id, err := insert(t.Context(), tx, "INSERT INTO archives (session, number, tape_file, record, records, items, bytes, good, flushed) VALUES (1, ?, 1, 1, 1, 2, 0, 0, 1)", archive)
			must(t, err)
			for seq := range namedAtOnce/2 + 1 {
				must(t, rows.add(t.Context(), id, seq, []byte(fmt.Sprintf("a%d/b", seq%100)), "file", 0, 0, 0, 0, 0, 0, 0, 0, []byte{}, []byte{}, []byte{}, ""))
			}
			must(t, rows.rest(t.Context()))
			for seq, members := range []int{namedAtOnce / 2, 1} {
				_, err := exec(t.Context(), tx, "INSERT INTO archive_items (archive, seq, host, path, first_member, members, record, bytes, bad) VALUES (?, ?, 'h', ?, ?, ?, 1, 0, '')",
					id, seq, []byte(fmt.Sprintf("/c/%d\xff", seq)), seq*namedAtOnce/2, members)
				must(t, err)
			}
		}
		must(t, tx.Commit())
		l, err := open()
		must(t, err)
		defer l.Close()
		var want []string
		for archive := range 3 {
			add := func(name string, first, last int) {
				want = append(want, fmt.Sprintf("%d in %d: %d to %d", nameHash(name), archive+1, first, last))
			}
			for n := range 100 {
				add(fmt.Sprint("a", n), 0, min(1, max(0, 1-n)))
			}
			add("b", 0, 1)
			add("c", 0, 1)
			add("0\xff", 0, 0)
			add("1\xff", 1, 1)
		}
		got := tableOfNames(t, l)
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%d names, want %d: %.9q", len(got), len(want), got)
		}
	})
}
