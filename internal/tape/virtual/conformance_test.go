package virtual_test

import (
	"testing"

	"twintape/internal/tape"
	"twintape/internal/tape/tapetest"
	"twintape/internal/tape/virtual"
)

func TestConformance(t *testing.T) {
	tapetest.Run(t, func(t *testing.T) tape.Library {
		dir := t.TempDir()
		if err := virtual.Create(dir, virtual.Options{Drives: 2, Slots: 6, ImportExport: 2}); err != nil {
			t.Fatal(err)
		}
		lib, err := virtual.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { lib.Close() })
		for _, barcode := range tapetest.Cartridges {
			if err := lib.AddCartridge(barcode, tapetest.Capacity); err != nil {
				t.Fatal(err)
			}
		}
		return lib
	})
}
