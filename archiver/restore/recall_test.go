package restore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"twintape/archiver/archivertest"
	"twintape/archiver/restore"
	"twintape/internal/ledger"
	"twintape/internal/stage"
	"twintape/internal/tape"
	"twintape/internal/tape/virtual"
)

// recallSite is a site whose library is free, and a Recaller that takes it when it needs to.
type recallSite struct {
	*archivertest.Site
	stage *stage.Stage
	r     *restore.Recaller
	gone  []string // barcodes of cartridges that were taken out
	gate  func(ctx context.Context, barcode string) error

	mu     sync.Mutex
	loads  []string // barcodes
	blocks []int64  // that were read
	told   []string
}

// recalling makes a site of the nights of other tests.
func recalling(t *testing.T, size int64, change func(*restore.RecallConfig)) *recallSite {
	t.Helper()
	s := &recallSite{Site: nights(t)}
	must(t, s.A.Library.Close())
	s.start(size, change)
	return s
}

// start begins to recall.
func (s *recallSite) start(size int64, change func(*restore.RecallConfig)) {
	s.T.Helper()
	var err error
	s.stage, err = stage.Open(filepath.Join(s.Dir, "stage"), size)
	must(s.T, err)
	s.T.Cleanup(func() { s.stage.Close() })
	tell := func(text string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.told = append(s.told, text)
	}
	cfg := restore.RecallConfig{
		Ledger: s.A.Ledger, Stage: s.stage, Library: s.library, Timeout: time.Minute, Idle: 10 * time.Millisecond, Info: tell, Problem: tell,
	}
	if change != nil {
		change(&cfg)
	}
	s.r = restore.NewRecaller(cfg)
	s.T.Cleanup(func() { s.r.Close() })
}

func (s *recallSite) library(context.Context) (tape.Library, error) {
	lib, err := virtual.Open(s.Tapes)
	if err != nil {
		return nil, err
	}
	return watched{without{lib, s.gone}, s}, nil
}

// watched is a library that tells the site what is done.
type watched struct {
	without
	s *recallSite
}

func (w watched) OpenDrive(ctx context.Context, number int) (tape.Drive, error) {
	d, err := w.without.OpenDrive(ctx, number)
	return &watchedDrive{Drive: d, w: w, number: number}, err
}

type watchedDrive struct {
	tape.Drive
	w       watched
	number  int
	barcode string
	block   int64
}

func (d *watchedDrive) Load(ctx context.Context) (tape.Medium, error) {
	elements, err := d.w.Library.Changer().Inventory(ctx)
	must(d.w.s.T, err)
	for _, e := range elements {
		if e.Kind == tape.Transfer && e.Number == d.number {
			d.barcode = e.Barcode
		}
	}
	d.w.s.mu.Lock()
	d.w.s.loads = append(d.w.s.loads, d.barcode)
	d.w.s.mu.Unlock()
	return d.Drive.Load(ctx)
}

func (d *watchedDrive) Locate(ctx context.Context, block int64) error {
	d.block = block
	return d.Drive.Locate(ctx, block)
}

func (d *watchedDrive) ReadRecord(ctx context.Context, p []byte) (int, error) {
	if gate := d.w.s.gate; gate != nil && d.block > 0 {
		if err := gate(ctx, d.barcode); err != nil {
			return 0, err
		}
	}
	d.w.s.mu.Lock()
	d.w.s.blocks = append(d.w.s.blocks, d.block)
	d.w.s.mu.Unlock()
	d.block++
	return d.Drive.ReadRecord(ctx, p)
}

// open recalls a file; the tape may be empty.
func (s *recallSite) open(ctx context.Context, barcode, name string) (*os.File, error) {
	m, err := s.A.Ledger.Browse(ctx, barcode, "pot1", "/"+name)
	if err != nil {
		return nil, err
	}
	return s.r.Recall(ctx, m, barcode)
}

// same recalls a file and expects that it is what was archived.
func (s *recallSite) same(barcode, name string) {
	s.T.Helper()
	f, err := s.open(s.T.Context(), barcode, name)
	if err != nil {
		s.T.Errorf("%s: %v", name, err)
		return
	}
	defer f.Close()
	s.reads(f, name)
}

func (s *recallSite) reads(f *os.File, name string) {
	s.T.Helper()
	want, err := os.ReadFile(filepath.Join(s.Data, name))
	if err != nil {
		s.T.Error(err)
	}
	if got, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30)); err != nil || string(got) != string(want) {
		s.T.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(want))
	}
}

func (s *recallSite) loaded(want ...string) {
	s.T.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.loads, want) {
		s.T.Errorf("loaded were %q, want %q", s.loads, want)
	}
	s.loads = nil
}

func (s *recallSite) says(word string) {
	s.T.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.Contains(strings.Join(s.told, "\n"), word) {
		s.T.Errorf("%q does not say %q", s.told, word)
	}
}

// until waits for a condition.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("never: %s", what)
		}
	}
}

// waits waits until so many readers wait for so many files.
func (s *recallSite) waits(files, readers int) {
	s.T.Helper()
	until(s.T.(*testing.T), fmt.Sprintf("%d readers of %d files", readers, files), func() bool {
		f, r := s.r.Waiting()
		return f == files && r == readers
	})
}

// free waits until the library is free, and expects all cartridges in their slots.
func (s *recallSite) free() {
	s.T.Helper()
	var lib *virtual.Library
	until(s.T.(*testing.T), "the library is free", func() bool {
		var err error
		lib, err = virtual.Open(s.Tapes)
		return err == nil
	})
	defer lib.Close()
	elements, err := lib.Inventory(s.T.Context())
	must(s.T, err)
	for _, e := range elements {
		if e.Kind == tape.Transfer && e.Full {
			s.T.Errorf("%s was left in drive %d", e.Barcode, e.Number)
		}
	}
}

func (s *recallSite) fails(errno syscall.Errno, words, barcode, name string) {
	s.T.Helper()
	f, err := s.open(s.T.Context(), barcode, name)
	if err == nil {
		f.Close()
	}
	var told *restore.RecallError
	if !errors.As(err, &told) || told.Errno != errno || !strings.Contains(err.Error(), words) {
		s.T.Errorf("%s: %v, want %s, %v", name, err, words, errno)
	}
}

func TestRecall(t *testing.T) {
	s := recalling(t, 1<<30, func(cfg *restore.RecallConfig) { cfg.Idle = time.Minute })
	names := []string{"n1/zen.1/a", "n1/zen.1/d\xff\xfe", "n1/zen.1/e\nf", "n1/zen.1/empty file", "n1/zen.1/sub/hard", "n1/zen.1/read-only/f", "n2/zen.03/visdata"}
	for _, name := range names {
		s.same("", name)
	}
	s.loaded("PAPR1001")
	s.says("tape PAPR1001 is loaded in drive 0 for pot1:/n1/zen.1/a")
	// Another pair's tape: the one that is idle makes room.
	s.same("PAPR2002", "n3/single")
	s.loaded("PAPR2002")
	s.same("PAPR1002", "n3/single")
	s.same("PAPR2001", "n2/zen.03/visdata")
	s.loaded()
	must(t, s.r.Close())
	s.free()
	if _, err := s.open(t.Context(), "", "n2/zen.04/visdata"); err == nil || !strings.Contains(err.Error(), "not recalled any more") {
		t.Errorf("after the end: %v", err)
	}

	// What was read stays over a restart, and needs no library.
	must(t, s.stage.Close())
	s.start(1<<30, func(cfg *restore.RecallConfig) {
		cfg.Library = func(context.Context) (tape.Library, error) { return nil, errors.New("no library is needed") }
	})
	for _, name := range names {
		s.same("", name)
	}
	s.fails(syscall.EIO, "no library is needed", "", "n2/zen.04/visdata")
}

// While a job has the library, files wait; then all of one tape are read in one visit, in the order in which they lie there.
func TestBatch(t *testing.T) {
	s := recalling(t, 1<<30, nil)
	job, err := virtual.Open(s.Tapes)
	must(t, err)
	var all sync.WaitGroup
	for i := 9; i >= 0; i-- {
		all.Go(func() { s.same("PAPR1001", fmt.Sprintf("n2/zen.%02d/visdata", i)) })
		s.waits(10-i, 10-i)
	}
	for range 2 {
		all.Go(func() { s.same("PAPR2001", "n2/zen.05/visdata") })
	}
	s.waits(10, 12)
	must(t, job.Close())
	all.Wait()
	s.loaded("PAPR1001")
	if read := s.blocks[1:]; len(read) < 60 || !slices.IsSorted(read) { // behind the label
		t.Errorf("the order is %v", read)
	}
	s.says("held by process")
	s.says("for pot1:/n2/zen.09/visdata and 9 more")
	s.free()
}

// Who comes while a tape is read joins, also for the same file.
func TestJoin(t *testing.T) {
	s := recalling(t, 1<<30, nil)
	enter, pass := make(chan string), make(chan bool)
	s.gate = func(ctx context.Context, barcode string) error {
		select {
		case enter <- barcode:
		case <-pass:
			return nil
		}
		<-pass
		return nil
	}
	var all sync.WaitGroup
	all.Go(func() { s.same("PAPR1001", "n2/zen.05/visdata") })
	<-enter
	all.Go(func() { s.same("PAPR1001", "n2/zen.05/visdata") })
	all.Go(func() { s.same("PAPR1001", "n2/zen.06/visdata") })
	s.waits(2, 3)
	all.Go(func() { s.same("PAPR1002", "n2/zen.11/visdata") })
	s.waits(3, 4)
	all.Go(func() { s.same("PAPR2001", "n2/zen.01/visdata") }) // lies behind the drive: the other pair has its turn first
	s.waits(4, 5)
	close(pass)
	all.Wait()
	s.loaded("PAPR1001", "PAPR1002", "PAPR2001")
	s.free()
}

func TestRecallTwin(t *testing.T) {
	s := recalling(t, 1<<30, nil)
	one, two := content(t, s.Site, "n2/zen.01/visdata"), content(t, s.Site, "n2/zen.02/visdata")
	damage(t, s.Site, "PAPR1001", one[:64])
	damage(t, s.Site, "PAPR1001", two[1000:1064])
	damage(t, s.Site, "PAPR2001", two[2000:2064])
	s.same("PAPR1001", "n2/zen.01/visdata")
	s.loaded("PAPR1001", "PAPR2001")
	if tp, err := s.A.Ledger.Tape(t.Context(), "PAPR1001"); err != nil || tp.State != ledger.TapeSuspect {
		t.Errorf("PAPR1001 is %s, %v", tp.State, err)
	}
	s.fails(syscall.EIO, "tape PAPR2001: pot1:/n2/zen.02/visdata: its MD5 is not the one that was archived; tape PAPR1001: pot1:/n2/zen.02/visdata: its MD5", "", "n2/zen.02/visdata")
	s.says("pot1:/n2/zen.02 waits to be archived again")
	if entries, err := os.ReadDir(filepath.Join(s.Dir, "stage")); err != nil || len(entries) != 2 { // with the lock
		t.Errorf("staged are %v, %v", entries, err)
	}
}

// A cartridge that is another than its barcode says is not read, and what it says means nothing of ours; a tape that ends
// early keeps nobody from the twin.
func TestRecallForeign(t *testing.T) {
	s := recalling(t, 1<<30, nil)
	other, err := os.ReadFile(filepath.Join(s.Tapes, "PAPR1002.tap"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(s.Tapes, "PAPR1001.tap"), other, 0o644))
	s.same("PAPR1001", "n2/zen.01/visdata")
	s.says("the cartridge with barcode PAPR1001 is labelled PAPR1002")
	if tp, err := s.A.Ledger.Tape(t.Context(), "PAPR1001"); err != nil || tp.State != ledger.TapeWritten {
		t.Errorf("PAPR1001 is %s, %v", tp.State, err)
	}
	must(t, os.Truncate(filepath.Join(s.Tapes, "PAPR1001.tap"), 100))
	s.same("PAPR1001", "n2/zen.02/visdata")
}

func TestRecallAbsent(t *testing.T) {
	s := recalling(t, 1<<30, nil)
	s.gone = []string{"PAPR1001", "PAPR1002", "PAPR2002"}
	s.same("PAPR1001", "n2/zen.01/visdata") // from its twin
	s.loaded("PAPR2001")
	s.fails(syscall.ENOMEDIUM, "tape PAPR1002 is not in the library: bring it in; tape PAPR2002 is not", "", "n3/single")
	s.loaded()

	// It does not wait for what is being read, nor does that suffer.
	enter, pass := make(chan bool), make(chan bool)
	s.gate = func(context.Context, string) error {
		select {
		case enter <- true:
		case <-pass:
		}
		<-pass
		return nil
	}
	var all sync.WaitGroup
	all.Go(func() { s.same("", "n2/zen.05/visdata") })
	<-enter
	s.fails(syscall.ENOMEDIUM, "tape PAPR1002 is not in the library", "", "n3/single")
	close(pass)
	all.Wait()
}

func TestRecallTimeouts(t *testing.T) {
	s := recalling(t, 1<<30, func(cfg *restore.RecallConfig) { cfg.Timeout = 20 * time.Millisecond })
	job, err := virtual.Open(s.Tapes)
	must(t, err)
	s.fails(syscall.EBUSY, "for the tape library: the tape library is in use: ", "", "n3/single")
	s.waits(0, 0) // forgotten
	must(t, job.Close())
	s.gate = func(ctx context.Context, _ string) error { // it hangs
		<-ctx.Done()
		return ctx.Err()
	}
	until(t, "the drive has it", func() bool {
		if f, err := s.open(t.Context(), "", "n3/single"); err == nil {
			f.Close()
			t.Fatal("it came")
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.loads) > 0
	})
	s.fails(syscall.ETIMEDOUT, "it did not come from tape PAPR1002 or PAPR2002 within", "", "n3/single")
	must(t, s.r.Close())
	s.free()
}

// Who gives up gets his own reason, at once; others get the file; and what nobody waits for is not read.
func TestRecallCancel(t *testing.T) {
	s := recalling(t, 1<<30, nil)
	job, err := virtual.Open(s.Tapes)
	must(t, err)
	interrupted := errors.New("interrupted")
	ctx, interrupt := context.WithCancelCause(t.Context())
	got := make(chan error, 2)
	for _, name := range []string{"n2/zen.01/visdata", "n2/zen.02/visdata"} {
		go func() {
			_, err := s.open(ctx, "", name)
			got <- err
		}()
	}
	var all sync.WaitGroup
	all.Go(func() { s.same("", "n2/zen.02/visdata") })
	s.waits(2, 3)
	interrupt(interrupted)
	for range 2 {
		if err := <-got; !errors.Is(err, interrupted) {
			t.Errorf("who gave up got %v", err)
		}
	}
	s.waits(1, 1)
	must(t, job.Close())
	all.Wait()
	s.free()
	m, err := s.A.Ledger.Browse(t.Context(), "", "pot1", "/n2/zen.01/visdata")
	must(t, err)
	if s.stage.Has(stage.Key{MD5: m.MD5, Size: m.Size}) {
		t.Error("what nobody waited for was read")
	}

	// The same in the middle of a file.
	ctx, interrupt = context.WithCancelCause(t.Context())
	n := 0
	s.gate = func(context.Context, string) error {
		if n++; n == 2 {
			interrupt(interrupted)
			until(t, "nobody waits", func() bool { _, readers := s.r.Waiting(); return readers == 0 })
			time.Sleep(20 * time.Millisecond) // longer than who was interrupted may take to come back
		}
		return nil
	}
	if _, err := s.open(ctx, "", "n2/zen.03/visdata"); !errors.Is(err, interrupted) {
		t.Errorf("who gave up got %v", err)
	}
	s.waits(0, 0)
	s.free()
	if n != 2 {
		t.Errorf("%d records were read", n)
	}
	s.gate = nil
	s.same("", "n2/zen.03/visdata")
}

// Unmounting ends what is under way in order.
func TestRecallClosed(t *testing.T) {
	s := recalling(t, 1<<30, nil)
	enter := make(chan bool)
	s.gate = func(ctx context.Context, _ string) error {
		close(enter)
		<-ctx.Done()
		return ctx.Err()
	}
	got := make(chan error)
	for _, name := range []string{"n2/zen.01/visdata", "n2/zen.11/visdata"} {
		go func() {
			_, err := s.open(t.Context(), "", name)
			got <- err
		}()
	}
	<-enter
	s.waits(2, 2)
	must(t, s.r.Close())
	for range 2 {
		if err := <-got; err == nil || !strings.Contains(err.Error(), "not recalled any more") {
			t.Errorf("at the end: %v", err)
		}
	}
	s.free()
}

func TestRecallRoom(t *testing.T) {
	s := recalling(t, 500<<10, nil)
	f, err := s.open(t.Context(), "", "n2/zen.01/visdata")
	must(t, err)
	defer f.Close()
	s.same("", "n2/zen.02/visdata") // the other has to go
	s.reads(f, "n2/zen.01/visdata")
	s.free()
	s.loads = nil
	s.same("", "n2/zen.01/visdata")
	s.loaded("PAPR1001")
	must(t, s.r.Close())
	must(t, s.stage.Close())
	s.start(100<<10, nil)
	if _, err := s.open(t.Context(), "", "n2/zen.01/visdata"); !errors.Is(err, syscall.EFBIG) || !errors.Is(err, stage.ErrLarge) {
		t.Errorf("too large: %v", err)
	}
	s.same("", "n2/zen.01/header")
}

func TestResidency(t *testing.T) {
	s := recalling(t, 1<<30, nil)
	s.gone = []string{"PAPR1002", "PAPR2002"}
	is := func(name, want string, barcodes ...string) {
		t.Helper()
		m, err := s.A.Ledger.Browse(t.Context(), "", "pot1", "/"+name)
		must(t, err)
		if got := s.r.Residency(t.Context(), m, barcodes); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	job, err := virtual.Open(s.Tapes)
	must(t, err)
	is("n3/single", "", "PAPR1002", "PAPR2002") // nobody saw the library yet
	must(t, job.Close())
	s.same("", "n2/zen.01/header") // now it was seen
	s.free()
	job, err = virtual.Open(s.Tapes)
	must(t, err)
	defer job.Close()
	is("n2/zen.01/header", restore.Online, "PAPR1001", "PAPR2001")
	is("n2/zen.02/header", restore.Online, "PAPR1001", "PAPR2001") // the same content
	is("n2/zen.01/visdata", restore.OnTape, "PAPR1001", "PAPR2001")
	is("n3/single", restore.OnShelf, "PAPR1002", "PAPR2002")
}
