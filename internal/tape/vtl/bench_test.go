package vtl

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"twintape/internal/tape"
	"twintape/internal/tape/virtual"
)

const testCapacity = 256 << 10

// library has the media of a virtual library as what this package knows them as.
type library struct{ *virtual.Library }

func (l library) Medium(drive int) (Medium, error) {
	m, err := l.Library.Medium(drive)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// failer is what testing.TB and rapid.T have in common.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// bench is the units of a library with two drives and three cartridges, A1 in drive 0, and what one can ask of them.
type bench struct {
	failer
	lib     *virtual.Library
	units   []Unit
	control *Control
}

func newBench(t testing.TB, f failer, dir, control string) *bench {
	b := &bench{failer: f}
	b.must(virtual.Create(dir, virtual.Options{Drives: 2, Slots: 3, ImportExport: 1}))
	var err error
	b.lib, err = virtual.Open(dir)
	b.must(err)
	for _, barcode := range []string{"A1", "A2", "A3"} {
		b.must(b.lib.AddCartridge(barcode, testCapacity))
	}
	b.must(b.lib.Load(t.Context(), 1, 0))
	b.start(t, control)
	return b
}

func (b *bench) start(t testing.TB, control string) {
	b.control = NewControl(control, func(err error) { t.Errorf("the control file: %v", err) })
	var err error
	b.units, err = Units(library{b.lib}, "T", b.control)
	b.must(err)
}

func (b *bench) close() {
	b.Helper()
	b.must(Close(b.units))
	b.must(b.lib.Close())
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// The units of a bench.
const (
	changer = iota
	drive0
	drive1
)

// got is an answer, decoded.
type got struct {
	data               []byte
	key, asc, ascq     byte
	filemark, eom, ili bool
	info               int32
	valid              bool
}

// String is the answer without its data: "good", or such as "3/0C/00 eom left 5".
func (g got) String() string {
	if g.key == 0 && g.asc == 0 && g.ascq == 0 && !g.filemark && !g.eom && !g.ili {
		return "good"
	}
	s := fmt.Sprintf("%X/%02X/%02X", g.key, g.asc, g.ascq)
	for _, f := range []struct {
		set  bool
		name string
	}{{g.filemark, " filemark"}, {g.eom, " eom"}, {g.ili, " ili"}} {
		if f.set {
			s += f.name
		}
	}
	if g.valid {
		s += fmt.Sprintf(" left %d", g.info)
	}
	return s
}

// run has a unit carry out a command, given in hexadecimal, with a buffer.
func (b *bench) run(t testing.TB, unit int, cdb []byte, data []byte) got {
	b.Helper()
	a := b.units[unit].Execute(t.Context(), cdb, data)
	g := got{data: data[:a.N]}
	if a.Status == Good {
		return g
	}
	s := a.Sense
	if a.Status != CheckCondition || len(s) != 18 || s[0]&0x7F != 0x70 || int(s[7]) != len(s)-8 {
		b.Fatalf("status %d, sense % X", a.Status, s)
	}
	g.key, g.asc, g.ascq = s[2]&0xF, s[12], s[13]
	g.filemark, g.eom, g.ili = s[2]&0x80 != 0, s[2]&0x40 != 0, s[2]&0x20 != 0
	g.info, g.valid = int32(binary.BigEndian.Uint32(s[3:])), s[0]&0x80 != 0
	return g
}

// ask is run without data to bring, for an answer that must be want.
func (b *bench) ask(t testing.TB, unit int, want string, room int, cdb ...byte) []byte {
	b.Helper()
	g := b.run(t, unit, cdb, make([]byte, room))
	if g.String() != want {
		b.Fatalf("% X: %v, want %s", cdb, g, want)
	}
	return g.data
}

func length24(n int) []byte { return []byte{byte(n >> 16), byte(n >> 8), byte(n)} }

// ready takes the unit attention of having been switched on.
func (b *bench) ready(t testing.TB) *bench {
	b.Helper()
	for unit := range b.units {
		b.ask(t, unit, "6/29/00", 0, opTestUnitReady, 0, 0, 0, 0, 0)
	}
	return b
}

func (b *bench) write(t testing.TB, unit int, want string, p []byte) {
	b.Helper()
	cdb := append(append([]byte{opWrite, 0}, length24(len(p))...), 0)
	if g := b.run(t, unit, cdb, p); g.String() != want {
		b.Fatalf("writing %d bytes: %v, want %s", len(p), g, want)
	}
}

func (b *bench) marks(t testing.TB, unit int, want string, immediate byte, n int) {
	b.Helper()
	b.ask(t, unit, want, 0, append(append([]byte{opWriteFilemarks, immediate}, length24(n)...), 0)...)
}

func (b *bench) read(t testing.TB, unit int, want string, flags byte, n, room int) []byte {
	b.Helper()
	return b.ask(t, unit, want, room, append(append([]byte{opRead, flags}, length24(n)...), 0)...)
}

func (b *bench) space(t testing.TB, unit int, want string, code byte, n int) {
	b.Helper()
	b.ask(t, unit, want, 0, append(append([]byte{opSpace, code}, length24(n)...), 0)...)
}

// at is the block that READ POSITION tells, the same in the short form and in the long.
func (b *bench) at(t testing.TB, unit int, block, marks int64) {
	b.Helper()
	short := b.ask(t, unit, "good", 20, opReadPosition, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	long := b.ask(t, unit, "good", 32, opReadPosition, 6, 0, 0, 0, 0, 0, 0, 0, 0)
	first, last := int64(binary.BigEndian.Uint32(short[4:])), int64(binary.BigEndian.Uint32(short[8:]))
	logical, file := int64(binary.BigEndian.Uint64(long[8:])), int64(binary.BigEndian.Uint64(long[16:]))
	if first != block || last != block || logical != block || file != marks || short[0] != long[0] || short[0]&0x80 != 0 != (block == 0) {
		b.Fatalf("at block %d, %d, %d, behind %d filemarks, flags %X and %X, want block %d behind %d", first, last, logical, file, short[0], long[0], block, marks)
	}
}

func content(n int) []byte { return bytes.Repeat([]byte{byte(n), byte(n >> 8), 'x'}, n)[:n] }

var _ tape.Changer = library{}
