// Package tapetest is the conformance suite of tape.Drive and tape.Changer: what callers may rely on, tried on every
// implementation, virtual and real alike.
package tapetest

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"twintape/internal/tape"
)

// Maker opens a library for one test: two drives or more, all empty, at least four slots and one import/export element, and
// the blank cartridges Cartridges in the slots 1 and 2, each of Capacity. It is closed at the test's end.
type Maker func(t *testing.T) tape.Library

// Cartridges are what a Maker puts into the slots 1 and 2.
var Cartridges = [2]string{"TEST01", "TEST02"}

// Capacity is what the cartridges hold, in bytes: few enough to fill one in a test.
const Capacity = 48 << 20

// Run runs all tests.
func Run(t *testing.T, open Maker) {
	for name, test := range map[string]func(t *testing.T, lib tape.Library){
		"empty drive": emptyDrive, "records": records, "positions": positions, "overwriting": overwriting, "ending what was written": endWriting,
		"reload": reload, "full": full, "full of filemarks": fullAtMark, "any order": anyOrder, "cancelled": cancelled, "closing": closing, "health": health,
		"inventory": inventory, "moves": moves, "moves refused": refused, "import and export": importExport,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: %v, want %v", what, err, want)
	}
}

// loaded brings a cartridge of slot 1 into drive 0 and makes it ready.
func loaded(t *testing.T, lib tape.Library) tape.Drive {
	t.Helper()
	d, err := lib.OpenDrive(t.Context(), 0)
	must(t, err)
	must(t, lib.Changer().Load(t.Context(), 1, 0))
	m, err := d.Load(t.Context())
	must(t, err)
	if m.Type == "" || m.WORM || m.WriteProtected || m.Remaining <= 0 || m.Remaining > Capacity || m.Capacity < m.Remaining {
		t.Errorf("the medium is %+v", m)
	}
	return d
}

// pattern is data that differs from record to record.
func pattern(n, seed int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i>>8 ^ i*7 ^ seed*31)
	}
	return p
}

func stands(t testing.TB, d tape.Drive, block int64) {
	t.Helper()
	at, err := d.Position(context.Background())
	must(t, err)
	if at.Block != block || at.BOT != (block == 0) {
		t.Fatalf("the drive stands at %+v, want block %d", at, block)
	}
}

func reads(t testing.TB, d tape.Drive, want []byte) {
	t.Helper()
	p := make([]byte, 1<<20)
	n, err := d.ReadRecord(context.Background(), p)
	if err != nil || !bytes.Equal(p[:n], want) {
		t.Fatalf("read %d bytes, %v; want %d bytes", n, err, len(want))
	}
}

func readsError(t testing.TB, d tape.Drive, want error) {
	t.Helper()
	n, err := d.ReadRecord(context.Background(), make([]byte, 1<<20))
	if n != 0 || !errors.Is(err, want) {
		t.Fatalf("read %d bytes, %v; want %v", n, err, want)
	}
}
