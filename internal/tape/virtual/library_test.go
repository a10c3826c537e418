package virtual

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"twintape/internal/tape"
)

// A library that cannot be is refused, with what is wrong.
func TestImpossibleLibraries(t *testing.T) {
	for name, c := range map[string]struct{ cartridges, want string }{
		"one barcode twice": {`{"barcode":"A1","capacity":1,"element":"slot","number":1},{"barcode":"A1","capacity":1,"element":"slot","number":2}`,
			"two cartridges have barcode A1"},
		"one slot twice": {`{"barcode":"A1","capacity":1,"element":"slot","number":1},{"barcode":"A2","capacity":1,"element":"slot","number":1}`,
			"A1 and A2 both lie in slot 1"},
		"no such slot": {`{"barcode":"A1","capacity":1,"element":"slot","number":9}`, "slot 9, which the library does not have"},
		"no file":      {`{"barcode":"A3","capacity":1,"element":"slot","number":1}`, "A3 has lost its file"},
		"no barcode":   {`{"barcode":"../A1","capacity":1,"element":"slot","number":1}`, "no barcode"},
		"no JSON":      {`{`, "library.json"},
		"no state":     {"", "0 drives, 0 slots and 0 import/export elements are no library"},
		"too many":     {"many", "are no library"},
		"no capacity":  {`{"barcode":"A1","element":"slot","number":1}`, "A1 has no capacity"},
		"nowhere":      {`{"barcode":"A1","capacity":1,"element":"shelf","number":1}`, "shelf 1, which the library does not have"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range []string{"A1.tap", "A2.tap"} {
				if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			state := `{"drives":1,"slots":2,"import_export":0,"cartridges":[` + c.cartridges + `]}`
			switch c.cartridges {
			case "":
				state = "{}"
			case "many":
				state = `{"drives":2000000000,"slots":2000000000,"import_export":-1}`
			}
			if err := os.WriteFile(filepath.Join(dir, stateFile), []byte(state), 0o644); err != nil {
				t.Fatal(err)
			}
			lib, err := Open(dir)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v, want %q", err, c.want)
			}
			if err == nil {
				lib.Close()
			}
		})
	}
}

// The changer moves what is there to where there is room, and nothing else; what it did outlives the process.
func TestChanger(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	if err := Create(dir, Options{Drives: 1, Slots: 2, ImportExport: 1}); err != nil {
		t.Fatal(err)
	}
	open := func() *Library {
		lib, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return lib
	}
	lib := open()
	for _, b := range []string{"A1", "A2"} {
		if err := lib.AddCartridge(b, testCapacity); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}
	refused(lib.AddCartridge("A1", 1), "A1 is in the library already")
	refused(lib.AddCartridge("A3", 1), "no slot is free")
	port := tape.Element{Kind: tape.ImportExport, Number: 1}
	if err := lib.Transfer(ctx, tape.Element{Kind: tape.Slot, Number: 1}, port); err != nil {
		t.Fatal(err)
	}
	refused(lib.Load(ctx, 1, 0), "slot 1 is empty")
	refused(lib.Load(ctx, 2, 7), "no drive 7")
	if err := lib.Load(ctx, 2, 0); err != nil {
		t.Fatal(err)
	}
	refused(lib.Unload(ctx, 0, 2), "A2 is still loaded")
	refused(lib.Transfer(ctx, port, tape.Element{Kind: tape.Transfer}), "A2 lies in it")
	d, err := lib.OpenDrive(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Unload(ctx); err != nil {
		t.Fatal(err)
	}
	if err := lib.Close(); err != nil {
		t.Fatal(err)
	}
	lib = open()
	defer lib.Close()
	elements, err := lib.Inventory(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range elements {
		got = append(got, string(e.Kind)+":"+e.Barcode)
	}
	if s := strings.Join(got, " "); s != "slot: slot: import/export:A1 drive:A2" {
		t.Errorf("the inventory is %s", s)
	}
	if err := lib.Unload(ctx, 0, 2); err != nil {
		t.Error(err)
	}
}
