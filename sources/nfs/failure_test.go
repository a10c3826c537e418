package nfs_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"twintape/sources"
)

// bigFile makes a file that is read in several requests.
func bigFile(t testing.TB, size int) (root string, data []byte) {
	t.Helper()
	root = t.TempDir()
	data = make([]byte, size)
	rand.NewChaCha8([32]byte{3}).Read(data)
	must(t, os.WriteFile(filepath.Join(root, "big"), data, 0o644))
	return root, data
}

func openBig(t testing.TB, src sources.Source) sources.File {
	t.Helper()
	f, err := src.Open(t.Context(), "/big")
	must(t, err)
	return f
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually repeats a call until it succeeds: a host that came back is tried again only after a pause.
func eventually(t *testing.T, call func() error) {
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

// TestFrozenServer: a server that stops answering fails every call within the timeout, whatever it waits for, while
// another host goes on, and is used again when it thaws.
func TestFrozenServer(t *testing.T) {
	s, other := start(t), start(t)
	root, data := bigFile(t, 6<<20)
	must(t, os.Symlink("big", filepath.Join(root, "link")))
	cfg := config(s, root)
	cfg.Timeout = 3 * time.Second
	calls := map[string]func(src sources.Source, f sources.File) error{
		"Stat":    func(src sources.Source, _ sources.File) error { _, err := src.Stat(t.Context(), "/big"); return err },
		"ReadDir": func(src sources.Source, _ sources.File) error { _, err := src.ReadDir(t.Context(), "/"); return err },
		"Readlink": func(src sources.Source, _ sources.File) error {
			_, err := src.Readlink(t.Context(), "/link")
			return err
		},
		"Open":      func(src sources.Source, _ sources.File) error { _, err := src.Open(t.Context(), "/big"); return err },
		"File.Stat": func(_ sources.Source, f sources.File) error { _, err := f.Stat(t.Context()); return err },
		"ReadAt":    func(_ sources.Source, f sources.File) error { return readWhole(t.Context(), f, data) },
		"connect": func(sources.Source, sources.File) error {
			fresh := newSource(t, cfg)
			defer fresh.Close()
			_, err := fresh.Stat(t.Context(), "/")
			return err
		},
	}
	// A source for each, so that no call is failed by another's wait.
	frozen := make(map[string]func() error)
	for name, call := range calls {
		src := newSource(t, cfg)
		f := openBig(t, src)
		frozen[name] = func() error { return call(src, f) }
		must(t, calls["ReadAt"](src, f)) // several connections stand
	}
	s.Stop()
	var wg sync.WaitGroup
	for name, call := range frozen {
		wg.Go(func() {
			began := time.Now()
			err := call()
			if !errors.Is(err, sources.ErrUnavailable) || !strings.Contains(err.Error(), "no answer for 3s") {
				t.Errorf("%s: %v after %v", name, err, time.Since(began))
			}
		})
	}
	second := newSource(t, config(other, root))
	must(t, readWhole(t.Context(), openBig(t, second), data))
	wg.Wait()
	s.Cont()
	for _, call := range frozen {
		eventually(t, call)
	}
}

// readWhole reads a file at once and compares it.
func readWhole(ctx context.Context, f sources.File, data []byte) error {
	buf := make([]byte, len(data))
	_, err := f.ReadAt(ctx, buf, 0)
	if err == nil && !bytes.Equal(buf, data) {
		return errors.New("wrong data")
	}
	return err
}

// TestCancelWhileFrozen: with a long timeout it is the context that ends the calls, and a read's buffer is its caller's
// again when ReadAt returns: the race detector sees who writes to it.
func TestCancelWhileFrozen(t *testing.T) {
	s := start(t)
	root, data := bigFile(t, 6<<20)
	src := newSource(t, config(s, root)) // 20 s
	f := openBig(t, src)
	buf := make([]byte, len(data))
	must(t, readWhole(t.Context(), f, data))
	s.Stop()
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
	s.Cont()
	must(t, readWhole(t.Context(), f, data))
}

// TestRestartedWhileReading: readers notice nothing of a server that is killed and started again under them, again and
// again, but that it takes longer.
func TestRestartedWhileReading(t *testing.T) {
	s := start(t)
	root, data := bigFile(t, 8<<20)
	src := newSource(t, config(s, root))
	f := openBig(t, src)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(5, uint64(i)))
			buf := make([]byte, 3<<20)
			for {
				select {
				case <-done:
					return
				default:
				}
				off := r.IntN(len(data) - len(buf))
				n, err := f.ReadAt(t.Context(), buf, int64(off))
				if err != nil || !bytes.Equal(buf, data[off:off+n]) {
					t.Errorf("%d bytes, %v", n, err)
					return
				}
			}
		})
	}
	for range 3 {
		must(t, readWhole(t.Context(), f, data))
		s.Restart()
	}
	must(t, readWhole(t.Context(), f, data))
	close(done)
	wg.Wait()
}

// TestServerDown: a server that is gone fails calls by path at once, and those on an open file when they have waited for it.
func TestServerDown(t *testing.T) {
	s := start(t)
	root, data := bigFile(t, 3<<20)
	cfg := config(s, root)
	cfg.Timeout = 3 * time.Second
	src := newSource(t, cfg)
	f := openBig(t, src)
	must(t, readWhole(t.Context(), f, data))
	s.Kill()
	if err := readWhole(t.Context(), f, data); !errors.Is(err, sources.ErrUnavailable) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("an open file: %v", err)
	}
	if _, err := src.Stat(t.Context(), "/big"); !errors.Is(err, sources.ErrUnavailable) || !strings.Contains(err.Error(), "next try in") {
		t.Errorf("by path: %v", err)
	}
	s.Restart()
	eventually(t, func() error { return readWhole(t.Context(), f, data) })
	eventually(t, func() error { _, err := src.Stat(t.Context(), "/big"); return err })
}

// TestReplacedFile: a handle that the server does not know any more is looked up again only for the same file.
func TestReplacedFile(t *testing.T) {
	s := start(t)
	root, data := bigFile(t, 3<<20)
	src := newSource(t, config(s, root))
	f := openBig(t, src)
	must(t, readWhole(t.Context(), f, data))
	// The server must not have it open, which would keep it alive.
	s.Kill()
	must(t, os.Remove(filepath.Join(root, "big")))
	must(t, os.WriteFile(filepath.Join(root, "big"), bytes.Repeat([]byte{'x'}, len(data)), 0o644)) // may get the number of the old one
	s.Restart()
	for range 2 {
		err := readWhole(t.Context(), f, data)
		if err == nil || !strings.Contains(err.Error(), "replaced") || !errors.Is(err, syscall.ESTALE) || errors.Is(err, sources.ErrUnavailable) {
			t.Errorf("replaced: %v", err)
		}
	}
	if _, err := f.Stat(t.Context()); err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("replaced: Stat: %v", err)
	}
	f = openBig(t, src)
	s.Kill()
	must(t, os.Remove(filepath.Join(root, "big")))
	s.Restart()
	if err := readWhole(t.Context(), f, data); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "removed") {
		t.Errorf("removed: %v", err)
	}
}

// TestReplacedDirectory: a directory that was renamed and replaced shows as it is now, a second later at most.
func TestReplacedDirectory(t *testing.T) {
	s := start(t)
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "a/b"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "a/b/old"), nil, 0o644))
	src := newSource(t, config(s, root))
	_, err := src.Stat(t.Context(), "/a/b/old")
	must(t, err)
	must(t, os.Rename(filepath.Join(root, "a"), filepath.Join(root, "was")))
	must(t, os.MkdirAll(filepath.Join(root, "a/b"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "a/b/new"), nil, 0o644))
	began := time.Now()
	eventually(t, func() error { _, err := src.Stat(t.Context(), "/a/b/new"); return err })
	t.Logf("seen after %v", time.Since(began))
	if _, err := src.Stat(t.Context(), "/a/b/old"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there any more: %v", err)
	}
	// One that was removed under its cached handle is known to be gone at once.
	must(t, os.RemoveAll(filepath.Join(root, "a")))
	must(t, os.MkdirAll(filepath.Join(root, "a/b"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "a/b/third"), nil, 0o644))
	eventually(t, func() error { _, err := src.Stat(t.Context(), "/a/b/third"); return err })
}

// TestCloseEndsCalls: Close does not wait for a host that hangs, and leaves no goroutine behind.
func TestCloseEndsCalls(t *testing.T) {
	s := start(t)
	root, data := bigFile(t, 6<<20)
	src := newSource(t, config(s, root))
	f := openBig(t, src)
	must(t, readWhole(t.Context(), f, data))
	s.Stop()
	errs := make(chan error)
	go func() { errs <- readWhole(t.Context(), f, data) }()
	go func() { _, err := src.ReadDir(t.Context(), "/"); errs <- err }()
	must(t, src.Close())
	for range 2 {
		if err := <-errs; !errors.Is(err, fs.ErrClosed) {
			t.Errorf("error %v", err)
		}
	}
	s.Cont()
	eventually(t, func() error {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for _, owner := range []string{"twintape/sources/nfs.", "twintape/sources/pool."} {
			if bytes.Contains(stacks, []byte(owner)) {
				return errors.New("goroutines are left:\n" + string(stacks))
			}
		}
		return nil
	})
}
