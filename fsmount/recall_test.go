package fsmount_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"twintape/sources"
)

// slow stands for tapes: its files take longer to open than a host may, or for ever.
type slow struct{ sources.Source }

func (s slow) Open(ctx context.Context, path string) (sources.File, error) {
	if end, limited := ctx.Deadline(); limited && time.Until(end) < 50*time.Minute {
		return nil, errors.New("there is not enough time to load a tape")
	}
	if filepath.Base(path) == "never" {
		<-ctx.Done()
		return nil, &sources.Error{Op: "open", Host: "tapes", Path: path, Err: ctx.Err()}
	}
	return s.Source.Open(ctx, path)
}

// Opening a file of a tape has a limit of its own, can be interrupted, keeps nobody from other files, and is over when
// the mount is.
func TestRecall(t *testing.T) {
	host, tapes := t.TempDir(), t.TempDir()
	for _, name := range []string{filepath.Join(host, "file"), filepath.Join(tapes, "file"), filepath.Join(tapes, "never")} {
		must(t, os.WriteFile(name, []byte(filepath.Base(name)), 0o644))
	}
	m := mount(t, site{Hosts: []hostSpec{{Name: "pot1", Root: host}}, Tapes: tapes})
	for range 3 {
		// A signal that its receiver survives: without an answer it would wait on.
		out := run(t, "python3", "-c", `
import os, signal, sys
class Interrupted(Exception): pass
def interrupt(*_): raise Interrupted
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.05)
try: os.open(sys.argv[1], os.O_RDONLY)
except Interrupted: print("interrupted")`, filepath.Join(m.mnt, "tapes/never"))
		if out != "interrupted\n" {
			t.Errorf("who was interrupted says %q", out)
		}
	}
	ended := make(chan error)
	for range 40 { // more than the kernel has in flight of what it reads ahead
		go func() {
			_, err := unix.Open(filepath.Join(m.mnt, "tapes/never"), unix.O_RDONLY, 0)
			ended <- err
		}()
	}
	if out := run(t, "cat", filepath.Join(m.mnt, "tapes/file"), filepath.Join(m.mnt, "pot1/file")); out != "filefile" {
		t.Errorf("others read %q", out)
	}
	m.stop()
	for range 40 {
		if err := <-ended; !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ECONNABORTED) {
			t.Errorf("at the end: %v", err)
		}
	}
}
