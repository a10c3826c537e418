package verify

import (
	"os"
	"path/filepath"
	"testing"

	"twintape/internal/tape"
	"twintape/internal/tape/virtual"
)

// TestVirtualCartridges checks a pair in a virtual library, swaps it, and turns one bit of one cartridge's file.
func TestVirtualCartridges(t *testing.T) {
	w := write(t, two)
	dir, ctx := t.TempDir(), t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(virtual.Create(dir, virtual.Options{Drives: 2, Slots: 2}))
	lib, err := virtual.Open(dir)
	must(err)
	defer lib.Close()
	var drives [2]tape.Drive
	for side := range drives {
		must(lib.AddCartridge(w.expect[side].Barcode, 1<<30))
		must(lib.Load(ctx, 1, side)) // the slot that is free again
		drives[side], err = lib.OpenDrive(ctx, side)
		must(err)
		_, err = drives[side].Load(ctx)
		must(err)
		for _, b := range w.tapes[side] {
			if b == nil {
				must(drives[side].WriteFilemark(ctx))
			} else {
				must(drives[side].WriteRecord(ctx, b))
			}
		}
		must(drives[side].Flush(ctx))
	}
	o := [2]Options{{Sample: 0.4, Seed: 1, Scratch: dir}, {Sample: 1, Scratch: dir}}
	reports, errs := Pair(ctx, drives, w.expect, o)
	for side, r := range reports {
		if errs[side] != nil || !r.Good {
			t.Fatalf("%v\n%s", errs[side], r)
		}
	}
	reports, errs = Pair(ctx, [2]tape.Drive{drives[1], drives[0]}, w.expect, o)
	for side, r := range reports {
		if errs[side] != nil || len(r.Mismatches) != 1 || r.Mismatches[0].Kind != KindIdentity {
			t.Errorf("swapped: %v\n%s", errs[side], r)
		}
	}

	f, err := os.OpenFile(filepath.Join(dir, "PAPR2001.tap"), os.O_RDWR, 0)
	must(err)
	defer f.Close()
	const head = 4 // before and behind each record, its length
	at := int64(0)
	for _, b := range w.tapes[1][:dataBlock(w, 2, 1)] {
		if at += head; b != nil {
			at += int64(len(b)) + head
		}
	}
	var p [1]byte
	_, err = f.ReadAt(p[:], at+head+99)
	must(err)
	_, err = f.WriteAt([]byte{p[0] ^ 0x20}, at+head+99)
	must(err)
	reports, errs = Pair(ctx, drives, w.expect, o)
	if errs[0] != nil || errs[1] != nil || !reports[0].Good || reports[1].Good || reports[1].Items[4].Bad == "" {
		t.Errorf("%v\n%s%s", errs, reports[0], reports[1])
	}
}
