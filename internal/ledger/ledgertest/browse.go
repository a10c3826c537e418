package ledgertest

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"twintape/internal/catalog"
	"twintape/internal/ledger"
)

// The names of directories and files in trees: in bytewise order some stand between a directory and what it holds.
var (
	dirNames  = []string{"d", "d-", "d.", "d\xff", "d\n'%_"}
	fileNames = []string{"f", "f ", "f\xfe\xff", "f\\"}
)

// shelf is what a tape holds, told by the test: what each item's members are, by path.
type shelf map[int64]map[string]catalog.Entry

// seen is what must be seen of the items of a host at each path: the latest item that has it, and what it is there.
func (s shelf) seen(host string) map[string]ledger.Browsed {
	tops := make(map[string]int64)
	for id, members := range s {
		for p, e := range members {
			if e.Link == "top" && e.Host == host {
				tops[p] = max(tops[p], id)
			}
		}
	}
	out := make(map[string]ledger.Browsed)
	for top, id := range tops {
		for p, e := range s[id] {
			if out[p].Item < id {
				out[p] = ledger.Browsed{Entry: e, Item: id}
			}
		}
		for dir := path.Dir(top); ; dir = path.Dir(dir) {
			if _, ok := out[dir]; !ok {
				out[dir] = ledger.Browsed{Entry: catalog.Entry{Type: catalog.Dir}}
			}
			if dir == "/" {
				break
			}
		}
	}
	return out
}

// tree makes an item's members: some folders deep, with hard links.
func tree(r *rand.Rand, host, top string) (members []catalog.Entry) {
	mtime := time.Date(2013, 12, 1, 2, 3, 4, 0, time.UTC)
	var add func(p string, depth int)
	add = func(p string, depth int) {
		e := catalog.Entry{Host: host, Path: p, Mode: 0o644, MTime: mtime, UID: 7}
		if strings.HasPrefix(path.Base(p), "f") {
			e.Type, e.Size = catalog.File, 1+r.Int64N(1000)
			members = append(members, e)
			if depth > 0 && r.IntN(3) == 0 {
				members = append(members, catalog.Entry{Host: host, Path: p + "link", Type: catalog.Hardlink, Link: p, MTime: mtime})
			}
			return
		}
		e.Type = catalog.Dir
		members = append(members, e)
		if depth == 3 {
			return
		}
		for _, name := range append(slices.Clone(dirNames), fileNames...) {
			if r.IntN(3) == 0 {
				add(path.Join(p, name), depth+1)
			}
		}
	}
	add(top, 0)
	return members
}

func testBrowse(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	r := rand.New(rand.NewPCG(5, 5))
	hosts := []string{"g", "h", "h-"}
	all, byTape := make(shelf), make(map[string]shelf)
	for range 3 {
		run := b.run()
		byTape[run.barcodes[0]], byTape[run.barcodes[1]] = make(shelf), make(shelf)
		for range 4 {
			var wanted []ledger.NewItem
			for range 6 {
				top := "/"
				for range 1 + r.IntN(3) {
					top = path.Join(top, dirNames[r.IntN(len(dirNames))])
				}
				if r.IntN(4) == 0 {
					top = path.Join(top, fileNames[r.IntN(len(fileNames))])
				}
				wanted = append(wanted, ledger.NewItem{Host: hosts[r.IntN(len(hosts))], Path: top, Fingerprint: catalog.MD5{byte(r.IntN(250)), 1}})
			}
			wanted = append(wanted, ledger.NewItem{Host: "h", Path: "/deep" + strings.Repeat("/d", 9) + "/f"}) // deeper than one query looks
			added, err := b.Enqueue(b.ctx, wanted, true)
			b.must(err)
			run.archives++
			a := Archive(run.job, run.session, run.archives, nil, 0)
			var items []ledger.Item
			for _, e := range added {
				if e.Outcome != ledger.Added && e.Outcome != ledger.Renewed {
					continue
				}
				members := tree(r, e.Host, e.Path)
				all[e.ID] = make(map[string]catalog.Entry)
				for i, m := range members {
					known := m
					if i == 0 {
						known.Link = "top"
					}
					if m.Type == catalog.Hardlink {
						known.Size = members[i-1].Size
					}
					all[e.ID][m.Path] = known
				}
				for _, barcode := range run.barcodes {
					byTape[barcode][e.ID] = all[e.ID]
				}
				for i := range members {
					if members[i].Type.OnTape() {
						members[i].Place = catalog.Place{Archive: run.archives, Record: a.Record + 1, Header: 512}
					}
				}
				a.Items = append(a.Items, catalog.Item{ID: e.ID, Host: e.Host, Path: e.Path, Entries: members})
				items = append(items, b.item(e.ID))
			}
			if len(items) == 0 {
				continue
			}
			id, err := b.PlanArchive(b.ctx, run.job.ID, run.session.ID, a, 50, nil)
			b.must(err)
			b.flush(run, id, a)
			b.verified(run, 0, 1, true, items...)
			b.verified(run, 1, 1, true, items...)
		}
	}
	// One copy is damaged: it is seen on all tapes still, but not on that one.
	for barcode, items := range byTape {
		for id := range items {
			c := ledger.CheckedCopy{Item: id, Bad: "differs"}
			_, err := b.RecordVerification(b.ctx, ledger.Verification{Barcode: barcode, Began: time.Now(), Ended: time.Now(), Sample: 1, Reason: "differs", Copies: []ledger.CheckedCopy{c}})
			b.must(err)
			delete(items, id)
			break
		}
		break
	}
	// Another has only damaged copies, and some wait: nothing of them is seen, nor what leads only to them, however deep.
	lost := slices.Max(slices.Collect(maps.Keys(all)))
	for barcode, items := range byTape {
		if _, ok := items[lost]; ok {
			c := ledger.CheckedCopy{Item: lost, Bad: "differs"}
			_, err := b.RecordVerification(b.ctx, ledger.Verification{Barcode: barcode, Began: time.Now(), Ended: time.Now(), Sample: 1, Reason: "differs", Copies: []ledger.CheckedCopy{c}})
			b.must(err)
			delete(items, lost)
		}
	}
	delete(all, lost)
	var waiting []ledger.NewItem
	for _, host := range append(hosts, "waiting") {
		for _, dir := range append(dirNames, "q", "q/q/q/q/q/q/q/q/q") {
			waiting = append(waiting, ledger.NewItem{Host: host, Path: path.Join("/", dir, "q/waiting")})
		}
	}
	_, err := b.Enqueue(b.ctx, waiting, false)
	b.must(err)
	byTape[""] = all
	paths := 0
	for barcode, items := range byTape {
		var with []string
		for _, host := range hosts {
			seen := items.seen(host)
			if len(seen) > 0 {
				with = append(with, host)
			}
			paths += b.browse(barcode, host, seen)
		}
		if got, err := b.BrowseHosts(b.ctx, barcode); err != nil || !slices.Equal(got, with) {
			t.Errorf("hosts on %q are %q, %v, want %q", barcode, got, err, with)
		}
	}
	for _, barcode := range slices.Collect(maps.Keys(byTape)) {
		for _, at := range []string{"h:/q", "h:/q/q/q", "waiting:/"} {
			host, p, _ := strings.Cut(at, ":")
			list, err := b.BrowseDir(b.ctx, barcode, host, p)
			b.must(err)
			if _, err := b.Browse(b.ctx, barcode, host, p); !errors.Is(err, ledger.ErrNotFound) || len(list) > 0 {
				t.Errorf("on %q %s, below which items only wait: %v, holds %v", barcode, at, err, list)
			}
		}
	}
	if paths < 1000 {
		t.Errorf("only %d paths were looked at", paths)
	}
	if _, err := b.Browse(b.ctx, "NONE", "h", "/"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("the root on an unknown tape: %v", err)
	}
}

// browse compares every entry and every directory with what must be seen, and returns how many there are.
func (b *bench) browse(barcode, host string, seen map[string]ledger.Browsed) int {
	b.Helper()
	below := make(map[string][]string)
	for p := range seen {
		if p != "/" {
			below[path.Dir(p)] = append(below[path.Dir(p)], p)
		}
	}
	alike := func(got, want ledger.Browsed) bool {
		return got.Item == want.Item && got.Type == want.Type && got.Size == want.Size && got.UID == want.UID &&
			(want.Item == 0 || got.MTime.Equal(want.MTime)) && (got.Type != catalog.Hardlink || !got.MD5.IsZero())
	}
	for p, want := range seen {
		got, err := b.Browse(b.ctx, barcode, host, p)
		if err != nil || got.Path != p || got.Host != host || !alike(got, want) {
			b.Errorf("on %q %s:%q is %+v, %v, want %+v", barcode, host, p, got, err, want)
		}
		if _, err := b.Browse(b.ctx, barcode, host, path.Join(p, "none")); !errors.Is(err, ledger.ErrNotFound) {
			b.Errorf("on %q below %s:%q: %v", barcode, host, p, err)
		}
		list, err := b.BrowseDir(b.ctx, barcode, host, p)
		b.must(err)
		var names []string
		for _, e := range list {
			names = append(names, e.Path)
			if !alike(e, seen[e.Path]) {
				b.Errorf("on %q %s:%q is listed as %+v, want %+v", barcode, host, e.Path, e, seen[e.Path])
			}
		}
		slices.SortFunc(below[p], func(x, y string) int { return bytes.Compare([]byte(x), []byte(y)) })
		if !slices.Equal(names, below[p]) {
			b.Errorf("on %q %s:%q holds %q, want %q", barcode, host, p, names, below[p])
		}
	}
	return len(seen)
}

// testBrowseMany has more items below one directory than are passed one by one, beside others.
func testBrowseMany(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	var wanted []string
	for i := range 2500 {
		wanted = append(wanted, path.Join("/d/night", strconv.Itoa(i)))
	}
	wanted = append(wanted, "/d/a", "/d/night-2", "/d/night.", "/d/night2/y", "/d/z", "/d-")
	b.written(b.queue(wanted...)...)
	for barcode, want := range map[string][]string{
		"": {"/d/a", "/d/night", "/d/night-2", "/d/night.", "/d/night2", "/d/z"}, "TAPE002": {"/d/a", "/d/night", "/d/night-2", "/d/night.", "/d/night2", "/d/z"},
	} {
		list, err := b.BrowseDir(b.ctx, barcode, "h", "/d")
		b.must(err)
		var got []string
		for _, e := range list {
			got = append(got, e.Path)
		}
		if !slices.Equal(got, want) {
			t.Errorf("on %q: %q, want %q", barcode, got, want)
		}
		if list, err = b.BrowseDir(b.ctx, barcode, "h", "/d/night"); err != nil || len(list) != 2500 {
			t.Errorf("on %q: %d entries, %v", barcode, len(list), err)
		}
	}
}

// testWriteCatalog makes the catalogs of closed sessions again, also after a bad item left the ledger.
func testWriteCatalog(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	items := b.queue("/a", "/b")
	r := b.run()
	r.archives++
	a := Archive(r.job, r.session, 1, items, 2)
	offset := 512 // behind the manifest
	for _, it := range a.Items {
		for i := range it.Entries {
			e := &it.Entries[i]
			e.Record, e.Offset = a.Record, offset
			offset += e.Header + int(e.Size+511)/512*512
		}
	}
	id, err := b.PlanArchive(b.ctx, r.job.ID, r.session.ID, a, 50, nil)
	b.must(err)
	a.Items[1].Entries[1].Bad = "gone"
	b.flush(r, id, a)
	closed := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var first, again bytes.Buffer
	head, size, sum, err := b.WriteCatalog(b.ctx, &first, r.session, closed)
	b.must(err)
	if size != int64(first.Len()) || head.Job != r.job.UUID || head.Record != r.session.Record || head.RecordSize != RecordSize || !head.Closed.Equal(closed) {
		t.Errorf("%d bytes of %d, head %+v", size, first.Len(), head)
	}
	place := ledger.CatalogPlace{TapeFile: 2, Record: 1051, Records: 3, Bytes: size, MD5: sum}
	b.must(b.CloseSession(b.ctx, r.session.ID, place, [2]int64{1055, 1055}, closed))
	b.must(b.FinishJob(b.ctx, r.job.ID, ledger.Stopped, ""))
	removed, err := b.Dequeue(b.ctx, []int64{items[1].ID})
	b.must(err)
	if len(removed) != 1 {
		t.Fatalf("removed %v", removed)
	}
	s, err := b.Session(b.ctx, r.session.UUID)
	b.must(err)
	if s.Catalog != place {
		t.Errorf("the catalog's place is %+v, want %+v", s.Catalog, place)
	}
	if _, _, _, err := b.WriteCatalog(b.ctx, &again, s, s.Closed); err != nil || !bytes.Equal(first.Bytes(), again.Bytes()) {
		t.Errorf("again it is (%v)\n%s\nand was\n%s", err, again.Bytes(), first.Bytes())
	}
	tape := b.tape(r.barcodes[0])
	if l := tape.Label(); l.Twin != r.barcodes[1] || l.Barcode != r.barcodes[0] || l.Tape != tape.UUID || l.RecordSize != RecordSize {
		t.Errorf("label %+v", l)
	}
	// What is planned only is in no catalog.
	n := b.next(&run{barcodes: r.barcodes, archives: 1, session: r.session})
	b.plan(n, b.queue("/c")...)
	if _, _, _, err := b.WriteCatalog(b.ctx, &again, n.session, closed); err == nil {
		t.Error("a catalog was made of what is planned only")
	}
}
