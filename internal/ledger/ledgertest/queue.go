package ledgertest

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"twintape/internal/catalog"
	"twintape/internal/ledger"
)

func testQueueOutcomes(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	enqueue := func(again bool, fingerprint byte, paths ...string) []ledger.Enqueued {
		t.Helper()
		var items []ledger.NewItem
		for _, p := range paths {
			items = append(items, ledger.NewItem{Host: "h", Path: p, Fingerprint: catalog.MD5{fingerprint}, Bytes: 5, Members: 2})
		}
		out, err := b.Enqueue(b.ctx, items, again)
		b.must(err)
		return out
	}
	outcomes := func(out []ledger.Enqueued) string {
		var s []string
		for _, e := range out {
			o := string(e.Outcome)
			if e.Other != "" {
				o += "(" + e.Other + ")"
			}
			s = append(s, o)
		}
		return strings.Join(s, " ")
	}
	expect := func(got []ledger.Enqueued, want string) {
		t.Helper()
		if o := outcomes(got); o != want {
			t.Errorf("outcomes %s, want %s", o, want)
		}
	}

	// The outermost wins whatever the order, what is given twice is one item, and names that merely begin alike are apart.
	first := enqueue(false, 1, "/d/b/in", "/d/b", "/d/bc", "/d/a", "/d/b", "/d/b.x")
	expect(first, "enclosed(/d/b) added added added waiting added")
	if first[1].ID >= first[2].ID || first[2].ID >= first[3].ID || first[4].ID != first[1].ID {
		t.Errorf("ids do not follow the given order: %+v", first)
	}
	expect(enqueue(false, 2, "/d/a"), "waiting")
	expect(enqueue(true, 2, "/d/a"), "waiting")
	expect(enqueue(false, 1, "/d", "/d/a/x/y", "/"), "enclosed(/d/a) enclosed(/d/a) enclosed(/d/a)")
	out, err := b.Enqueue(b.ctx, []ledger.NewItem{{Host: "other", Path: "/d"}}, false)
	b.must(err)
	expect(out, "added")

	a := b.item(first[3].ID)
	if a.Version != 1 || a.Bytes != 5 || a.Members != 2 || a.Fingerprint != (catalog.MD5{1}) || a.State != ledger.Queued || a.Queued.IsZero() {
		t.Errorf("queued as %+v", a)
	}
	r := b.written(a)
	expect(enqueue(false, 2, "/d/a"), "waiting")
	b.verified(r, 0, 1, true, a)
	expect(enqueue(false, 2, "/d/a"), "waiting")
	b.verified(r, 1, 1, true, a)
	expect(enqueue(false, 1, "/d/a"), "archived")
	changed := enqueue(false, 2, "/d/a")
	expect(changed, "changed")
	if changed[0].ID != a.ID {
		t.Errorf("changed names item %d, want %d", changed[0].ID, a.ID)
	}
	// What is archived already neither is in the way of what lies in it, nor of what it lies in.
	expect(enqueue(false, 1, "/d/a/x"), "added")
	expect(enqueue(true, 2, "/d/a"), "enclosed(/d/a/x)")
	_, err = b.Dequeue(b.ctx, []int64{b.byPath("/d/a/x").ID})
	b.must(err)
	again := enqueue(true, 2, "/d/a")
	expect(again, "renewed")
	if now := b.byPath("/d/a"); now.ID != again[0].ID || now.Version != 2 || now.State != ledger.Queued {
		t.Errorf("the next version is %+v", now)
	}
	expect(enqueue(true, 3, "/d/a"), "waiting")

	// An old version whose copies went bad is not what waits.
	now := b.byPath("/d/a")
	r2 := b.written(now)
	b.verified(r2, 0, 1, true, now)
	b.verified(r2, 1, 1, true, now)
	bad := verification(r, 0, 1, false)
	bad.Good, bad.Reason = false, "differs"
	_, err = b.RecordVerification(b.ctx, bad)
	b.must(err)
	b.states(ledger.Written, a)
	expect(enqueue(false, 3, "/d/a", "/d/a/y"), "changed enclosed(/d/a)")
	expect(enqueue(false, 3, "/d/a/y", "/d/a/z"), "added added")
	var rest []int64
	for _, it := range b.items(ledger.Filter{Host: "h", States: []ledger.ItemState{ledger.Queued}}) {
		rest = append(rest, it.ID)
	}
	_, err = b.Dequeue(b.ctx, rest)
	b.must(err)
	expect(enqueue(false, 1, "/d"), "added")

	for _, p := range []string{"", "d", "/d/", "/d//a", "/d/../a"} {
		if _, err := b.Enqueue(b.ctx, []ledger.NewItem{{Host: "h", Path: "/fine"}, {Host: "h", Path: p}}, false); err == nil {
			t.Errorf("path %q was queued", p)
		}
	}
	if _, err := b.ItemByPath(b.ctx, "h", "/fine"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a refused call left something: %v", err)
	}
}

func (b *bench) byPath(path string) ledger.Item {
	b.Helper()
	it, err := b.ItemByPath(b.ctx, "h", path)
	b.must(err)
	return it
}

func testQueueMany(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	var items []ledger.NewItem
	for i := range many {
		items = append(items, ledger.NewItem{Host: "h", Path: fmt.Sprintf("/data/%d/zen.%d.xx.uv", i%100, i)})
	}
	out, err := b.Enqueue(b.ctx, items, false)
	b.must(err)
	for i, e := range out {
		if e.Outcome != ledger.Added || i > 0 && e.ID <= out[i-1].ID {
			t.Fatalf("item %d: %+v", i, e)
		}
	}
	seen := 0
	for it, err := range b.Items(b.ctx, ledger.Filter{}) {
		b.must(err)
		if it.Path != items[seen].Path {
			t.Fatalf("item %d is %s, want %s", seen, it.Path, items[seen].Path)
		}
		seen++
	}
	if seen != many {
		t.Errorf("%d items, want %d", seen, many)
	}
	some, err := b.NextQueued(b.ctx, 0, out[many/2].ID, 10)
	b.must(err)
	if len(some) != 10 || some[0].ID != out[many/2+1].ID {
		t.Errorf("%d items behind %d, the first is %d", len(some), out[many/2].ID, some[0].ID)
	}
}

func testDequeue(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	expected := map[string]catalog.MD5{"": {1}, "visdata": {2}, "\xff\n": {3}}
	out, err := b.Enqueue(b.ctx, []ledger.NewItem{{Host: "h", Path: "/e", Expected: expected}}, false)
	b.must(err)
	got, err := b.Expected(b.ctx, out[0].ID)
	b.must(err)
	if !maps.Equal(got, expected) {
		t.Errorf("expected MD5s %v, want %v", got, expected)
	}

	items := b.queue("/a", "/b", "/c", "/bad")
	r := b.run()
	b.plan(r, items[0])
	if _, err := b.Dequeue(b.ctx, []int64{items[1].ID, items[0].ID}); !errors.Is(err, ledger.ErrClaimed) || !strings.Contains(err.Error(), "h:/a") {
		t.Errorf("a claimed item: %v", err)
	}
	b.written(items[2])
	if _, err := b.Dequeue(b.ctx, []int64{items[1].ID, items[2].ID}); !errors.Is(err, ledger.ErrOnTape) || !strings.Contains(err.Error(), "h:/c") {
		t.Errorf("a written item: %v", err)
	}
	if _, err := b.Dequeue(b.ctx, []int64{items[1].ID, 12345}); !errors.Is(err, ledger.ErrNotFound) || !strings.Contains(err.Error(), "12345") {
		t.Errorf("an unknown item: %v", err)
	}
	b.states(ledger.Queued, items[1])

	// An item that went bad on a tape may leave the queue; what lies on the tape is still told.
	bad := b.run()
	id, a := b.plan(bad, items[3])
	a.Items[0].Bad = "changed while read"
	b.flush(bad, id, a)
	b.states(ledger.Failed, items[3])
	removed, err := b.Dequeue(b.ctx, []int64{items[3].ID, out[0].ID, items[3].ID})
	b.must(err)
	if len(removed) != 2 || removed[0].Path != "/e" || removed[1].Path != "/bad" || removed[1].Error != "changed while read" {
		t.Errorf("removed %+v", removed)
	}
	loaded, err := b.LoadArchive(b.ctx, id)
	b.must(err)
	if it := loaded.Items[0]; it.ID != 0 || it.Path != "/bad" || it.Bad == "" || len(it.Entries) != 3 {
		t.Errorf("the bad item is %+v in its archive", it)
	}
	if fresh := b.queue("/bad")[0]; fresh.ID == items[3].ID {
		t.Error("the id of a removed item was given again")
	}
}

func testFilter(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	items := b.queue("/d/one.uv", "/d/two.uv", "/e/three")
	_, err := b.Enqueue(b.ctx, []ledger.NewItem{{Host: "other", Path: "/d/one.uv"}}, false)
	b.must(err)
	b.must(b.FailItem(b.ctx, items[1].ID, "unreadable \xff"))
	b.written(items[0])
	for _, c := range []struct {
		filter ledger.Filter
		want   string
	}{
		{ledger.Filter{}, "/d/one.uv /d/two.uv /e/three other:/d/one.uv"},
		{ledger.Filter{Limit: 2}, "/d/one.uv /d/two.uv"},
		{ledger.Filter{Host: "other"}, "other:/d/one.uv"},
		{ledger.Filter{States: []ledger.ItemState{ledger.Written, ledger.Failed}}, "/d/one.uv /d/two.uv"},
		{ledger.Filter{IDs: []int64{items[2].ID, items[0].ID, 999}}, "/d/one.uv /e/three"},
		{ledger.Filter{IDs: []int64{items[2].ID, items[0].ID}, States: []ledger.ItemState{ledger.Queued}}, "/e/three"},
		{ledger.Filter{Pattern: "h:/d/*"}, "/d/one.uv /d/two.uv"},
		{ledger.Filter{Pattern: "/d/*"}, "/d/one.uv /d/two.uv other:/d/one.uv"},
		{ledger.Filter{Pattern: "t*"}, "/d/two.uv /e/three"},
		{ledger.Filter{Pattern: "visdata000001"}, "/d/one.uv"}, // by its member
		{ledger.Filter{Pattern: "h:/d/one.uv/visdata*"}, "/d/one.uv"},
		{ledger.Filter{Pattern: "h:/d/**", Limit: 1}, "/d/one.uv"},
		{ledger.Filter{Pattern: "nothing"}, ""},
	} {
		var got []string
		for _, it := range b.items(c.filter) {
			if it.Host == "h" {
				got = append(got, it.Path)
			} else {
				got = append(got, it.Host+":"+it.Path)
			}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%+v: %s, want %s", c.filter, s, c.want)
		}
	}
	for _, err := range b.Items(b.ctx, ledger.Filter{Pattern: "a[b"}) {
		if err == nil {
			t.Error("a malformed pattern found something")
		}
	}
	if e := b.item(items[1].ID).Error; e != "unreadable \uFFFD" {
		t.Errorf("the reason is %q", e)
	}
}

func testHostilePaths(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	var paths []string
	for c := 1; c < 256; c++ {
		if c != '/' && c != '.' {
			paths = append(paths, "/d/"+string([]byte{byte(c)}), "/d/"+string([]byte{'x', byte(c)}), "/"+string([]byte{byte(c), 0xff}))
		}
	}
	paths = append(paths, "/'; DROP TABLE items; --", "/a%b_c", "/"+strings.Repeat("long/", 800)+"end", "/\xed\xa0\x80", "/%2e%2e")
	var add []ledger.NewItem
	for _, p := range paths {
		add = append(add, ledger.NewItem{Host: "h", Path: p})
	}
	out, err := b.Enqueue(b.ctx, add, false)
	b.must(err)
	items := b.items(ledger.Filter{})
	for i, p := range paths {
		if out[i].Outcome != ledger.Added || items[i].Path != p {
			t.Errorf("%q was %s and came back as %q", p, out[i].Outcome, items[i].Path)
		}
		if got := b.byPath(p); got.ID != out[i].ID {
			t.Errorf("%q is found as %q", p, got.Path)
		}
	}
	out, err = b.Enqueue(b.ctx, []ledger.NewItem{{Host: "h", Path: "/d/\xff/in"}, {Host: "h", Path: "/" + strings.Repeat("long/", 700) + "long"}}, false)
	b.must(err)
	for _, e := range out {
		if e.Outcome != ledger.Enclosed {
			t.Errorf("%q: %s", e.Path, e.Outcome)
		}
	}
}
