package ledger

import (
	"fmt"
	"testing"

	"twintape/internal/catalog"
	"twintape/internal/digest"
	"twintape/internal/ledger/mariadbtest"
	"twintape/internal/mycnf"
)

// benchRun is a job with a session.
func benchRun(b *testing.B, l *Ledger) (Job, Session) {
	b.Helper()
	ctx := b.Context()
	for _, barcode := range []string{"A", "B"} {
		if _, err := l.AddTape(ctx, Tape{Barcode: barcode}); err != nil {
			b.Fatal(err)
		}
	}
	job, err := l.BeginJob(ctx, Owner{}, 1)
	if err != nil {
		b.Fatal(err)
	}
	if err := l.ClaimPair(ctx, job.ID, [2]string{"A", "B"}); err != nil {
		b.Fatal(err)
	}
	s, err := l.StartSession(ctx, job.ID, StartSession{PairUUID: "p", SessionUUID: "s", RecordSize: 512, Number: 1})
	if err != nil {
		b.Fatal(err)
	}
	return job, s
}

// BenchmarkMembers plans, loads and flushes an archive of one item with 100,000 members.
func BenchmarkMembers(b *testing.B) {
	b.Run("SQLite", func(b *testing.B) { benchmarkMembers(b, openTest(b)) })
	b.Run("MariaDB", func(b *testing.B) {
		c, err := mycnf.Read(mariadbtest.Private(b, "--innodb-buffer-pool-size=1G").Credentials(b))
		if err != nil {
			b.Fatal(err)
		}
		l, err := CreateMySQL(b.Context(), c, Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		benchmarkMembers(b, l)
	})
}

func benchmarkMembers(b *testing.B, l *Ledger) {
	const members = 100_000
	ctx := b.Context()
	job, s := benchRun(b, l)
	out, err := l.Enqueue(ctx, []NewItem{{Host: "h", Path: "/i"}}, false)
	if err != nil {
		b.Fatal(err)
	}
	a := testArchive(job, s, 1, Item{ID: out[0].ID, Host: "h", Path: "/i"})
	file := a.Items[0].Entries[0]
	a.Items[0].Entries[0].Type = catalog.Dir
	for i := range members {
		e := file
		e.Path = fmt.Sprintf("/i/visdata%06d", i)
		e.MD5 = catalog.MD5{} // until it was read
		a.Items[0].Entries = append(a.Items[0].Entries, e)
	}
	rate := func(b *testing.B) { b.ReportMetric(members*float64(b.N)/b.Elapsed().Seconds(), "rows/s") }
	drop := func(b *testing.B) {
		if err := l.DropUnflushed(ctx, s.ID); err != nil {
			b.Fatal(err)
		}
	}
	plan := func(b *testing.B) int64 {
		id, err := l.PlanArchive(ctx, job.ID, s.ID, a, 1, nil)
		if err != nil {
			b.Fatal(err)
		}
		return id
	}
	b.Run("plan", func(b *testing.B) {
		for b.Loop() {
			plan(b)
			b.StopTimer()
			drop(b)
			b.StartTimer()
		}
		rate(b)
	})
	id := plan(b)
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			if _, err := l.LoadArchive(ctx, id); err != nil {
				b.Fatal(err)
			}
		}
		rate(b)
	})
	b.Run("flush", func(b *testing.B) {
		number := 1
		read := func() {
			for i := range a.Items[0].Entries[1:] {
				e := &a.Items[0].Entries[1+i]
				e.MD5 = digest.MD5([]byte(e.Path))
			}
		}
		read()
		for b.Loop() {
			if err := l.RecordFlush(ctx, Flush{Session: s.ID, Positions: [2]int64{1 << 40, 1 << 40}, Archives: []FlushedArchive{{ID: id, Result: a}}}); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			number++
			out, err := l.Enqueue(ctx, []NewItem{{Host: "h", Path: fmt.Sprintf("/i%d", number)}}, false)
			if err != nil {
				b.Fatal(err)
			}
			next := *a
			next.Number = number
			it := catalog.Item{ID: out[0].ID, Host: "h", Path: out[0].Path}
			for _, e := range a.Items[0].Entries {
				e.Path, e.MD5 = out[0].Path+e.Path[len(a.Items[0].Path):], catalog.MD5{}
				it.Entries = append(it.Entries, e)
			}
			next.Items = []catalog.Item{it}
			a = &next
			id = plan(b)
			read()
			b.StartTimer()
		}
		rate(b)
	})
}

// BenchmarkEnqueue queues 100,000 items at once.
func BenchmarkEnqueue(b *testing.B) {
	const items = 100_000
	l := openTest(b)
	night := 0
	for b.Loop() {
		b.StopTimer()
		night++
		var add []NewItem
		for i := range items {
			add = append(add, NewItem{Host: "h", Path: fmt.Sprintf("/data/%d/zen.%06d.uv", night, i)})
		}
		b.StartTimer()
		if _, err := l.Enqueue(b.Context(), add, false); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(items*float64(b.N)/b.Elapsed().Seconds(), "items/s")
}

// BenchmarkCommit makes the smallest durable change.
func BenchmarkCommit(b *testing.B) {
	l := openTest(b)
	job, err := l.BeginJob(b.Context(), Owner{}, 1)
	if err != nil {
		b.Fatal(err)
	}
	steps := []Step{Writing, Closing}
	for n := 0; b.Loop(); n++ {
		if err := l.SetStep(b.Context(), job.ID, steps[n%2]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}
