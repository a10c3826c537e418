package ledgertest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"twintape/internal/catalog"
	"twintape/internal/ledger"
)

// foreign is a tape that another program wrote, with one archive of four items, some of which it does not give back: those that
// are lost are not even known to have been there.
func (b *bench) foreign(label catalog.Label, side int, damaged, lost string) ledger.Scanned {
	var items []ledger.Item
	for _, name := range []string{"w", "x", "y", "z"} {
		items = append(items, ledger.Item{Host: "h", Path: "/" + name})
	}
	of := func(what string) string { return uuid.NewMD5(uuid.Nil, []byte(label.Pair+what)).String() }
	a := Written(Archive(ledger.Job{UUID: of("job")}, ledger.Session{UUID: of("session"), Pair: label.Pair}, 0, items, 2))
	a.TapeFile, a.Record = 1, 2
	t := tapeOf{label: label, side: side, sessions: [][]*catalog.Archive{{a}}, damaged: make(map[int]string)}
	kept := a.Items[:0]
	for _, it := range a.Items {
		if strings.Contains(lost, it.Path[1:]) {
			continue
		}
		if strings.Contains(damaged, it.Path[1:]) {
			t.damaged[len(kept)] = "it cannot be read"
			it.Bad, it.Entries = "it cannot be read", nil
		}
		kept = append(kept, it)
	}
	a.Items = kept
	s := t.scanned()
	s.WrittenBy = "another program"
	s.Sessions[0].Catalog = ledger.CatalogPlace{Records: 1, Bytes: 77}
	return s
}

// Twins of another program's make up for each other, in any order, as often as they are scanned.
func testRebuildMerged(t *testing.T, fresh Fresh) {
	for n, order := range [][]int{{0, 1}, {1, 0}, {0, 0, 1, 1, 0}} {
		b := newBench(t, fresh)
		one, two := labels()
		one.Twin, two.Twin = "", ""
		tapes := []ledger.Scanned{b.foreign(one, 1, "x", "z"), b.foreign(two, 1, "wy", "")} // both sides are said to be the first
		for _, i := range order {
			r, err := b.Rebuild(b.ctx, tapes[i])
			b.must(err)
			if want := []int{1, 2}[i]; len(r.Differences) < want || !strings.Contains(fmt.Sprint(r.Differences), "it cannot be read") {
				b.Errorf("tape %d differs by %q", i, r.Differences)
			}
		}
		got := make(map[string]string)
		for it, err := range b.Items(b.ctx, ledger.Filter{}) {
			b.must(err)
			for _, c := range it.Copies {
				got[it.Path] += c.Barcode
			}
			m, err := b.ItemMembers(b.ctx, it.ID)
			b.must(err)
			if it.Version != 1 || it.State != ledger.Written || len(m.Entries) != 3 || m.Entries[1].MD5.IsZero() || m.Entries[0].Record != it.Copies[0].Record {
				b.Errorf("%v: %+v with members %+v", order, it, m)
			}
		}
		if want := map[string]string{"/w": "A", "/x": "B", "/y": "A", "/z": "B"}; fmt.Sprint(got) != fmt.Sprint(want) {
			b.Errorf("scanned as %v: the copies are %v", order, got)
		}
		c, err := b.Contents(b.ctx, "A")
		b.must(err)
		if items := c.Sessions[0].Archives[0].Items; len(items) != 4 || c.Tape.WrittenBy != "another program" {
			b.Errorf("%+v", c)
		} else {
			for i, path := range []string{"/w", "/x", "/y", "/z"} {
				if items[i].Path != path || items[i].Bad != "" {
					b.Errorf("item %d is %+v", i, items[i])
				}
			}
		}
		if open, err := b.OpenPairs(b.ctx); err != nil || len(open) > 0 {
			b.Errorf("open are %v, %v", open, err)
		}
		if n > 0 {
			continue
		}
		// A third tape, and a twin with something else in the archive.
		third := two
		third.Tape, third.Barcode = uuid.NewString(), "C"
		if _, err := b.Rebuild(b.ctx, b.foreign(third, 1, "", "")); err == nil || !strings.Contains(err.Error(), "two tapes") {
			b.Errorf("a third tape: %v", err)
		}
		odd := b.foreign(two, 2, "", "")
		for a := range odd.Sessions[0].Archives {
			a.Items[3].Entries[1].MD5 = catalog.MD5{7}
		}
		r, err := b.Rebuild(b.ctx, odd)
		b.must(err)
		if !strings.Contains(fmt.Sprint(r.Differences), "h:/z has no copy on this tape: member h:/z/visdata000000 is") {
			b.Errorf("a member with another MD5: %q", r.Differences)
		}
		// What came later is newer, whenever it is scanned.
		later := b.foreign(one, 1, "", "")
		later.Label.Tape, later.Label.Pair, later.Label.Barcode = uuid.NewString(), uuid.NewString(), "D"
		later.Label.Created = labelled.Add(-48 * time.Hour)
		for i := range later.Sessions {
			later.Sessions[i].Head.Pair, later.Sessions[i].Head.Session, later.Sessions[i].Head.Job = later.Label.Pair, uuid.NewString(), uuid.NewString()
			later.Sessions[i].Head.Closed = later.Label.Created
		}
		r, err = b.Rebuild(b.ctx, later)
		b.must(err)
		if r.Items != 4 {
			b.Errorf("an older tape adds %+v", r)
		}
		for it, err := range b.Items(b.ctx, ledger.Filter{}) {
			b.must(err)
			if old := it.Copies[0].Barcode == "D"; old != (it.Version == 1) {
				b.Errorf("%+v is not in order", it)
			}
		}
		e, err := b.Browse(b.ctx, "", "h", "/w")
		b.must(err)
		if all, err := b.BrowseDir(b.ctx, "", "h", "/"); err != nil || len(all) != 4 || all[0].Item != e.Item || b.item(e.Item).Version != 2 {
			b.Errorf("browsed is %+v, then %+v, %v", e, all, err)
		}
	}
}
