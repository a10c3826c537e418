package verify

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"twintape/internal/tape"
)

var two = shape{
	{{9000, 100, 30000}, {0, 50000}},
	{{5000, 5000, 5000, 5000}},
}

func full() Options { return Options{Sample: 1} }

// judge checks a cartridge on a drive that works.
func judge(t *testing.T, blocks cartridge, e Expect, o Options) (*Report, *drive) {
	t.Helper()
	d := newDrive("drive 0", blocks)
	o.Scratch = t.TempDir()
	r, err := Tape(context.Background(), d, e, o)
	if err != nil {
		t.Fatal(err)
	}
	return r, d
}

func TestGoodTapesPass(t *testing.T) {
	w := write(t, two)
	for side := range w.tapes {
		r, d := judge(t, w.tapes[side], w.expect[side], full())
		if !r.Good || r.Escalated || len(r.Mismatches) != 0 {
			t.Fatalf("a good tape is not good:\n%s", r)
		}
		if r.ItemsTotal != 9 || r.ItemsRead != 9 || r.Archives != 3 || r.MissItem != 0 || r.MissRun != 0 {
			t.Errorf("%+v", r)
		}
		if total := w.tapes[side].records() * recordSize; r.BytesTotal != total || r.BytesRead != total || d.bytes != total {
			t.Errorf("tape has %d bytes, the drive gave %d; reported %d of %d", total, d.bytes, r.BytesRead, r.BytesTotal)
		}
		if want := int64(9000 + 100 + 30000 + 50000 + 4*5000); r.DataTotal != want || r.DataRead != want {
			t.Errorf("data read %d of %d, want %d", r.DataRead, r.DataTotal, want)
		}
		for b := range w.tapes[side] {
			if d.read[int64(b)] != 1 {
				t.Errorf("block %d was read %d times", b, d.read[int64(b)])
			}
		}
		for _, i := range r.Items {
			if !i.Full || i.Bad != "" {
				t.Errorf("%+v", i)
			}
		}
	}
}

func TestSampleIsTruthful(t *testing.T) {
	w := write(t, shape{{{9000, 100, 30000, 20000, 700}, {0, 50000, 8, 9}}, {{5000, 5000, 5000, 5000}, {90000}}})
	for seed := range uint64(6) {
		for _, sample := range []float64{0, 0.25, 0.6} {
			for _, gap := range []int64{0, recordSize, 10 * recordSize, 1 << 40} {
				d := newDrive("drive 0", w.tapes[0])
				d.gap = gap
				r, err := Tape(context.Background(), d, w.expect[0], Options{Sample: sample, Seed: seed, Scratch: t.TempDir()})
				if err != nil {
					t.Fatal(err)
				}
				if !r.Good || r.BytesRead != d.bytes {
					t.Fatalf("reported %d bytes, the drive gave %d\n%s", r.BytesRead, d.bytes, r)
				}
				read, perArchive := 0, map[int]int{}
				for _, i := range r.Items {
					if i.Full {
						read++
						perArchive[i.Archive]++
					}
				}
				if read != r.ItemsRead || read < int(sample*14+.999) || len(perArchive) != 4 {
					t.Fatalf("sample %v: %d items full, %d reported, by archive %v", sample, read, r.ItemsRead, perArchive)
				}
				checkClaims(t, w, d, r)
			}
		}
	}
}

// checkClaims makes sure that all of every item that is called read came from the drive.
func checkClaims(t *testing.T, w *written, d *drive, r *Report) {
	t.Helper()
	n := 0
	var data int64
	for _, a := range w.archives {
		for _, it := range a.Items {
			claimed := r.Items[n]
			n++
			data += claimed.Read
			if claimed.ID != it.ID || claimed.Path != it.Path {
				t.Fatalf("item %d is reported as %+v", it.ID, claimed)
			}
			if !claimed.Full {
				continue
			}
			first, last := it.Entries[0], it.Entries[len(it.Entries)-1]
			for b := first.Record; b <= last.Record; b++ {
				if d.read[b] == 0 {
					t.Fatalf("%s is called read, block %d was not", it.Path, b)
				}
			}
		}
	}
	if data != r.DataRead {
		t.Fatalf("items have %d bytes read, the report %d", data, r.DataRead)
	}
}

func TestSameSeedSameRecords(t *testing.T) {
	w := write(t, two)
	a, da := judge(t, w.tapes[0], w.expect[0], Options{Sample: 0.4, Seed: 3})
	b, db := judge(t, w.tapes[0], w.expect[0], Options{Sample: 0.4, Seed: 3})
	if a.ItemsRead != b.ItemsRead || da.bytes != db.bytes || len(da.read) != len(db.read) {
		t.Error("one seed, two samples")
	}
	for block := range da.read {
		if db.read[block] == 0 {
			t.Errorf("block %d was read only once", block)
		}
	}
	different := false
	for seed := range uint64(20) {
		_, d := judge(t, w.tapes[0], w.expect[0], Options{Sample: 0.4, Seed: seed})
		different = different || d.bytes != da.bytes
	}
	if !different {
		t.Error("twenty seeds, one sample")
	}
}

func TestFullFindsEveryFlip(t *testing.T) {
	w := write(t, two)
	random := rand.New(rand.NewPCG(1, 2))
	for ledger, flips := range map[bool]int{true: 4, false: 1} {
		e := w.expect[0]
		if !ledger {
			e = withoutLedger(e)
		}
		for block, b := range w.tapes[0] {
			if b == nil {
				continue
			}
			for range flips {
				at, bit := random.IntN(len(b)), byte(1)<<random.IntN(8)
				b[at] ^= bit
				r, _ := judge(t, w.tapes[0], e, full())
				b[at] ^= bit
				if r.Good || len(r.Mismatches) == 0 {
					t.Fatalf("flip in block %d, byte %d was not found", block, at)
				}
				m := r.Mismatches[0]
				for _, a := range w.archives {
					if s := int64(block); s >= a.Record && s < archiveEnd(w, a.Number) {
						if m.Archive != a.Number || m.Record != s || m.Path == "" {
							t.Fatalf("flip in block %d of archive %d is told as %s", block, a.Number, m)
						}
					}
				}
			}
		}
	}
}

func withoutLedger(e Expect) Expect {
	e.Sessions = append([]Session(nil), e.Sessions...)
	for i := range e.Sessions {
		e.Sessions[i].Archives = nil
	}
	return e
}

// archiveEnd is the block of the filemark behind an archive.
func archiveEnd(w *written, number int) int64 {
	end := w.archives[number-1].Record
	for w.tapes[0][end] != nil {
		end++
	}
	return end
}

// dataBlock is a block that holds nothing but data of an item.
func dataBlock(w *written, archive, item int) int64 {
	entries := w.archives[archive-1].Items[item].Entries
	e := entries[len(entries)-2]
	return e.Record + (int64(e.Offset+e.Header)+e.Size/2)/recordSize
}

func TestFlipInDataCondemnsItsItemOnly(t *testing.T) {
	w := write(t, two)
	w.tapes[1][dataBlock(w, 1, 2)][77] ^= 4
	r, _ := judge(t, w.tapes[1], w.expect[1], full())
	for _, i := range r.Items {
		hit := i.Path == "/data/zen.003.uv"
		if hit == (i.Bad == "") || hit == i.Full {
			t.Errorf("%+v", i)
		}
	}
	kinds := map[Kind]Mismatch{}
	for _, m := range r.Mismatches {
		kinds[m.Kind] = m
	}
	if len(r.Mismatches) != 2 || kinds[KindMember].Path != "/data/zen.003.uv/visdata" || kinds[KindRecord].Path != "/data/zen.003.uv/visdata" {
		t.Errorf("%v", r.Mismatches)
	}
	if r.DataRead != r.DataTotal-30000 || r.ItemsRead != r.ItemsTotal {
		t.Errorf("%+v", r)
	}
}

// What a sample misses is what its report says that it would: every item is damaged in turn, for many seeds.
func TestMissItemIsTrue(t *testing.T) {
	w := write(t, shape{{{20000, 20000, 20000, 20000}, {20000, 20000, 20000}}, {{20000, 20000, 20000, 20000, 20000}}})
	for seed := range uint64(6) {
		o := Options{Sample: 0.35, Seed: seed}
		good, _ := judge(t, w.tapes[0], w.expect[0], o)
		missed, total := 0, 0
		for _, a := range w.archives {
			for i := range a.Items {
				block := w.tapes[0][dataBlock(w, a.Number, i)]
				block[recordSize/2] ^= 0x10
				r, _ := judge(t, w.tapes[0], w.expect[0], o)
				block[recordSize/2] ^= 0x10
				total++
				if r.Good {
					missed++
				} else if !r.Escalated || r.BytesRead != r.BytesTotal || r.MissItem != 0 || len(r.Mismatches) != 2 {
					t.Fatalf("a mismatch made no full check:\n%s", r)
				}
			}
		}
		if got := float64(missed) / float64(total); missed == 0 || got-good.MissItem > 1e-9 || good.MissItem-got > 1e-9 {
			t.Errorf("seed %d: %d of %d damaged items were missed, MissItem is %v", seed, missed, total, good.MissItem)
		}
	}
}

func TestMissRunAgainstBruteForce(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		total := random.IntN(40)
		run := 1 + random.IntN(12)
		read := make([]bool, total)
		m := misses{run: min(int64(run), int64(total))}
		for i := range read {
			if read[i] = random.IntN(4) == 0; read[i] {
				m.read(int64(i))
			}
		}
		run = min(run, total)
		places, missed := 0, 0
		for at := 0; total > 0 && at+run <= total; at++ {
			places++
			hit := false
			for i := at; i < at+run; i++ {
				hit = hit || read[i]
			}
			if !hit {
				missed++
			}
		}
		want := 0.0
		if places > 0 {
			want = float64(missed) / float64(places)
		}
		if got := m.chance(int64(total)); got != want {
			t.Fatalf("run %d over %v: %v, want %v", run, read, got, want)
		}
	}
}

func TestSwappedTapesAreNamed(t *testing.T) {
	w := write(t, two)
	d := newDrive("drive 0", w.tapes[1])
	r, err := Tape(context.Background(), d, w.expect[0], full())
	if err != nil || r.Good || len(r.Mismatches) != 1 {
		t.Fatalf("%v\n%s", err, r)
	}
	const want = "drive 0 holds PAPR2001 (twin of PAPR1001) where PAPR1001 was expected: the two tapes were swapped"
	if m := r.Mismatches[0]; m.Kind != KindIdentity || m.Reason != want {
		t.Error(m)
	}
	if len(d.read) != 1 || r.BytesRead != d.bytes {
		t.Errorf("a wrong tape was read on: %v", d.read)
	}
}

func TestOtherTapes(t *testing.T) {
	w := write(t, two)
	for what, change := range map[string]func(*Expect){
		"another UUID":                    func(e *Expect) { e.Tape = uuid(99) },
		"another pair":                    func(e *Expect) { e.Pair = uuid(98) },
		"where PAPR1007 was expected":     func(e *Expect) { e.Barcode = "PAPR1007" },
		"the number of earlier sessions":  func(e *Expect) { e.Sessions = e.Sessions[1:] },
		"the session's UUID":              func(e *Expect) { e.Sessions[1].UUID = uuid(97) },
		"the catalog's md5":               func(e *Expect) { e.Sessions[0].MD5[3]++ },
		"the tape ends before the catalo": func(e *Expect) { e.Sessions[1].Record += 1000 },
	} {
		e := withoutLedger(w.expect[0])
		change(&e)
		r, _ := judge(t, w.tapes[0], e, Options{Sample: 0.1})
		if r.Good || !strings.Contains(r.Mismatches[0].Reason, what) {
			t.Errorf("%s: %s", what, r)
		}
	}
}

func TestForeignTapeIsNotReadThrough(t *testing.T) {
	w := write(t, two)
	foreign := w.tapes[0].clone()
	for _, b := range foreign {
		clear(b)
	}
	r, _ := judge(t, foreign, w.expect[0], full())
	if r.Good || r.Mismatches[0].Kind != KindLabel || len(r.Items) != 0 {
		t.Errorf("%s", r)
	}
}

func TestReportAsJSON(t *testing.T) {
	r := Report{Barcode: "PAPR1001", Mismatches: []Mismatch{{Path: "/a\xff"}}, Items: []Item{{Path: "/b"}}}
	b, err := json.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"path_b64":"L2H/"`, `"path":"/b"`, `"barcode":"PAPR1001"`, `"miss_item":0`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s is not in %s", want, b)
		}
	}
}

func TestCancelled(t *testing.T) {
	w := write(t, two)
	for block := range int64(len(w.tapes[0])) {
		if block == 0 {
			continue
		}
		d := newDrive("drive 0", w.tapes[0])
		d.hangs = block
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			<-d.hanging
			cancel()
		}()
		r, err := Tape(ctx, d, w.expect[0], Options{Sample: 1, Scratch: t.TempDir()})
		if !errors.Is(err, context.Canceled) || r == nil || r.Good {
			t.Fatalf("block %d: %v", block, err)
		}
		for _, i := range r.Items {
			if i.Bad != "" {
				t.Fatalf("block %d: what was not read is called bad: %+v", block, i)
			}
		}
	}
}

func TestPairGoesOnWithoutItsTwin(t *testing.T) {
	w := write(t, two)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dead := newDrive("drive 0", w.tapes[0])
	dead.hangs = dataBlock(w, 1, 2)
	well := newDrive("drive 1", w.tapes[1])
	done := make(chan struct{})
	o := [2]Options{full(), full()}
	o[1].Progress = func(read, total int64) {
		if read == total && total == w.tapes[1].records()*recordSize {
			close(done) // only now is the hanging side ended
		}
	}
	go func() {
		<-done
		cancel()
	}()
	reports, errs := Pair(ctx, [2]tape.Drive{dead, well}, w.expect, o)
	if errs[1] != nil || !reports[1].Good {
		t.Errorf("%v\n%s", errs[1], reports[1])
	}
	if !errors.Is(errs[0], context.Canceled) || reports[0].Good {
		t.Errorf("%v\n%s", errs[0], reports[0])
	}

	dead = newDrive("drive 0", w.tapes[0])
	dead.faults = map[int64]error{dataBlock(w, 1, 2): tape.ErrNoMedium}
	reports, errs = Pair(t.Context(), [2]tape.Drive{dead, newDrive("drive 1", w.tapes[1])}, w.expect, [2]Options{full(), full()})
	if errs[1] != nil || !reports[1].Good {
		t.Errorf("%v\n%s", errs[1], reports[1])
	}
	if !errors.Is(errs[0], tape.ErrNoMedium) || reports[0].Good || len(reports[0].Mismatches) != 0 {
		t.Errorf("%v\n%s", errs[0], reports[0])
	}
}
