package ledgertest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"twintape/internal/catalog"
	"twintape/internal/ledger"
)

func testVerification(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	items := b.queue("/a", "/b", "/c")
	r := b.written(items[0], items[1])
	other := b.written(items[2])
	a, c := items[0], items[1]

	b.verified(r, 0, 1, true, a, c)
	b.verified(r, 0, 1, true, a, c)
	b.states(ledger.Written, a, c) // the same tape twice is one tape
	b.verified(r, 1, 0.25, false, a)
	b.states(ledger.Archived, a)
	b.states(ledger.Written, c, items[2]) // not listed
	copies := b.item(a.ID).Copies
	if x := copies[1]; x.Verified.IsZero() || x.Drive != "drive 1" || x.Sample != 0.25 || x.Read != 10 || x.Full || x.Bad != "" {
		t.Errorf("the sampled copy is %+v", x)
	}
	b.verified(r, 1, 1, true, a, c)
	b.states(ledger.Deletable, a, c)

	// A good sample takes nothing away from what was read in full.
	b.verified(r, 1, 0.25, false, a, c)
	b.states(ledger.Deletable, a, c)
	if x := b.item(a.ID).Copies[1]; !x.Full || x.Read != 2000 || x.Sample != 0.25 {
		t.Errorf("after a sample the copy is %+v", x)
	}

	// A bad one takes everything on that tape out; only a good one in full brings it back.
	bad := verification(r, 1, 0.25, false, a)
	bad.Good, bad.Reason = false, "record 77 differs"
	bad.Copies[0].Bad = "visdata differs"
	_, err := b.RecordVerification(b.ctx, bad)
	b.must(err)
	b.states(ledger.Written, a, c)
	b.states(ledger.Written, items[2])
	if x := b.item(a.ID).Copies; x[1].Bad != "visdata differs" || !x[1].Verified.IsZero() || x[1].Full || x[0].Bad != "" || x[0].Verified.IsZero() {
		t.Errorf("after a bad verification the copies are %+v", x)
	}
	if x := b.item(c.ID).Copies[1]; !strings.Contains(x.Bad, "record 77 differs") {
		t.Errorf("the other copy on that tape is %+v", x)
	}
	b.verified(r, 1, 0.25, false, a, c)
	b.states(ledger.Written, a, c)
	b.verified(r, 1, 0.25, true, a, c) // a sample that happened to read these in full
	b.states(ledger.Written, a, c)
	b.verified(r, 1, 1, true, a)
	b.states(ledger.Deletable, a)
	b.states(ledger.Written, c)

	for name, v := range map[string]ledger.Verification{
		"good with a bad copy": func() ledger.Verification { v := verification(r, 0, 1, true, a); v.Copies[0].Bad = "x"; return v }(),
		"bad without a reason": func() ledger.Verification { v := verification(r, 0, 1, true, a); v.Good = false; return v }(),
		"an unknown tape":      {Barcode: "NONE", Good: true},
	} {
		if _, err := b.RecordVerification(b.ctx, v); err == nil {
			t.Errorf("%s: recorded", name)
		}
		b.states(ledger.Deletable, a)
	}
	history, err := b.Verifications(b.ctx, r.barcodes[1])
	b.must(err)
	if len(history) != 7 || history[3].Good || history[3].Reason != "record 77 differs" || history[3].Seed != 1<<63+5 || history[3].Job != r.job.ID {
		t.Errorf("history %+v", history)
	}
	if history, err = b.Verifications(b.ctx, other.barcodes[0]); err != nil || len(history) != 0 {
		t.Errorf("history of the other tape %+v, %v", history, err)
	}
}

func testDeletableAfterSample(t *testing.T, fresh Fresh) {
	open := fresh(t)
	b := &bench{TB: t, Ledger: open(ledger.Options{}), ctx: t.Context()}
	items := b.queue("/a")
	r := b.written(items...)
	b.verified(r, 0, 0.1, false, items...)
	b.verified(r, 1, 0.1, false, items...)
	b.states(ledger.Archived, items...)
	b.Ledger = open(ledger.Options{DeletableAfter: "sample"})
	b.states(ledger.Deletable, items...)
}

func testFind(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	items := b.queue("/d/one.uv", "/d/two.uv", "/d/queued.uv", "/\xff\xff")
	r := b.written(items[0], items[1], items[3])
	for _, c := range []struct {
		pattern string
		limit   int
		want    string
	}{
		{"*.uv", 0, "/d/one.uv /d/two.uv"},
		{"visdata000001", 0, "/d/one.uv/visdata000001 /d/two.uv/visdata000001 /\xff\xff/visdata000001"},
		{"visdata*", 3, "/d/one.uv/visdata000000 /d/one.uv/visdata000001 /d/two.uv/visdata000000"},
		{"two.uv/*0", 0, "/d/two.uv/visdata000000"},
		{"h:/d/one.uv/**", 0, "/d/one.uv /d/one.uv/visdata000000 /d/one.uv/visdata000001"},
		{"h:/d/one.uv", 0, "/d/one.uv"},
		{"h:/d/one.uv/visdata000000", 0, "/d/one.uv/visdata000000"},
		{"h*:/d/{one,two}.uv", 0, "/d/one.uv /d/two.uv"},
		{"other:/d/**", 0, ""},
		{"h:/\xff\xff", 0, "/\xff\xff"},
		{"/**/*1", 1, "/d/one.uv/visdata000001"},
	} {
		var got []string
		for f, err := range b.Find(b.ctx, ledger.Wanted{Pattern: c.pattern, Limit: c.limit}) {
			b.must(err)
			got = append(got, f.Entry.Path)
			if len(f.Item.Copies) != 2 || f.Item.Copies[0].Barcode != r.barcodes[0] || f.Entry.Archive != 1 || f.Entry.Record == 0 {
				t.Errorf("%s: found %+v", c.pattern, f)
			}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: found %q, want %q", c.pattern, s, c.want)
		}
	}
	for _, err := range b.Find(b.ctx, ledger.Wanted{Pattern: "{"}) {
		if err == nil {
			t.Error("a malformed pattern found something")
		}
	}
	mtime := time.Date(2013, 12, 1, 2, 3, 4, 567890123, time.UTC) // of all members
	for what, c := range map[string]struct {
		ledger.Wanted
		want string
	}{
		"an MD5":                   {ledger.Wanted{MD5: catalog.MD5{1, 1, 2}}, "/d/two.uv/visdata000001"},
		"an MD5 elsewhere":         {ledger.Wanted{MD5: catalog.MD5{1, 1, 2}, Pattern: "one.uv/*"}, ""},
		"no such MD5":              {ledger.Wanted{MD5: catalog.MD5{7}}, ""},
		"since then":               {ledger.Wanted{Since: mtime, Pattern: "one.uv"}, "/d/one.uv"},
		"since later":              {ledger.Wanted{Since: mtime.Add(1)}, ""},
		"before later":             {ledger.Wanted{Before: mtime.Add(1), Pattern: "*.uv"}, "/d/one.uv /d/two.uv"},
		"before then":              {ledger.Wanted{Before: mtime}, ""},
		"everything, but not many": {ledger.Wanted{Limit: 2}, "/d/one.uv /d/one.uv/visdata000000"},
	} {
		var got []string
		for f, err := range b.Find(b.ctx, c.Wanted) {
			b.must(err)
			got = append(got, f.Entry.Path)
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: found %q, want %q", what, s, c.want)
		}
	}
}

func testContents(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	items := b.queue("/a", "/b", "/c")
	r := b.run()
	id, a := b.plan(r, items[0], items[1])
	a.Items[1].Bad = "grew"
	b.flush(r, id, a)
	b.plan(r, items[2])
	c, err := b.Contents(b.ctx, r.barcodes[1])
	b.must(err)
	if c.Tape.Barcode != r.barcodes[1] || len(c.Sessions) != 1 || c.Sessions[0].UUID != r.session.UUID || len(c.Sessions[0].Archives) != 2 {
		t.Fatalf("contents %+v", c)
	}
	archives := c.Sessions[0].Archives
	if !archives[0].Flushed || archives[1].Flushed || len(archives[0].Items) != 2 || len(archives[1].Items) != 1 {
		t.Errorf("archives %+v", archives)
	}
	want := ledger.ArchivedItem{ID: items[1].ID, Host: "h", Path: "/b", Record: 1002, Members: 3, Bytes: 2000, Bad: "grew"}
	if archives[0].Items[1] != want {
		t.Errorf("item %+v, want %+v", archives[0].Items[1], want)
	}
	_, err = b.AddTape(b.ctx, ledger.Tape{Barcode: "BLANK"})
	b.must(err)
	if c, err = b.Contents(b.ctx, "BLANK"); err != nil || len(c.Sessions) != 0 {
		t.Errorf("a blank tape holds %+v, %v", c, err)
	}
	if _, err = b.Contents(b.ctx, "NONE"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("an unknown tape: %v", err)
	}
}

func testDue(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	b.blank("BLANK")
	items := b.queue("/a", "/b")
	first := b.written(items[0])
	due := func(want ...string) {
		t.Helper()
		got, err := b.DueTapes(b.ctx)
		b.must(err)
		if !slices.Equal(got, want) {
			t.Errorf("due are %v, want %v", got, want)
		}
	}
	due() // its session is not closed
	b.closed(first)
	second := b.written(items[1])
	b.closed(second)
	one, two := first.barcodes, second.barcodes
	due(one[0], one[1], two[0], two[1])
	b.verified(first, 1, 0.1, false, items[0])
	b.verified(second, 0, 0.1, false, items[1])
	due(one[0], two[1], one[1], two[0])
	b.verified(first, 0, 0.1, false, items[0])
	b.must(b.SetTapeState(b.ctx, two[1], ledger.TapeSuspect, "x"))
	due(one[1], two[0], one[0])
	j := b.job()
	b.must(b.ClaimPair(b.ctx, j.ID, one))
	due(two[0])
	v := verification(second, 0, 0.1, false, items[1])
	v.Retried = 7
	_, err := b.RecordVerification(b.ctx, v)
	b.must(err)
	if all, err := b.Verifications(b.ctx, two[0]); err != nil || all[len(all)-1].Retried != 7 {
		t.Errorf("the history is %+v, %v", all, err)
	}
}
