package virtual

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"twintape/internal/tape"
)

// loadedLibrary is a library with cartridge A1, with these flags in library.json, in drive 0.
func loadedLibrary(t *testing.T, flags string) *Library {
	t.Helper()
	dir := t.TempDir()
	if err := Create(dir, Options{Drives: 1, Slots: 1}); err != nil {
		t.Fatal(err)
	}
	lib, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(lib.AddCartridge("A1", testCapacity), lib.Load(t.Context(), 1, 0), lib.Close()); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, stateFile)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(strings.Replace(string(text), `"barcode": "A1",`, `"barcode": "A1", `+flags, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if lib, err = Open(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lib.Close(); err != nil {
			t.Error(err)
		}
	})
	return lib
}

// A WORM cartridge takes data at its end, and nowhere else.
func TestWORM(t *testing.T) {
	ctx := t.Context()
	lib := loadedLibrary(t, `"worm": true,`)
	d, err := lib.OpenDrive(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	medium, err := d.Load(ctx)
	if err != nil || !medium.WORM || medium.WriteProtected {
		t.Fatalf("it is %+v, %v", medium, err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(d.WriteRecord(ctx, []byte("first")))
	must(d.WriteFilemark(ctx))
	must(d.WriteRecord(ctx, []byte("second")))
	must(d.Rewind(ctx))
	refused := func(err error) {
		t.Helper()
		var sense *tape.SenseError
		if !errors.As(err, &sense) || sense.Key != tape.DataProtect || sense.ASC != 0x30 || sense.ASCQ != 0x0C {
			t.Errorf("the error is %v", err)
		}
	}
	refused(d.WriteRecord(ctx, []byte("third")))
	refused(d.WriteFilemark(ctx))
	must(d.SpaceEOD(ctx))
	must(d.WriteRecord(ctx, []byte("third")))
	must(d.Rewind(ctx))
	p := make([]byte, 10)
	if n, err := d.ReadRecord(ctx, p); err != nil || string(p[:n]) != "first" {
		t.Errorf("the first record is %q, %v", p[:n], err)
	}
}

// What was not synced is lost with a reset; what was is not.
func TestLose(t *testing.T) {
	lib := loadedLibrary(t, "")
	m, err := lib.Medium(0)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for i, step := range []func() error{
		func() error { return m.Write([]byte("one")) }, m.WriteMark, m.Sync,
		func() error { return m.Write([]byte("two")) }, m.Lose,
		m.Lose, // nothing more
		func() error { return m.Locate(1) },
	} {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	if mark, _, err := m.Next(); !mark || err != nil {
		t.Errorf("at block 1 is %v, %v, not the filemark", mark, err)
	}
	if err := m.Locate(3); !errors.Is(err, tape.ErrEndOfData) {
		t.Error(err)
	}
	if block, marks := m.At(); block != 2 || marks != 1 {
		t.Errorf("the end of data is block %d behind %d filemarks", block, marks)
	}
}

// Going back passes gaps, and stops at the beginning and at damage.
func TestBack(t *testing.T) {
	le := binary.LittleEndian
	var b []byte
	for _, w := range []uint32{gapWord, 3} {
		b = le.AppendUint32(b, w)
	}
	b = le.AppendUint32(append(b, "abc\x00"...), 3)
	for _, w := range []uint32{gapWord, markWord, gapWord, gapWord, endWord} {
		b = le.AppendUint32(b, w)
	}
	name := filepath.Join(t.TempDir(), "A1.tap")
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	image, err := newImage(f)
	if err != nil {
		t.Fatal(err)
	}
	m := &Medium{image: image, capacity: testCapacity}
	defer m.Close()
	if err := m.Locate(9); !errors.Is(err, tape.ErrEndOfData) {
		t.Fatal(err)
	}
	if mark, err := m.Back(); !mark || err != nil {
		t.Errorf("the last is %v, %v, not the filemark", mark, err)
	}
	if mark, err := m.Back(); mark || err != nil {
		t.Errorf("the first is %v, %v, not the record", mark, err)
	}
	p := make([]byte, 2)
	if n, err := m.Read(p); n != 3 || err != nil || !bytes.Equal(p, []byte("ab")) {
		t.Errorf("the record is %q of %d bytes, %v", p, n, err)
	}
	if _, err := m.Back(); err != nil {
		t.Error(err)
	}
	if _, err := m.Back(); err != io.EOF {
		t.Errorf("before the beginning is %v", err)
	}
	if err := m.Locate(1); err != nil {
		t.Fatal(err)
	}
	for _, word := range []uint32{5, 1 << 20} {
		if _, err := f.WriteAt(le.AppendUint32(nil, word), 12); err != nil {
			t.Fatal(err)
		}
		var sense *tape.SenseError
		if _, err := m.Back(); !errors.As(err, &sense) || sense.Key != tape.MediumError {
			t.Errorf("behind a damaged record it is %v", err)
		}
	}
}
