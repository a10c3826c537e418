package verify

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"twintape/internal/catalog"
	"twintape/internal/digest"
	"twintape/internal/tape"
)

// cartridge is a tape in memory; nil is a filemark.
type cartridge [][]byte

// drive reads a cartridge. Only one Tape uses it at a time.
type drive struct {
	tape.Drive // what verify must not call: nil
	name       string
	blocks     cartridge
	at         int64
	gap        int64
	faults     map[int64]error // by block, whenever it is read
	once       map[int64]error // by block, at the first attempt to read it
	stuck      map[int64]error // by position that Locate cannot reach
	hangs      int64           // the block whose reading hangs until cancelled; 0 is none
	hanging    chan struct{}   // closed when it does

	read    map[int64]int // how often each block was read
	bytes   int64
	locates int
}

func newDrive(name string, blocks cartridge) *drive {
	return &drive{name: name, blocks: blocks, hanging: make(chan struct{}), read: map[int64]int{}}
}

func (d *drive) Name() string     { return d.name }
func (d *drive) LocateGap() int64 { return d.gap }

func (d *drive) Rewind(context.Context) error {
	d.at = 0
	return nil
}

func (d *drive) Locate(_ context.Context, block int64) error {
	d.locates++
	if err := d.stuck[block]; err != nil {
		return err
	}
	if block > int64(len(d.blocks)) {
		d.at = int64(len(d.blocks))
		return tape.ErrEndOfData
	}
	d.at = block
	return nil
}

func (d *drive) ReadRecord(ctx context.Context, p []byte) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if d.at >= int64(len(d.blocks)) {
		return 0, tape.ErrEndOfData
	}
	at := d.at
	if d.hangs > 0 && at == d.hangs {
		close(d.hanging)
		<-ctx.Done()
		return 0, ctx.Err()
	}
	if err := d.faults[at]; err != nil {
		return 0, err // where the tape stands now is nobody's guess: not moved on
	}
	if err := d.once[at]; err != nil {
		delete(d.once, at)
		return 0, err
	}
	d.at++
	d.read[at]++
	b := d.blocks[at]
	switch {
	case b == nil:
		return 0, tape.ErrFilemark
	case len(b) > len(p):
		return 0, tape.ErrShortBuffer
	}
	d.bytes += int64(len(b))
	return copy(p, b), nil
}

var errMedium = &tape.SenseError{Key: 3, ASC: 0x11, Text: "unrecovered read error"}

// written is a pair as a simple writer leaves it.
type written struct {
	tapes    [2]cartridge
	expect   [2]Expect
	archives []*catalog.Archive
	size     int64 // bytes of a record
}

// shape is what to write: for each session the archives, for each of these the items' sizes.
type shape [][][]int

func uuid(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }

const recordSize = 4096

var day = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// write makes a pair. Every item is a directory with a file of the given size, an empty file, a symlink and a hard link.
func write(t testing.TB, sessions shape) *written {
	t.Helper()
	return writeRecords(t, sessions, recordSize)
}

func writeRecords(t testing.TB, sessions shape, size int) *written {
	t.Helper()
	w := &written{size: int64(size)}
	var same cartridge
	random := rand.NewChaCha8([32]byte{7})
	next, number, item := int64(2), 0, 0
	tapeFile := 0
	var earlier []catalog.Earlier
	var expect []Session
	for n, archives := range sessions {
		head := catalog.Session{
			Pair: uuid(1), Session: uuid(100 + n), Job: uuid(200 + n), Number: n + 1, RecordSize: size,
			Closed: day, Record: next, Earlier: slices.Clone(earlier),
		}
		var jsonl, crcs bytes.Buffer
		c := catalog.NewWriter(&jsonl, head)
		var mine []*catalog.Archive
		for _, items := range archives {
			number++
			tapeFile++
			a := &catalog.Archive{
				Pair: head.Pair, Session: head.Session, Job: head.Job, Number: number, TapeFile: tapeFile, Record: next,
				RecordSize: size,
			}
			for _, length := range items {
				item++
				a.Items = append(a.Items, observation(item, int64(length)))
			}
			records := tar(t, a, random)
			for _, r := range records {
				crcs.Write(le32(digest.CRC32C(r)))
			}
			if err := c.Archive(a, int64(len(records))); err != nil {
				t.Fatal(err)
			}
			same = append(append(same, records...), nil)
			next += int64(len(records)) + 1
			mine = append(mine, a)
		}
		w.archives = append(w.archives, mine...)
		length, sum, err := c.Close()
		if err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		if _, err := catalog.WriteTapeFile(&file, head, &jsonl, length, sum, &crcs, int64(crcs.Len())); err != nil {
			t.Fatal(err)
		}
		tapeFile++
		expect = append(expect, Session{UUID: head.Session, Number: n + 1, TapeFile: tapeFile, Record: next, MD5: sum, Archives: func() iter.Seq2[*catalog.Archive, error] {
			return func(yield func(*catalog.Archive, error) bool) {
				for _, a := range mine {
					if !yield(a, nil) {
						return
					}
				}
			}
		}})
		earlier = append(earlier, catalog.Earlier{Session: head.Session, TapeFile: tapeFile, Record: next, MD5: sum})
		records := slices.Collect(slices.Chunk(file.Bytes(), size))
		same = append(append(same, records...), nil)
		next += int64(len(records)) + 1
	}
	for side, barcode := range []string{"PAPR1001", "PAPR2001"} {
		l := catalog.Label{Tape: uuid(11 + side), Pair: uuid(1), Barcode: barcode, Twin: []string{"PAPR2001", "PAPR1001"}[side], RecordSize: size, Created: day}
		w.tapes[side] = append(cartridge{label(t, l), nil}, same...)
		w.expect[side] = Expect{Barcode: barcode, Tape: l.Tape, Pair: l.Pair, RecordSize: size, Sessions: expect}
	}
	return w
}

func label(t testing.TB, l catalog.Label) []byte {
	t.Helper()
	b, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func le32(n uint32) []byte { return []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)} }

func observation(n int, size int64) catalog.Item {
	root := fmt.Sprintf("/data/zen.%03d.uv", n)
	entry := func(name string, t catalog.Type, size int64, link string) catalog.Entry {
		return catalog.Entry{
			Host: "pot1", Path: root + name, Type: t, Size: size, Mode: 0o640, MTime: day.Add(time.Duration(n) * 7), UID: 1000, GID: 100,
			User: "obs", Group: "radio", Link: link,
		}
	}
	return catalog.Item{ID: int64(n), Host: "pot1", Path: root, Entries: []catalog.Entry{
		entry("", catalog.Dir, 0, ""),
		entry("/empty", catalog.File, 0, ""),
		entry("/last", catalog.Symlink, 0, "visdata"),
		entry("/socket", catalog.Socket, 0, ""),
		entry("/visdata", catalog.File, size, ""),
		entry("/visdata.2", catalog.Hardlink, 0, root+"/visdata"),
	}}
}

// tar makes an archive's records, with random data, and sets its entries' md5s.
func tar(t testing.TB, a *catalog.Archive, random io.Reader) [][]byte {
	t.Helper()
	layout, err := a.Layout()
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.Items {
		for j := range a.Items[i].Entries {
			if e := &a.Items[i].Entries[j]; e.Type == catalog.File && e.Size == 0 {
				e.MD5 = digest.MD5(nil)
			}
		}
	}
	var b []byte
	for p, err := range a.Pieces() {
		switch {
		case err != nil:
			t.Fatal(err)
		case p.Data != nil:
			at := len(b)
			b = append(b, make([]byte, p.Data.Size)...)
			if _, err := io.ReadFull(random, b[at:]); err != nil {
				t.Fatal(err)
			}
			p.Data.MD5 = digest.MD5(b[at:])
		case p.Sums > 0:
			b = append(b, a.SumsText()...)
		default:
			b = append(b, p.Literal...)
		}
	}
	records := slices.Collect(slices.Chunk(b, a.RecordSize))
	if int64(len(records)) != layout.Records {
		t.Fatalf("%d records where the layout says %d", len(records), layout.Records)
	}
	return records
}

// clone returns a cartridge whose blocks can be changed.
func (c cartridge) clone() cartridge {
	out := make(cartridge, len(c))
	for i, b := range c {
		out[i] = bytes.Clone(b)
	}
	return out
}

// records counts the blocks that are no filemarks.
func (c cartridge) records() int64 {
	var n int64
	for _, b := range c {
		if b != nil {
			n++
		}
	}
	return n
}
