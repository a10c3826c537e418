package scan_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"twintape/archiver"
	"twintape/archiver/archivertest"
	"twintape/archiver/scan"
	"twintape/internal/catalog"
	"twintape/internal/fault"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fill archives some sessions on each of some pairs: hostile names, hard links, items that fail, items that come again.
func fill(t *testing.T, pairs int) *archivertest.Site {
	s := archivertest.New(t, pairs, 64<<20)
	s.A.ArchiveSize, s.A.FlushBytes, s.A.RecordSize, s.A.Sample = 16<<10, 40<<10, 4096, 0.01
	s.File("again/visdata", "first")
	for pair := range pairs {
		for session := range 1 + pair%3 {
			dir := fmt.Sprintf("obs/%d-%d", pair, session)
			s.Fill(dir + "/zen.1")
			s.Fill(dir + "/zen.2\n\xff")
			s.File(dir+"/loose", strings.Repeat("loose", 5000))
			s.File(dir+"/wrong/visdata", "not what is expected")
			s.File(dir+"/wrong/other", "good")
			_, err := s.A.QueueAdd(t.Context(), nil, []archiver.Expectation{{Host: "pot1", Path: "/" + dir + "/wrong", Member: "visdata", MD5: catalog.MD5{1}}}, archiver.QueueOptions{})
			must(t, err)
			s.File("again/visdata", strings.Repeat("again", 10*pair+session))
			s.Archive("pot1:/"+dir+"/*", "pot1:/again")
			ids, err := waiting(t, s.A.Ledger)
			must(t, err)
			_, err = s.A.Ledger.Dequeue(t.Context(), ids)
			must(t, err)
		}
		tp, err := s.A.Ledger.Tape(t.Context(), fmt.Sprintf("PAPR1%03d", pair+1))
		must(t, err)
		must(t, s.A.Ledger.SetFull(t.Context(), tp.Pair))
	}
	return s
}

func waiting(t *testing.T, l *ledger.Ledger) (ids []int64, err error) {
	items, err := l.NextQueued(t.Context(), 0, 0, 1000)
	for _, it := range items {
		ids = append(ids, it.ID)
	}
	return ids, err
}

// lose gives the site a new ledger, without a tape, and returns the old one.
func lose(t *testing.T, s *archivertest.Site, name string) *ledger.Ledger {
	t.Helper()
	old := s.A.Ledger
	l, err := ledger.Create(t.Context(), filepath.Join(s.Dir, name))
	must(t, err)
	t.Cleanup(func() { l.Close() })
	s.A.Ledger = l
	return old
}

// scanned scans tapes and wants nothing to go wrong.
func scanned(t *testing.T, s *archivertest.Site, o scan.Options, patterns ...string) []*scan.Report {
	t.Helper()
	all := reports(t, s, o, patterns...)
	for _, r := range all {
		if r.Err != nil || r.Foreign != "" || len(r.Added.Differences) > 0 {
			t.Errorf("%s: %v, %q, %v", r.Barcode, r.Err, r.Foreign, r.Added.Differences)
		}
	}
	return all
}

func reports(t *testing.T, s *archivertest.Site, o scan.Options, patterns ...string) (all []*scan.Report) {
	t.Helper()
	must(t, scan.Tapes(t.Context(), s.A, patterns, o, func(r *scan.Report) { all = append(all, r) }))
	return all
}

// picture is what a ledger says of tapes, in words that must come out the same of a rebuilt one. Without catalogs, that is
// what the archives alone tell.
func picture(t *testing.T, l *ledger.Ledger, catalogs bool) string {
	t.Helper()
	var b strings.Builder
	ctx := context.Background()
	tapes, err := l.Tapes(ctx)
	must(t, err)
	for _, tp := range tapes {
		if tp.Pair == "" {
			continue
		}
		fmt.Fprintf(&b, "tape %+v %s diverged %v", tp.Label(), tp.State, tp.Diverged)
		if catalogs {
			fmt.Fprintf(&b, " used %d", tp.Used)
		}
		b.WriteByte('\n')
		c, err := l.Contents(ctx, tp.Barcode)
		must(t, err)
		for _, session := range c.Sessions {
			fmt.Fprintf(&b, " session %s %d from %d", session.UUID, session.Number, session.Record)
			if catalogs {
				fmt.Fprintf(&b, " closed %v %+v on %v", session.Closed, session.Catalog, session.On)
				_, n, sum, err := l.WriteCatalog(ctx, io.Discard, session.Session, session.Closed)
				must(t, err)
				if n != session.Catalog.Bytes || sum != session.Catalog.MD5 {
					t.Errorf("the ledger makes another catalog of session %d on %s", session.Number, tp.Barcode)
				}
			}
			b.WriteByte('\n')
			for _, a := range session.Archives {
				crcs, err := l.CRCs(ctx, a.ID)
				must(t, err)
				fmt.Fprintf(&b, "  archive %d file %d at %d, %d records on %v, %d bytes, sums %d, crcs %x\n", a.Number, a.TapeFile, a.Record, a.Records, a.On, a.Bytes, a.Sums, crcs)
				whole, err := l.LoadArchive(ctx, a.ID)
				must(t, err)
				for i, it := range a.Items {
					if whole.Items[i].ID != 0 && it.Bad != "" {
						t.Errorf("%s is bad and has number %d", it.Path, it.ID)
					}
					fmt.Fprintf(&b, "   %d %s:%q at %d bad %v", it.ID, it.Host, it.Path, it.Record, it.Bad != "")
					if catalogs {
						fmt.Fprintf(&b, " %q", it.Bad)
					}
					b.WriteByte('\n')
					for _, e := range whole.Items[i].Entries {
						if !catalogs && !e.Type.OnTape() {
							continue
						}
						e.CTime = time.Time{}
						if e.Bad != "" && !catalogs {
							e.Bad = "bad"
						}
						fmt.Fprintf(&b, "    %q %+v\n", e.Path, e)
					}
				}
			}
		}
	}
	for it, err := range l.Items(ctx, ledger.Filter{}) {
		must(t, err)
		fmt.Fprintf(&b, "item %d %s:%q version %d, %d bytes", it.ID, it.Host, it.Path, it.Version, it.Bytes)
		if catalogs {
			fmt.Fprintf(&b, ", %d members, %s", it.Members, it.Fingerprint)
		}
		slices.SortFunc(it.Copies, func(a, b ledger.Copy) int { return strings.Compare(a.Barcode, b.Barcode) })
		for _, c := range it.Copies {
			fmt.Fprintf(&b, " on %s %d %d %d %q", c.Barcode, c.Archive, c.TapeFile, c.Record, c.Bad)
		}
		b.WriteByte('\n')
	}
	var walk func(barcode, dir string)
	walk = func(barcode, dir string) {
		list, err := l.BrowseDir(ctx, barcode, "pot1", dir)
		must(t, err)
		for _, e := range list {
			if !catalogs && !e.Type.OnTape() {
				continue
			}
			fmt.Fprintf(&b, "%s %d %q %s %d %o %v %s\n", barcode, e.Item, e.Path, e.Type, e.Size, e.Mode, e.MTime, e.MD5)
			if e.Type == catalog.Dir {
				walk(barcode, e.Path)
			}
		}
	}
	for _, barcode := range []string{"", "PAPR1001", "PAPR2002"} {
		walk(barcode, "/")
	}
	return b.String()
}

// same compares two pictures.
func same(t *testing.T, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	x, y := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			t.Fatalf("line %d is\n%s\nwant\n%s", i, x[i], y[i])
		}
	}
	t.Fatalf("%d lines, want %d", len(x), len(y))
}

// A ledger that is lost comes back from twenty tapes as it was, whatever the order of the tapes; once more changes nothing;
// and the pairs are written on.
func TestRebuild(t *testing.T) {
	s := fill(t, 10)
	old := lose(t, s, "second.db")
	want := picture(t, old, true)
	scanned(t, s, scan.Options{}, "PAPR20*", "PAPR1010", "PAPR1*")
	same(t, picture(t, s.A.Ledger, true), want)
	for _, r := range scanned(t, s, scan.Options{}, "PAPR*") {
		if n := r.Added; n.Sessions+n.Archives+n.Items+n.Copies > 0 {
			t.Errorf("%s: once more adds %+v", r.Barcode, n)
		}
	}
	same(t, picture(t, s.A.Ledger, true), want)
	for it, err := range s.A.Ledger.Items(t.Context(), ledger.Filter{}) {
		must(t, err)
		if it.State != ledger.Written {
			t.Errorf("%s is %s", it.Path, it.State)
		}
	}
	jobs, err := s.A.Ledger.Jobs(t.Context(), 0)
	must(t, err)
	for _, j := range jobs {
		if j.Step != ledger.Done || !strings.Contains(j.Reason, "rebuilt") || j.Tapes[0] == "" || j.Tapes[1] == "" {
			t.Errorf("a job is %+v", j)
		}
	}
	if unfinished, err := s.A.Unfinished(t.Context()); err != nil || len(unfinished) > 0 {
		t.Errorf("unfinished are %v, %v", unfinished, err)
	}
	// What is on tape is not queued again, and reads back well; the next session goes behind the last.
	q, err := s.A.QueueAdd(t.Context(), []string{"pot1:/obs/9-0/zen.1"}, nil, archiver.QueueOptions{})
	must(t, err)
	if len(q.Items) != 1 || q.Items[0].Outcome != ledger.Waiting { // written, and not proven on two tapes
		t.Errorf("queued again: %+v", q.Items)
	}
	_, err = s.A.VerifyTapes(t.Context(), []string{"PAPR1010", "PAPR2010"})
	must(t, err)
	q, err = s.A.QueueAdd(t.Context(), []string{"pot1:/obs/9-0/zen.1"}, nil, archiver.QueueOptions{})
	must(t, err)
	if len(q.Items) != 1 || q.Items[0].Outcome != ledger.Kept {
		t.Errorf("queued once verified: %+v", q.Items)
	}
	s.File("new/visdata", "new")
	s.Archive("pot1:/new")
	if jobs, err = s.A.Ledger.Jobs(t.Context(), 1); err != nil || jobs[0].Tapes[0] != "PAPR1001" {
		t.Errorf("the next job is %+v, %v", jobs, err)
	}
	// The old ledger, a backup by now, gets what is new.
	s.A.Ledger = old
	must(t, scan.Tapes(t.Context(), s.A, []string{"PAPR1001", "PAPR2001"}, scan.Options{}, func(r *scan.Report) {
		if n := r.Added; r.Err != nil || len(n.Differences) > 0 || n.Copies != 1 {
			t.Errorf("%s adds %+v, %v", r.Barcode, n, r.Err)
		}
	}))
}

// counted is a library whose drives count what they read, and which perhaps do not find the end of data.
type counted struct {
	tape.Library
	noEnd   bool
	records *atomic.Int64
}

func (l counted) OpenDrive(ctx context.Context, number int) (tape.Drive, error) {
	d, err := l.Library.OpenDrive(ctx, number)
	return countedDrive{d, l}, err
}

type countedDrive struct {
	tape.Drive
	l counted
}

func (d countedDrive) ReadRecord(ctx context.Context, p []byte) (int, error) {
	d.l.records.Add(1)
	return d.Drive.ReadRecord(ctx, p)
}

func (d countedDrive) SpaceEOD(ctx context.Context) error {
	if d.l.noEnd {
		return &tape.SenseError{Key: tape.MediumError, Text: "the end of data is not found"}
	}
	return d.Drive.SpaceEOD(ctx)
}

// A scan reads catalogs, not archives, also where the end of data is not found.
func TestReadsLittle(t *testing.T) {
	s := archivertest.New(t, 1, 256<<20)
	s.A.RecordSize, s.A.ArchiveSize = 4096, 2<<20
	const files = 8
	for i := range files {
		s.File(fmt.Sprintf("obs/%d/visdata", i), strings.Repeat("v", 2_000_000))
		s.Fill(fmt.Sprintf("obs/%d", i))
		s.Archive(fmt.Sprintf("pot1:/obs/%d", i))
	}
	want := picture(t, s.A.Ledger, true)
	lib := s.A.Library
	for _, noEnd := range []bool{false, true} {
		var records atomic.Int64
		lose(t, s, fmt.Sprintf("%v.db", noEnd))
		s.A.Library = counted{lib, noEnd, &records}
		scanned(t, s, scan.Options{}, "PAPR*")
		same(t, picture(t, s.A.Ledger, true), want)
		if n := records.Load(); n > 2*files*30 {
			t.Errorf("without end %v: %d records of %d were read", noEnd, n, 2*files*500)
		}
	}
}

// spoil changes a byte wherever what stands in a cartridge's file.
func spoil(t *testing.T, s *archivertest.Site, barcode, what string) int {
	t.Helper()
	name := filepath.Join(s.Tapes, barcode+".tap")
	data, err := os.ReadFile(name)
	must(t, err)
	n := 0
	for at := 0; ; n++ {
		next := bytes.Index(data[at:], []byte(what))
		if next < 0 {
			break
		}
		at += next
		data[at+len(what)-1] ^= 1
	}
	must(t, os.WriteFile(name, data, 0o644))
	return n
}

// Where catalogs are damaged the archives themselves give the same; a twin whose catalogs are good brings what only they have.
func TestDeep(t *testing.T) {
	s := fill(t, 3)
	tapes := []string{"PAPR1001", "PAPR1002", "PAPR1003", "PAPR2001", "PAPR2002", "PAPR2003"}
	for _, barcode := range tapes {
		if spoil(t, s, barcode, `{"line":"end"`) == 0 {
			t.Fatal("no catalog was damaged")
		}
	}
	old := lose(t, s, "second.db")
	for _, r := range scanned(t, s, scan.Options{}, "PAPR*") {
		if !strings.Contains(fmt.Sprint(r.Notes), "--deep "+r.Barcode) || r.Added.Copies > 0 {
			t.Errorf("%s without --deep: %v, %+v", r.Barcode, r.Notes, r.Added)
		}
	}
	scanned(t, s, scan.Options{Deep: true}, "PAPR1*")
	scanned(t, s, scan.Options{Deep: true}, "PAPR2*")
	same(t, picture(t, s.A.Ledger, false), picture(t, old, false))
	jobs, err := s.A.Ledger.Jobs(t.Context(), 0)
	must(t, err)
	for _, j := range jobs {
		if j.Step != ledger.Aborted {
			t.Errorf("a job is %+v", j)
		}
	}
	// Mended, as a twin's would be.
	for _, barcode := range tapes[3:] {
		spoil(t, s, barcode, `{"line":"end#`)
	}
	scanned(t, s, scan.Options{}, "PAPR2*")
	for _, barcode := range tapes[:3] {
		spoil(t, s, barcode, `{"line":"end#`)
	}
	scanned(t, s, scan.Options{}, "PAPR1*")
	// Items that failed wait again: only their catalog told of them.
	ids, err := waiting(t, s.A.Ledger)
	must(t, err)
	_, err = s.A.Ledger.Dequeue(t.Context(), ids)
	must(t, err)
	same(t, picture(t, s.A.Ledger, true), picture(t, old, true))
}

// A catalog in the middle that is damaged costs a deep scan of its session alone; what is damaged of an archive too costs its
// items alone.
func TestDeepInTheMiddle(t *testing.T) {
	s := fill(t, 3)
	want := picture(t, s.A.Ledger, false)
	name := filepath.Join(s.Tapes, "PAPR1003.tap")
	data, err := os.ReadFile(name)
	must(t, err)
	ends := bytes.Count(data, []byte(`{"line":"end"`))
	if ends != 3 {
		t.Fatalf("%d catalogs", ends)
	}
	at := bytes.Index(data, []byte(`{"line":"end"`))
	data[at] ^= 1
	must(t, os.WriteFile(name, data, 0o644))
	lose(t, s, "second.db")
	all := scanned(t, s, scan.Options{}, "PAPR1003")
	if r := all[0]; r.Added.Sessions != 2 || !strings.Contains(fmt.Sprint(r.Notes), "the catalog of session 1") {
		t.Errorf("%+v", r)
	}
	all = scanned(t, s, scan.Options{Deep: true}, "PAPR1003")
	if r := all[0]; r.Added.Sessions != 1 {
		t.Errorf("%+v", r)
	}
	scanned(t, s, scan.Options{}, "PAPR1001", "PAPR1002", "PAPR2*")
	same(t, picture(t, s.A.Ledger, false), want)
	// An item of the first session.
	loose := bytes.Index(data, []byte("looseloose"))
	data[loose] ^= 1
	must(t, os.WriteFile(name, data, 0o644))
	lose(t, s, "third.db")
	all = reports(t, s, scan.Options{Deep: true}, "PAPR1003")
	if d := all[0].Added.Differences; len(d) != 1 || !strings.Contains(d[0], "/loose") {
		t.Errorf("the differences are %q", d)
	}
	if _, err := s.A.Ledger.ItemByPath(t.Context(), "pot1", "/obs/2-0/loose"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a damaged item is in the ledger: %v", err)
	}
	scanned(t, s, scan.Options{}, "PAPR2003")
	it, err := s.A.Ledger.ItemByPath(t.Context(), "pot1", "/obs/2-0/loose")
	if err != nil || len(it.Copies) != 1 || it.Copies[0].Barcode != "PAPR2003" {
		t.Errorf("from its twin: %+v, %v", it, err)
	}
}

// A session whose job was cut off has no catalog: its whole archives come back, what is torn does not.
func TestCutOff(t *testing.T) {
	s := archivertest.New(t, 1, 64<<20)
	s.A.ArchiveSize, s.A.FlushBytes, s.A.RecordSize, s.A.Memory = 32<<10, 60<<10, 4096, 1<<20
	s.File("old/visdata", "old")
	s.Archive("pot1:/old")
	for i := range 6 {
		s.File(fmt.Sprintf("obs/%d", i), strings.Repeat(fmt.Sprint(i), 40_000))
	}
	lib := s.A.Library
	s.A.Library = fault.New(t, fault.Fault{Op: fault.WriteRecord, Drive: 0, Call: 45, Err: &tape.SenseError{Key: 4, Text: "broken"}}).Library(lib)
	_, err := s.A.QueueAdd(t.Context(), []string{"pot1:/obs/*"}, nil, archiver.QueueOptions{})
	must(t, err)
	owner, err := archiver.ThisProcess()
	must(t, err)
	if _, err := s.A.Run(t.Context(), owner, nil); err == nil {
		t.Fatal("the job was not cut off")
	}
	s.A.Library = lib
	copies := make(map[string][]string) // barcodes by path
	for it, err := range s.A.Ledger.Items(t.Context(), ledger.Filter{}) {
		must(t, err)
		for _, c := range it.Copies {
			copies[it.Path] = append(copies[it.Path], c.Barcode)
		}
	}
	if n := len(copies); n < 3 || n == 7 {
		t.Fatalf("%d items are on tape", n)
	}
	// In the ledger of the job nothing changes: it is to be resumed.
	for _, r := range reports(t, s, scan.Options{Deep: true}, "PAPR*") {
		if d := r.Added.Differences; r.Err != nil || len(d) != 1 || !strings.Contains(d[0], "twintape resume 2") {
			t.Errorf("%s: %q, %v", r.Barcode, d, r.Err)
		}
	}
	lose(t, s, "second.db")
	scanned(t, s, scan.Options{Deep: true}, "PAPR*")
	for it, err := range s.A.Ledger.Items(t.Context(), ledger.Filter{}) {
		must(t, err)
		for _, c := range copies[it.Path] {
			if !slices.ContainsFunc(it.Copies, func(k ledger.Copy) bool { return k.Barcode == c }) {
				t.Errorf("%s has lost its copy on %s", it.Path, c)
			}
		}
		delete(copies, it.Path)
	}
	if len(copies) > 0 {
		t.Errorf("not found are %v", slices.Collect(maps.Keys(copies)))
	}
	if open, err := s.A.Ledger.OpenPairs(t.Context()); err != nil || len(open) > 0 {
		t.Errorf("the pair is written on: %v, %v", open, err)
	}
}

// Tapes of others, blank ones and those that changed places are named, and nothing of them is taken in.
func TestForeign(t *testing.T) {
	s := fill(t, 1)
	record := func(text string, size int) []byte {
		b := append([]byte(text), make([]byte, size-len(text))...)
		n := []byte{byte(size), byte(size >> 8), byte(size >> 16), 0}
		return slices.Concat(n, b, n, []byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	}
	tar, err := exec.Command("tar", "-cf", "-", "-C", s.Data, "again/visdata").Output()
	must(t, err)
	lose(t, s, "second.db")
	own, err := os.ReadFile(filepath.Join(s.Tapes, "PAPR2001.tap"))
	must(t, err)
	for what, image := range map[string][]byte{
		"blank":          nil,
		"an LTFS volume": record("VOL1000001              LTFS", 80),
		`a tape with an ANSI label (VOL1), volume "BACKUP"`: record("VOL1BACKUP", 80),
		"a tar archive that begins with \"again/visdata\"":  record(string(tar), len(tar)),
		"whose catalog cannot be read":                      record("## Paper dump catalog:7 (version: 2)", 32768),
		"data of an unknown kind":                           record("hello", 512),
		"records of more than":                              record("large", 2<<20),
		"a volume label of twintape's that":                 bytes.Replace(slices.Clone(own), []byte("twin: PAPR1001"), []byte("twin: PAPR1002"), 1),
		"a filemark, as a tape that was erased by hand":     {0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff},
	} {
		must(t, os.WriteFile(filepath.Join(s.Tapes, "PAPR1001.tap"), image, 0o644))
		for _, r := range reports(t, s, scan.Options{Deep: true}, "PAPR1001") {
			if r.Err != nil || r.Blank != (what == "blank") || !r.Blank && !strings.Contains(r.Foreign, what) {
				t.Errorf("%s: it is %+v", what, r)
			}
		}
	}
	must(t, os.WriteFile(filepath.Join(s.Tapes, "PAPR1001.tap"), own, 0o644))
	for _, r := range reports(t, s, scan.Options{}, "PAPR1001", "NONE") {
		if r.Err == nil {
			t.Errorf("%s was taken in", r.Barcode)
		}
	}
	if tapes, err := s.A.Ledger.Tapes(t.Context()); err != nil || len(tapes) > 0 {
		t.Errorf("in the ledger are %v, %v", tapes, err)
	}
}

// What ledger and tape do not agree on is told, and the ledger stays as it is.
func TestDisagreement(t *testing.T) {
	s := fill(t, 1)
	before := picture(t, s.A.Ledger, true)
	image := filepath.Join(s.Tapes, "PAPR1001.tap")
	own, err := os.ReadFile(image)
	must(t, err)

	// Another tape has the barcode now.
	other := archivertest.New(t, 1, 64<<20)
	other.A.RecordSize = 4096
	other.File("x/y", "z")
	other.Archive("pot1:/x")
	theirs, err := os.ReadFile(filepath.Join(other.Tapes, "PAPR1001.tap"))
	must(t, err)
	must(t, os.WriteFile(image, theirs, 0o644))
	var contradiction *ledger.ContradictionError
	if r := reports(t, s, scan.Options{}, "PAPR1001")[0]; !errors.As(r.Err, &contradiction) {
		t.Errorf("another tape: %v", r.Err)
	}
	same(t, picture(t, s.A.Ledger, true), before)

	// The tape ends early.
	at := bytes.LastIndex(own, []byte("catalog.jsonl"))
	must(t, os.WriteFile(image, own[:at-8000], 0o644))
	r := reports(t, s, scan.Options{Deep: true}, "PAPR1001")[0]
	if r.Err != nil || len(r.Added.Differences) == 0 {
		t.Errorf("a tape that ends early: %v, %v", r.Added.Differences, r.Err)
	}
	same(t, picture(t, s.A.Ledger, true), before)

	// Where the sides are configured otherwise the tapes find theirs all the same.
	must(t, os.WriteFile(image, own, 0o644))
	lose(t, s, "second.db")
	s.A.Sides = [2]string{"X*", "Y*"}
	scanned(t, s, scan.Options{}, "PAPR2001")
	scanned(t, s, scan.Options{}, "PAPR1001")
	same(t, picture(t, s.A.Ledger, true), before)
}
