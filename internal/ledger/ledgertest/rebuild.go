package ledgertest

import (
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"twintape/internal/catalog"
	"twintape/internal/ledger"
)

// tapeOf is a tape as a scan finds it: a session for each list of archives, each closed an hour after the one before.
type tapeOf struct {
	label    catalog.Label
	side     int
	sessions [][]*catalog.Archive
	open     bool // the last session has no catalog
	damaged  map[int]string
}

var labelled = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (t tapeOf) scanned() ledger.Scanned {
	s := ledger.Scanned{
		Label: t.label, Side: t.side, Serial: "serial of " + t.label.Barcode, Capacity: 1 << 40,
		Fingerprint: func(it *catalog.Item) catalog.MD5 { return catalog.MD5{byte(len(it.Entries)), 9} },
	}
	for n, archives := range t.sessions {
		first, last := archives[0], archives[len(archives)-1]
		one := ledger.ScannedSession{
			Head: catalog.Session{
				Pair: t.label.Pair, Session: first.Session, Job: first.Job, Number: n + 1, RecordSize: RecordSize, Record: first.Record,
				Closed: labelled.Add(time.Duration(n+1) * time.Hour),
			},
			Catalog: ledger.CatalogPlace{TapeFile: last.TapeFile + 1, Record: last.Record + 51, Records: 3, Bytes: 77, MD5: catalog.MD5{byte(n + 1)}},
			End:     last.Record + 55,
		}
		if t.open && n == len(t.sessions)-1 {
			one.Head.Closed, one.Catalog, one.End = time.Time{}, ledger.CatalogPlace{}, last.Record+51
		}
		one.Archives = iter.Seq2[ledger.ScannedArchive, error](func(yield func(ledger.ScannedArchive, error) bool) {
			for _, a := range archives {
				if !yield(ledger.ScannedArchive{Archive: a, Records: 50, CRCs: []byte{1, 2, 3, 4}, Damaged: t.damaged}, nil) {
					return
				}
			}
		})
		s.Sessions = append(s.Sessions, one)
	}
	return s
}

// onPair makes the archives of a new session on a pair, of one item each.
func onPair(pair string, firstNumber int, items ...ledger.Item) (all []*catalog.Archive) {
	job, s := ledger.Job{UUID: uuid.NewString()}, ledger.Session{UUID: uuid.NewString(), Pair: pair}
	for i, it := range items {
		all = append(all, Written(Archive(job, s, firstNumber+i, []ledger.Item{it}, 2)))
	}
	return all
}

func labels() (one, two catalog.Label) {
	one = catalog.Label{Tape: uuid.NewString(), Pair: uuid.NewString(), Barcode: "A", Twin: "B", RecordSize: RecordSize, Created: labelled}
	two = one
	two.Tape, two.Barcode, two.Twin = uuid.NewString(), "B", "A"
	return one, two
}

func (b *bench) rebuild(t tapeOf) ledger.Rebuilt {
	b.Helper()
	r, err := b.Rebuild(b.ctx, t.scanned())
	b.must(err)
	return r
}

// added wants what a tape adds, and nothing that differs.
func (b *bench) added(t tapeOf, sessions, archives, items, copies int) {
	b.Helper()
	r := b.rebuild(t)
	if r.Sessions != sessions || r.Archives != archives || r.Items != items || r.Copies != copies || len(r.Differences) > 0 {
		b.Errorf("tape %s adds %+v, want %d sessions, %d archives, %d items, %d copies", t.label.Barcode, r, sessions, archives, items, copies)
	}
}

// differs wants a difference that is told, and nothing added.
func (b *bench) differs(t tapeOf, want string) {
	b.Helper()
	r := b.rebuild(t)
	if r.Sessions+r.Archives+r.Items+r.Copies > 0 || !strings.Contains(strings.Join(r.Differences, "; "), want) {
		b.Errorf("tape %s gives %+v, want that %q differs", t.label.Barcode, r, want)
	}
}

func testRebuild(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	one, two := labels()
	item := func(id int64, path string) ledger.Item { return ledger.Item{ID: id, Host: "h", Path: path} }
	first := onPair(one.Pair, 1, item(7, "/x"), item(40, "/y"), item(41, "/z"))
	first[2].Items[0].Bad = "it changed"
	second := onPair(one.Pair, 4, item(50, "/x"), item(41, "/z"))
	a := tapeOf{label: one, side: 1, sessions: [][]*catalog.Archive{first, second}}
	b.added(a, 2, 5, 4, 4)
	b.added(a, 0, 0, 0, 0)
	twin := tapeOf{label: two, sessions: a.sessions}
	b.added(twin, 0, 0, 0, 4)
	b.added(twin, 0, 0, 0, 0)

	for barcode, label := range map[string]catalog.Label{"A": one, "B": two} {
		got, err := b.Tape(b.ctx, barcode)
		b.must(err)
		if got.Label() != label || got.State != ledger.TapeWritten || got.Diverged || got.Serial != "serial of "+barcode || got.Used != RecordSize*(5*50+2*3) {
			b.Errorf("tape %s is %+v", barcode, got)
		}
	}
	for id, want := range map[int64]struct{ path, version string }{7: {"/x", "1"}, 50: {"/x", "2"}, 40: {"/y", "1"}, 41: {"/z", "1"}} {
		it := b.item(id)
		if it.Path != want.path || it.Version != int(want.version[0]-'0') || it.State != ledger.Written || len(it.Copies) != 2 || it.Fingerprint != (catalog.MD5{3, 9}) ||
			it.Bytes != 2000 || it.Members != 3 {
			b.Errorf("item %d is %+v", id, it)
		}
	}
	sessions, err := b.Sessions(b.ctx, one.Pair)
	b.must(err)
	for n, s := range sessions {
		if s.Number != n+1 || s.On != [2]bool{true, true} || s.Catalog.MD5 != (catalog.MD5{byte(n + 1)}) {
			b.Errorf("session %d is %+v", n+1, s)
		}
		j, err := b.Job(b.ctx, s.Job)
		b.must(err)
		if j.Step != ledger.Done || j.Owner != (ledger.Owner{}) || j.Tapes != [2]string{"A", "B"} || j.UUID == "" {
			b.Errorf("its job is %+v", j)
		}
	}
	open, err := b.OpenPairs(b.ctx)
	b.must(err)
	if len(open) != 1 {
		b.Errorf("open are %v", open)
	}
	// The next item's number lies behind all that came back.
	if next := b.queue("/new")[0]; next.ID <= 50 {
		b.Errorf("a new item has number %d", next.ID)
	}
	// A verified copy stays verified.
	_, err = b.RecordVerification(b.ctx, ledger.Verification{
		Barcode: "A", Began: labelled, Ended: labelled, Drive: "d", Sample: 1, Good: true, Copies: []ledger.CheckedCopy{{Item: 7, Read: 2000, Full: true}},
	})
	b.must(err)
	b.added(a, 0, 0, 0, 0)
	if c := b.item(7).Copies[0]; !c.Full {
		b.Errorf("the copy is %+v", c)
	}
}

// Twins that hold different things, sessions without a catalog, items of other ledgers, items that were archived again.
func testRebuildUneven(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	one, two := labels()
	item := func(id int64, path string) ledger.Item { return ledger.Item{ID: id, Host: "h", Path: path} }
	first, second := onPair(one.Pair, 1, item(1, "/a"), item(2, "/b")), onPair(one.Pair, 3, item(3, "/c"), item(4, "/d"))
	// One twin has the first session alone, damaged, and without its catalog.
	b.added(tapeOf{label: one, side: 1, sessions: [][]*catalog.Archive{first[:1]}, open: true}, 1, 1, 1, 1)
	if tp, err := b.Tape(b.ctx, "A"); err != nil || tp.Used != 50*RecordSize {
		b.Errorf("the tape is %+v, %v", tp, err)
	}
	r := b.rebuild(tapeOf{label: one, side: 1, sessions: [][]*catalog.Archive{first}, open: true, damaged: map[int]string{0: "a bit is wrong"}})
	if r.Archives != 1 || r.Items != 0 || r.Copies != 0 || len(r.Differences) != 2 {
		b.Errorf("the damaged archive adds %+v", r)
	}
	// What only the catalog tells: a pipe, and that an item failed.
	whole := []*catalog.Archive{Written(first[0]), Written(first[1])}
	whole[0].Items[0].Entries = append(whole[0].Items[0].Entries, catalog.Entry{Host: "h", Path: "/a/pipe", Type: catalog.FIFO})
	whole[1].Items[0].Bad = "it changed"
	b.added(tapeOf{label: two, side: 2, sessions: [][]*catalog.Archive{whole, second}}, 1, 2, 2, 3)
	sessions, err := b.Sessions(b.ctx, one.Pair)
	b.must(err)
	if len(sessions) != 2 || sessions[0].On != [2]bool{false, true} || sessions[1].On != [2]bool{false, true} {
		b.Errorf("the sessions are %+v", sessions)
	}
	if it := b.item(1); len(it.Copies) != 2 || it.Members != 4 {
		b.Errorf("item 1 is %+v", it)
	}
	if a, err := b.Tape(b.ctx, "A"); err != nil || !a.Diverged || a.Used != 2*50*RecordSize {
		b.Errorf("the tape is %+v, %v", a, err)
	}
	// Another ledger's item has the number of one of ours.
	three, _ := labels()
	three.Barcode, three.Twin = "C", "D"
	b.added(tapeOf{label: three, side: 1, sessions: [][]*catalog.Archive{onPair(three.Pair, 1, item(1, "/other"))}}, 1, 1, 1, 1)
	if it := b.item(1); it.Path != "/a" {
		b.Errorf("item 1 is %+v", it)
	}
	// An item with the same number was archived once more: the later archive has it, in whatever order they come.
	four, five := labels()
	four.Barcode, four.Twin = "E", "F"
	five.Barcode, five.Twin, five.Pair = "G", "H", uuid.NewString()
	late := tapeOf{label: four, side: 1, sessions: [][]*catalog.Archive{onPair(four.Pair, 1, item(30, "/early")), onPair(four.Pair, 2, item(31, "/again"))}}
	early := tapeOf{label: five, side: 1, sessions: [][]*catalog.Archive{onPair(five.Pair, 1, item(31, "/again"), item(29, "/early"))}}
	b.added(late, 2, 2, 2, 2)
	b.added(early, 1, 2, 1, 1)
	b.added(late, 0, 0, 0, 0)
	b.added(early, 0, 0, 0, 0)
	if it := b.item(31); len(it.Copies) != 1 || it.Copies[0].Barcode != "E" {
		b.Errorf("item 31 is %+v", it)
	}
	if x, y := b.item(29), b.item(30); x.Version != 1 || y.Version != 2 {
		b.Errorf("the versions are %d and %d", x.Version, y.Version)
	}
	six := five
	six.Barcode, six.Twin, six.Tape, six.Pair = "I", "K", uuid.NewString(), uuid.NewString()
	both := onPair(six.Pair, 1, item(60, "/same"), item(60, "/same"))
	b.added(tapeOf{label: six, side: 2, sessions: [][]*catalog.Archive{both}}, 1, 2, 1, 2)
	if it := b.item(60); len(it.Copies) != 1 || it.Copies[0].Archive != 2 {
		b.Errorf("item 60 is %+v", it)
	}
}

// What contradicts the ledger changes nothing.
func testRebuildRefused(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	one, two := labels()
	it := ledger.Item{ID: 1, Host: "h", Path: "/a"}
	archives := onPair(one.Pair, 1, it)
	a := tapeOf{label: one, side: 1, sessions: [][]*catalog.Archive{archives}}
	b.added(a, 1, 1, 1, 1)
	b.added(tapeOf{label: two, side: 2, sessions: a.sessions}, 0, 0, 0, 1)

	refused := func(change func(s *ledger.Scanned), want string) {
		t.Helper()
		s := a.scanned()
		change(&s)
		var e *ledger.ContradictionError
		if _, err := b.Rebuild(b.ctx, s); !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}
	refused(func(s *ledger.Scanned) { s.Label.Tape = uuid.NewString() }, "two cartridges have one barcode")
	refused(func(s *ledger.Scanned) { s.Label.Barcode = "Z" }, "is that of tape A")
	refused(func(s *ledger.Scanned) { s.Label.Twin = "Z" }, "twin of Z")
	refused(func(s *ledger.Scanned) { s.Serial = "other" }, "serial number is other")
	refused(func(s *ledger.Scanned) { s.Label.Pair = uuid.NewString() }, "its label says")
	refused(func(s *ledger.Scanned) {
		s.Label.Barcode, s.Label.Tape, s.Label.RecordSize = "Z", uuid.NewString(), 4096
	}, "records have 4096 bytes")
	refused(func(s *ledger.Scanned) { s.Label.Barcode, s.Label.Tape = "Z", uuid.NewString() }, "A replaced it in its pair")
	refused(func(s *ledger.Scanned) {
		s.Label.Barcode, s.Label.Tape, s.Label.Created, s.Sessions = "Z", uuid.NewString(), labelled.Add(time.Hour), nil
	}, "it was to replace A in its pair")

	other := tapeOf{label: one, side: 1, sessions: [][]*catalog.Archive{onPair(one.Pair, 1, it)}}
	b.differs(other, "session 1 ("+archives[0].Session+")")
	changed := Written(archives[0])
	changed.Items[0].Entries[1].Mode = 0o777
	b.differs(tapeOf{label: one, side: 1, sessions: [][]*catalog.Archive{{changed}}}, "member h:/a/visdata000000")
	more := append([]*catalog.Archive{archives[0]}, onPair(one.Pair, 2, ledger.Item{ID: 2, Host: "h", Path: "/b"})...)
	s := tapeOf{label: one, side: 1, sessions: [][]*catalog.Archive{more}}.scanned()
	s.Sessions[0].Catalog = a.scanned().Sessions[0].Catalog
	s.Sessions[0].End = a.scanned().Sessions[0].End
	r, err := b.Rebuild(b.ctx, s)
	b.must(err)
	if len(r.Differences) != 1 || !strings.Contains(r.Differences[0], "does not have it") {
		t.Errorf("one archive more gives %+v", r)
	}
	none := a
	none.sessions = nil
	b.differs(none, "was not found there")

	// A tape that a job holds, or whose session is not finished, is left to the job.
	run := b.written(b.queue("/mine")...)
	tp, err := b.Tape(b.ctx, run.barcodes[0])
	b.must(err)
	mine := tapeOf{label: tp.Label(), side: 1, sessions: [][]*catalog.Archive{{Archive(run.job, run.session, 1, nil, 0)}}}
	if _, err := b.Rebuild(b.ctx, mine.scanned()); !errors.Is(err, ledger.ErrClaimed) {
		t.Errorf("a tape of a live job: %v", err)
	}
	b.must(b.FinishJob(b.ctx, run.job.ID, ledger.Stopped, "x"))
	s = mine.scanned()
	s.Serial, s.Sessions[0].Head.Record = "", run.session.Record
	r, err = b.Rebuild(b.ctx, s)
	b.must(err)
	if len(r.Differences) != 1 || !strings.Contains(r.Differences[0], "is not finished") {
		t.Errorf("a stopped job's tape gives %+v", r)
	}

	// A twin that was made later takes the place of the one before.
	later := two
	later.Barcode, later.Twin, later.Tape, later.Created = "C", "A", uuid.NewString(), labelled.Add(time.Hour)
	c := tapeOf{label: later, side: 2, sessions: a.sessions}
	if r := b.rebuild(c); r.Replaced != "B" || r.Copies != 1 || r.Side != 2 {
		t.Errorf("a later twin gives %+v", r)
	}
	gone, err := b.Tape(b.ctx, "B")
	b.must(err)
	if copies := b.item(1).Copies; gone.Pair != "" || gone.State != ledger.TapeRetired || len(copies) != 2 || copies[1].Barcode != "C" {
		t.Errorf("then the tape is %+v, the copies %+v", gone, copies)
	}
	refused(func(s *ledger.Scanned) { s.Label, s.Serial, s.Side = two, "serial of B", 2 }, "belongs to no pair any more: C replaced it")
}
