package twin_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"twintape/archiver"
	"twintape/archiver/archivertest"
	"twintape/internal/event"
	"twintape/internal/fault"
	"twintape/internal/ledger"
	"twintape/internal/tape/virtual"
)

// The site that a child works on, and the fault at which it is killed.
const killDir, killAt = "TWINTAPE_TEST_TWIN_DIR", "TWINTAPE_TEST_TWIN_AT"

// deaths are operations at which, or after which, the process is killed. Drive 0 reads, and verifies; drive 1 writes.
func deaths() (all []fault.Fault) {
	for _, call := range []int{1, 2, 3, 50, 120} {
		all = append(all, fault.Fault{Op: fault.WriteRecord, Drive: 1, Call: call}, fault.Fault{Op: fault.WriteRecord, Drive: 1, Call: call, After: true})
	}
	all = append(all, []fault.Fault{
		{Op: fault.WriteFilemark, Drive: 1, Call: 1}, {Op: fault.WriteFilemark, Drive: 1, Call: 5},
		{Op: fault.Flush, Drive: 1, Call: 1}, {Op: fault.Flush, Drive: 1, Call: 3},
		{Op: fault.Unload, Drive: 0, Call: 1}, {Op: fault.MoveLoad, Drive: 0, Call: 2}, // the tapes change places
		{Op: fault.Unload, Drive: 1, Call: 1}, {Op: fault.MoveUnload, Drive: 1, Call: 1},
		{Op: fault.Load, Drive: 0, Call: 3}, {Op: fault.ReadRecord, Drive: 0, Call: 250}, {Op: fault.Unload, Drive: 0, Call: 3}, // verifying
	}...)
	if raced {
		return []fault.Fault{all[5], all[14], all[20]}
	}
	return all
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

// TestLivesChild is what the children of TestLives run.
func TestLivesChild(t *testing.T) {
	dir := os.Getenv(killDir)
	if dir == "" {
		return // not a child
	}
	n, err := strconv.Atoi(os.Getenv(killAt))
	must(t, err)
	death := deaths()[n]
	death.Do = func() {
		syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // nothing comes after it
		select {}
	}
	s := reopen(t, dir)
	s.A.Library = fault.New(t, death).Library(s.A.Library)
	copyOf(t, s, "PAPR1001", "PAPR2002")
}

// Wherever the making of a twin is killed, the pair is as it was, and making it again makes it whole.
func TestLives(t *testing.T) {
	s := pair(t)
	damage(t, s, "PAPR1001", "2 of 0\n") // so that tapes change places
	must(t, s.A.Ledger.Close())
	must(t, s.A.Library.Close())
	for n, death := range deaths() {
		t.Run(fmt.Sprintf("%s %d on drive %d, after %v", death.Op, death.Call, death.Drive, death.After), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if out, err := exec.Command("cp", "-a", s.Dir+"/.", dir).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLivesChild$")
			cmd.Env = append(os.Environ(), killDir+"="+dir, killAt+"="+strconv.Itoa(n), "GORACE=atexit_sleep_ms=0")
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("it was not killed: %v\n%s", err, out)
			}
			now := reopen(t, dir)
			on := func(twin string) {
				t.Helper()
				for it, err := range now.A.Ledger.Items(t.Context(), ledger.Filter{}) {
					must(t, err)
					if it.State != ledger.Deletable || len(it.Copies) != 2 || it.Copies[0].Barcode != "PAPR1001" || it.Copies[1].Barcode != twin {
						t.Errorf("%s is %+v", it.Path, it)
					}
				}
			}
			on("PAPR2001")
			copyOf(t, now, "PAPR1001", "PAPR2002") // whatever the dead process left in the drives
			on("PAPR2002")
			if r := copyOf(t, now, "PAPR2002", "PAPR1002"); len(r.Bad) > 0 {
				t.Errorf("the new twin lacks %v", r.Bad)
			}
		})
	}
}
