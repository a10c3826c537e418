package tapetest

import (
	"context"
	"sync"
	"testing"

	"twintape/internal/tape"
)

// at returns an element of an inventory.
func at(t *testing.T, lib tape.Library, kind tape.ElementKind, number int) tape.Element {
	t.Helper()
	elements, err := lib.Changer().Inventory(t.Context())
	must(t, err)
	for _, e := range elements {
		if e.Kind == kind && e.Number == number {
			return e
		}
	}
	t.Fatalf("there is no %s %d in %+v", kind, number, elements)
	return tape.Element{}
}

func inventory(t *testing.T, lib tape.Library) {
	elements, err := lib.Changer().Inventory(t.Context())
	must(t, err)
	count := make(map[tape.ElementKind]int)
	order := map[tape.ElementKind]int{tape.Slot: 0, tape.ImportExport: 1, tape.Transfer: 2}
	for i, e := range elements {
		count[e.Kind]++
		if i > 0 {
			if p := elements[i-1]; order[p.Kind] > order[e.Kind] || p.Kind == e.Kind && p.Number >= e.Number {
				t.Errorf("%s %d stands behind %s %d", e.Kind, e.Number, p.Kind, p.Number)
			}
		}
		if !e.Full && e.Barcode != "" {
			t.Errorf("%s %d is empty and has the barcode %s", e.Kind, e.Number, e.Barcode)
		}
	}
	if count[tape.Transfer] != lib.Drives() || lib.Drives() < 2 || count[tape.Slot] < 4 || count[tape.ImportExport] < 1 {
		t.Errorf("the library has %v and says that it has %d drives", count, lib.Drives())
	}
	for i, barcode := range Cartridges {
		if e := at(t, lib, tape.Slot, i+1); !e.Full || e.Barcode != barcode {
			t.Errorf("slot %d has %+v", i+1, e)
		}
	}
	for n := range lib.Drives() {
		if e := at(t, lib, tape.Transfer, n); e.Full || e.From != 0 {
			t.Errorf("drive %d has %+v", n, e)
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := lib.Changer().Inventory(context.Background()); err != nil {
				t.Errorf("at the same time: %v", err)
			}
		})
	}
	wg.Wait()
}

func moves(t *testing.T, lib tape.Library) {
	c, ctx := lib.Changer(), t.Context()
	must(t, c.Load(ctx, 2, 1))
	if e := at(t, lib, tape.Transfer, 1); !e.Full || e.Barcode != Cartridges[1] || e.From != 2 {
		t.Errorf("drive 1 has %+v", e)
	}
	if e := at(t, lib, tape.Slot, 2); e.Full {
		t.Errorf("slot 2 has %+v", e)
	}
	must(t, c.Load(ctx, 1, 0))
	for n := range 2 {
		d, err := lib.OpenDrive(ctx, n)
		must(t, err)
		_, err = d.Load(ctx)
		must(t, err)
		must(t, d.Unload(ctx))
		must(t, d.Close())
	}
	must(t, c.Unload(ctx, 1, 3)) // to another slot
	must(t, c.Unload(ctx, 0, 1))
	if e := at(t, lib, tape.Slot, 3); e.Barcode != Cartridges[1] {
		t.Errorf("slot 3 has %+v", e)
	}
	if e := at(t, lib, tape.Slot, 1); e.Barcode != Cartridges[0] {
		t.Errorf("slot 1 has %+v", e)
	}
	// A cartridge that was never made ready goes back too.
	must(t, c.Load(ctx, 1, 0))
	d, err := lib.OpenDrive(ctx, 0)
	must(t, err)
	must(t, d.Unload(ctx))
	must(t, d.Close())
	must(t, c.Unload(ctx, 0, 1))
	must(t, c.Transfer(ctx, tape.Element{Kind: tape.Slot, Number: 3}, tape.Element{Kind: tape.Slot, Number: 2}))
	if e := at(t, lib, tape.Slot, 2); e.Barcode != Cartridges[1] {
		t.Errorf("slot 2 has %+v", e)
	}
}

func refused(t *testing.T, lib tape.Library) {
	c, ctx := lib.Changer(), t.Context()
	d := loaded(t, lib)
	for what, move := range map[string]func() error{
		"loading an empty slot":              func() error { return c.Load(ctx, 3, 1) },
		"loading from a slot that is not":    func() error { return c.Load(ctx, 60_000, 1) },
		"loading a drive that is not":        func() error { return c.Load(ctx, 2, lib.Drives()) },
		"loading a full drive":               func() error { return c.Load(ctx, 2, 0) },
		"unloading an empty drive":           func() error { return c.Unload(ctx, 1, 3) },
		"unloading to a full slot":           func() error { return c.Unload(ctx, 0, 2) },
		"moving from an empty slot":          func() error { return c.Transfer(ctx, element(tape.Slot, 3), element(tape.Slot, 4)) },
		"unloading a cartridge that is used": func() error { return c.Unload(ctx, 0, 1) },
	} {
		if err := move(); err == nil {
			t.Errorf("%s succeeded", what)
		}
	}
	if e := at(t, lib, tape.Transfer, 0); e.Barcode != Cartridges[0] {
		t.Errorf("drive 0 has %+v", e)
	}
	must(t, d.WriteRecord(ctx, pattern(10, 1)))
	stands(t, d, 1)
}

func element(kind tape.ElementKind, number int) tape.Element {
	return tape.Element{Kind: kind, Number: number}
}

func importExport(t *testing.T, lib tape.Library) {
	c, ctx := lib.Changer(), t.Context()
	elements, err := c.Inventory(ctx)
	must(t, err)
	var door tape.Element
	for _, e := range elements {
		if e.Kind == tape.ImportExport {
			door = e
		}
	}
	must(t, c.Transfer(ctx, element(tape.Slot, 1), door))
	if e := at(t, lib, tape.ImportExport, door.Number); e.Barcode != Cartridges[0] {
		t.Errorf("%s %d has %+v", door.Kind, door.Number, e)
	}
	must(t, c.Transfer(ctx, door, element(tape.Slot, 4)))
	if e := at(t, lib, tape.Slot, 4); e.Barcode != Cartridges[0] {
		t.Errorf("slot 4 has %+v", e)
	}
}
