package nfs_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"twintape/sources"
	"twintape/sources/sourcetest"
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

// TestHangs: and a host that hangs does not keep another from being read.
func TestHangs(t *testing.T) {
	s := start(t)
	sourcetest.Hangs(t, s, func(t *testing.T, root string, timeout time.Duration) sources.Source {
		cfg := config(s, root)
		cfg.Timeout = timeout
		return newSource(t, cfg)
	}, "twintape/sources/nfs", "twintape/sources/pool")
	other := start(t)
	root, data := bigFile(t, 3<<20)
	f := openBig(t, newSource(t, config(other, root)))
	s.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan error)
	go func() { _, err := newSource(t, config(s, root)).Stat(ctx, "/big"); waits <- err }()
	must(t, sourcetest.Whole(t.Context(), f, data))
	cancel()
	if err := <-waits; !errors.Is(err, context.Canceled) {
		t.Errorf("the host that hangs: %v", err)
	}
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
		must(t, sourcetest.Whole(t.Context(), f, data))
		s.Restart()
	}
	must(t, sourcetest.Whole(t.Context(), f, data))
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
	must(t, sourcetest.Whole(t.Context(), f, data))
	s.Kill()
	if err := sourcetest.Whole(t.Context(), f, data); !errors.Is(err, sources.ErrUnavailable) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("an open file: %v", err)
	}
	if _, err := src.Stat(t.Context(), "/big"); !errors.Is(err, sources.ErrUnavailable) || !strings.Contains(err.Error(), "next try in") {
		t.Errorf("by path: %v", err)
	}
	s.Restart()
	sourcetest.Eventually(t, func() error { return sourcetest.Whole(t.Context(), f, data) })
	sourcetest.Eventually(t, func() error { _, err := src.Stat(t.Context(), "/big"); return err })
}

// TestReplacedFile: a handle that the server does not know any more is looked up again only for the same file.
func TestReplacedFile(t *testing.T) {
	s := start(t)
	root, data := bigFile(t, 3<<20)
	src := newSource(t, config(s, root))
	f := openBig(t, src)
	must(t, sourcetest.Whole(t.Context(), f, data))
	// The server must not have it open, which would keep it alive.
	s.Kill()
	must(t, os.Remove(filepath.Join(root, "big")))
	must(t, os.WriteFile(filepath.Join(root, "big"), bytes.Repeat([]byte{'x'}, len(data)), 0o644)) // may get the number of the old one
	s.Restart()
	for range 2 {
		err := sourcetest.Whole(t.Context(), f, data)
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
	if err := sourcetest.Whole(t.Context(), f, data); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "removed") {
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
	sourcetest.Eventually(t, func() error { _, err := src.Stat(t.Context(), "/a/b/new"); return err })
	t.Logf("seen after %v", time.Since(began))
	if _, err := src.Stat(t.Context(), "/a/b/old"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there any more: %v", err)
	}
	// One that was removed under its cached handle is known to be gone at once.
	must(t, os.RemoveAll(filepath.Join(root, "a")))
	must(t, os.MkdirAll(filepath.Join(root, "a/b"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "a/b/third"), nil, 0o644))
	sourcetest.Eventually(t, func() error { _, err := src.Stat(t.Context(), "/a/b/third"); return err })
}
