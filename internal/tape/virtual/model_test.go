package virtual

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"twintape/internal/tape"
)

// model is what a tape is: objects one behind the other, and a place among them.
type model struct {
	objects []([]byte) // nil is a filemark
	at      int
	data    bool // records were written and no filemark since
	warned  bool
}

func (m *model) size(upTo int) (n int64) {
	for _, o := range m.objects[:upTo] {
		n += wordSize
		if o != nil {
			n += int64(len(o)+len(o)%2) + wordSize
		}
	}
	return n
}

func (m *model) write(o []byte) {
	m.objects = append(m.objects[:m.at:m.at], o)
	m.at++
	m.data = o != nil
}

// endWriting is the filemark that Linux st writes before it moves.
func (m *model) endWriting() {
	if m.data {
		m.write(nil)
	}
}

const testCapacity = 64 << 10

// bench is a library with one cartridge in its drive, and the model of that.
type bench struct {
	t     *rapid.T
	ctx   context.Context
	dir   string
	lib   *Library
	drive tape.Drive
	model model
}

func newBench(t *rapid.T, dir string) *bench {
	b := &bench{t: t, ctx: context.Background(), dir: dir}
	b.must(Create(dir, Options{Drives: 1, Slots: 2}))
	b.open()
	b.must(b.lib.AddCartridge("A00001", testCapacity))
	b.must(b.lib.Load(b.ctx, 1, 0))
	b.load()
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) open() {
	var err error
	b.lib, err = Open(b.dir)
	b.must(err)
	b.drive, err = b.lib.OpenDrive(b.ctx, 0)
	b.must(err)
}

func (b *bench) load() {
	b.t.Helper()
	medium, err := b.drive.Load(b.ctx)
	b.must(err)
	b.model.at = 0
	if want := max(0, testCapacity-testCapacity/64-b.model.size(len(b.model.objects))); medium.Remaining != want {
		b.t.Fatalf("%d bytes remain, want %d", medium.Remaining, want)
	}
	b.model.warned = false
}

// check asks where the drive stands.
func (b *bench) check() {
	b.t.Helper()
	at, err := b.drive.Position(b.ctx)
	b.must(err)
	if at.Block != int64(b.model.at) || at.BOT != (b.model.at == 0) {
		b.t.Fatalf("the drive stands at %+v, want block %d", at, b.model.at)
	}
}

func (b *bench) writeRecord(n int) {
	p := bytes.Repeat([]byte{byte(n), byte(b.model.at)}, n/2+1)[:n]
	err := b.drive.WriteRecord(b.ctx, p)
	m := &b.model
	at := m.size(m.at)
	var want error
	switch {
	case at+int64(n)+3*wordSize > testCapacity:
		want = tape.ErrEndOfMedium
	case at < testCapacity-testCapacity/64:
		m.warned = false
	case !m.warned:
		m.warned = true
		want = tape.ErrEarlyWarning
	default:
		m.warned = false
	}
	if !errors.Is(err, want) {
		b.t.Fatalf("writing %d bytes at %d of %d: %v, want %v", n, at, testCapacity, err, want)
	}
	if want == nil {
		m.write(p)
	}
}

func (b *bench) read(room int) {
	b.model.endWriting()
	p := make([]byte, room)
	n, err := b.drive.ReadRecord(b.ctx, p)
	m := &b.model
	var want error
	var data []byte
	switch {
	case m.at == len(m.objects):
		want = tape.ErrEndOfData
	case m.objects[m.at] == nil:
		want = tape.ErrFilemark
		m.at++
	case len(m.objects[m.at]) > room:
		want = tape.ErrShortBuffer
		m.at++
	default:
		data = m.objects[m.at]
		m.at++
	}
	if !errors.Is(err, want) || !bytes.Equal(p[:n], data) {
		b.t.Fatalf("reading into %d bytes: %d bytes, %v; want %d bytes, %v", room, n, err, len(data), want)
	}
}

func (b *bench) locate(to int) {
	b.model.endWriting()
	err := b.drive.Locate(b.ctx, int64(to))
	var want error
	if b.model.at = to; to > len(b.model.objects) {
		b.model.at, want = len(b.model.objects), tape.ErrEndOfData
	}
	if !errors.Is(err, want) {
		b.t.Fatalf("locating block %d of %d: %v, want %v", to, len(b.model.objects), err, want)
	}
}

// TestDriveAgainstModel does anything in any order and compares each answer with the model's.
func TestDriveAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		b := newBench(rt, dir)
		defer func() { b.lib.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"write a record": func(t *rapid.T) {
				b.writeRecord(rapid.OneOf(rapid.IntRange(1, 50), rapid.IntRange(1, 20_000)).Draw(t, "bytes"))
			},
			"write many records": func(t *rapid.T) { // more than the image remembers offsets of
				for range rapid.IntRange(1, 2*indexStep).Draw(t, "records") {
					b.writeRecord(1 + b.model.at%3)
				}
			},
			"write a filemark": func(*rapid.T) {
				err := b.drive.WriteFilemark(b.ctx)
				if full := b.model.size(b.model.at)+2*wordSize > testCapacity; full != errors.Is(err, tape.ErrEndOfMedium) || !full && err != nil {
					rt.Fatalf("a filemark: %v, the tape is full: %t", err, full)
				}
				if err == nil {
					b.model.write(nil)
				}
			},
			"flush":  func(*rapid.T) { b.must(b.drive.Flush(b.ctx)) },
			"read":   func(t *rapid.T) { b.read(rapid.SampledFrom([]int{1, 100, 20_000, 20_000, 20_000}).Draw(t, "room")) },
			"locate": func(t *rapid.T) { b.locate(rapid.IntRange(0, len(b.model.objects)+1).Draw(t, "block")) },
			"space EOD": func(*rapid.T) {
				b.must(b.drive.SpaceEOD(b.ctx))
				b.model.endWriting()
				b.model.at = len(b.model.objects)
			},
			"rewind": func(*rapid.T) { b.must(b.drive.Rewind(b.ctx)); b.model.endWriting(); b.model.at = 0 },
			"reload": func(*rapid.T) {
				b.must(b.drive.Unload(b.ctx))
				b.model.endWriting()
				if _, err := b.drive.Position(b.ctx); !errors.Is(err, tape.ErrNoMedium) {
					rt.Fatalf("the position of an unloaded drive: %v", err)
				}
				b.must(b.lib.Unload(b.ctx, 0, 2))
				b.must(b.lib.Load(b.ctx, 2, 0))
				b.load()
			},
			"close and open": func(*rapid.T) {
				b.must(b.lib.Close())
				b.model.endWriting()
				b.open()
				b.load()
			},
			"process death": func(*rapid.T) {
				// The kernel keeps what was written; the next process finds it, without the filemark that Close writes.
				b.lib.lock.Close()
				b.model.data = false
				b.open()
				b.load()
			},
			"power cut": func(t *rapid.T) {
				// Any part of what was written may be all that is left; here the last bytes of the image are gone.
				b.must(b.lib.Close())
				b.model.endWriting()
				end := b.model.size(len(b.model.objects))
				keep := rapid.Int64Range(max(0, end-30_000), end).Draw(t, "bytes kept")
				b.must(os.Truncate(filepath.Join(b.dir, "A00001.tap"), keep))
				for b.model.size(len(b.model.objects)) > keep {
					b.model.objects = b.model.objects[:len(b.model.objects)-1]
				}
				b.open()
				b.load()
				if len(b.model.objects) > 0 || keep == 0 {
					return
				}
				// Nothing whole is left, but something: that is no blank tape, until it is written anew.
				var sense *tape.SenseError
				if _, err := b.drive.ReadRecord(b.ctx, make([]byte, 1)); !errors.As(err, &sense) || sense.Key != tape.MediumError {
					rt.Fatalf("what is left of the first block reads as %v", err)
				}
				b.must(b.drive.WriteFilemark(b.ctx))
				b.model.at = 0
				b.model.write(nil)
			},
			"": func(*rapid.T) { b.check() },
		})
	})
}

// What lies behind the end of data in an image whose space was allocated before is never read, and stays allocated.
func TestAllocatedImage(t *testing.T) {
	dir := t.TempDir()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	stale := bytes.Repeat([]byte{0xFF}, 50_000)
	must(os.WriteFile(filepath.Join(dir, "A00001.tap"), stale, 0o644))
	must(Create(dir, Options{Drives: 1, Slots: 1}))
	lib, err := Open(dir)
	must(err)
	defer lib.Close()
	must(lib.AddCartridge("A00001", testCapacity))
	must(lib.Load(ctx, 1, 0))
	d, err := lib.OpenDrive(ctx, 0)
	must(err)
	m, err := d.Load(ctx)
	must(err)
	if m.Remaining != testCapacity-testCapacity/64 {
		t.Errorf("%d bytes remain on a blank tape", m.Remaining)
	}
	for i := range 3 {
		must(d.WriteRecord(ctx, bytes.Repeat([]byte{byte(i)}, 1000)))
	}
	must(d.Locate(ctx, 1))
	must(d.WriteRecord(ctx, []byte("x")))
	must(d.Unload(ctx))
	fi, err := os.Stat(filepath.Join(dir, "A00001.tap"))
	must(err)
	if fi.Size() != int64(len(stale)) {
		t.Errorf("the image has %d bytes, was %d", fi.Size(), len(stale))
	}
	must(lib.Unload(ctx, 0, 1))
	must(lib.Load(ctx, 1, 0))
	_, err = d.Load(ctx)
	must(err)
	must(d.SpaceEOD(ctx))
	if at, _ := d.Position(ctx); at.Block != 3 { // two records and st's filemark
		t.Errorf("the end of data is at block %d", at.Block)
	}
}

// A damaged place is a medium error for whoever comes to it, and leaves what lies before it readable.
func TestDamagedWord(t *testing.T) {
	dir := t.TempDir()
	image := []byte{1, 0, 0, 0, 'x', 0, 1, 0, 0, 0, 1, 0, 0, 0xFF, 'y', 0, 1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}
	if err := os.WriteFile(filepath.Join(dir, "A00001.tap"), image, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Create(dir, Options{Drives: 1, Slots: 1}); err != nil {
		t.Fatal(err)
	}
	lib, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lib.Close()
	ctx := t.Context()
	if err := errors.Join(lib.AddCartridge("A00001", testCapacity), lib.Load(ctx, 1, 0)); err != nil {
		t.Fatal(err)
	}
	d, err := lib.OpenDrive(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Load(ctx); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 10)
	if n, err := d.ReadRecord(ctx, p); err != nil || string(p[:n]) != "x" {
		t.Errorf("before it: %q, %v", p[:n], err)
	}
	var sense *tape.SenseError
	if _, err := d.ReadRecord(ctx, p); !errors.As(err, &sense) || sense.Key != 3 {
		t.Errorf("at it: %v", err)
	}
	if err := d.Locate(ctx, 5); !errors.As(err, &sense) || sense.Key != 3 {
		t.Errorf("locating behind it: %v", err)
	}
}

// Whatever a file holds that is no image, it is not taken for a blank tape.
func TestGarbageIsNotBlank(t *testing.T) {
	for name, garbage := range map[string][]byte{
		"text":            []byte("#!/bin/sh\necho this was somebody's script\n"),
		"a few bytes":     {1, 2},
		"a length alone":  {4, 0, 0, 0},
		"a cut record":    {4, 0, 0, 0, 'd', 'a', 't', 'a', 4, 0},
		"two lengths":     {4, 0, 0, 0, 'd', 'a', 't', 'a', 5, 0, 0, 0},
		"a reserved word": {1, 0, 0, 0xFF},
		"a tar":           append([]byte("pot1/data/zen.uv/visdata"), make([]byte, 1000)...),
	} {
		dir, ctx := t.TempDir(), t.Context()
		err := errors.Join(os.WriteFile(filepath.Join(dir, "A00001.tap"), garbage, 0o644), Create(dir, Options{Drives: 1, Slots: 1}))
		if err != nil {
			t.Fatal(err)
		}
		lib, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		d, err := lib.OpenDrive(ctx, 0)
		if err := errors.Join(err, lib.AddCartridge("A00001", testCapacity), lib.Load(ctx, 1, 0)); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Load(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := d.ReadRecord(ctx, make([]byte, 10)); err == nil || errors.Is(err, tape.ErrEndOfData) {
			t.Errorf("%s reads as %v", name, err)
		}
		if err := lib.Close(); err != nil {
			t.Fatal(err)
		}
		if after, err := os.ReadFile(filepath.Join(dir, "A00001.tap")); err != nil || !bytes.Equal(after, garbage) {
			t.Errorf("%s was changed, or lost: %v", name, err)
		}
	}
}

func FuzzImage(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF})
	f.Add([]byte{3, 0, 0, 0, 1, 2, 3, 0, 3, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0xFE, 0xFF, 0xFF, 0xFF, 2, 0, 0, 0x80, 1, 2, 2, 0, 0, 0x80})
	f.Add([]byte{0xF0, 0xFF, 0xFF, 0x0F, 1})
	f.Add([]byte{1, 0, 0, 0xFF})
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(t.TempDir(), "f.tap")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		m, err := newImage(file)
		if err != nil {
			t.Fatal(err)
		}
		read := func() (out []string) {
			p := make([]byte, 64)
			for {
				at := m.block
				n, err := m.read(p)
				out = append(out, fmt.Sprintf("%x %v", p[:n], err))
				if m.block == at { // the end, or a place that cannot be passed
					return out
				}
				if len(out) > len(data)/4+1 {
					t.Fatalf("%d objects in %d bytes", len(out), len(data))
				}
			}
		}
		all := read()
		for block := range all {
			if err := m.locate(int64(block)); err != nil && block < len(all)-1 {
				t.Fatalf("locating block %d of %d: %v", block, len(all), err)
			}
			if rest := read(); fmt.Sprint(rest) != fmt.Sprint(all[block:]) {
				t.Fatalf("behind block %d: %v, want %v", block, rest, all[block:])
			}
			if block > 20 {
				break
			}
		}
	})
}
