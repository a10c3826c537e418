package stream

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"twintape/internal/catalog"
	"twintape/internal/event"
	"twintape/internal/tape"
	"twintape/sources"
)

const testRecord = 4096

// bench is a run's surroundings: a source in memory, two drives in memory, archives laid out one after the other.
type rig struct {
	t        testing.TB
	source   *memorySource
	drives   [2]*memoryDrive
	archives []*catalog.Archive
	expected map[string]catalog.MD5
	cfg      Config
	flushes  [][]Written
}

const sessionUUID = "11111111-2222-4333-8444-555555555555"

// newRig makes an archive for each list of items, and an item for each list of sizes.
func newRig(t testing.TB, archives [][][]int) *rig {
	r := &rig{t: t, source: &memorySource{files: make(map[string][]byte)}}
	for i := range r.drives {
		r.drives[i] = &memoryDrive{name: fmt.Sprintf("drive %d", i)}
		r.drives[i].WriteRecord(t.Context(), make([]byte, testRecord))
		r.drives[i].WriteFilemark(t.Context())
	}
	block, n := int64(2), 0
	for i, items := range archives {
		a := &catalog.Archive{
			Pair: sessionUUID, Session: sessionUUID, Job: sessionUUID,
			Number: i + 1, TapeFile: i + 1, Record: block, RecordSize: testRecord,
		}
		for _, sizes := range items {
			it := catalog.Item{ID: int64(n), Host: "mem", Path: itemPath(n)}
			when := time.Unix(1700000000, 123456789).UTC()
			it.Entries = append(it.Entries, catalog.Entry{Host: "mem", Path: it.Path, Type: catalog.Dir, Mode: 0o755, MTime: when})
			for k, size := range sizes {
				p := memberPath(n, fmt.Sprintf("f%03d", k))
				r.source.files[p] = content(p, size)
				it.Entries = append(it.Entries, catalog.Entry{
					Host: "mem", Path: p, Type: catalog.File, Size: int64(size), Mode: 0o644, MTime: when,
				})
			}
			a.Items = append(a.Items, it)
			n++
		}
		layout, err := a.Layout()
		if err != nil {
			t.Fatal(err)
		}
		block += layout.Records + 1
		r.archives = append(r.archives, a)
	}
	ns, err := sources.NewNamespace([]sources.Host{{Name: "mem", Source: r.source}})
	if err != nil {
		t.Fatal(err)
	}
	next := 0
	r.cfg = Config{
		RecordSize: testRecord, Memory: 16 * testRecord, FlushBytes: 64 * testRecord,
		Namespace: ns, Events: event.Discard,
		Unchanged: func(context.Context, sources.Source, *catalog.Item) error { return nil },
		Next: func(context.Context) (Archive, error) {
			if next == len(r.archives) {
				return Archive{}, io.EOF
			}
			next++
			return Archive{Archive: r.archives[next-1], ID: int64(next), Expected: r.expected}, nil
		},
		Flushed: func(_ context.Context, w []Written, positions [2]int64) error {
			last := w[len(w)-1].Archive
			layout, _ := last.Layout()
			for side, d := range r.drives {
				if want := last.Record + layout.Records + 1; positions[side] != want || d.flushed != want {
					t.Errorf("side %d was flushed to %d, reported at %d, planned was %d", side, d.flushed, positions[side], want)
				}
			}
			r.flushes = append(r.flushes, w)
			return nil
		},
	}
	return r
}

func (r *rig) run() error {
	var pair Pair
	for i, d := range r.drives {
		pair[i] = Side{Barcode: fmt.Sprintf("PAPR%d001", i+1), Drive: d}
	}
	err := Run(r.t.Context(), r.cfg, pair)
	if r.source.open != 0 {
		r.t.Errorf("%d files were left open", r.source.open)
	}
	return err
}

func (r *rig) items() []*catalog.Item {
	var out []*catalog.Item
	for _, a := range r.archives {
		for i := range a.Items {
			out = append(out, &a.Items[i])
		}
	}
	return out
}

// check reads both drives' blocks as a stranger would: tar files between filemarks.
func (r *rig) check() {
	r.t.Helper()
	if !r.drives[0].discard && !equalBlocks(r.drives[0].blocks, r.drives[1].blocks) {
		r.t.Fatal("the twins differ")
	}
	var written []Written
	for _, f := range r.flushes {
		written = append(written, f...)
	}
	if len(written) != len(r.archives) {
		r.t.Fatalf("%d of %d archives were flushed", len(written), len(r.archives))
	}
	block := int64(2)
	for i, a := range r.archives {
		var stream []byte
		var crcs []byte
		if a.Record != block {
			r.t.Fatalf("archive %d begins at block %d, planned was %d", i+1, block, a.Record)
		}
		for ; r.drives[0].blocks[block] != nil; block++ {
			stream = append(stream, r.drives[0].blocks[block]...)
			sum := crc32.Checksum(r.drives[0].blocks[block], crc32.MakeTable(crc32.Castagnoli))
			crcs = binary.LittleEndian.AppendUint32(crcs, sum)
		}
		block++
		if !bytes.Equal(crcs, written[i].CRCs) {
			r.t.Errorf("archive %d: the records' CRC32C are not those of the records", i+1)
		}
		files := untar(r.t, stream)
		var sums strings.Builder
		for _, it := range a.Items {
			for _, e := range it.Entries {
				if e.Type != catalog.File {
					continue
				}
				got, ok := files["mem"+e.Path]
				if !ok {
					r.t.Fatalf("archive %d lacks %s", i+1, e.Path)
				}
				want := r.source.files[e.Path]
				if e.Bad == "" && (!bytes.Equal(got, want) || e.MD5 != md5.Sum(want)) {
					r.t.Fatalf("%s is not on tape as it was", e.Path)
				}
				if e.Bad != "" && (int64(len(got)) != e.Size || !e.MD5.IsZero()) {
					r.t.Fatalf("bad %s did not keep its place", e.Path)
				}
				at := (e.Record-a.Record)*testRecord + int64(e.Offset) + int64(e.Header)
				if e.Bad == "" && !bytes.HasPrefix(stream[at:], want) {
					r.t.Fatalf("%s does not lie where its entry says", e.Path)
				}
				fmt.Fprintf(&sums, "%s  mem%s\n", e.MD5, e.Path)
			}
		}
		if got := string(files[fmt.Sprintf(".twintape/%s/%d.MD5SUMS", sessionUUID, a.Number)]); got != sums.String() {
			r.t.Errorf("archive %d: MD5SUMS is\n%s\nwant\n%s", i+1, got, sums.String())
		}
	}
}

func equalBlocks(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if (a[i] == nil) != (b[i] == nil) || !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func untar(t testing.TB, stream []byte) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	tr := tar.NewReader(bytes.NewReader(stream))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnyArchives(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.OneOf(rapid.IntRange(0, 3), rapid.IntRange(0, 3*testRecord), rapid.IntRange(0, 40*testRecord))
		items := rapid.SliceOfN(rapid.SliceOfN(size, 0, 6), 1, 5)
		r := newRig(t, rapid.SliceOfN(items, 1, 5).Draw(rt, "archives"))
		r.cfg.Memory = testRecord * rapid.Int64Range(minRecords, 40).Draw(rt, "ring")
		r.cfg.FlushBytes = rapid.Int64Range(1, 200*testRecord).Draw(rt, "flush")
		if err := r.run(); err != nil {
			rt.Fatal(err)
		}
		r.check()
	})
}

// A member that is not there as planned fails its item alone, and keeps its place.
func TestBadMembers(t *testing.T) {
	sizes := [][][]int{{{100, 9000}, {0, 70000, 5}, {12000}}, {{40000, 1}}}
	for name, c := range map[string]struct {
		spoil func(r *rig)
		want  string
	}{
		"vanished":           {func(r *rig) { delete(r.source.files, memberPath(1, "f001")) }, "file does not exist"},
		"empty one vanished": {func(r *rig) { delete(r.source.files, memberPath(1, "f000")) }, "file does not exist"},
		"shrank": {func(r *rig) {
			p := memberPath(1, "f001")
			r.source.files[p] = r.source.files[p][:5000]
		}, "became shorter"},
		"unreadable in the middle": {func(r *rig) {
			r.source.fault = func(p string, off int64) error {
				if p == memberPath(1, "f001") && off > 20000 {
					return errTest
				}
				return nil
			}
		}, errTest.Error()},
		"another md5": {func(r *rig) {
			r.expected = map[string]catalog.MD5{"mem:" + memberPath(1, "f001"): {1}, "mem:" + memberPath(0, "f000"): md5.Sum(content(memberPath(0, "f000"), 100))}
		}, "expected was 0100"},
		"changed": {func(r *rig) {
			r.cfg.Unchanged = func(_ context.Context, _ sources.Source, it *catalog.Item) error {
				if it.Path == itemPath(1) {
					return errTest
				}
				return nil
			}
		}, errTest.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, sizes)
			c.spoil(r)
			if err := r.run(); err != nil {
				t.Fatal(err)
			}
			for i, it := range r.items() {
				if i == 1 && !strings.Contains(it.Bad, c.want) {
					t.Errorf("the item's reason is %q, want %q", it.Bad, c.want)
				}
				if i != 1 && it.Bad != "" {
					t.Errorf("item %d failed too: %s", i, it.Bad)
				}
			}
			r.check()
		})
	}
}

// The check for changes comes after the last byte of the item was read.
func TestCheckComesLast(t *testing.T) {
	r := newRig(t, [][][]int{{{50000, 0, 3}, {60000}, {0}, {}}})
	var reads, checks atomic.Int64
	total := map[string]int64{}
	for p, data := range r.source.files {
		total[p[:len(itemPath(0))]] += int64(len(data))
	}
	var read [4]atomic.Int64
	r.source.fault = func(p string, off int64) error {
		reads.Add(1)
		for i := range read {
			if strings.HasPrefix(p, itemPath(i)) {
				read[i].Add(1)
			}
		}
		time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
		return nil
	}
	var seen [4]int64
	r.cfg.Unchanged = func(_ context.Context, _ sources.Source, it *catalog.Item) error {
		checks.Add(1)
		seen[it.ID] = read[it.ID].Load()
		return nil
	}
	if err := r.run(); err != nil {
		t.Fatal(err)
	}
	if checks.Load() != 4 {
		t.Errorf("%d items were checked, want each of 4 once", checks.Load())
	}
	for i := range seen {
		if seen[i] != read[i].Load() {
			t.Errorf("item %d was checked after %d of %d reads", i, seen[i], read[i].Load())
		}
	}
}

// A drive's error ends the run, names its side, and nothing is reported as flushed that was not.
func TestDriveErrors(t *testing.T) {
	sizes := [][][]int{{{90000}}, {{90000}}, {{90000}}, {{90000}}}
	for _, op := range []string{"record", "filemark", "flush"} {
		for side := range 2 {
			t.Run(fmt.Sprintf("%s on side %d", op, side), func(t *testing.T) {
				r := newRig(t, sizes)
				r.cfg.FlushBytes = 2 * 90000
				at := r.archives[2].Record
				r.drives[side].before = func(o string, block int64) error {
					if o == op && block > at {
						return tape.ErrEarlyWarning
					}
					return nil
				}
				err := r.run()
				var sideErr *SideError
				if !errors.As(err, &sideErr) || sideErr.Side != side || !errors.Is(err, tape.ErrEarlyWarning) {
					t.Fatalf("the error is %v", err)
				}
				if len(r.flushes) != 1 || len(r.flushes[0]) != 2 {
					t.Errorf("%d flushes were reported, want one of two archives", len(r.flushes))
				}
			})
		}
	}
}

// A drive that was reset silently stands at the beginning of the tape: the flush does not count.
func TestSilentReset(t *testing.T) {
	r := newRig(t, [][][]int{{{90000}}, {{90000}}})
	r.drives[1].before = func(op string, block int64) error {
		if op == "flush" {
			r.drives[1].count = 0
		}
		return nil
	}
	err := r.run()
	var position *PositionError
	if !errors.As(err, &position) || position.Got != 0 {
		t.Fatalf("the error is %v", err)
	}
	if len(r.flushes) != 0 {
		t.Error("a flush was reported")
	}
}

// Stop ends the run at the next border, flushed; a ledger that fails ends it at once.
func TestStopAndLedgerError(t *testing.T) {
	many := make([][][]int, 20)
	for i := range many {
		many[i] = [][]int{{50000}}
	}
	r := newRig(t, many)
	stop := make(chan struct{})
	r.cfg.Stop = stop
	next := r.cfg.Next
	r.cfg.Next = func(ctx context.Context) (Archive, error) {
		a, err := next(ctx)
		if a.Archive != nil && a.Number == 3 {
			close(stop)
		}
		return a, err
	}
	if err := r.run(); err != nil {
		t.Fatal(err)
	}
	r.archives = r.archives[:3]
	r.check()

	r = newRig(t, many)
	r.cfg.Flushed = func(context.Context, []Written, [2]int64) error { return errTest }
	if err := r.run(); !errors.Is(err, errTest) {
		t.Errorf("the error is %v", err)
	}
}

// A host that hangs ends with the context; nothing is left running.
func TestCancelled(t *testing.T) {
	r := newRig(t, [][][]int{{{90000, 90000}}})
	ctx, cancel := context.WithCancel(t.Context())
	r.source.fault = func(p string, off int64) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	err := Run(ctx, r.cfg, Pair{{Drive: r.drives[0]}, {Drive: r.drives[1]}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

// A drive that must not stop and start writes only when half of the ring is filled.
func TestBackhitch(t *testing.T) {
	r := newRig(t, [][][]int{{{400 * testRecord}}})
	r.cfg.Memory = 32 * testRecord
	var read atomic.Int64
	r.source.fault = func(string, int64) error { read.Add(1); return nil }
	first := int64(-1)
	r.drives[0].before = func(op string, block int64) error {
		if first < 0 && op == "record" {
			first = read.Load()
		}
		return nil
	}
	err := Run(t.Context(), r.cfg, Pair{{Drive: r.drives[0], Backhitch: true}, {Drive: r.drives[1], Backhitch: true}})
	if err != nil {
		t.Fatal(err)
	}
	r.check()
	if first < 14 {
		t.Errorf("the first record was written after %d reads; the ring holds 32 records", first)
	}
}
