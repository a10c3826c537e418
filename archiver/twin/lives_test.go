package twin_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"twintape/archiver"
	"twintape/archiver/archivertest"
	"twintape/archiver/twin"
	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/internal/tape"
	"twintape/internal/tape/virtual"
)

const (
	killDir = "TWINTAPE_TEST_TWIN_DIR" // the site that a child works on
	killAt  = "TWINTAPE_TEST_TWIN_AT"  // the operation that kills it; 0 is none
)

// killer is a library that ends the process as kill -9 does, before or after one operation of a drive.
type killer struct {
	tape.Library
	at   int64
	seen *atomic.Int64
}

func (k killer) tick() {
	if k.seen.Add(1) == k.at {
		syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // nothing comes after it
		select {}
	}
}

func (k killer) OpenDrive(ctx context.Context, number int) (tape.Drive, error) {
	d, err := k.Library.OpenDrive(ctx, number)
	return killingDrive{d, k}, err
}

type killingDrive struct {
	tape.Drive
	k killer
}

func (d killingDrive) around(f func() error) error {
	d.k.tick()
	err := f()
	d.k.tick()
	return err
}

func (d killingDrive) WriteRecord(ctx context.Context, p []byte) error {
	return d.around(func() error { return d.Drive.WriteRecord(ctx, p) })
}

func (d killingDrive) WriteFilemark(ctx context.Context) error {
	return d.around(func() error { return d.Drive.WriteFilemark(ctx) })
}

func (d killingDrive) Flush(ctx context.Context) error {
	return d.around(func() error { return d.Drive.Flush(ctx) })
}

func (d killingDrive) Unload(ctx context.Context) error {
	return d.around(func() error { return d.Drive.Unload(ctx) })
}

func (d killingDrive) Locate(ctx context.Context, block int64) error {
	return d.around(func() error { return d.Drive.Locate(ctx, block) })
}

// reopen opens a site that another process made.
func reopen(t *testing.T, dir string) *archivertest.Site {
	t.Helper()
	s := &archivertest.Site{T: t, Dir: dir, Data: filepath.Join(dir, "data"), Tapes: filepath.Join(dir, "tapes")}
	lib, err := virtual.Open(s.Tapes)
	must(t, err)
	t.Cleanup(func() { lib.Close() })
	l, err := ledger.Open(t.Context(), filepath.Join(dir, "ledger.db"), ledger.Options{})
	must(t, err)
	t.Cleanup(func() { l.Close() })
	s.A = &archiver.Archiver{
		Settings: archiver.Settings{FlushBytes: 60 << 10, Memory: 1 << 20, Sides: [2]string{"PAPR1*", "PAPR2*"}, Scratch: dir},
		Library:  lib, Ledger: l, Events: event.Discard,
	}
	return s
}

// TestLivesChild is what the children of TestLives run. It prints how many operations there were.
func TestLivesChild(t *testing.T) {
	dir := os.Getenv(killDir)
	if dir == "" {
		return // not a child
	}
	s := reopen(t, dir)
	var seen atomic.Int64
	at, _ := strconv.ParseInt(os.Getenv(killAt), 10, 64)
	s.A.Library = killer{s.A.Library, at, &seen}
	copyOf(t, s, "PAPR1001", "PAPR2002")
	must(t, os.WriteFile(filepath.Join(dir, "operations"), []byte(strconv.FormatInt(seen.Load(), 10)), 0o644))
}

// child runs a copy in a process of its own, and tells whether it came to its end.
func child(t *testing.T, dir string, at int64) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLivesChild$")
	cmd.Env = append(os.Environ(), killDir+"="+dir, killAt+"="+strconv.FormatInt(at, 10), "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return false
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return true
}

// Wherever the making of a twin is killed, the pair is as it was, or whole with the new one; and making it again does so.
func TestLives(t *testing.T) {
	s := pair(t)
	damage(t, s, "PAPR1001", "2 of 0\n") // so that tapes change
	must(t, s.A.Ledger.Close())
	must(t, s.A.Library.Close())
	fresh := func() string {
		dir := t.TempDir()
		if out, err := exec.Command("cp", "-a", s.Dir+"/.", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return dir
	}
	dir := fresh()
	if !child(t, dir, 0) {
		t.Fatal("it was killed")
	}
	text, err := os.ReadFile(filepath.Join(dir, "operations"))
	must(t, err)
	all, err := strconv.ParseInt(string(text), 10, 64)
	must(t, err)
	lives := int64(16)
	if raced {
		lives = 4
	}
	for n := range lives {
		at := 1 + n*(all-1)/(lives-1)
		t.Run(strconv.FormatInt(at, 10), func(t *testing.T) {
			t.Parallel()
			dir := fresh()
			if child(t, dir, at) {
				t.Fatal("it was not killed")
			}
			now := reopen(t, dir)
			adopted := tapeOf(t, now, "PAPR2002").State == ledger.TapeWritten
			if !adopted {
				for it, err := range now.A.Ledger.Items(t.Context(), ledger.Filter{}) {
					must(t, err)
					if it.State != ledger.Deletable || len(it.Copies) != 2 || it.Copies[1].Barcode != "PAPR2001" {
						t.Errorf("%s is %+v", it.Path, it)
					}
				}
				// A drive holds what the dead process left there.
				copyOf(t, now, "PAPR1001", "PAPR2002")
			}
			for it, err := range now.A.Ledger.Items(t.Context(), ledger.Filter{}) {
				must(t, err)
				if it.State != ledger.Deletable || len(it.Copies) != 2 || it.Copies[1].Barcode != "PAPR2002" || strings.Contains(it.Path, "visdata") {
					t.Errorf("%s is %+v", it.Path, it)
				}
			}
			if _, err := twin.Copy(t.Context(), now.A, "PAPR2002", "PAPR1002", twin.Options{}); err != nil && !adopted {
				t.Error(err)
			}
		})
	}
}
