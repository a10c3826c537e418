package plan_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"pgregory.net/rapid"

	"twintape/archiver/plan"
	"twintape/internal/catalog"
)

const (
	uuid   = "11111111-2222-4333-8444-555555555555"
	record = 16 << 10
)

func item(id int64, name string, sizes ...int64) catalog.Item {
	p := "/data/" + name
	it := catalog.Item{ID: id, Host: "pot1", Path: p}
	it.Entries = append(it.Entries, catalog.Entry{Host: "pot1", Path: p, Type: catalog.Dir, Mode: 0o755, MTime: time.Unix(1e9, 1)})
	for i, size := range sizes {
		it.Entries = append(it.Entries, catalog.Entry{
			Host: "pot1", Path: fmt.Sprintf("%s/f%d", p, i), Type: catalog.File, Size: size, Mode: 0o644, MTime: time.Unix(1e9, 1),
		})
	}
	return it
}

func start() plan.Start {
	return plan.Start{Pair: uuid, Session: uuid, Job: uuid, Number: 1, TapeFile: 1, Record: 2}
}

// Whatever is queued: archives follow each other without gaps, nothing is split, doubled or reordered, no archive of
// several items exceeds its size, and everything with its closing catalog fits on the tape.
func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := plan.Limits{
			ArchiveSize: rapid.Int64Range(1, 8<<20).Draw(t, "archive size"),
			RecordSize:  record,
			Remaining:   rapid.Int64Range(0, 32<<20).Draw(t, "remaining"),
			Empty:       32 << 20,
		}
		p := plan.New(limits, start())
		var archives []*plan.Archive
		var accepted, planned []int64
		n := rapid.IntRange(1, 60).Draw(t, "items")
		for id := int64(1); id <= int64(n); id++ {
			sizes := rapid.SliceOfN(rapid.OneOf(rapid.Int64Range(0, 2000), rapid.Int64Range(0, 40<<20)), 0, 4).Draw(t, "sizes")
			it := item(id, fmt.Sprintf("zen.%d.uv", id), sizes...)
			room := p.Room()
			done, err := p.Add(it)
			var total int64
			for _, s := range sizes {
				total += s
			}
			var large *plan.TooLargeError
			switch {
			case err == nil:
				accepted = append(accepted, id)
				if total > room {
					t.Fatalf("%d bytes were taken into %d bytes of room", total, room)
				}
			case errors.As(err, &large):
				if total < limits.Empty/2 {
					t.Fatalf("%d bytes are said to be too large for a tape of %d", total, limits.Empty)
				}
			case !errors.Is(err, plan.ErrFull):
				t.Fatal(err)
			}
			if done != nil {
				archives = append(archives, done)
			}
		}
		last, err := p.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if last != nil {
			archives = append(archives, last)
		}
		var onTape int64
		next := start()
		var closing bytes.Buffer
		session := catalog.Session{
			Pair: uuid, Session: uuid, Job: uuid, Number: 1, RecordSize: record, Record: 2, Closed: time.Unix(1e9, 0).UTC(),
		}
		w := catalog.NewWriter(&closing, session)
		for _, a := range archives {
			if a.Number != next.Number || a.TapeFile != next.TapeFile || a.Archive.Record != next.Record {
				t.Fatalf("archive %d is at file %d, record %d; want %d, %d, %d", a.Number, a.TapeFile, a.Archive.Record,
					next.Number, next.TapeFile, next.Record)
			}
			next.Number, next.TapeFile, next.Record = next.Number+1, next.TapeFile+1, next.Record+a.Layout.Records+1
			bytes := a.Layout.Records * record
			if len(a.Items) > 1 && bytes > limits.ArchiveSize+record {
				t.Fatalf("archive %d of %d items has %d bytes", a.Number, len(a.Items), bytes)
			}
			onTape += bytes
			for _, it := range a.Items {
				planned = append(planned, it.ID)
				for i := range it.Entries {
					it.Entries[i].MD5 = catalog.MD5{1}
				}
			}
			if err := w.Archive(a.Archive, a.Layout.Records); err != nil {
				t.Fatal(err)
			}
		}
		if fmt.Sprint(accepted) != fmt.Sprint(planned) {
			t.Fatalf("accepted were %v, planned are %v", accepted, planned)
		}
		if len(archives) == 0 {
			return
		}
		size, sum, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		crcs := onTape / record * 4
		records, err := catalog.WriteTapeFile(io.Discard, session, &closing, size, sum, bytes.NewReader(make([]byte, crcs)), crcs)
		if err != nil {
			t.Fatal(err)
		}
		if onTape += records * record; onTape > limits.Remaining {
			t.Fatalf("%d bytes are planned onto %d", onTape, limits.Remaining)
		}
	})
}

func TestManyMembersEndAnArchive(t *testing.T) {
	p := plan.New(plan.Limits{ArchiveSize: 1 << 40, RecordSize: record, Remaining: 1 << 40, Empty: 1 << 40}, start())
	if done, err := p.Add(item(1, "many.uv", make([]int64, plan.MaxMembers+10)...)); err != nil || done != nil {
		t.Fatalf("an item of many members alone: %v, %v", done, err)
	}
	if done, err := p.Add(item(2, "few.uv", 1)); err != nil || done == nil || len(done.Items) != 1 {
		t.Fatalf("an item behind it: %v, %v", done, err)
	}
}
