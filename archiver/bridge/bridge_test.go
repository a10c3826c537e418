package bridge_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"twintape/archiver"
	"twintape/archiver/archivertest"
	"twintape/archiver/bridge"
	"twintape/internal/ledger"
	"twintape/internal/ledger/mariadbtest"
	"twintape/internal/mycnf"
	"twintape/internal/paperdata"
	"twintape/internal/paperdata/paperdatatest"
)

func TestMain(m *testing.M) { os.Exit(mariadbtest.Run(m)) }

// bridged is a site with a bridge.
type bridged struct {
	*archivertest.Site
	b     *bridge.Bridge
	claim string
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func join(t testing.TB, s *archivertest.Site, d *paperdatatest.Databases) *bridged {
	t.Helper()
	server, err := mycnf.ReadServer(d.Credentials(t))
	must(t, err)
	id, err := s.A.Ledger.Identity(t.Context())
	must(t, err)
	b := &bridge.Bridge{Archiver: s.A, Connect: func(ctx context.Context) (*paperdata.DB, error) {
		return paperdata.Open(ctx, paperdata.Config{Server: server, Files: d.Files, Labels: d.Labels, Ledger: id})
	}}
	t.Cleanup(func() { must(t, b.Close()) })
	s.A.Labels = b
	return &bridged{Site: s, b: b, claim: "twintape:" + id}
}

func labels(pairs int) (out []string) {
	for n := range pairs {
		out = append(out, fmt.Sprintf("PAPR1%03d", n+1), fmt.Sprintf("PAPR2%03d", n+1))
	}
	return out
}

// x is the MD5 of "x".
const x = "9dd4e461268c8034f5c8564e155c67a6"

func (s *bridged) run(t testing.TB) *archiver.Report {
	t.Helper()
	owner, err := archiver.ThisProcess()
	must(t, err)
	r, err := s.A.Run(t.Context(), owner, nil)
	must(t, err)
	return r
}

// TestHostileRows brings rows with hostile names all the way.
func TestHostileRows(t *testing.T) {
	d := paperdatatest.New(t, mariadbtest.Shared(t), labels(1)...)
	s := join(t, archivertest.New(t, 1, 64<<20), d)
	names := []string{`a'; DROP TABLE File; -- `, "b%_\\\"", "c\xff\xe9", "\U0001F52D", "e\nf\t", "G", "g `", "-rf", strings.Repeat("l", 194)}
	for i, name := range names {
		s.File(name+"/visdata", "x")
		d.Add(t, "pot1:/"+name, int64(-i), x)
	}
	d.Add(t, "pot1:/g `/", 7, x)      // the same item once more
	d.Add(t, "pot1:/G/visdata", 8, x) // lies in another
	d.Add(t, "pot1:/"+strings.Repeat("m/", 97), 9, x)
	d.Add(t, "pot1:/G/../../x\x00", 9, x)
	for range 2 {
		r, err := s.b.Sync(t.Context(), 0)
		must(t, err)
		if len(r.Problems) != 3 || r.Released > 1 {
			t.Errorf("problems %v, %d released", r.Problems, r.Released)
		}
	}
	var order []string
	for it, err := range s.A.Ledger.Items(t.Context(), ledger.Filter{}) {
		must(t, err)
		order = append([]string{it.Path[1:]}, order...)
	}
	if !slices.Equal(order, names) {
		t.Errorf("queued in the order %q", order)
	}
	s.run(t)
	r, err := s.b.WriteBack(t.Context())
	must(t, err)
	if r.Written != len(names)+1 || r.Deletable != r.Written || len(r.Problems) > 0 {
		t.Errorf("written back: %+v", r)
	}
	got := d.Query(t, "SELECT tape_index FROM File WHERE is_deletable = 1 ORDER BY obsnum, source")
	want := ""
	for i := range names {
		want += fmt.Sprintf("%s[PAPR1001,PAPR2001]-1:%d\n", s.claim, i+1)
	}
	if want += fmt.Sprintf("%s[PAPR1001,PAPR2001]-1:3\n", s.claim); got != want {
		t.Errorf("the rows say\n%swant\n%s", got, want)
	}
	if again, err := s.b.Sync(t.Context(), 0); err != nil || again.Written > 0 {
		t.Errorf("once more: %+v, %v", again, err)
	}
	if got := d.Query(t, "SELECT COUNT(*) FROM File WHERE tape_index IS NULL"); got != "3\n" {
		t.Errorf("%s rows are free, want 3", got)
	}
}

// TestLabelsOfJobs follows labels through jobs that end in all ways.
func TestLabelsOfJobs(t *testing.T) {
	d := paperdatatest.New(t, mariadbtest.Shared(t), labels(3)...)
	s := join(t, archivertest.New(t, 3, 64<<20), d)
	owner, err := archiver.ThisProcess()
	must(t, err)
	l, ctx := s.A.Ledger, t.Context()
	statuses := func() (out string) {
		t.Helper()
		return strings.ReplaceAll(strings.TrimSpace(d.Query(t, "SELECT COALESCE(status, '-') FROM "+d.Labels+".ids ORDER BY label")), "\n", " ")
	}
	settled := func(want string) {
		t.Helper()
		if _, err := s.b.WriteBack(ctx); err != nil {
			t.Fatal(err)
		}
		if got, want := statuses(), strings.ReplaceAll(want, "us", s.claim); got != want {
			t.Errorf("the labels say %s, want %s", got, want)
		}
	}
	pair := func(n int) [2]string { return [2]string{fmt.Sprintf("PAPR1%03d", n), fmt.Sprintf("PAPR2%03d", n)} }
	begin := func(n int) ledger.Job {
		t.Helper()
		j, err := l.BeginJob(ctx, owner, 1)
		must(t, err)
		must(t, l.ClaimPair(ctx, j.ID, pair(n)))
		one, two := pair(n)[0], pair(n)[1]
		must(t, s.b.Reserve(ctx, one, two))
		return j
	}
	settled("- - - - - -")
	// A job that has them keeps them; once it ended without having written, they are free.
	j := begin(1)
	settled("us - - us - -")
	must(t, l.FinishJob(ctx, j.ID, ledger.Stopped, "no drive"))
	settled("- - - - - -")
	// With a session they stay, whatever becomes of the job.
	j = begin(1)
	_, err = l.StartSession(ctx, j.ID, ledger.StartSession{PairUUID: "p", SessionUUID: "s", TapeUUIDs: [2]string{"a", "b"}, RecordSize: 65536, Number: 1, Record: 1})
	must(t, err)
	settled("us - - us - -")
	must(t, l.FinishJob(ctx, j.ID, ledger.Aborted, ""))
	settled("us - - us - -")
	// What is in use here is taken, if it was free; what somebody else says is left as it is.
	d.Exec(t, "UPDATE "+d.Labels+".ids SET status = NULL WHERE label = 'PAPR1001'")
	d.Exec(t, "UPDATE "+d.Labels+".ids SET status = '4711' WHERE label = 'PAPR2001'")
	must(t, l.SetTapeState(ctx, "PAPR1002", ledger.TapeRetired, "torn"))
	settled("us us - 4711 - -")
	// A recycled tape is blank, but not given back.
	for _, barcode := range pair(1) {
		_, err := l.Recycle(ctx, barcode, "")
		must(t, err)
	}
	settled("us us - 4711 - -")
	barred, err := s.b.Barred(ctx, []string{"PAPR1001", "PAPR1003", "PAPR2001", "PAPR2009"})
	must(t, err)
	if len(barred) != 2 || !strings.Contains(barred["PAPR2001"], "taken") || !strings.Contains(barred["PAPR2009"], "does not know it") {
		t.Errorf("barred are %v", barred)
	}
}

// TestLate lets paper-dump overwrite a claim while the tapes are loaded.
func TestLate(t *testing.T) {
	d := paperdatatest.New(t, mariadbtest.Shared(t), labels(1)...)
	s := join(t, archivertest.New(t, 1, 64<<20), d)
	for n := range 3 {
		s.File(fmt.Sprintf("zen.%d.uv/visdata", n), "x")
		d.Add(t, fmt.Sprintf("pot1:/zen.%d.uv", n), int64(n), x)
	}
	_, err := s.b.Sync(t.Context(), 0)
	must(t, err)
	s.A.BeforePlan = func(ctx context.Context) error {
		d.Exec(t, "UPDATE File SET tape_index = '14711' WHERE obsnum = 1")
		d.Exec(t, "DELETE FROM File WHERE obsnum = 2")
		r, err := s.b.Recheck(ctx)
		if r.Lost != 1 || len(r.Problems) != 2 || !strings.Contains(r.Problems[0].Error(), "another took its row (tape_index 14711)") ||
			!strings.Contains(r.Problems[1].Error(), "its row is gone from File") {
			t.Errorf("%+v", r)
		}
		return err
	}
	if r := s.run(t); r.Archived != 2 {
		t.Errorf("%d items are archived, want that of the row that is gone, and one more", r.Archived)
	}
	r, err := s.b.WriteBack(t.Context())
	must(t, err)
	if got := d.Query(t, "SELECT tape_index FROM File ORDER BY obsnum"); r.Written != 1 || got != s.claim+"[PAPR1001,PAPR2001]-1:1\n14711\n" {
		t.Errorf("%+v; the rows say\n%s", r, got)
	}
}

// TestBesidePaperDump lets two sites, each with a ledger of its own, and an old paper-dump work on one list, all at the same time.
func TestBesidePaperDump(t *testing.T) {
	const rows, pairs = 90, 8
	d := paperdatatest.New(t, mariadbtest.Shared(t), labels(pairs)...)
	sites := []*bridged{join(t, archivertest.New(t, pairs, 64<<20), d), join(t, archivertest.New(t, pairs, 64<<20), d)}
	for n := range rows {
		name := fmt.Sprintf("zen.%03d.uv", n)
		for _, s := range sites {
			s.File(name+"/visdata", "x")
		}
		d.Add(t, "pot1:/"+name, int64(n), x)
	}
	old := &paperdatatest.PaperDump{Databases: d, PID: 4711}
	var oldLabels []string
	var g sync.WaitGroup
	for _, s := range sites {
		g.Go(func() {
			for range rows {
				r, err := s.b.Sync(t.Context(), 2)
				if err != nil {
					t.Error(err)
				}
				if len(r.Queued) == 0 {
					return
				}
			}
		})
	}
	g.Go(func() {
		for range rows / 3 / 3 { // it is fast, and shall leave some
			if _, err := old.TakeRows(t.Context(), 3); err != nil {
				t.Error(err)
			}
		}
	})
	g.Wait()
	// Claims that the old one overwrote are found before anything is archived. Then all take labels.
	var archived [2]int
	for i, s := range sites {
		g.Go(func() {
			_, err := s.b.Recheck(t.Context())
			if err != nil {
				t.Error(err)
			}
			owner, err := archiver.ThisProcess()
			if err != nil {
				t.Error(err)
			}
			r, err := s.A.Run(t.Context(), owner, nil)
			if err == nil {
				archived[i] = r.Archived
				_, err = s.b.WriteBack(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	g.Go(func() {
		for range 3 {
			if labels, err := old.TakeLabels(t.Context()); err == nil { // else another was faster
				oldLabels = append(oldLabels, labels[:]...)
			}
		}
	})
	g.Wait()
	dumped := strings.TrimSpace(d.Query(t, "SELECT COUNT(*) FROM File WHERE tape_index = '14711'"))
	if sum := fmt.Sprintf("%d + %d + %s", archived[0], archived[1], dumped); archived[0]+archived[1] == 0 || dumped == "0" {
		t.Errorf("not all took part: %s", sum)
	} else {
		t.Logf("archived here, there and by paper-dump: %s of %d; paper-dump's labels %v", sum, rows, oldLabels)
	}
	used := make(map[string]string) // labels, by who has them
	for _, l := range oldLabels {
		used[l] = "paper-dump"
	}
	total := 0
	for i, s := range sites {
		for it, err := range s.A.Ledger.Items(t.Context(), ledger.Filter{}) {
			must(t, err)
			total++
			got := strings.TrimSpace(d.Query(t, "SELECT tape_index FROM File WHERE source = ?", "pot1:"+it.Path))
			if !strings.HasPrefix(got, s.claim+"["+it.Copies[0].Barcode+",") {
				t.Errorf("site %d has %s on %s, and its row says %s", i, it.Path, it.Copies[0].Barcode, got)
			}
		}
		tapes, err := s.A.Ledger.Tapes(t.Context())
		must(t, err)
		for _, tape := range tapes {
			if tape.State != ledger.TapeWritten {
				continue
			}
			if by, twice := used[tape.Barcode]; twice {
				t.Errorf("label %s is site %d's, and %s's", tape.Barcode, i, by)
			}
			used[tape.Barcode] = fmt.Sprint("site ", i)
			if got := d.Query(t, "SELECT status FROM "+d.Labels+".ids WHERE label = ?", tape.Barcode); strings.TrimSpace(got) != s.claim {
				t.Errorf("label %s is site %d's, but says %s", tape.Barcode, i, got)
			}
		}
	}
	if fmt.Sprint(rows-total) != dumped {
		t.Errorf("of %d rows %d are here, %s are paper-dump's", rows, total, dumped)
	}
}
