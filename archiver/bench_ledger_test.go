package archiver_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"twintape/internal/catalog"
	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/internal/ledger/mariadbtest"
	"twintape/internal/mycnf"
	"twintape/internal/tape"
)

// BenchmarkWriteWhilePlanning writes to drives of LTO-5's speed while somebody else plans archives of small members into the same
// ledger without a pause, and without that, in turn. A ratio of 1 says that drives do not wait for the ledger.
func BenchmarkWriteWhilePlanning(b *testing.B) {
	b.Run("SQLite", func(b *testing.B) {
		n := newBench(b)
		n.whilePlanning(func(round int) func() *ledger.Ledger {
			path := filepath.Join(n.dir, fmt.Sprint("ledger", round))
			l, err := ledger.Create(b.Context(), path)
			must(b, err)
			must(b, l.Close())
			return func() *ledger.Ledger {
				l, err := ledger.Open(b.Context(), path, ledger.Options{})
				must(b, err)
				return l
			}
		})
	})
	b.Run("MariaDB", func(b *testing.B) {
		server := mariadbtest.Private(b, "--innodb-buffer-pool-size=1G")
		newBench(b).whilePlanning(func(int) func() *ledger.Ledger {
			c, err := mycnf.Read(server.Credentials(b))
			must(b, err)
			l, err := ledger.CreateMySQL(b.Context(), c, ledger.Options{})
			must(b, err)
			must(b, l.Close())
			return func() *ledger.Ledger {
				l, err := ledger.OpenMySQL(b.Context(), c, ledger.Options{})
				must(b, err)
				return l
			}
		})
	})
}

func (b *bench) whilePlanning(create func(round int) (open func() *ledger.Ledger)) {
	b.Helper()
	var rows atomic.Int64
	var spent time.Duration
	run := func(round int, plan bool) time.Duration {
		name := fmt.Sprint("site", round, plan)
		defer os.RemoveAll(filepath.Join(b.dir, name))
		number := 2 * round
		if plan {
			number++
		}
		open := create(number)
		a := b.site(name, allocated, open)
		a.Library = atSpeed{a.Library, 140e6}
		a.FlushBytes = 256 << 20 // drives wait for the ledger more often than in life
		if !plan {
			return b.write(a)
		}
		ctx, cancel := context.WithCancel(b.Context())
		begin, planned := make(started), make(chan struct{})
		a.Events = begin // the job takes all that is queued before
		go func() {
			defer close(planned)
			select {
			case <-begin:
			case <-ctx.Done():
				return
			}
			l := open()
			defer l.Close()
			planOn(ctx, b, l, &rows)
		}()
		took := b.write(a)
		spent += took
		cancel()
		<-planned
		return took
	}
	b.compare(total, "alone", func(round int) time.Duration { return run(round, true) }, func(round int) time.Duration { return run(round, false) })
	b.ReportMetric(float64(rows.Load())/spent.Seconds(), "rows/s")
}

// started is closed when a job has planned and begins to write.
type started chan struct{}

func (s started) Emit(e event.Event) {
	if _, ok := e.(event.Planned); ok {
		close(s)
	}
}

// planOn plans archives of a hundred items of fifty members for a job of its own, until the context ends.
func planOn(ctx context.Context, b *bench, l *ledger.Ledger, rows *atomic.Int64) {
	fails := func(err error) bool {
		if err != nil && ctx.Err() == nil {
			b.Error(err)
		}
		return err != nil
	}
	barcodes := [2]string{"OTHER1", "OTHER2"}
	for _, barcode := range barcodes {
		if _, err := l.AddTape(ctx, ledger.Tape{Barcode: barcode}); fails(err) {
			return
		}
	}
	j, err := l.BeginJob(ctx, ledger.Owner{}, 1)
	if fails(err) || fails(l.ClaimPair(ctx, j.ID, barcodes)) {
		return
	}
	s, err := l.StartSession(ctx, j.ID, ledger.StartSession{PairUUID: "other", SessionUUID: "other", RecordSize: 512 << 10, Number: 1, Record: 2})
	if fails(err) {
		return
	}
	for number := 1; ; number++ {
		var add []ledger.NewItem
		for i := range 100 {
			add = append(add, ledger.NewItem{Host: "pot2", Path: fmt.Sprintf("/%d/%d", number, i)})
		}
		items, err := l.Enqueue(ctx, add, false)
		if fails(err) {
			return
		}
		a := &catalog.Archive{Pair: s.Pair, Session: s.UUID, Job: j.UUID, Number: number, TapeFile: number, Record: int64(number), RecordSize: 512 << 10}
		for _, e := range items {
			it := catalog.Item{ID: e.ID, Host: e.Host, Path: e.Path, Entries: []catalog.Entry{{Host: e.Host, Path: e.Path, Type: catalog.Dir}}}
			for m := range 49 {
				it.Entries = append(it.Entries, catalog.Entry{Host: e.Host, Path: fmt.Sprintf("%s/visdata%d", e.Path, m), Type: catalog.File, Size: 1})
			}
			a.Items = append(a.Items, it)
		}
		if _, err := l.PlanArchive(ctx, j.ID, s.ID, a, 1, nil); fails(err) {
			return
		}
		rows.Add(5000)
	}
}

// atSpeed is a library whose drives take no more bytes a second. What comes late is not made up for: the tape has moved on.
type atSpeed struct {
	tape.Library
	bytesPerSecond float64
}

func (l atSpeed) OpenDrive(ctx context.Context, number int) (tape.Drive, error) {
	d, err := l.Library.OpenDrive(ctx, number)
	return &driveAtSpeed{Drive: d, bytesPerSecond: l.bytesPerSecond}, err
}

type driveAtSpeed struct {
	tape.Drive
	bytesPerSecond float64
	due            time.Time
}

func (d *driveAtSpeed) WriteRecord(ctx context.Context, record []byte) error {
	if now := time.Now(); d.due.Before(now) {
		d.due = now
	}
	d.due = d.due.Add(time.Duration(float64(len(record)) / d.bytesPerSecond * float64(time.Second)))
	if wait := time.Until(d.due); wait > 20*time.Millisecond { // what a drive's buffer takes at once
		time.Sleep(wait)
	}
	return d.Drive.WriteRecord(ctx, record)
}
