package vtl

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"twintape/internal/tape/virtual"
)

func reopen(t *testing.T, dir string) *virtual.Library {
	t.Helper()
	lib, err := virtual.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

func (b *bench) move(t *testing.T, want string, from, to int) {
	b.Helper()
	b.ask(t, changer, want, 0, opMoveMedium, 0, 0, armAddress, byte(from>>8), byte(from), byte(to>>8), byte(to), 0, 0, 0, 0)
}

// elements decodes READ ELEMENT STATUS: such as "1 400:A2 401 …", with the type before its elements.
func (b *bench) elements(t *testing.T, kind byte, first, most, room int, flags byte) string {
	b.Helper()
	p := b.ask(t, changer, "good", room, opReadElements, 0x10|kind, byte(first>>8), byte(first), byte(most>>8), byte(most), flags,
		byte(room>>16), byte(room>>8), byte(room), 0, 0)
	if len(p) < 8 || len(p) == room {
		return "cut"
	}
	var out []string
	reported, rest := u16(p[2:]), p[8:]
	if u24(p[5:]) != len(rest) {
		b.Fatalf("%d bytes say that they are %d", len(rest), u24(p[5:]))
	}
	count := 0
	for len(rest) > 0 {
		size, bytes := u16(rest[2:]), u24(rest[5:])
		out = append(out, fmt.Sprint(rest[0]))
		for page := rest[8 : 8+bytes]; len(page) > 0; page = page[size:] {
			s := fmt.Sprintf("%X", u16(page))
			if page[2]&1 != 0 {
				s += ":" + strings.TrimRight(string(page[12:44]), " ")
			}
			if page[9]&0x80 != 0 {
				s += fmt.Sprintf("<%X", u16(page[10:]))
			}
			if flags&1 != 0 && size > 48+4 {
				s += "=" + string(page[52:size])
			}
			out = append(out, s)
			count++
		}
		rest = rest[8+bytes:]
	}
	if count != reported {
		b.Fatalf("%d elements say that they are %d", count, reported)
	}
	return strings.Join(out, " ")
}

func TestElements(t *testing.T) {
	b := newBench(t, t, t.TempDir(), "").ready(t)
	defer b.close()
	same := func(want, got string) {
		t.Helper()
		if got != want {
			t.Errorf("the elements are %q, want %q", got, want)
		}
	}
	same("1 1 2 400 401:A2 402:A3 3 10 4 100:A1<400 101", b.elements(t, 0, 0, 100, 9000, 0))
	same("4 100:A1<400=TWINTAPEULTRIUM-TD5     T00 101=TWINTAPEULTRIUM-TD5     T01", b.elements(t, 4, 0, 100, 9000, 1))
	same("2 401:A2 402:A3", b.elements(t, 2, 0x401, 100, 9000, 0))
	same("2 400", b.elements(t, 2, 0, 1, 9000, 0))
	same("", b.elements(t, 2, 0x4000, 9, 9000, 0))
	same("cut", b.elements(t, 0, 0, 100, 60, 0))
	b.ask(t, changer, "5/24/00", 90, opReadElements, 5, 0, 0, 0, 9, 0, 0, 0, 90, 0, 0)

	b.move(t, "good", slotAddress+1, portAddress)
	b.move(t, "5/3B/0E", slotAddress+1, slotAddress)
	b.move(t, "5/3B/0D", slotAddress+2, portAddress)
	b.move(t, "5/21/01", slotAddress+2, slotAddress+9)
	b.move(t, "5/21/01", 5, slotAddress)
	b.move(t, "good", slotAddress+2, slotAddress+2)
	b.move(t, "good", slotAddress+2, driveAddress+1)
	same("1 1 2 400 401 402 3 10:A2 4 100:A1<400 101:A3<402", b.elements(t, 0, 0, 100, 9000, 0))

	pages := b.ask(t, changer, "good", 200, opModeSense6, 8, 0x3F, 0, 200, 0)
	want := []byte{0x1D, 18, 0, 1, 0, 1, 4, 0, 0, 3, 0, 0x10, 0, 1, 1, 0, 0, 2, 0, 0, 0x1E, 2, 0, 0, 0x1F, 18}
	if !slices.Equal(pages[4:4+len(want)], want) {
		t.Errorf("the mode pages are % X", pages)
	}
	for _, cdb := range [][]byte{{opInitElements, 0, 0, 0, 0, 0}, {opInitRange, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {opTestUnitReady, 0, 0, 0, 0, 0}} {
		b.ask(t, changer, "good", 0, cdb...)
	}
}

// A library with more than can be addressed is refused.
func TestTooManyElements(t *testing.T) {
	for _, o := range []virtual.Options{{Drives: 800}, {Drives: 1, ImportExport: 300}, {Drives: 1, Slots: 65000}} {
		dir := t.TempDir()
		if err := virtual.Create(dir, o); err != nil {
			t.Fatal(err)
		}
		lib := reopen(t, dir)
		_, err := Units(library{lib}, "T", NewControl("", nil))
		if err == nil || !strings.Contains(err.Error(), "more than a changer can address") {
			t.Errorf("%+v: %v", o, err)
		}
		lib.Close()
	}
}

// A cartridge whose file is no tape image makes its drive say that the load failed, and can be taken out again.
func TestBrokenCartridge(t *testing.T) {
	dir := t.TempDir()
	b := newBench(t, t, dir, "").ready(t)
	defer b.close()
	b.must(os.Remove(dir + "/A2.tap"))
	b.move(t, "good", slotAddress+1, driveAddress+1)
	b.ask(t, drive1, "6/28/00", 0, opTestUnitReady, 0, 0, 0, 0, 0)
	b.ask(t, drive1, "3/53/00", 0, opTestUnitReady, 0, 0, 0, 0, 0)
	b.ask(t, drive1, "good", 0, opLoadUnload, 0, 0, 0, 0, 0)
	b.ask(t, drive1, "2/3A/00", 0, opTestUnitReady, 0, 0, 0, 0, 0)
	b.move(t, "good", driveAddress+1, slotAddress+1)
}
