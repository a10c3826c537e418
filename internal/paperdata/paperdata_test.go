package paperdata_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"twintape/internal/ledger/mariadbtest"
	"twintape/internal/mycnf"
	"twintape/internal/paperdata"
	"twintape/internal/paperdata/paperdatatest"
)

func TestMain(m *testing.M) { os.Exit(mariadbtest.Run(m)) }

const md5 = "0123456789abcdef0123456789abcdef"

func config(t testing.TB, d *paperdatatest.Databases, ledger string) paperdata.Config {
	t.Helper()
	server, err := mycnf.ReadServer(d.Credentials(t))
	must(t, err)
	return paperdata.Config{Server: server, Files: d.Files, Labels: d.Labels, Ledger: ledger}
}

func open(t testing.TB, d *paperdatatest.Databases, ledger string) *paperdata.DB {
	t.Helper()
	db, err := paperdata.Open(t.Context(), config(t, d, ledger))
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return db
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sources(rows []paperdata.Row) (out []string) {
	for _, r := range rows {
		out = append(out, r.Source)
	}
	return out
}

// hostile are sources that a query could choke on, each longer than none and none longer than the column.
var hostile = []string{
	`pot1:/a'; DROP TABLE File; -- `, `pot1:/b" OR "1"="1`, `pot1:/c%_\`, "pot1:/d\xff\xe9\x00x", "pot1:/\U0001F52D", "pot1:/e`;", "pot1:/f\n\r\t", "pot1:/G", "pot1:/g/",
	"pot1:/" + strings.Repeat("l", 194),
}

// TestRows takes rows of all kinds, gives them back, and writes to them, one by one: only the row meant ever changes.
func TestRows(t *testing.T) {
	d := paperdatatest.New(t, mariadbtest.Shared(t), "PAPR1001", "PAPR2001")
	for i, s := range hostile {
		d.Add(t, s, int64(i), md5)
	}
	d.Exec(t, "UPDATE File SET obsnum = NULL WHERE source = 'pot1:/G'")
	for _, not := range []string{"filetype = 'uvcRRE'", "filetype = NULL", "is_tapeable = 0", "is_tapeable = NULL", "tape_index = ''", "tape_index = '14711'"} {
		d.Add(t, "not:"+not, 1, md5)
		d.Exec(t, "UPDATE File SET "+not+" WHERE source = ?", "not:"+not)
	}
	db := open(t, d, "0011aabb")
	want := slices.Concat([]string{"pot1:/G"}, hostile[:7], hostile[8:])
	for _, limit := range []int{1, 3, 100} {
		var got []string
		for after := (*paperdata.Row)(nil); ; {
			page, err := db.Tapeable(t.Context(), after, limit)
			must(t, err)
			if len(page) == 0 {
				break
			}
			after = &page[len(page)-1]
			got = append(got, sources(page)...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("by %d: %q\nwant  %q", limit, got, want)
		}
	}
	before := d.Query(t, "SELECT * FROM File ORDER BY source")
	count := func(tapeIndex string) string {
		return strings.TrimSpace(d.Query(t, "SELECT COUNT(*) FROM File WHERE tape_index = ?", tapeIndex))
	}
	all, err := db.Tapeable(t.Context(), nil, 100)
	must(t, err)
	for _, r := range all {
		if other, err := db.Take(t.Context(), []paperdata.Row{{Source: r.Source, MD5: "other"}}); err != nil || len(other) > 0 {
			t.Errorf("%q is taken with another MD5: %v, %v", r.Source, other, err)
		}
		taken, err := db.Take(t.Context(), []paperdata.Row{r})
		must(t, err)
		if !slices.Equal(sources(taken), []string{r.Source}) || taken[0].MD5 != md5 || count("twintape:0011aabb") != "1" {
			t.Errorf("of %q are taken %q, %s in all", r.Source, sources(taken), count("twintape:0011aabb"))
		}
		if again, err := db.Take(t.Context(), []paperdata.Row{r}); err != nil || len(again) > 0 {
			t.Errorf("%q is taken twice: %v, %v", r.Source, again, err)
		}
		held, err := db.Holders(t.Context(), []string{r.Source, "none"})
		if err != nil || len(held) != 1 || held[r.Source] != db.Claim() {
			t.Errorf("%q is held by %v, %v", r.Source, held, err)
		}
		n, err := db.Release(t.Context(), []string{r.Source})
		if err != nil || n != 1 {
			t.Errorf("%d rows are given back of %q, %v", n, r.Source, err)
		}
	}
	if after := d.Query(t, "SELECT * FROM File ORDER BY source"); after != before {
		t.Errorf("what was taken and given back is\n%s\nit was\n%s", after, before)
	}

	// Written back, what it says cannot be given back, nor is it touched by who read it before.
	other := open(t, d, "ffffffff")
	taken, err := db.Take(t.Context(), all)
	must(t, err)
	for i, r := range taken {
		index, err := db.Index([2]string{"PAPR1001", "PAPR2001"}, 7, i)
		must(t, err)
		place := paperdata.Place{Row: r, Index: index, Deletable: i%2 == 0, Tapes: [2]string{"PAPR1001", "PAPR2001"}, When: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
		n, unknown, err := db.WriteBack(t.Context(), []paperdata.Place{place})
		if err != nil || n != 1 || len(unknown) > 0 || count(index) != "1" {
			t.Errorf("%q: %d written, unknown %v, %v", r.Source, n, unknown, err)
		}
		place.Deletable = !place.Deletable
		if n, _, err := db.WriteBack(t.Context(), []paperdata.Place{place}); err != nil || n != 0 {
			t.Errorf("%q is written although it says something else now: %d, %v", r.Source, n, err)
		}
		for _, who := range []*paperdata.DB{db, other} {
			if n, err := who.Release(t.Context(), []string{r.Source}); err != nil || n != 0 {
				t.Errorf("%q is given back although it is on tape: %d, %v", r.Source, n, err)
			}
		}
	}
	n := 0
	for r, err := range db.Ours(t.Context()) {
		must(t, err)
		if !db.OnTape(r) || other.OnTape(r) || !slices.Contains(hostile, r.Source) {
			t.Errorf("row %+v", r)
		}
		n++
	}
	for r, err := range other.Ours(t.Context()) {
		t.Errorf("another ledger's: %v, %v", r, err)
	}
	if got := d.Query(t, "SELECT label, date, status FROM "+d.Labels+".ids"); n != len(hostile) || got != "PAPR1001 20260102-0304 NULL\nPAPR2001 20260102-0304 NULL\n" {
		t.Errorf("%d rows are on tape; labels\n%s", n, got)
	}
}

// TestLabels takes and settles labels.
func TestLabels(t *testing.T) {
	d := paperdatatest.New(t, mariadbtest.Shared(t), "PAPR1001", "PAPR1002", "PAPR2001", "PAPR2002", "PAPR2002", "PAPR9'%")
	d.Exec(t, "UPDATE "+d.Labels+".ids SET status = '4711' WHERE id = 5") // the second row of PAPR2002
	db, other := open(t, d, "0011aabb"), open(t, d, "ffffffff")
	must(t, db.Reserve(t.Context(), "PAPR1001", "PAPR2001"))
	must(t, db.Reserve(t.Context(), "PAPR1001", "PAPR9'%"))
	var taken *paperdata.TakenError
	for _, label := range []string{"PAPR2002", "papr1002", "PAPR3001"} {
		if err := db.Reserve(t.Context(), "PAPR1002", label); !errors.As(err, &taken) || taken.Label != label || taken.By != "" != (label == "PAPR2002") {
			t.Errorf("%s is taken: %v", label, err)
		}
	}
	if err := other.Reserve(t.Context(), "PAPR1001"); !errors.As(err, &taken) {
		t.Errorf("taken twice: %v", err)
	}
	free := func() (out []string) {
		labels, err := other.Labels(t.Context())
		must(t, err)
		for _, l := range labels {
			if l.Free() {
				out = append(out, l.Label)
			}
		}
		return out
	}
	if got := free(); !slices.Equal(got, []string{"PAPR1002"}) {
		t.Errorf("free are %v", got)
	}
	all := []string{"PAPR1001", "PAPR1002", "PAPR2001", "PAPR2002", "PAPR9'%"}
	settle := func(d *paperdata.DB, free, ours, wantFreed, wantTaken []string) {
		t.Helper()
		freed, taken, err := d.Settle(t.Context(), func([]paperdata.Label) ([]string, []string, error) { return free, ours, nil })
		if err != nil || !slices.Equal(freed, wantFreed) || !slices.Equal(taken, wantTaken) {
			t.Errorf("freed %v, took %v, %v", freed, taken, err)
		}
	}
	settle(other, all, nil, nil, nil)
	settle(db, []string{"PAPR1001", "PAPR2002"}, nil, []string{"PAPR1001"}, nil)
	settle(db, nil, all, nil, []string{"PAPR1001", "PAPR1002"})
	if got := free(); got != nil {
		t.Errorf("free are %v", got)
	}
}

// TestRefused has tables that cannot hold what must be written, and servers that cannot be used.
func TestRefused(t *testing.T) {
	s := mariadbtest.Shared(t)
	for alter, want := range map[string]string{
		"ALTER TABLE File MODIFY tape_index varchar(20)":          "File.tape_index is varchar(20), too narrow for what twintape writes: it takes up to 50 characters; `ALTER TABLE",
		"ALTER TABLE File MODIFY tape_index int":                  "tape_index is int, too narrow",
		"ALTER TABLE File DROP COLUMN is_deletable":               "File has no column is_deletable",
		"ALTER TABLE File ENGINE = MyISAM":                        "kept by MyISAM, which has no transactions: `ALTER TABLE",
		"ALTER TABLE LABELS.ids MODIFY status varchar(8)":         `ids.status is varchar(8), too narrow for "twintape:0011aabb"`,
		"ALTER TABLE LABELS.ids MODIFY status smallint":           "ids.status is smallint, too narrow",
		"ALTER TABLE LABELS.ids MODIFY date char(8)":              "ids.date is char(8), which cannot hold a date",
		"RENAME TABLE LABELS.ids TO LABELS.tapes":                 "there is no table",
		"REVOKE SELECT, UPDATE ON LABELS.ids FROM USER@localhost": "may not see it",
	} {
		d := paperdatatest.New(t, s)
		d.Exec(t, strings.NewReplacer("LABELS", d.Labels, "USER", d.User).Replace(alter))
		db, err := paperdata.Open(t.Context(), config(t, d, "0011aabb"))
		if err == nil || !strings.Contains(err.Error(), want) || db != nil {
			t.Errorf("%s: %v, want %s", alter, err, want)
		}
	}
	d := paperdatatest.New(t, s)
	c := config(t, d, "0011aabb")
	wrong, away := c, c
	wrong.Server.Password = "hunter2"
	away.Server.Socket = "/nowhere/s"
	for want, c := range map[string]paperdata.Config{"does not let this user in": wrong, "does not answer": away} {
		if _, err := paperdata.Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), c.Server.Password) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	long := strings.Repeat("P", 70)
	if _, err := open(t, d, "0011aabb").Index([2]string{long, "PAPR2001"}, 1, 1); err == nil || !strings.Contains(err.Error(), "longer than tape_index may be (100 characters)") {
		t.Errorf("too long: %v", err)
	}
}

// TestOtherTypes has columns of other types than paper-dump's last had.
func TestOtherTypes(t *testing.T) {
	for _, c := range []struct{ status, date, want, later string }{
		{"int", "int", "1001157819 20260102", "20260103"},
		{"bigint", "datetime", "1001157819 2026-01-02 03:04:05", "2026-01-03 03:04:05"},
		{"varchar(17)", "date", "twintape:0011aabb 2026-01-02", "2026-01-03"},
		{"text", "varchar(13)", "twintape:0011aabb 20260102-0304", "20260103-0304"},
	} {
		d := paperdatatest.New(t, mariadbtest.Shared(t), "PAPR1001", "PAPR2001")
		d.Exec(t, fmt.Sprintf("ALTER TABLE %s.ids MODIFY status %s, MODIFY date %s", d.Labels, c.status, c.date))
		d.Exec(t, "ALTER TABLE File DROP PRIMARY KEY, MODIFY source varbinary(200), MODIFY tape_index text, DEFAULT CHARSET utf8mb4")
		db := open(t, d, "0011aabb")
		must(t, db.Reserve(t.Context(), "PAPR1001", "PAPR2001"))
		must(t, db.Reserve(t.Context(), "PAPR1001", "PAPR2001"))
		when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		for i, source := range hostile[:3] {
			d.Add(t, source, int64(i), md5)
			taken, err := db.Take(t.Context(), []paperdata.Row{{Source: source, MD5: md5}})
			if err != nil || len(taken) != 1 {
				t.Fatalf("%v, %v", taken, err)
			}
			for range 2 {
				_, _, err = db.WriteBack(t.Context(), []paperdata.Place{{Row: taken[0], Index: db.Claim() + fmt.Sprintf("[PAPR1001,PAPR2001]-0:%d", i), Tapes: [2]string{"PAPR1001", "PAPR2001"}, When: when.AddDate(0, 0, []int{0, 1, 0}[i])}})
				must(t, err)
			}
			want := c.want
			if i > 0 { // no earlier date
				want = strings.Fields(c.want)[0] + " " + c.later
			}
			if got := d.Query(t, "SELECT status, date FROM "+d.Labels+".ids"); got != want+"\n"+want+"\n" {
				t.Errorf("%+v: labels are\n%s want %s", c, got, want)
			}
		}
	}
}

// TestAtOnce lets two ledgers and an old paper-dump that locks nothing take rows and labels at the same time.
func TestAtOnce(t *testing.T) {
	d := paperdatatest.New(t, mariadbtest.Shared(t))
	const rows, pairs = 400, 12
	for n := range rows {
		d.Add(t, fmt.Sprintf("pot1:/zen.%04d.uv", n), int64(n/3), md5)
	}
	for n := range pairs {
		d.Exec(t, "INSERT INTO "+d.Labels+".ids (label) VALUES (?), (?)", fmt.Sprintf("PAPR1%03d", n), fmt.Sprintf("PAPR2%03d", n))
	}
	type haul struct {
		rows   []string
		labels []string
		err    error
	}
	hauls := make(chan haul)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, ledger := range []string{"0000000a", "0000000b"} {
		db := open(t, d, ledger)
		go func() {
			var h haul
			defer func() { hauls <- h }()
			for {
				page, err := db.Tapeable(ctx, nil, 7)
				if err == nil && len(page) == 0 {
					return
				}
				var taken []paperdata.Row
				if err == nil {
					taken, err = db.Take(ctx, page)
				}
				if h.err = err; err != nil {
					return
				}
				h.rows = append(h.rows, sources(taken)...)
				labels, err := db.Labels(ctx)
				if h.err = err; err != nil {
					return
				}
				i := slices.IndexFunc(labels, paperdata.Label.Free)
				if i < 0 {
					continue
				}
				err = db.Reserve(ctx, labels[i].Label)
				var taken2 *paperdata.TakenError
				if err == nil {
					h.labels = append(h.labels, labels[i].Label)
				} else if !errors.As(err, &taken2) {
					h.err = err
					return
				}
			}
		}()
	}
	go func() {
		var h haul
		defer func() { hauls <- h }()
		p := &paperdatatest.PaperDump{Databases: d, PID: 4711}
		for {
			some, err := p.TakeRows(ctx, 3)
			if h.err = err; err != nil || len(some) == 0 {
				return
			}
			if labels, err := p.TakeLabels(ctx); err == nil {
				h.labels = append(h.labels, labels[:]...)
			}
		}
	}()
	labels, rowsTaken := make(map[string]bool), make(map[string]bool)
	for range 3 {
		h := <-hauls
		must(t, h.err)
		for _, l := range h.labels {
			if labels[l] {
				t.Errorf("label %s is taken twice", l)
			}
			labels[l] = true
		}
		for _, r := range h.rows { // of the two that look before they take; the old one may have it, too, and has it then
			if rowsTaken[r] {
				t.Errorf("row %s is taken twice", r)
			}
			rowsTaken[r] = true
		}
	}
	// Every row is taken, and says by whom.
	if got := d.Query(t, "SELECT COUNT(*) FROM File WHERE tape_index IN ('twintape:0000000a', 'twintape:0000000b', '14711')"); strings.TrimSpace(got) != fmt.Sprint(rows) {
		t.Errorf("%s of %d rows are taken", got, rows)
	}
	if len(labels) == 0 {
		t.Error("no label was taken")
	}
}
