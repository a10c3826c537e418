package verify

import (
	"context"
	"iter"
	"slices"
	"strings"
	"testing"

	"twintape/internal/catalog"
	"twintape/internal/tape"
)

func TestUnreadableRecordsEscalateAndTheRestIsRead(t *testing.T) {
	w := write(t, two)
	d := newDrive("drive 0", w.tapes[0])
	lost := dataBlock(w, 2, 1)
	d.faults = map[int64]error{lost: errMedium}
	r, err := Tape(t.Context(), d, w.expect[0], Options{Sample: 0.99, Scratch: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if r.Good || !r.Escalated || r.BytesRead != r.BytesTotal-recordSize || r.ItemsRead != 8 || len(r.Mismatches) != 1 {
		t.Errorf("%s\n%+v", r, r)
	}
	if m := r.Mismatches[0]; m.Archive != 2 || m.Record != lost || m.Path != "/data/zen.005.uv/visdata" || !strings.Contains(m.Reason, errMedium.Text) {
		t.Errorf("%+v", m)
	}
	for _, i := range r.Items {
		if (i.Path == "/data/zen.005.uv") != (i.Bad != "") || i.Full != (i.Bad == "") {
			t.Errorf("%+v", i)
		}
	}
}

func TestRestOfADamagedArchiveIsGivenUp(t *testing.T) {
	w := write(t, shape{{{200000, 300000, 100000}, {9000}}})
	d := newDrive("drive 0", w.tapes[0])
	d.faults = map[int64]error{}
	first := dataBlock(w, 1, 1)
	for b := first; b < first+mostUnreadable; b++ {
		d.faults[b] = errMedium
	}
	r, err := Tape(t.Context(), d, w.expect[0], full())
	if err != nil {
		t.Fatal(err)
	}
	var bad []bool
	for _, i := range r.Items {
		bad = append(bad, i.Bad != "")
	}
	if !slices.Equal(bad, []bool{false, true, true, false}) || len(r.Mismatches) != mostUnreadable {
		t.Errorf("%v\n%s", bad, r)
	}
	if last := r.Mismatches[mostUnreadable-1]; !strings.Contains(last.Reason, "was not tried") {
		t.Error(last)
	}
}

func TestDriveThatCannotMoveSaysNothingOfTheTape(t *testing.T) {
	w := write(t, two)
	d := newDrive("drive 0", w.tapes[0])
	b := dataBlock(w, 1, 2)
	d.faults = map[int64]error{b: errMedium}
	d.stuck = map[int64]error{b + 1: &tape.SenseError{Key: 4, ASC: 0x15, ASCQ: 1, Text: "mechanical positioning error"}}
	r, err := Tape(t.Context(), d, w.expect[0], full())
	if err == nil || !strings.Contains(err.Error(), "positioning") || !strings.Contains(err.Error(), "drive 0") || !strings.Contains(err.Error(), "PAPR1001") {
		t.Errorf("%v", err)
	}
	if r.Good || len(r.Mismatches) != 0 {
		t.Errorf("%s", r)
	}
}

func TestPlaceThatCannotBeReachedIsTheTapesFault(t *testing.T) {
	w := write(t, two)
	d := newDrive("drive 0", w.tapes[0])
	b := dataBlock(w, 1, 2)
	d.faults = map[int64]error{b: errMedium}
	d.stuck = map[int64]error{b + 1: errMedium}
	r, err := Tape(t.Context(), d, w.expect[0], full())
	if err != nil {
		t.Fatal(err)
	}
	if r.Good || len(r.Mismatches) != 2 || r.BytesRead != r.BytesTotal-2*recordSize || r.Items[2].Bad == "" || r.Items[1].Bad != "" {
		t.Errorf("%s", r)
	}
	d = newDrive("drive 0", w.tapes[0])
	d.stuck = map[int64]error{w.expect[0].Sessions[0].Record: errMedium}
	r, err = Tape(t.Context(), d, w.expect[0], full())
	if err != nil {
		t.Fatal(err)
	}
	if r.Good || len(r.Mismatches) != 1 || r.Mismatches[0].Kind != KindCatalog || r.ItemsRead != 9 {
		t.Errorf("%s", r)
	}
}

// Every filemark taken away, every record doubled, shortened, lengthened, turned into a filemark.
func TestStructure(t *testing.T) {
	w := write(t, two)
	for block := range w.tapes[0] {
		for what, change := range map[string]func(cartridge) cartridge{
			"block taken away":      func(c cartridge) cartridge { return slices.Delete(c, block, block+1) },
			"block doubled":         func(c cartridge) cartridge { return slices.Insert(c, block, c[block]) },
			"filemark in its stead": func(c cartridge) cartridge { c[block] = nil; return c },
			"another length": func(c cartridge) cartridge {
				c[block] = append(c[block], 0)
				return c
			},
			"short record": func(c cartridge) cartridge {
				c[block] = make([]byte, 100)
				return c
			},
			"tape ends here": func(c cartridge) cartridge { return c[:block] },
		} {
			last := block == len(w.tapes[0])-1
			mark := w.tapes[0][block] == nil
			if mark && what == "filemark in its stead" || last && what == "block doubled" {
				continue // no change, or one behind all that is judged
			}
			r, _ := judge(t, change(w.tapes[0].clone()), w.expect[0], full())
			if r.Good || len(r.Mismatches) == 0 {
				t.Errorf("block %d: %s: not found", block, what)
			}
			for _, i := range r.Items {
				if !i.Full && i.Bad == "" {
					t.Errorf("block %d: %s: %s is neither read nor bad", block, what, i.Path)
				}
			}
		}
	}
}

func TestShortTape(t *testing.T) {
	w := write(t, two)
	// The catalogs are there, as the drive tells it, but in the middle of archive 2 the data ends.
	d := newDrive("drive 0", w.tapes[0])
	end := dataBlock(w, 2, 1)
	d.faults = map[int64]error{end: tape.ErrEndOfData}
	r, err := Tape(t.Context(), d, w.expect[0], full())
	if err != nil {
		t.Fatal(err)
	}
	if m := r.Mismatches[0]; m.Kind != KindStructure || m.Record != end || m.Archive != 2 || len(r.Mismatches) != 1 {
		t.Errorf("%s", r)
	}
	for n, i := range r.Items {
		if (i.Bad == "") != (n < 4) || i.Full != (n < 4) {
			t.Errorf("%+v", i)
		}
	}
}

func TestCatalogDamagedAndTheLedgerHelps(t *testing.T) {
	w := write(t, two)
	w.tapes[0][w.expect[0].Sessions[1].Record][recordSize/2] ^= 1
	w.tapes[0][dataBlock(w, 3, 1)][5] ^= 1
	r, _ := judge(t, w.tapes[0], w.expect[0], Options{Sample: 0.1})
	if r.Good || !r.Escalated || r.ItemsTotal != 9 || r.BytesRead != r.BytesTotal {
		t.Fatalf("%s", r)
	}
	for n, i := range r.Items {
		if (i.Bad != "") != (n == 6) || i.Full == (n == 6) {
			t.Errorf("%+v", i)
		}
	}
	r, _ = judge(t, w.tapes[0], withoutLedger(w.expect[0]), Options{Sample: 0.1})
	if r.Good || r.ItemsTotal != 5 || r.ItemsRead != 5 {
		t.Errorf("%s", r)
	}
}

func TestLedgerDifferencesAreNamed(t *testing.T) {
	w := write(t, two)
	for what, change := range map[string]func(a *catalog.Archive){
		"md5":                             func(a *catalog.Archive) { a.Items[1].Entries[4].MD5[0]++ },
		"size":                            func(a *catalog.Archive) { a.Items[1].Entries[4].Size++ },
		"mode":                            func(a *catalog.Archive) { a.Items[1].Entries[4].Mode++ },
		"type":                            func(a *catalog.Archive) { a.Items[1].Entries[4].Type = catalog.Dir },
		"link":                            func(a *catalog.Archive) { a.Items[1].Entries[2].Link += "x" },
		"place":                           func(a *catalog.Archive) { a.Items[1].Entries[4].Record++ },
		"modification time":               func(a *catalog.Archive) { a.Items[1].Entries[4].MTime = day.Add(1) },
		"whether a member is bad":         func(a *catalog.Archive) { a.Items[1].Entries[4].Bad = "shrank" },
		"an item's path":                  func(a *catalog.Archive) { a.Items[1].Path += "x" },
		"the number of an item's members": func(a *catalog.Archive) { a.Items[1].Entries = a.Items[1].Entries[:4] },
		"the number of items":             func(a *catalog.Archive) { a.Items = a.Items[:1] },
		"first record":                    func(a *catalog.Archive) { a.Record++ },
	} {
		e := w.expect[0]
		e.Sessions = slices.Clone(e.Sessions)
		e.Sessions[1].Archives = func() iter.Seq2[*catalog.Archive, error] {
			a := *w.archives[2]
			a.Items = slices.Clone(a.Items)
			a.Items[1].Entries = slices.Clone(a.Items[1].Entries)
			change(&a)
			return func(yield func(*catalog.Archive, error) bool) { yield(&a, nil) }
		}
		r, _ := judge(t, w.tapes[0], e, Options{Sample: 0.1})
		if r.Good || !r.Escalated || len(r.Mismatches) != 1 || r.BytesRead != r.BytesTotal {
			t.Fatalf("%s: %s", what, r)
		}
		if m := r.Mismatches[0]; m.Kind != KindCatalog || m.Archive != 3 || !strings.HasPrefix(m.Reason, what+" in the catalog differs from the ledger") {
			t.Errorf("%s: %s", what, m)
		}
	}
	for what, archives := range map[string][]*catalog.Archive{"no such archive": nil, "archive 3": {w.archives[2], w.archives[2]}} {
		e := w.expect[0]
		e.Sessions = slices.Clone(e.Sessions)
		e.Sessions[1].Archives = func() iter.Seq2[*catalog.Archive, error] {
			return func(yield func(*catalog.Archive, error) bool) {
				for _, a := range archives {
					if !yield(a, nil) {
						return
					}
				}
			}
		}
		if r, _ := judge(t, w.tapes[0], e, Options{Sample: 0.1}); len(r.Mismatches) != 1 || r.Mismatches[0].Expected != what {
			t.Errorf("%s", r)
		}
	}
}

func TestLedgerThatCannotBeReadIsNoMismatch(t *testing.T) {
	w := write(t, two)
	e := w.expect[0]
	e.Sessions = slices.Clone(e.Sessions)
	e.Sessions[0].Archives = func() iter.Seq2[*catalog.Archive, error] {
		return func(yield func(*catalog.Archive, error) bool) { yield(nil, context.DeadlineExceeded) }
	}
	r, err := Tape(t.Context(), newDrive("drive 0", w.tapes[0]), e, full())
	if err == nil || r.Good || len(r.Mismatches) != 0 {
		t.Errorf("%v\n%s", err, r)
	}
}

func TestLongListsAreCut(t *testing.T) {
	many := make([]int, 700)
	w := write(t, shape{{many}})
	for n, b := range w.tapes[0] {
		if b != nil && n > 2 && int64(n) < archiveEnd(w, 1) {
			clear(b)
		}
	}
	r, _ := judge(t, w.tapes[0], w.expect[0], full())
	if len(r.Mismatches) != mostMismatches || r.Unlisted == 0 {
		t.Errorf("%d listed, %d not", len(r.Mismatches), r.Unlisted)
	}
	if s := r.String(); strings.Count(s, "\n") > 10 {
		t.Error(s)
	}
}
