package ledgertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"twintape/internal/catalog"
	"twintape/internal/ledger"
)

// The model: what an item is, in the plainest terms.
type modelItem struct {
	id          int64
	path        string
	version     int
	fingerprint byte
	failed      bool
	job         *modelRun
	copies      map[string]*modelCopy // by barcode
}

type modelCopy struct{ verified, full, bad bool }

func (m *modelItem) state() ledger.ItemState {
	verified, full := 0, 0
	for _, c := range m.copies {
		if c.verified && !c.bad {
			verified++
			if c.full {
				full++
			}
		}
	}
	switch {
	case full >= 2:
		return ledger.Deletable
	case verified >= 2:
		return ledger.Archived
	case len(m.copies) > 0:
		return ledger.Written
	case m.job != nil:
		return ledger.Claimed
	case m.failed:
		return ledger.Failed
	}
	return ledger.Queued
}

func (m *modelItem) archived() bool {
	s := m.state()
	return s == ledger.Archived || s == ledger.Deletable
}

type modelRun struct {
	*run
	planned []modelArchive
	tried   map[int64]bool
}

type modelArchive struct {
	id      int64
	archive *catalog.Archive
	items   []*modelItem
}

// machine is one run of the model; each has a host of its own in one ledger.
type machine struct {
	*bench
	host   string
	behind int64 // the last item's id of earlier runs
	items  []*modelItem
	live   []*modelRun
	pairs  []*modelRun // all that ever began
}

// testMachine runs random calls against the ledger and the model.
func testMachine(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := &machine{bench: b, host: fmt.Sprint("h", runs)}
		for _, it := range b.items(ledger.Filter{}) {
			m.behind = it.ID
		}
		b.TB = failer{TB: t, rt: rt}
		rt.Repeat(map[string]func(*rapid.T){
			"enqueue": m.enqueue,
			"begin":   m.begin,
			"plan":    m.planSome,
			"flush":   m.flushSome,
			"drop":    m.drop,
			"finish":  m.finish,
			"verify":  m.verify,
			"dequeue": m.dequeue,
			"fail":    m.fail,
			"":        m.check,
		})
	})
}

// failer tells failures to rapid, so that it shrinks them.
type failer struct {
	testing.TB
	rt *rapid.T
}

func (f failer) Helper()                      { f.rt.Helper() }
func (f failer) Errorf(s string, args ...any) { f.rt.Errorf(s, args...) }
func (f failer) Fatal(args ...any)            { f.rt.Fatal(args...) }
func (f failer) Fatalf(s string, args ...any) { f.rt.Fatalf(s, args...) }

func (m *machine) latest(path string) *modelItem {
	var latest *modelItem
	for _, it := range m.items {
		if it.path == path && (latest == nil || it.version > latest.version) {
			latest = it
		}
	}
	return latest
}

func inside(inner, outer string) bool { return strings.HasPrefix(inner, outer+"/") }

func (m *machine) enqueue(rt *rapid.T) {
	paths := rapid.SliceOfN(rapid.SampledFrom([]string{
		"/a", "/a/b", "/a/b/c", "/a/bb", "/a.b", "/x", "/x/1", "/x/2", "/x/3", "/y1", "/y2", "/y3",
	}), 1, 5).Draw(rt, "paths")
	fingerprint := rapid.SampledFrom([]byte{1, 1, 1, 2}).Draw(rt, "fingerprint")
	again := rapid.Bool().Draw(rt, "again")
	var items []ledger.NewItem
	for _, p := range paths {
		items = append(items, ledger.NewItem{Host: m.host, Path: p, Fingerprint: catalog.MD5{fingerprint}})
	}
	got, err := m.Enqueue(m.ctx, items, again)
	m.must(err)

	outer := slices.Clone(paths)
	slices.Sort(outer)
	outer = slices.Compact(outer)
	outcomes := make(map[string]ledger.Outcome)
	for _, p := range outer {
		latest := m.latest(p)
		switch {
		case latest != nil && !latest.archived():
			outcomes[p] = ledger.Waiting
		case latest != nil && latest.fingerprint == fingerprint:
			outcomes[p] = ledger.Kept
		case latest != nil && !again:
			outcomes[p] = ledger.Changed
		case m.enclosed(p, outcomes):
			outcomes[p] = ledger.Enclosed
		case latest != nil:
			outcomes[p] = ledger.Renewed
		default:
			outcomes[p] = ledger.Added
		}
	}
	seen := make(map[string]bool)
	for _, e := range got {
		want := outcomes[e.Path]
		adds := want == ledger.Added || want == ledger.Renewed
		if adds && seen[e.Path] {
			want = ledger.Waiting
		}
		if e.Outcome != want {
			rt.Fatalf("%s: %s, want %s", e.Path, e.Outcome, want)
		}
		if adds && !seen[e.Path] {
			version := 1
			if l := m.latest(e.Path); l != nil {
				version = l.version + 1
			}
			m.items = append(m.items, &modelItem{id: e.ID, path: e.Path, version: version, fingerprint: fingerprint, copies: map[string]*modelCopy{}})
		}
		seen[e.Path] = true
	}
}

func (m *machine) enclosed(path string, batch map[string]ledger.Outcome) bool {
	for p, o := range batch {
		if o != ledger.Enclosed && inside(path, p) {
			return true
		}
	}
	for _, it := range m.items {
		if it == m.latest(it.path) && !it.archived() && (inside(path, it.path) || inside(it.path, path)) {
			return true
		}
	}
	return false
}

func (m *machine) begin(rt *rapid.T) {
	if len(m.live) == 2 {
		rt.Skip("two jobs are enough")
	}
	r := &modelRun{run: m.run(), tried: make(map[int64]bool)}
	m.live = append(m.live, r)
	m.pairs = append(m.pairs, r)
	if err := m.ClaimPair(m.ctx, m.live[0].job.ID, r.barcodes); err == nil {
		rt.Fatal("a tape was claimed twice")
	}
}

func (m *machine) pick(rt *rapid.T) *modelRun {
	if len(m.live) == 0 {
		rt.Skip("no job")
	}
	return rapid.SampledFrom(m.live).Draw(rt, "job")
}

func (m *machine) pickItems(rt *rapid.T) []*modelItem {
	if len(m.items) == 0 {
		rt.Skip("no items")
	}
	return rapid.SliceOfNDistinct(rapid.SampledFrom(m.items), 1, min(3, len(m.items)), func(it *modelItem) int64 { return it.id }).Draw(rt, "items")
}

func (m *machine) planSome(rt *rapid.T) {
	r, items := m.pick(rt), m.pickItems(rt)
	var rows []ledger.Item
	free := true
	for _, it := range items {
		rows = append(rows, ledger.Item{ID: it.id, Host: m.host, Path: it.path})
		free = free && (it.state() == ledger.Queued || it.state() == ledger.Failed)
	}
	a := Archive(r.job, r.session, r.archives+1, rows, 1)
	id, err := m.PlanArchive(m.ctx, r.job.ID, r.session.ID, a, 10, nil)
	if (err == nil) != free {
		rt.Fatalf("all items free: %v, planned: %v", free, err)
	}
	if err != nil {
		return
	}
	r.archives++
	r.planned = append(r.planned, modelArchive{id, a, items})
	for _, it := range items {
		it.job = r
		r.tried[it.id] = true
	}
}

func (m *machine) flushSome(rt *rapid.T) {
	r := m.pick(rt)
	n := rapid.IntRange(0, len(r.planned)).Draw(rt, "archives")
	f := flushOf(r.run)
	for _, p := range r.planned[:n] {
		for i, it := range p.items {
			it.job = nil
			if rapid.IntRange(0, 3).Draw(rt, "bad") == 0 {
				p.archive.Items[i].Bad = "changed"
				it.failed = true
				continue
			}
			it.failed = false
			for _, barcode := range r.barcodes {
				it.copies[barcode] = &modelCopy{}
			}
		}
		f.Archives = append(f.Archives, ledger.FlushedArchive{ID: p.id, Result: Written(p.archive)})
		f.Positions = flushOf(r.run, f.Archives...).Positions
	}
	m.must(m.RecordFlush(m.ctx, f))
	r.planned = r.planned[n:]
}

func (m *machine) forget(r *modelRun) {
	for _, p := range r.planned {
		for _, it := range p.items {
			it.job = nil
			delete(r.tried, it.id)
		}
	}
	r.archives -= len(r.planned)
	r.planned = nil
}

func (m *machine) drop(rt *rapid.T) {
	r := m.pick(rt)
	// An item that failed in this session before counts as tried still.
	kept := m.failedIn(r)
	m.must(m.DropUnflushed(m.ctx, r.session.ID))
	m.forget(r)
	for id := range kept {
		r.tried[id] = true
	}
}

// failedIn returns the items that a session's flushed archives hold, as the ledger's archives tell.
func (m *machine) failedIn(r *modelRun) map[int64]bool {
	ids := make(map[int64]bool)
	for a, err := range m.Entries(m.ctx, r.session.ID, 1) {
		m.must(err)
		for _, it := range a.Items {
			ids[it.ID] = true
		}
	}
	return ids
}

func (m *machine) finish(rt *rapid.T) {
	r := m.pick(rt)
	step := rapid.SampledFrom([]ledger.Step{ledger.Done, ledger.Mismatch, ledger.Stopped}).Draw(rt, "step")
	if step != ledger.Stopped {
		m.must(m.SetStep(m.ctx, r.job.ID, ledger.Verifying))
	}
	m.must(m.FinishJob(m.ctx, r.job.ID, step, ""))
	m.forget(r)
	m.live = slices.DeleteFunc(m.live, func(x *modelRun) bool { return x == r })
}

func (m *machine) verify(rt *rapid.T) {
	if len(m.pairs) == 0 {
		rt.Skip("no tapes")
	}
	r := rapid.SampledFrom(m.pairs).Draw(rt, "pair")
	side := rapid.IntRange(0, 1).Draw(rt, "side")
	v := verification(r.run, side, rapid.SampledFrom([]float64{0.5, 1}).Draw(rt, "sample"), false)
	v.Good = rapid.IntRange(0, 3).Draw(rt, "result") > 0
	if !v.Good {
		v.Reason = "differs"
	}
	for _, it := range m.items {
		c := it.copies[v.Barcode]
		if c == nil {
			continue
		}
		if !v.Good {
			*c = modelCopy{bad: true}
			continue
		}
		how := rapid.SampledFrom([]string{"not listed", "sampled", "full", "full"}).Draw(rt, "copy")
		if how == "not listed" {
			continue
		}
		full := how == "full"
		v.Copies = append(v.Copies, ledger.CheckedCopy{Item: it.id, Read: 5, Full: full})
		switch {
		case full && v.Sample == 1:
			*c = modelCopy{verified: true, full: true}
		case !c.bad:
			c.verified, c.full = true, c.full || full
		}
	}
	_, err := m.RecordVerification(m.ctx, v)
	m.must(err)
}

func (m *machine) dequeue(rt *rapid.T) {
	items := m.pickItems(rt)
	var ids []int64
	free := true
	for _, it := range items {
		ids = append(ids, it.id)
		free = free && (it.state() == ledger.Queued || it.state() == ledger.Failed)
	}
	removed, err := m.Dequeue(m.ctx, ids)
	if (err == nil) != free || err == nil && len(removed) != len(items) {
		rt.Fatalf("all items free: %v, removed %d: %v", free, len(removed), err)
	}
	if err == nil {
		m.items = slices.DeleteFunc(m.items, func(it *modelItem) bool { return slices.Contains(items, it) })
	}
}

func (m *machine) fail(rt *rapid.T) {
	it := m.pickItems(rt)[0]
	err := m.FailItem(m.ctx, it.id, "unreadable")
	if (err == nil) != (len(it.copies) == 0) {
		rt.Fatalf("%d copies, failed: %v", len(it.copies), err)
	}
	if err == nil {
		it.failed = true
	}
}

func (m *machine) check(rt *rapid.T) {
	describe := func(id int64, path string, version int, state ledger.ItemState, job int64, copies int, failed bool) string {
		return fmt.Sprintf("%d %s v%d %s job %d copies %d failed %v", id, path, version, state, job, copies, failed)
	}
	var want, got []string
	for _, it := range m.items {
		job := int64(0)
		if it.job != nil {
			job = it.job.job.ID
		}
		want = append(want, describe(it.id, it.path, it.version, it.state(), job, len(it.copies), it.failed))
	}
	for _, it := range m.bench.items(ledger.Filter{Host: m.host}) {
		got = append(got, describe(it.ID, it.Path, it.Version, it.State, it.Job, len(it.Copies), it.Error != ""))
	}
	if !slices.Equal(got, want) {
		rt.Fatalf("items\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, r := range m.live {
		var waiting []int64
		for _, it := range m.items {
			if s := it.state(); (s == ledger.Queued || s == ledger.Failed) && !r.tried[it.id] {
				waiting = append(waiting, it.id)
			}
		}
		next, err := m.NextQueued(m.ctx, r.job.ID, m.behind, 1000)
		m.must(err)
		var ids []int64
		for _, it := range next {
			ids = append(ids, it.ID)
		}
		if !slices.Equal(ids, waiting) {
			rt.Fatalf("waiting are %v, want %v", ids, waiting)
		}
	}
}
