package sourcetest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"twintape/sources"
)

// Hanging is a server that can be frozen, with all its connections.
type Hanging interface {
	Stop() // freezes it
	Cont() // thaws it
}

// Hangs checks what a source does while its host hangs. newSource makes the source of a folder with a timeout for the host;
// packages are the ones that may have no goroutine left when a source is closed, as they stand in a stack trace.
func Hangs(t *testing.T, server Hanging, newSource func(t *testing.T, root string, timeout time.Duration) sources.Source, packages ...string) {
	h := &hang{server: server, root: t.TempDir(), data: random(6 << 20)}
	h.newSource = func(t *testing.T, timeout time.Duration) sources.Source {
		src := newSource(t, h.root, timeout)
		t.Cleanup(func() { src.Close() })
		return src
	}
	write(t, h.root, "big", h.data)
	must(t, os.Symlink("big", filepath.Join(h.root, "link")))
	t.Run("TimesOut", h.timesOut)
	t.Run("Cancelled", h.cancelled)
	t.Run("CloseEndsCalls", func(t *testing.T) { h.closeEndsCalls(t, packages) })
}

type hang struct {
	server    Hanging
	root      string
	data      []byte // of the file big, which takes several requests
	newSource func(t *testing.T, timeout time.Duration) sources.Source
}

// Whole reads a file at once and compares it with what it should hold.
func Whole(ctx context.Context, f sources.File, data []byte) error {
	buf := make([]byte, len(data))
	_, err := f.ReadAt(ctx, buf, 0)
	if err == nil && !bytes.Equal(buf, data) {
		return errors.New("wrong data")
	}
	return err
}

// Eventually repeats a call until it succeeds: a host that came back is tried again only after a pause.
func Eventually(t *testing.T, call func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := call()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still failing: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func openBig(t *testing.T, src sources.Source) sources.File {
	t.Helper()
	f, err := src.Open(t.Context(), "/big")
	must(t, err)
	return f
}

// timesOut: a server that stops answering fails every call within the timeout, whatever it waits for, and is used again
// when it thaws.
func (h *hang) timesOut(t *testing.T) {
	calls := map[string]func(src sources.Source, f sources.File) error{
		"Stat":    func(src sources.Source, _ sources.File) error { _, err := src.Stat(t.Context(), "/big"); return err },
		"ReadDir": func(src sources.Source, _ sources.File) error { _, err := src.ReadDir(t.Context(), "/"); return err },
		"Readlink": func(src sources.Source, _ sources.File) error {
			_, err := src.Readlink(t.Context(), "/link")
			return err
		},
		"Open":      func(src sources.Source, _ sources.File) error { _, err := src.Open(t.Context(), "/big"); return err },
		"File.Stat": func(_ sources.Source, f sources.File) error { _, err := f.Stat(t.Context()); return err },
		"ReadAt":    func(_ sources.Source, f sources.File) error { return Whole(t.Context(), f, h.data) },
		"connect": func(sources.Source, sources.File) error {
			_, err := h.newSource(t, 3*time.Second).Stat(t.Context(), "/")
			return err
		},
	}
	// A source for each, so that no call is failed by another's wait.
	frozen := make(map[string]func() error)
	for name, call := range calls {
		src := h.newSource(t, 3*time.Second)
		f := openBig(t, src)
		frozen[name] = func() error { return call(src, f) }
		must(t, Whole(t.Context(), f, h.data)) // several connections stand
	}
	h.server.Stop()
	var wg sync.WaitGroup
	for name, call := range frozen {
		wg.Go(func() {
			if err := call(); !errors.Is(err, sources.ErrUnavailable) || !strings.Contains(err.Error(), "no answer for 3s") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
	h.server.Cont()
	for _, call := range frozen {
		Eventually(t, call)
	}
}

// cancelled: with a long timeout it is the context that ends the calls, and a read's buffer is its caller's again when
// ReadAt returns: the race detector sees who writes to it.
func (h *hang) cancelled(t *testing.T) {
	src := h.newSource(t, 20*time.Second)
	f := openBig(t, src)
	must(t, Whole(t.Context(), f, h.data))
	buf := make([]byte, len(h.data))
	h.server.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // the calls are under way by then
	defer cancel()
	var wg sync.WaitGroup
	for _, call := range []func() error{
		func() error { _, err := src.Stat(ctx, "/big"); return err },
		func() error { _, err := src.ReadDir(ctx, "/"); return err },
		func() error { _, err := src.Open(ctx, "/big"); return err },
		func() error { _, err := f.ReadAt(ctx, buf, 0); clear(buf); return err },
	} {
		wg.Go(func() {
			if err := call(); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		})
	}
	wg.Wait()
	h.server.Cont()
	must(t, Whole(t.Context(), f, h.data))
}

// closeEndsCalls: Close does not wait for a host that hangs, and leaves no goroutine behind.
func (h *hang) closeEndsCalls(t *testing.T, packages []string) {
	src := h.newSource(t, 20*time.Second)
	f := openBig(t, src)
	must(t, Whole(t.Context(), f, h.data))
	h.server.Stop()
	errs := make(chan error)
	go func() { errs <- Whole(t.Context(), f, h.data) }()
	go func() { _, err := src.ReadDir(t.Context(), "/"); errs <- err }()
	must(t, src.Close())
	for range 2 {
		if err := <-errs; !errors.Is(err, fs.ErrClosed) {
			t.Errorf("error %v", err)
		}
	}
	h.server.Cont()
	Eventually(t, func() error {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for _, owner := range packages {
			if bytes.Contains(stacks, []byte(owner+".")) {
				return errors.New("goroutines are left:\n" + string(stacks))
			}
		}
		return nil
	})
}
