package ledgertest

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"twintape/internal/catalog"
	"twintape/internal/ledger"
)

func testPlanRoundTrip(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	var all strings.Builder
	for c := range 256 {
		all.WriteByte(byte(c))
	}
	hostile := strings.ReplaceAll(all.String()[1:], "/", "")
	items := b.queue("/plain", "/"+hostile, "/file")
	r := b.run()
	a := Archive(r.job, r.session, 1, items, 3)
	e := a.Items[1].Entries
	e[1].Path = "/" + hostile + "/" + hostile
	e[1].User, e[1].Group = hostile, "\xff"
	e[1].Xattrs = map[string]string{"user." + hostile: hostile, "": "", "user.empty": ""}
	e[1].MTime = time.Date(2600, 1, 1, 0, 0, 0, 999999999, time.UTC)
	e[1].CTime = time.Time{}
	e[1].Mode, e[1].UID, e[1].GID, e[1].Size, e[1].Record = 0o7777, 1<<32-1, 1<<32-2, 1<<62, 1<<40
	e[2].Type, e[2].Size, e[2].Link, e[2].MTime = catalog.Symlink, 0, hostile, time.Unix(0, 0).UTC()
	e[3].Type, e[3].Size, e[3].Link, e[3].MTime = catalog.Hardlink, 0, e[1].Path, time.Date(1600, 1, 1, 0, 0, 0, 1, time.UTC)
	e[0].Xattrs = map[string]string{}
	socket := e[0]
	socket.Path, socket.Type, socket.Place, socket.Xattrs = "/"+hostile+"/socket", catalog.Socket, catalog.Place{}, nil
	placed := socket
	placed.Path, placed.Place = "/"+hostile+"/pipe", catalog.Place{Archive: 1}
	a.Items[1].Entries = append(e, socket, placed)
	single := a.Items[2].Entries[1]
	single.Path = "/file"
	a.Items[2].Entries = []catalog.Entry{single}

	look := ledger.ItemLook{ID: items[0].ID, Bytes: 77, Members: 4, Fingerprint: catalog.MD5{5}}
	id, err := b.PlanArchive(b.ctx, r.job.ID, r.session.ID, a, 50, []ledger.ItemLook{look})
	b.must(err)
	b.same(id, a)
	b.states(ledger.Claimed, items...)
	it := b.item(items[0].ID)
	if it.Job != r.job.ID || it.Bytes != 77 || it.Members != 4 || it.Fingerprint != (catalog.MD5{5}) {
		t.Errorf("planned as %+v", it)
	}
	planned, err := b.Archives(b.ctx, r.session.ID)
	b.must(err)
	var size int64
	for _, it := range a.Items {
		for _, e := range it.Entries {
			size += e.Size
		}
	}
	want := ledger.PlannedArchive{ID: id, Number: 1, TapeFile: 1, Record: 1000, Records: 50, Items: 3, Bytes: size, Sums: a.SumsSize()}
	if len(planned) != 1 || planned[0] != want {
		t.Errorf("archives %+v, want %+v", planned, want)
	}

	written := Written(a)
	written.Items[0].Entries[2].MD5 = catalog.MD5{}
	written.Items[0].Entries[2].Bad = "shrank"
	written.Items[0].Bad = "visdata000001 shrank"
	b.must(b.RecordFlush(b.ctx, flushOf(r, ledger.FlushedArchive{ID: id, Result: written, CRCs: []byte{1, 0, 0, 255}})))
	b.same(id, written)
	crcs, err := b.CRCs(b.ctx, id)
	b.must(err)
	if !bytes.Equal(crcs, []byte{1, 0, 0, 255}) {
		t.Errorf("CRCs %v", crcs)
	}
}

// same fails the test unless the ledger gives an archive back as it is.
func (b *bench) same(id int64, want *catalog.Archive) {
	b.Helper()
	got, err := b.LoadArchive(b.ctx, id)
	b.must(err)
	if reflect.DeepEqual(got, want) {
		return
	}
	for i := range min(len(got.Items), len(want.Items)) {
		g, w := got.Items[i], want.Items[i]
		for k := range min(len(g.Entries), len(w.Entries)) {
			if !reflect.DeepEqual(g.Entries[k], w.Entries[k]) {
				b.Errorf("member %d of item %d:\n got %+v\nwant %+v", k, i, g.Entries[k], w.Entries[k])
			}
		}
	}
	got.Items, want.Items = nil, nil
	b.Errorf("archive\n got %+v\nwant %+v", got, want)
}

func testPlanRefused(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	items := b.queue("/a", "/b", "/c", "/d")
	r, other := b.run(), b.run()
	b.plan(other, items[0])
	b.written(items[1])
	try := func(want error, change func(*catalog.Archive), items ...ledger.Item) {
		t.Helper()
		a := Archive(r.job, r.session, 1, items, 2)
		if change != nil {
			change(a)
		}
		_, err := b.PlanArchive(b.ctx, r.job.ID, r.session.ID, a, 50, []ledger.ItemLook{{ID: items[0].ID, Bytes: 1234}})
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("planned: %v, want %v", err, want)
		}
		if planned, err := b.Archives(b.ctx, r.session.ID); err != nil || len(planned) > 0 {
			t.Errorf("a refused plan left %v, %v", planned, err)
		}
		if it := b.item(items[0].ID); it.Bytes == 1234 || it.Job != 0 {
			t.Errorf("a refused plan left %+v", it)
		}
	}
	try(ledger.ErrClaimed, nil, items[2], items[0])
	try(ledger.ErrOnTape, nil, items[2], items[1])
	try(ledger.ErrClaimed, nil, items[2], items[2])
	try(ledger.ErrNotFound, nil, items[2], ledger.Item{ID: 999, Host: "h", Path: "/none"})
	try(ledger.ErrNotFound, nil, items[2], ledger.Item{ID: items[3].ID, Host: "h", Path: "/other"})
	try(nil, func(a *catalog.Archive) { a.Pair = other.session.Pair }, items[2])
	try(nil, func(a *catalog.Archive) { a.RecordSize = 1024 }, items[2])
	try(nil, func(a *catalog.Archive) { a.Items[0].Entries[1].Archive = 7 }, items[2])
	try(nil, func(a *catalog.Archive) { a.Items[0].Entries[1].Path = "/cx" }, items[2])
	try(nil, func(a *catalog.Archive) { a.Items[0].Entries[1].Host = "other" }, items[2])
	b.states(ledger.Queued, items[2:]...)
	if _, err := b.PlanArchive(b.ctx, other.job.ID, r.session.ID, Archive(r.job, r.session, 1, items[2:], 1), 50, nil); err == nil {
		t.Error("a job planned into another's session")
	}
	b.plan(r, items[2])
	if _, err := b.PlanArchive(b.ctx, r.job.ID, r.session.ID, Archive(r.job, r.session, 1, items[3:], 1), 50, nil); err == nil {
		t.Error("two archives of a session have one number")
	}
	if _, err := b.LoadArchive(b.ctx, 999); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("an unknown archive: %v", err)
	}
}

func testPlanMany(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	items := b.queue("/one", "/many", "/last")
	r := b.run()
	a := Archive(r.job, r.session, 1, items[1:2], many+3)
	a.Items = append(append(Archive(r.job, r.session, 1, items[:1], 1).Items, a.Items...), Archive(r.job, r.session, 1, items[2:], 2).Items...)
	id, err := b.PlanArchive(b.ctx, r.job.ID, r.session.ID, a, 50, nil)
	b.must(err)
	b.same(id, a)
	b.flush(r, id, a)
	b.same(id, Written(a))
	b.states(ledger.Written, items...)
}

func testFlush(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	items := b.queue("/a", "/b", "/c", "/d")
	r := b.run()
	b.must(b.FailItem(b.ctx, items[0].ID, "an earlier attempt"))
	b.states(ledger.Failed, items[0])
	id1, a1 := b.plan(r, items[0], items[1])
	id2, a2 := b.plan(r, items[2])
	id3, _ := b.plan(r, items[3])
	a1.Items[1].Entries[2].Bad = "vanished" // no reason of its own: a bad member is enough
	b.must(b.RecordFlush(b.ctx, flushOf(r,
		ledger.FlushedArchive{ID: id1, Result: Written(a1)}, ledger.FlushedArchive{ID: id2, Result: Written(a2)})))

	b.states(ledger.Written, items[0], items[2])
	b.states(ledger.Failed, items[1])
	b.states(ledger.Claimed, items[3])
	good := b.item(items[0].ID)
	if good.Error != "" || good.Job != 0 || len(good.Copies) != 2 {
		t.Fatalf("flushed as %+v", good)
	}
	for side, c := range good.Copies {
		want := ledger.Copy{Barcode: r.barcodes[side], Archive: 1, TapeFile: 1, Record: 1001, Flushed: c.Flushed}
		if c != want || c.Flushed.IsZero() {
			t.Errorf("copy %+v, want %+v", c, want)
		}
	}
	bad := b.item(items[1].ID)
	if bad.Error != "h:/b/visdata000001: vanished" || bad.Job != 0 || len(bad.Copies) != 0 {
		t.Errorf("the bad item is %+v", bad)
	}
	loaded, err := b.LoadArchive(b.ctx, id1)
	b.must(err)
	if loaded.Items[1].Bad != bad.Error || loaded.Items[0].Bad != "" {
		t.Errorf("bad are %q and %q", loaded.Items[0].Bad, loaded.Items[1].Bad)
	}
	j, err := b.Job(b.ctx, r.job.ID)
	b.must(err)
	if j.Items != 4 || j.Archived != 2 || j.Bytes != 8000 {
		t.Errorf("job %+v", j)
	}
	var numbers []int
	for a, err := range b.Entries(b.ctx, r.session.ID, 1) {
		b.must(err)
		numbers = append(numbers, a.Number)
	}
	if !reflect.DeepEqual(numbers, []int{1, 2}) {
		t.Errorf("flushed archives %v", numbers)
	}
	if _, err := b.CRCs(b.ctx, id3); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("CRCs of a planned archive: %v", err)
	}
	// The same job does not take what it has tried; another does.
	queued := func(job int64) (n int) {
		next, err := b.NextQueued(b.ctx, job, 0, 10)
		b.must(err)
		return len(next)
	}
	if own, others := queued(r.job.ID), queued(b.job().ID); own != 0 || others != 1 {
		t.Errorf("%d items wait for the job and %d for another", own, others)
	}
	if err := b.FailItem(b.ctx, items[0].ID, "late"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("an item on tape failed: %v", err)
	}
	// A second attempt leaves what the first one wrote as it is.
	again := b.written(items[1])
	b.states(ledger.Written, items[1])
	if loaded, err = b.LoadArchive(b.ctx, id1); err != nil || len(loaded.Items[1].Entries) != 3 || loaded.Items[1].Bad == "" {
		t.Errorf("the first attempt is %+v, %v", loaded, err)
	}
	if c := b.item(items[1].ID).Copies; len(c) != 2 || c[0].Barcode != again.barcodes[0] {
		t.Errorf("copies %+v", c)
	}
}

func testFlushRefused(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	items := b.queue("/a", "/b")
	r, other := b.run(), b.run()
	id1, a1 := b.plan(r, items[0])
	id2, a2 := b.plan(r, items[1])
	fine := ledger.FlushedArchive{ID: id1, Result: Written(a1)}
	for name, f := range map[string]ledger.Flush{
		"the other archive's result": flushOf(r, fine, ledger.FlushedArchive{ID: id2, Result: Written(a1)}),
		"missing members": flushOf(r, fine, ledger.FlushedArchive{ID: id2, Result: func() *catalog.Archive {
			short := Written(a2)
			short.Items[0].Entries = short.Items[0].Entries[:2]
			return short
		}()}),
		"missing items":        flushOf(r, fine, ledger.FlushedArchive{ID: id2, Result: &catalog.Archive{}}),
		"an unknown archive":   flushOf(r, fine, ledger.FlushedArchive{ID: 99, Result: &catalog.Archive{}}),
		"the same twice":       flushOf(r, fine, fine),
		"another session":      flushOf(other, fine),
		"a session not there":  {Session: 99},
		"nothing of this kind": {},
	} {
		if err := b.RecordFlush(b.ctx, f); err == nil {
			t.Errorf("%s: recorded", name)
		}
		b.states(ledger.Claimed, items...)
		b.same(id1, Archive(r.job, r.session, 1, items[:1], 2))
	}
	b.must(b.FinishJob(b.ctx, other.job.ID, ledger.Stopped, "x"))
	if err := b.RecordFlush(b.ctx, ledger.Flush{Session: other.session.ID}); !errors.Is(err, ledger.ErrEnded) {
		t.Errorf("a flush of an ended job: %v", err)
	}
	b.flush(r, id1, a1)
	if err := b.RecordFlush(b.ctx, flushOf(r, fine)); err == nil {
		t.Error("an archive was flushed twice")
	}
}

func testDrop(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	items := b.queue("/a", "/b", "/c")
	r := b.run()
	id, a := b.plan(r, items[0])
	b.plan(r, items[1])
	b.flush(r, id, a)
	b.must(b.DropUnflushed(b.ctx, r.session.ID))
	b.states(ledger.Written, items[0])
	b.states(ledger.Queued, items[1])
	planned, err := b.Archives(b.ctx, r.session.ID)
	b.must(err)
	if len(planned) != 1 || !planned[0].Flushed {
		t.Errorf("archives %+v", planned)
	}
	r.archives = 1
	b.plan(r, items[1], items[2]) // the number and the items are free again
	b.must(b.FinishJob(b.ctx, r.job.ID, ledger.Stopped, "power cut"))
	b.states(ledger.Queued, items[1:]...)
	b.states(ledger.Written, items[0])
	if planned, err = b.Archives(b.ctx, r.session.ID); err != nil || len(planned) != 1 {
		t.Errorf("archives %+v, %v", planned, err)
	}
	b.written(items[1:]...)
}
