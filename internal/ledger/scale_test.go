package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"twintape/internal/catalog"
	"twintape/internal/digest"
	"twintape/internal/ledger"
	"twintape/internal/ledger/mariadbtest"
)

// A full-size ledger has ten million members over two hundred tapes. The benchmark makes one of a hundredth of it unless
// TWINTAPE_SCALE says another fraction, such as 1.
const (
	scaleTapes   = 200
	scaleMembers = 10_000_000
	itemMembers  = 50  // of an item, with its directory
	archiveItems = 100 // of an archive
	scaleQueued  = 1000
)

func scale(b *testing.B) float64 {
	f, err := strconv.ParseFloat(os.Getenv("TWINTAPE_SCALE"), 64)
	if err != nil {
		return 0.01
	}
	return f
}

// BenchmarkScale tells the median times of what people ask a large ledger, on both databases. With TWINTAPE_SCALE_DIR the SQLite ledger
// stays in that folder for the next run; so does MariaDB's, in the database that client.cnf there names.
func BenchmarkScale(b *testing.B) {
	dir, kept := os.LookupEnv("TWINTAPE_SCALE_DIR")
	if !kept {
		dir = b.TempDir()
	}
	b.Run("SQLite", func(b *testing.B) {
		path := filepath.Join(dir, "ledger.db")
		l, err := ledger.Create(b.Context(), path)
		if errors.Is(err, fs.ErrExist) {
			l, err = ledger.Open(b.Context(), path, ledger.Options{})
		}
		must(b, err)
		b.Cleanup(func() { l.Close() })
		benchmarkScale(b, l)
	})
	b.Run("MariaDB", func(b *testing.B) {
		file := filepath.Join(dir, "client.cnf")
		if !kept {
			file = mariadbtest.Private(b, "--innodb-buffer-pool-size=2G", "--innodb-log-file-size=512M").Credentials(b)
		}
		l, err := ledger.CreateMySQL(b.Context(), client(b, file), ledger.Options{})
		if errors.Is(err, fs.ErrExist) {
			l, err = ledger.OpenMySQL(b.Context(), client(b, file), ledger.Options{})
		}
		must(b, err)
		b.Cleanup(func() { l.Close() })
		benchmarkScale(b, l)
	})
}

func benchmarkScale(b *testing.B, l *ledger.Ledger) {
	began := time.Now()
	items := int(scaleMembers * scale(b) / itemMembers)
	tapes, err := l.Tapes(b.Context())
	must(b, err)
	if len(tapes) == 0 {
		fillScale(b, l, items, max(1, int(scaleTapes*scale(b)/2)))
	}
	b.Logf("%d items of %d members in %v", items, itemMembers, time.Since(began).Round(time.Second))
	ctx := b.Context()
	middle := scalePath(items / 2)
	queries := []struct {
		name string
		ask  func(ctx context.Context) int // how many it found
	}{
		{"find-path", func(ctx context.Context) int { return found(b, l, ctx, "pot1:"+middle+"/visdata0007", 0) }},
		{"find-item", func(ctx context.Context) int { return found(b, l, ctx, "pot1:"+middle+"/*", 0) }},
		{"find-any-host", func(ctx context.Context) int { return found(b, l, ctx, middle+"/visdata0007", 0) }},
		{"find-night-10", func(ctx context.Context) int {
			return found(b, l, ctx, "pot1:"+filepath.Dir(middle)+"/*/visdata0007", 10)
		}},
		{"find-first-10", func(ctx context.Context) int { return found(b, l, ctx, "visdata0007", 10) }},
		{"copies", func(ctx context.Context) int {
			return listed(b, l, ctx, ledger.Filter{States: []ledger.ItemState{ledger.Written}})
		}},
		{"queue-ls", func(ctx context.Context) int {
			return listed(b, l, ctx, ledger.Filter{States: []ledger.ItemState{ledger.Queued, ledger.Failed, ledger.Claimed}})
		}},
		{"next-queued", func(ctx context.Context) int {
			some, err := l.NextQueued(ctx, 0, 0, 8)
			must(b, err)
			return len(some)
		}},
		{"tapes-show", func(ctx context.Context) int {
			c, err := l.Contents(ctx, "PAPR1001")
			must(b, err)
			_, err = l.Verifications(ctx, "PAPR1001")
			must(b, err)
			return len(c.Sessions)
		}},
		{"tapes", func(ctx context.Context) int {
			all, err := l.Tapes(ctx)
			must(b, err)
			return len(all)
		}},
		{"jobs", func(ctx context.Context) int {
			all, err := l.Jobs(ctx, 0)
			must(b, err)
			return len(all)
		}},
		{"ls-tape-item", func(ctx context.Context) int { return browsed(b, l, ctx, "PAPR1001", scalePath(0)) }},
		{"ls-tape-top", func(ctx context.Context) int { return browsed(b, l, ctx, "PAPR1001", "/") }},
		{"ls-tape-night", func(ctx context.Context) int { return browsed(b, l, ctx, "PAPR1001", filepath.Dir(scalePath(0))) }},
		{"ls-all-root", func(ctx context.Context) int { return browsed(b, l, ctx, "", "/") }},
		{"ls-all-top", func(ctx context.Context) int { return browsed(b, l, ctx, "", "/data") }},
		{"ls-all-night", func(ctx context.Context) int { return browsed(b, l, ctx, "", filepath.Dir(middle)) }},
		{"look-all-top", func(ctx context.Context) int {
			_, err := l.Browse(ctx, "", "pot1", "/data")
			must(b, err)
			return 1
		}},
		{"hosts", func(ctx context.Context) int {
			all, err := l.BrowseHosts(ctx, "")
			must(b, err)
			return len(all)
		}},
		{"find-name", func(ctx context.Context) int { return found(b, l, ctx, filepath.Base(middle), 0) }},
		{"find-name-member", func(ctx context.Context) int { return found(b, l, ctx, filepath.Base(middle)+"/visdata0007", 0) }},
		{"find-none", func(ctx context.Context) int { return found(b, l, ctx, "nowhere", 0) }},
	}
	for _, q := range queries {
		b.Run(q.name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				if q.ask(ctx) == 0 && q.name != "copies" && q.name != "find-none" {
					b.Fatal("nothing was found")
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
		})
	}
	b.Run("write", func(b *testing.B) { writeScale(b, l) })
}

func found(b *testing.B, l *ledger.Ledger, ctx context.Context, pattern string, limit int) (n int) {
	for _, err := range l.Find(ctx, ledger.Wanted{Pattern: pattern, Limit: limit}) {
		must(b, err)
		n++
	}
	return n
}

func listed(b *testing.B, l *ledger.Ledger, ctx context.Context, f ledger.Filter) (n int) {
	for _, err := range l.Items(ctx, f) {
		must(b, err)
		n++
	}
	return n
}

func browsed(b *testing.B, l *ledger.Ledger, ctx context.Context, barcode, path string) int {
	all, err := l.BrowseDir(ctx, barcode, "pot1", path)
	must(b, err)
	return len(all)
}

// scalePath is an item's: a hundred a night.
func scalePath(n int) string { return fmt.Sprintf("/data/%05d/zen.%07d.uv", n/100, n) }

// fillScale archives items through the ledger's own calls, pair after pair, and leaves some in the queue.
func fillScale(b *testing.B, l *ledger.Ledger, total, pairs int) {
	b.Helper()
	ctx := b.Context()
	perPair := (total + pairs - 1) / pairs
	done := 0
	for pair := 1; done < total; pair++ {
		barcodes := [2]string{fmt.Sprintf("PAPR1%03d", pair), fmt.Sprintf("PAPR2%03d", pair)}
		j, s := scaleJob(b, l, barcodes)
		v := ledger.Verification{Job: j.ID, Began: time.Now(), Ended: time.Now(), Sample: 1, Good: true}
		record := int64(2)
		for n, number := 0, 1; n < perPair && done < total; number++ {
			count := min(archiveItems, perPair-n, total-done)
			a := scaleArchive(b, l, j, s, number, record, done, count)
			archive, err := l.PlanArchive(ctx, j.ID, s.ID, a, int64(count*itemMembers), nil)
			must(b, err)
			record += int64(count*itemMembers) + 1
			readScale(a)
			must(b, l.RecordFlush(ctx, ledger.Flush{Session: s.ID, Positions: [2]int64{record, record}, Archives: []ledger.FlushedArchive{{ID: archive, Result: a}}}))
			for _, it := range a.Items {
				v.Copies = append(v.Copies, ledger.CheckedCopy{Item: it.ID, Read: 1, Full: true})
			}
			n, done = n+count, done+count
		}
		must(b, l.CloseSession(ctx, s.ID, ledger.CatalogPlace{TapeFile: 99, Record: record, Records: 3}, [2]int64{record + 4, record + 4}, time.Now()))
		must(b, l.SetStep(ctx, j.ID, ledger.Verifying))
		for _, barcode := range barcodes {
			v.Barcode = barcode
			_, err := l.RecordVerification(ctx, v)
			must(b, err)
		}
		must(b, l.FinishJob(ctx, j.ID, ledger.Done, ""))
	}
	var add []ledger.NewItem
	for i := range scaleQueued {
		add = append(add, ledger.NewItem{Host: "pot1", Path: fmt.Sprintf("/new/zen.%07d.uv", i)})
	}
	_, err := l.Enqueue(ctx, add, false)
	must(b, err)
}

// scaleJob begins a job with a new pair.
func scaleJob(b *testing.B, l *ledger.Ledger, barcodes [2]string) (ledger.Job, ledger.Session) {
	ctx := b.Context()
	for _, barcode := range barcodes {
		_, err := l.AddTape(ctx, ledger.Tape{Barcode: barcode, Capacity: 1.5e12})
		must(b, err)
	}
	j, err := l.BeginJob(ctx, ledger.Owner{}, 1)
	must(b, err)
	must(b, l.ClaimPair(ctx, j.ID, barcodes))
	id := fmt.Sprintf("%036s", barcodes[0])
	s, err := l.StartSession(ctx, j.ID, ledger.StartSession{PairUUID: id, SessionUUID: id, RecordSize: 512 << 10, Number: 1, Record: 2})
	must(b, err)
	return j, s
}

// writeScale tells how many members a second are planned, and get their MD5s when they are flushed, in a ledger that is large already.
func writeScale(b *testing.B, l *ledger.Ledger) {
	ctx := b.Context()
	tapes, err := l.Tapes(ctx)
	must(b, err)
	j, s := scaleJob(b, l, [2]string{fmt.Sprintf("MORE1%03d", len(tapes)), fmt.Sprintf("MORE2%03d", len(tapes))})
	var planning, flushing time.Duration
	members := 0
	for record := int64(2); b.Loop(); {
		members += archiveItems * itemMembers
		a := scaleArchive(b, l, j, s, members, record, len(tapes)*1e6+members, archiveItems)
		began := time.Now()
		archive, err := l.PlanArchive(ctx, j.ID, s.ID, a, archiveItems*itemMembers, nil)
		must(b, err)
		planning += time.Since(began)
		readScale(a)
		record += archiveItems*itemMembers + 1
		began = time.Now()
		must(b, l.RecordFlush(ctx, ledger.Flush{Session: s.ID, Positions: [2]int64{record, record}, Archives: []ledger.FlushedArchive{{ID: archive, Result: a}}}))
		flushing += time.Since(began)
	}
	must(b, l.FinishJob(ctx, j.ID, ledger.Stopped, ""))
	b.ReportMetric(float64(members)/planning.Seconds(), "planned/s")
	b.ReportMetric(float64(members)/flushing.Seconds(), "flushed/s")
}

// readScale gives an archive's members what reading them tells.
func readScale(a *catalog.Archive) {
	for _, it := range a.Items {
		for m := range it.Entries[1:] {
			it.Entries[1+m].MD5 = digest.MD5([]byte(it.Entries[1+m].Path))
		}
	}
}

// scaleArchive queues the next items and makes an archive of them.
func scaleArchive(b *testing.B, l *ledger.Ledger, j ledger.Job, s ledger.Session, number int, record int64, first, count int) *catalog.Archive {
	var add []ledger.NewItem
	for n := range count {
		add = append(add, ledger.NewItem{Host: "pot1", Path: scalePath(first + n), Bytes: 1e6, Members: itemMembers})
	}
	out, err := l.Enqueue(b.Context(), add, false)
	must(b, err)
	a := &catalog.Archive{Pair: s.Pair, Session: s.UUID, Job: j.UUID, Number: number, TapeFile: number, Record: record, RecordSize: 512 << 10}
	mtime := time.Unix(1.4e9, 0)
	for _, e := range out {
		it := catalog.Item{ID: e.ID, Host: e.Host, Path: e.Path}
		entry := catalog.Entry{Host: e.Host, Path: e.Path, Type: catalog.Dir, Mode: 0o755, MTime: mtime, CTime: mtime, User: "obs", Group: "obs"}
		for m := range itemMembers {
			entry.Place = catalog.Place{Archive: number, Record: record, Header: 512}
			it.Entries = append(it.Entries, entry)
			record++
			entry.Type, entry.Size = catalog.File, 20e3
			entry.Path = fmt.Sprintf("%s/visdata%04d", e.Path, m)
		}
		a.Items = append(a.Items, it)
	}
	return a
}
