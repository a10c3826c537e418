package verify

import (
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"testing"
	"time"

	"twintape/internal/tape"
)

// trials is how many tapes are damaged; TWINTAPE_TORTURE says how many times as many.
func trials(t *testing.T, n int) int {
	if raced {
		n /= 10
	}
	text := os.Getenv("TWINTAPE_TORTURE")
	if text == "" {
		return n
	}
	times, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n * times
}

// seeded is a source of chance that a failing test names.
func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("TWINTAPE_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("TWINTAPE_SEED=%d replays this", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 3))
}

// A full check finds a flipped bit wherever it is: label, headers, data, padding, manifests, checksums, catalogs.
func TestDetectionInFull(t *testing.T) {
	random := seeded(t)
	w := write(t, shape{{{20000, 3000, 0, 9000}, {5000, 5000}}, {{12000, 100}}})
	var blocks []int
	for i, b := range w.tapes[0] {
		if b != nil {
			blocks = append(blocks, i)
		}
	}
	for range trials(t, 2000) {
		side := random.IntN(2)
		block := w.tapes[side][blocks[random.IntN(len(blocks))]]
		at, bit := random.IntN(len(block)), byte(1)<<random.IntN(8)
		block[at] ^= bit
		r, _ := judge(t, w.tapes[side], w.expect[side], full())
		block[at] ^= bit
		if r.Good {
			t.Fatalf("bit %02x of byte %d was flipped and not found", bit, at)
		}
	}
}

// A sample misses damage to one item as often as its reports promise, within five standard deviations.
func TestDetectionBySample(t *testing.T) {
	random := seeded(t)
	w := write(t, shape{{{20000, 20000, 20000, 20000}, {9000, 30000, 20000}}, {{20000, 20000, 20000, 20000, 20000}}})
	var promised, variance float64
	missed, n := 0, trials(t, 600)
	for range n {
		o := Options{Sample: 0.1 + random.Float64()*0.6, Seed: random.Uint64()}
		good, _ := judge(t, w.tapes[1], w.expect[1], o)
		promised += good.MissItem
		variance += good.MissItem * (1 - good.MissItem)
		item, number := random.IntN(good.ItemsTotal), 1 // any item with the same chance
		for item >= len(w.archives[number-1].Items) {
			item -= len(w.archives[number-1].Items)
			number++
		}
		block := w.tapes[1][dataBlock(w, number, item)]
		block[recordSize/2] ^= 0x10
		r, _ := judge(t, w.tapes[1], w.expect[1], o)
		block[recordSize/2] ^= 0x10
		if r.Good {
			missed++
		}
	}
	t.Logf("%d of %d damaged items were missed, %.1f were promised", missed, n, promised)
	if off := math.Abs(float64(missed) - promised); off > 5*math.Sqrt(variance) {
		t.Errorf("%d of %d damaged items were missed, the reports promised %.1f ± %.1f", missed, n, promised, math.Sqrt(variance))
	}
}

// Only the archives that are asked for are read, in full, and only damage in them, or in catalogs and label, is found.
func TestOnlySomeArchives(t *testing.T) {
	w := write(t, shape{{{20000, 3000}, {5000, 5000}, {7000}}, {{12000, 100}}})
	o := Options{Sample: 0.01, Archives: []int{2, 4}}
	r, d := judge(t, w.tapes[0], w.expect[0], o)
	if !r.Good || r.Archives != 2 || r.ItemsTotal != 4 || r.ItemsRead != 4 || r.Escalated || r.MissItem != 0 || r.BytesRead != r.BytesTotal || !reflect.DeepEqual(r.Only, []int{2, 4}) {
		t.Errorf("%+v", r)
	}
	for _, a := range w.archives {
		for block := a.Record; block < archiveEnd(w, a.Number); block++ {
			if asked := a.Number%2 == 0; d.read[block] > 0 != asked {
				t.Errorf("block %d of archive %d was read %d times", block, a.Number, d.read[block])
			}
		}
	}
	for number, found := range map[int]bool{1: false, 2: true, 3: false, 4: true} {
		block := w.tapes[0][w.archives[number-1].Record+1]
		block[3] ^= 1
		r, _ := judge(t, w.tapes[0], w.expect[0], o)
		block[3] ^= 1
		if r.Good == found {
			t.Errorf("damage in archive %d: good %v", number, r.Good)
		}
		if found && !reflect.DeepEqual(r.BadArchives(), []int{number}) {
			t.Errorf("damage in archive %d: bad are %v", number, r.BadArchives())
		}
	}
	// A tape whose catalog is damaged does not say which archives are good.
	catalog := w.tapes[0][archiveEnd(w, 4)+1]
	catalog[3] ^= 1
	if r, _ = judge(t, w.tapes[0], w.expect[0], full()); !reflect.DeepEqual(r.BadArchives(), []int{1, 2, 3, 4}) {
		t.Errorf("a damaged catalog: bad are %v", r.BadArchives())
	}
	catalog[3] ^= 1
}

// Sessions that were read before are checked by their catalogs alone.
func TestCatalogOnly(t *testing.T) {
	w := write(t, shape{{{20000, 3000}}, {{12000, 100}}, {{900}}})
	e := w.expect[0]
	e.Sessions = append([]Session(nil), e.Sessions...)
	e.Sessions[0].CatalogOnly, e.Sessions[2].CatalogOnly = true, true
	r, d := judge(t, w.tapes[0], e, full())
	if !r.Good || r.Archives != 1 || r.ItemsTotal != 2 || r.ItemsRead != 2 || r.BytesRead != r.BytesTotal {
		t.Errorf("%+v", r)
	}
	for _, a := range w.archives {
		if asked := a.Number == 2; d.read[a.Record] > 0 != asked {
			t.Errorf("archive %d was read %d times", a.Number, d.read[a.Record])
		}
	}
	block := w.tapes[0][archiveEnd(w, 1)+1]
	block[9] ^= 1
	if r, _ := judge(t, w.tapes[0], e, full()); r.Good {
		t.Error("a damaged catalog of a session that is not read was not found")
	}
	block[9] ^= 1
}

// What a torn run left behind the last catalog is nobody's mismatch.
func TestBehindTheLastCatalog(t *testing.T) {
	w := write(t, shape{{{20000, 3000}}})
	for name, tail := range map[string]cartridge{
		"records":                 {make([]byte, recordSize), make([]byte, recordSize)},
		"records and a filemark":  {make([]byte, recordSize), nil},
		"a short record":          {make([]byte, 17)},
		"an archive of a session": {make([]byte, recordSize), make([]byte, recordSize), nil, make([]byte, recordSize), nil},
	} {
		r, _ := judge(t, append(w.tapes[0].clone(), tail...), w.expect[0], full())
		if !r.Good {
			t.Errorf("%s: %v", name, r.Mismatches)
		}
	}
}

// A drive that does not work says nothing of the tape in it; a medium error does.
func TestDriveFailureIsNoMismatch(t *testing.T) {
	w := write(t, shape{{{20000, 3000}}})
	for key, tapes := range map[byte]bool{0x2: false, 0x3: true, 0x4: false, 0x6: false, 0xB: false} {
		d := newDrive("drive 0", w.tapes[0])
		d.faults = map[int64]error{5: &tape.SenseError{Key: key, Text: "x"}}
		r, err := Tape(t.Context(), d, w.expect[0], full())
		if (len(r.Mismatches) > 0) != tapes || (err == nil) != tapes || r.Good {
			t.Errorf("sense key %X: %v, %v", key, r.Mismatches, err)
		}
	}
}
