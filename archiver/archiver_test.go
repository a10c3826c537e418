package archiver_test

import (
	"context"
	"crypto/md5"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"twintape/archiver"
	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/internal/tape/virtual"
	"twintape/sources"
	"twintape/sources/local"
)

// site is a small observatory: one local host, a virtual library, a ledger.
type site struct {
	t    testing.TB
	dir  string
	data string // the host's /
	a    *archiver.Archiver
	lib  *virtual.Library
}

func newSite(t testing.TB, capacity int64) *site {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "data"), 0o755))
	tapes := filepath.Join(dir, "tapes")
	must(t, virtual.Create(tapes, virtual.Options{Drives: 2, Slots: 10, ImportExport: 1}))
	lib, err := virtual.Open(tapes)
	must(t, err)
	led, err := ledger.Create(t.Context(), filepath.Join(dir, "ledger.db"))
	must(t, err)
	for side := 1; side <= 2; side++ {
		for n := 1; n <= 3; n++ {
			barcode := fmt.Sprintf("PAPR%d%03d", side, n)
			must(t, lib.AddCartridge(barcode, capacity))
			_, err := led.AddTape(t.Context(), ledger.Tape{Barcode: barcode, Capacity: capacity})
			must(t, err)
		}
	}
	must(t, led.Close())
	must(t, lib.Close())
	return openSite(t, dir)
}

// openSite opens a site that newSite made, in this process or another.
func openSite(t testing.TB, dir string) *site {
	t.Helper()
	s := &site{t: t, dir: dir, data: filepath.Join(dir, "data")}
	var err error
	s.lib, err = virtual.Open(filepath.Join(dir, "tapes"))
	must(t, err)
	t.Cleanup(func() { s.lib.Close() })
	led, err := ledger.Open(t.Context(), filepath.Join(dir, "ledger.db"), ledger.Options{})
	must(t, err)
	t.Cleanup(func() { led.Close() })
	src, err := local.New("pot1", s.data)
	must(t, err)
	ns, err := sources.NewNamespace([]sources.Host{{Name: "pot1", Aliases: []string{"p"}, Source: src}})
	must(t, err)
	s.a = &archiver.Archiver{
		Settings: archiver.Settings{
			ArchiveSize: 1 << 20, RecordSize: 64 << 10, FlushBytes: 4 << 20, Memory: 16 << 20,
			Sides: [2]string{"PAPR1*", "PAPR2*"}, Sample: 0.25, Scratch: dir,
		},
		Namespace: ns, Library: s.lib, Ledger: led, Events: event.Discard,
	}
	return s
}

// close gives up the library and the ledger, so that another process can have them.
func (s *site) close() {
	s.t.Helper()
	must(s.t, s.a.Ledger.Close())
	must(s.t, s.lib.Close())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// file writes a file of the host.
func (s *site) file(name string, data []byte) {
	s.t.Helper()
	p := filepath.Join(s.data, name)
	must(s.t, os.MkdirAll(filepath.Dir(p), 0o755))
	must(s.t, os.WriteFile(p, data, 0o644))
}

func (s *site) queue(patterns ...string) *archiver.Queued {
	s.t.Helper()
	q, err := s.a.QueueAdd(s.t.Context(), patterns, nil, archiver.QueueOptions{})
	must(s.t, err)
	return q
}

func (s *site) run() (*archiver.Report, error) {
	s.t.Helper()
	owner, err := archiver.ThisProcess()
	must(s.t, err)
	return s.a.Run(s.t.Context(), owner, nil)
}

// states counts the items by state.
func (s *site) states() map[ledger.ItemState]int {
	s.t.Helper()
	out := make(map[ledger.ItemState]int)
	for it, err := range s.a.Ledger.Items(context.Background(), ledger.Filter{}) {
		must(s.t, err)
		out[it.State]++
	}
	return out
}

var queueOptions = archiver.QueueOptions{}

// queueing queues all observations anew and returns the outcomes.
func (s *site) queueing(again bool) (out []ledger.Outcome) {
	s.t.Helper()
	q, err := s.a.QueueAdd(s.t.Context(), []string{"pot1:/obs/zen.*.uv"}, nil, archiver.QueueOptions{Again: again})
	must(s.t, err)
	for _, it := range q.Items {
		out = append(out, it.Outcome)
	}
	return out
}

func (s *site) expectations(list string) []archiver.Expectation {
	s.t.Helper()
	out, err := archiver.ReadExpectations(strings.NewReader(list))
	must(s.t, err)
	return out
}

func md5Of(p []byte) string { return fmt.Sprintf("%x", md5.Sum(p)) }

// recorder keeps events.
type recorder struct {
	mu  sync.Mutex
	all []event.Event
}

func (r *recorder) Emit(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, e)
}

func (r *recorder) leftOut() (out []string) {
	for _, e := range r.all {
		if e, ok := e.(event.LeftOut); ok {
			out = append(out, filepath.Base(e.Path)+":"+e.Type)
		}
	}
	return out
}

func pattern(seed, n int) []byte {
	out := make([]byte, n)
	x := uint64(seed)*0x9E3779B97F4A7C15 | 1
	for i := range out {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		out[i] = byte(x)
	}
	return out
}

func (s *site) observations(n, size int) {
	for i := range n {
		s.file(fmt.Sprintf("obs/zen.%04d.uv/visdata", i), pattern(i, size))
		s.file(fmt.Sprintf("obs/zen.%04d.uv/header", i), pattern(i+1000, 300))
		s.file(fmt.Sprintf("obs/zen.%04d.uv/flags", i), nil)
	}
}

func TestMainJob(t *testing.T) {
	s := newSite(t, 64<<20)
	s.observations(40, 200_000)
	q := s.queue("pot1:/obs/zen.*.uv")
	if len(q.Items) != 40 || len(q.Problems) != 0 {
		t.Fatalf("queued %d items, problems %v", len(q.Items), q.Problems)
	}
	r, err := s.run()
	must(t, err)
	if r.Archived != 40 || !r.Good() || len(r.Failed) != 0 || r.Job.Step != ledger.Done {
		t.Errorf("the report is %+v", r)
	}
	if got := s.states(); got[ledger.Archived]+got[ledger.Deletable] != 40 {
		t.Errorf("the states are %v", got)
	}
	for _, v := range r.Tapes {
		if v.ItemsRead < 10 || v.ItemsRead > v.ItemsTotal || v.BytesRead == 0 {
			t.Errorf("%s: %d of %d items read", v.Barcode, v.ItemsRead, v.ItemsTotal)
		}
	}
	if _, err := s.run(); err != archiver.ErrNothingQueued {
		t.Errorf("a second run says %v", err)
	}
	s.a.Sample = 1
	reports, err := s.a.VerifyTapes(t.Context(), []string{"PAPR1001", "PAPR2001"})
	must(t, err)
	for _, v := range reports {
		if v.ItemsRead != 40 || v.BytesRead != v.BytesTotal {
			t.Errorf("%s: %d items, %d of %d bytes read in full", v.Barcode, v.ItemsRead, v.BytesRead, v.BytesTotal)
		}
	}
	if got := s.states(); got[ledger.Deletable] != 40 {
		t.Errorf("after a full read the states are %v", got)
	}
}
