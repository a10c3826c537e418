package archiver_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"twintape/archiver"
	"twintape/internal/audit"
	"twintape/internal/ledger"
	"twintape/internal/ledger/mariadbtest"
	"twintape/internal/mycnf"
	"twintape/internal/tape"
)

func TestMain(m *testing.M) { os.Exit(mariadbtest.Run(m)) }

// shared brings a site's ledger into a MariaDB, behind a proxy; the other one that it returns goes straight there.
func (s *site) shared(lease, patience time.Duration) (p *mariadbtest.Proxy, straight *ledger.Ledger, server string) {
	s.t.Helper()
	m := mariadbtest.Shared(s.t)
	c, err := mycnf.Read(m.Credentials(s.t))
	must(s.t, err)
	tapes, err := s.a.Ledger.Tapes(s.t.Context())
	must(s.t, err)
	straight, err = ledger.CreateMySQL(s.t.Context(), c, ledger.Options{})
	must(s.t, err)
	s.t.Cleanup(func() { straight.Close() })
	for _, t := range tapes {
		_, err := straight.AddTape(s.t.Context(), ledger.Tape{Barcode: t.Barcode, Capacity: t.Capacity})
		must(s.t, err)
	}
	p = m.Proxy(s.t)
	server = "root@unix(" + m.Socket() + ")/" + c.Database
	c.Socket = p.Socket
	s.a.Ledger, err = ledger.OpenMySQL(s.t.Context(), c, ledger.Options{Lease: lease, Patience: patience})
	must(s.t, err)
	behind := s.a.Ledger
	s.t.Cleanup(func() { behind.Close() })
	return p, straight, server
}

// watched is a library that counts what is written on its tapes, and calls then behind the nth of it.
type watched struct {
	tape.Library
	writes atomic.Int64
	at     int64
	then   func()
}

func (w *watched) OpenDrive(ctx context.Context, n int) (tape.Drive, error) {
	d, err := w.Library.OpenDrive(ctx, n)
	return &watchedDrive{Drive: d, w: w}, err
}

type watchedDrive struct {
	tape.Drive
	w *watched
}

func (d *watchedDrive) wrote(err error) error {
	if d.w.writes.Add(1) == d.w.at {
		d.w.then()
	}
	return err
}

func (d *watchedDrive) WriteRecord(ctx context.Context, p []byte) error {
	return d.wrote(d.Drive.WriteRecord(ctx, p))
}
func (d *watchedDrive) WriteFilemark(ctx context.Context) error {
	return d.wrote(d.Drive.WriteFilemark(ctx))
}
func (d *watchedDrive) Flush(ctx context.Context) error { return d.wrote(d.Drive.Flush(ctx)) }

// TestLapsed cuts a job off from the database behind each of what it writes, for longer than its lease; another machine takes it over,
// then the way is free again. On its tapes it writes nothing more than what was under way on the other drive, and nothing in the ledger.
func TestLapsed(t *testing.T) {
	const lease = time.Second
	total := int64(1 << 40)
	for at := int64(1); at <= total; at += 1 + total/9 {
		s := newSite(t, 64<<20)
		s.observations(4, 700<<10)
		p, straight, server := s.shared(lease, time.Minute)
		s.queue("pot1:/**/*.uv")
		w := &watched{Library: s.lib, at: at}
		var before int64
		w.then = func() {
			p.Cut(true)
			ctx := context.Background()
			jobs, err := straight.LiveJobs(ctx)
			if err != nil || len(jobs) != 1 {
				t.Errorf("live jobs %v, %v", jobs, err)
				return
			}
			j := jobs[0]
			for !j.LeaseOver && err == nil {
				time.Sleep(10 * time.Millisecond)
				j, err = straight.Job(ctx, j.ID)
			}
			if err == nil && j.Session != "" {
				_, err = straight.Reopen(ctx, j, ledger.Owner{Machine: "other", Boot: "other", PID: 1})
			} else if err == nil {
				err = straight.FinishDead(ctx, j, ledger.Owner{Machine: "other", Boot: "other", PID: 1}, "x")
			}
			if err != nil {
				t.Error(err)
			}
			before = w.writes.Load()
			p.Cut(false)
		}
		s.a.Library = w
		_, err := s.run()
		if total == 1<<40 { // the first time tells how much there is
			total = 140
		}
		if at > w.writes.Load() && err == nil {
			break
		}
		if !errors.Is(err, ledger.ErrFenced) {
			t.Errorf("taken over behind write %d it ended with %v", at, err)
		}
		if more := w.writes.Load() - before; more > 1 {
			t.Errorf("taken over behind write %d it wrote %d times more", at, more)
		}
		s.drivesEmpty()
		for _, fault := range (audit.Site{MySQL: server, Sources: map[string]string{"pot1": s.data}, Tapes: filepath.Join(s.dir, "tapes")}).Check() {
			t.Error(fault)
		}
	}
}

// TestLedgerAway: the database goes away for longer than a job's patience. The job ends, with its tapes in their slots, and goes on
// when it is back.
func TestLedgerAway(t *testing.T) {
	for _, at := range []int64{1, 20, 90} {
		s := newSite(t, 64<<20)
		s.observations(4, 700<<10)
		p, straight, server := s.shared(time.Hour, 500*time.Millisecond)
		s.queue("pot1:/**/*.uv")
		s.a.Library = &watched{Library: s.lib, at: at, then: func() { p.Cut(true) }}
		began := time.Now()
		if _, err := s.run(); err == nil {
			t.Fatalf("it came to its end without a ledger")
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("it ended after %v", took)
		}
		s.drivesEmpty()
		p.Cut(false)
		must(t, s.a.Ledger.Close())
		jobs, err := straight.LiveJobs(t.Context())
		if err != nil || len(jobs) != 1 {
			t.Fatalf("live jobs %v, %v", jobs, err)
		}
		s.a.Ledger = straight
		owner, err := archiver.ThisProcess()
		must(t, err)
		if _, err := s.a.Resume(t.Context(), jobs[0], owner, nil, false); err != nil {
			t.Fatalf("cut off behind write %d, resumed: %v", at, err)
		}
		if n := s.states()[ledger.Deletable] + s.states()[ledger.Archived]; n != 4 {
			t.Errorf("%d items are archived", n)
		}
		for _, fault := range (audit.Site{MySQL: server, Sources: map[string]string{"pot1": s.data}, Tapes: filepath.Join(s.dir, "tapes"), Ended: true}).Check() {
			t.Error(fault)
		}
	}
}
