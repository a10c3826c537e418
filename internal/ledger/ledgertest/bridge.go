package ledgertest

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"twintape/internal/catalog"
	"twintape/internal/ledger"
)

// testBridge follows rows of paper-dump's File through the ledger.
func testBridge(t *testing.T, fresh Fresh) {
	open := fresh(t)
	b := &bench{TB: t, Ledger: open(ledger.Options{}), ctx: t.Context()}
	id, err := b.Identity(b.ctx)
	b.must(err)
	again, err := open(ledger.Options{}).Identity(b.ctx)
	b.must(err)
	if len(id) != 8 || id != again {
		t.Errorf("it is told by %q, then by %q", id, again)
	}
	sum := catalog.MD5{9}
	odd := "h:/b\xff%'\"\\_"
	row := func(source, p string) ledger.NewItem {
		return ledger.NewItem{Host: "h", Path: p, Row: source, Expected: map[string]catalog.MD5{"visdata": sum}}
	}
	enqueue := func(items ...ledger.NewItem) []ledger.Enqueued {
		t.Helper()
		out, err := b.Enqueue(b.ctx, items, false)
		b.must(err)
		return out
	}
	known := func(want map[string]int64) {
		t.Helper()
		got, err := b.BridgedRows(b.ctx, []string{"h:/a", "alias:/a/", odd, "h:/c", "h:/none"})
		b.must(err)
		if !maps.Equal(got, want) {
			t.Errorf("known rows are %v, want %v", got, want)
		}
	}
	waiting := func(want ...ledger.Bridged) {
		t.Helper()
		got, err := b.WaitingRows(b.ctx, 0, 100)
		b.must(err)
		slices.SortFunc(got, func(x, y ledger.Bridged) int { return int(x.Item - y.Item) })
		if !slices.Equal(got, want) {
			t.Errorf("waiting rows are %v, want %v", got, want)
		}
	}
	plain := b.queue("/a")[0] // nothing is expected of it
	out := enqueue(row("h:/a", "/a"), row("alias:/a/", "/a"), row(odd, "/b\xff%'\"\\_"), row("h:/a/in", "/a/in"))
	if out[0].Outcome != ledger.Waiting || out[2].Outcome != ledger.Added || out[3].Outcome != ledger.Enclosed {
		t.Errorf("outcomes %+v", out)
	}
	if e, err := b.Expected(b.ctx, plain.ID); err != nil || e["visdata"] != sum {
		t.Errorf("of what waited already %v is expected, %v", e, err)
	}
	hostile := out[2].ID
	known(map[string]int64{"h:/a": plain.ID, "alias:/a/": plain.ID, odd: hostile})

	// Taken out of the queue, its rows stay known; queued again without a row, they are forgotten.
	_, err = b.Dequeue(b.ctx, []int64{plain.ID})
	b.must(err)
	known(map[string]int64{"h:/a": 0, "alias:/a/": 0, odd: hostile})
	waiting(ledger.Bridged{Source: odd, Item: hostile})
	plain = b.queue("/a")[0]
	known(map[string]int64{odd: hostile})
	enqueue(row("h:/a", "/a"))
	known(map[string]int64{"h:/a": plain.ID, odd: hostile})

	// Another took the row.
	c := enqueue(row("h:/c", "/c"))[0].ID
	b.must(b.Forsake(b.ctx, ledger.Bridged{Source: "h:/c", Item: c}))
	known(map[string]int64{"h:/a": plain.ID, odd: hostile})

	// What is on tape.
	items := []ledger.Item{b.item(hostile), b.item(plain.ID)}
	r := b.written(items...)
	waiting()
	if err := b.Forsake(b.ctx, ledger.Bridged{Source: "h:/a", Item: plain.ID}); !errors.Is(err, ledger.ErrOnTape) {
		t.Errorf("given up although it is on tape: %v", err)
	}
	laid, err := b.Laid(b.ctx, []int64{plain.ID, hostile, 99}, "visdata000000")
	b.must(err)
	if want := (map[int64]ledger.Laid{hostile: {Archive: 1, Item: 1, MD5: catalog.MD5{1, 0, 1}}, plain.ID: {Archive: 1, Item: 2, MD5: catalog.MD5{1, 1, 1}}}); !maps.Equal(laid, want) {
		t.Errorf("laid %v, want %v", laid, want)
	}
	latest, err := b.LatestItems(b.ctx, [][2]string{{"h", "/a"}, {"h", "/none"}})
	b.must(err)
	if len(latest) != 1 || latest[[2]string{"h", "/a"}].ID != plain.ID || len(latest[[2]string{"h", "/a"}].Copies) != 2 {
		t.Errorf("the latest items are %+v", latest)
	}

	// Recycled, it is as if it had never been taken.
	b.must(b.FinishJob(b.ctx, r.job.ID, ledger.Aborted, ""))
	for _, barcode := range r.barcodes {
		_, err := b.Recycle(b.ctx, barcode, "somebody")
		b.must(err)
	}
	known(map[string]int64{})
}
