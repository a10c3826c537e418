package tapetree_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"twintape/archiver"
	"twintape/internal/catalog"
	"twintape/internal/ledger"
	"twintape/internal/tapetree"
)

// BenchmarkMillion lists folders of a tape with a million members: 20,000 observations of 25 files in a folder each night,
// and one of half a million files in 500 folders.
func BenchmarkMillion(b *testing.B) {
	ctx, dir := b.Context(), b.TempDir()
	l, err := ledger.Create(ctx, filepath.Join(dir, "ledger.db"))
	must(b, err)
	defer l.Close()
	for _, barcode := range []string{"PAPR1001", "PAPR2001"} {
		_, err := l.AddTape(ctx, ledger.Tape{Barcode: barcode})
		must(b, err)
	}
	job, err := l.BeginJob(ctx, ledger.Owner{}, 1)
	must(b, err)
	must(b, l.ClaimPair(ctx, job.ID, [2]string{"PAPR1001", "PAPR2001"}))
	s, err := l.StartSession(ctx, job.ID, ledger.StartSession{
		PairUUID: uuid.NewString(), SessionUUID: uuid.NewString(), TapeUUIDs: [2]string{uuid.NewString(), uuid.NewString()},
		RecordSize: 512 << 10, Number: 1, Record: 2,
	})
	must(b, err)
	number, record := 0, int64(2)
	archive := func(items map[string][]string) { // names by path
		number++
		a := &catalog.Archive{Pair: s.Pair, Session: s.UUID, Job: job.UUID, Number: number, TapeFile: number, Record: record, RecordSize: 512 << 10}
		var wanted []ledger.NewItem
		for p := range items {
			wanted = append(wanted, ledger.NewItem{Host: "pot1", Path: p})
		}
		added, err := l.Enqueue(ctx, wanted, false)
		must(b, err)
		for _, e := range added {
			it := catalog.Item{ID: e.ID, Host: "pot1", Path: e.Path, Entries: []catalog.Entry{{Host: "pot1", Path: e.Path, Type: catalog.Dir, Mode: 0o755}}}
			for _, name := range items[e.Path] {
				entry := catalog.Entry{Host: "pot1", Path: e.Path + "/" + name, Type: catalog.File, Mode: 0o644, Size: 1000, MD5: catalog.MD5{1}}
				if name[len(name)-1] == '/' {
					entry.Type, entry.Path, entry.Size, entry.MD5 = catalog.Dir, entry.Path[:len(entry.Path)-1], 0, catalog.MD5{}
				}
				it.Entries = append(it.Entries, entry)
			}
			a.Items = append(a.Items, it)
		}
		id, err := l.PlanArchive(ctx, job.ID, s.ID, a, 100, nil)
		must(b, err)
		record += 101
		must(b, l.RecordFlush(ctx, ledger.Flush{Session: s.ID, Positions: [2]int64{record, record}, Archives: []ledger.FlushedArchive{{ID: id, Result: a}}}))
	}
	files := make([]string, 24)
	for i := range files {
		files[i] = fmt.Sprintf("visdata%02d", i)
	}
	for night := range 20 {
		items := make(map[string][]string)
		for n := range 1000 {
			items[fmt.Sprintf("/data/psa%02d/zen.%07d.uv", night, n)] = files
		}
		archive(items)
	}
	var many []string
	for d := range 500 {
		many = append(many, fmt.Sprintf("d%03d/", d))
		for n := range 1000 {
			many = append(many, fmt.Sprintf("d%03d/%07d", d, n))
		}
	}
	archive(map[string][]string{"/data/many": many})
	tree := &tapetree.Tree{Ledger: l, Scratch: dir, Changed: archiver.SameEntry}
	for _, c := range []struct {
		at      string
		entries int
	}{
		{"/", 3}, {"/PAPR1001", 4}, {"/PAPR1001/pot1/data", 21}, {"/PAPR1001/pot1/data/psa07", 1000}, {"/PAPR1001/pot1/data/psa07/zen.0000500.uv", 24},
		{"/PAPR1001/pot1/data/many", 500}, {"/PAPR1001/pot1/data/many/d250", 1000}, {"/all/pot1/data", 21}, {"/all/pot1/data/psa07", 1000},
	} {
		b.Run("list"+c.at, func(b *testing.B) {
			for b.Loop() {
				if list, err := tree.ReadDir(ctx, c.at); err != nil || len(list) != c.entries {
					b.Fatalf("%d entries, %v", len(list), err)
				}
			}
		})
	}
	b.Run("open/.MD5SUMS", func(b *testing.B) {
		for b.Loop() {
			f, err := tree.Open(ctx, "/PAPR1001/.MD5SUMS")
			must(b, err)
			f.Close()
		}
	})
}
