package sftp_test

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
	"testing"
	"time"

	"twintape/sources"
	"twintape/sources/sftp"
	"twintape/sources/sftp/sshdtest"
)

// bigFile makes a file that is striped over the connections.
func bigFile(t testing.TB, size int) (root string, data []byte) {
	t.Helper()
	root = t.TempDir()
	data = make([]byte, size)
	rand.NewChaCha8([32]byte{3}).Read(data)
	if err := os.WriteFile(filepath.Join(root, "big"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return root, data
}

func openBig(t testing.TB, src sources.Source) sources.File {
	t.Helper()
	f, err := src.Open(t.Context(), "/big")
	if err != nil {
		t.Fatal(err)
	}
	return f
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

// TestFrozenServer: a server that stops answering fails every call within the timeout, whatever it waits for, and is used
// again when it thaws.
func TestFrozenServer(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	root, data := bigFile(t, 6<<20)
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
		"ReadAt": func(_ sources.Source, f sources.File) error {
			buf := make([]byte, len(data))
			_, err := f.ReadAt(t.Context(), buf, 0)
			if err == nil && !bytes.Equal(buf, data) {
				return errors.New("wrong data")
			}
			return err
		},
		"connect": func(sources.Source, sources.File) error {
			fresh := sftp.New(cfg)
			defer fresh.Close()
			_, err := fresh.Stat(t.Context(), "/")
			return err
		},
	}
	if err := os.Symlink("big", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	// A source for each, so that no call is failed by another's wait.
	frozen := make(map[string]func() error)
	for name, call := range calls {
		src := sftp.New(cfg)
		t.Cleanup(func() { src.Close() })
		f := openBig(t, src)
		frozen[name] = func() error { return call(src, f) }
		if err := calls["ReadAt"](src, f); err != nil { // several connections stand
			t.Fatal(err)
		}
	}
	s.Stop()
	var wg sync.WaitGroup
	for name, call := range frozen {
		wg.Go(func() {
			if err := call(); !errors.Is(err, sources.ErrUnavailable) || !strings.Contains(err.Error(), "no answer for 3s") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
	s.Cont()
	for _, call := range frozen {
		eventually(t, call)
	}
}

// TestCancelWhileFrozen: with a long timeout it is the context that ends the calls, and a read's buffer is its caller's
// again when ReadAt returns: the race detector sees who writes to it.
func TestCancelWhileFrozen(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	root, data := bigFile(t, 6<<20)
	src := sftp.New(config(s, root)) // 20 s
	defer src.Close()
	f := openBig(t, src)
	buf := make([]byte, len(data))
	if _, err := f.ReadAt(t.Context(), buf, 0); err != nil {
		t.Fatal(err)
	}
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
	if _, err := f.ReadAt(t.Context(), buf, 0); err != nil || !bytes.Equal(buf, data) {
		t.Errorf("afterwards: %v, same data %v", err, bytes.Equal(buf, data))
	}
}

// TestConnectionsKilledWhileReading: reads go on, with the right bytes, however often the connections die.
func TestConnectionsKilledWhileReading(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	root, data := bigFile(t, 8<<20)
	src := sftp.New(config(s, root))
	defer src.Close()
	f := openBig(t, src)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(5, uint64(i)))
			buf := make([]byte, 3<<20)
			for good := 0; ; {
				select {
				case <-done:
					if good > 0 {
						return
					}
				default:
				}
				off := r.IntN(len(data) - len(buf))
				n, err := f.ReadAt(t.Context(), buf, int64(off))
				switch {
				case !bytes.Equal(buf[:n], data[off:off+n]):
					t.Error("wrong data")
					return
				case err == nil:
					good++
				case !errors.Is(err, sources.ErrUnavailable): // killed twice under one call
					t.Error(err)
					return
				}
			}
		})
	}
	for range 5 {
		buf := make([]byte, 2<<20)
		eventually(t, func() error { _, err := f.ReadAt(t.Context(), buf, 0); return err })
		s.KillConnections()
	}
	close(done)
	wg.Wait()
}

// TestOneKillGoesUnnoticed: a lost connection alone fails no call.
func TestOneKillGoesUnnoticed(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	root, data := bigFile(t, 3<<20)
	src := sftp.New(config(s, root))
	defer src.Close()
	f := openBig(t, src)
	for name, call := range map[string]func() error{
		"Stat":      func() error { _, err := src.Stat(t.Context(), "/big"); return err },
		"ReadDir":   func() error { _, err := src.ReadDir(t.Context(), "/"); return err },
		"Open":      func() error { return openBig(t, src).Close() },
		"File.Stat": func() error { _, err := f.Stat(t.Context()); return err },
		"ReadAt": func() error {
			buf := make([]byte, len(data))
			_, err := f.ReadAt(t.Context(), buf, 0)
			if err == nil && !bytes.Equal(buf, data) {
				return errors.New("wrong data")
			}
			return err
		},
	} {
		s.KillConnections()
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestServerRestarted: while it is down calls fail, and afterwards an open file goes on unless it changed.
func TestServerRestarted(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	root, data := bigFile(t, 3<<20)
	src := sftp.New(config(s, root))
	defer src.Close()
	f := openBig(t, src)
	buf := make([]byte, len(data))
	read := func() error { _, err := f.ReadAt(t.Context(), buf, 0); return err }
	if err := read(); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if err := read(); !errors.Is(err, sources.ErrUnavailable) {
		t.Errorf("while down: %v", err)
	}
	s.Restart()
	eventually(t, read)
	if !bytes.Equal(buf, data) {
		t.Error("wrong data")
	}
	s.Kill()
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(root, "big"), later, later); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := read()
		if errors.Is(err, sources.ErrUnavailable) && time.Now().Before(deadline) {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if err == nil || errors.Is(err, sources.ErrUnavailable) || !strings.Contains(err.Error(), "changed since it was opened") {
			t.Errorf("a changed file: %v", err)
		}
		break
	}
}

// TestGrowingFileStaysReadable: connections that would see another file are not used, the first handle is.
func TestGrowingFileStaysReadable(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	root, data := bigFile(t, 3<<20)
	src := sftp.New(config(s, root))
	defer src.Close()
	f := openBig(t, src)
	log, err := os.OpenFile(filepath.Join(root, "big"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Write(data); err != nil {
		t.Fatal(err)
	}
	log.Close()
	for range 3 { // other connections come up meanwhile
		buf := make([]byte, 2*len(data))
		if _, err := f.ReadAt(t.Context(), buf, 0); err != nil || !bytes.Equal(buf, append(bytes.Clone(data), data...)) {
			t.Errorf("%v", err)
		}
	}
}

// TestCloseEndsCalls: Close does not wait for a host that hangs, and leaves no goroutine behind.
func TestCloseEndsCalls(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	root, _ := bigFile(t, 6<<20)
	src := sftp.New(config(s, root))
	f := openBig(t, src)
	buf := make([]byte, 6<<20)
	if _, err := f.ReadAt(t.Context(), buf, 0); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	errs := make(chan error)
	go func() { _, err := f.ReadAt(t.Context(), buf, 0); errs <- err }()
	go func() { _, err := src.ReadDir(t.Context(), "/"); errs <- err }()
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-errs; !errors.Is(err, fs.ErrClosed) {
			t.Errorf("error %v", err)
		}
	}
	s.Cont()
	eventually(t, func() error {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for _, owner := range []string{"crypto/ssh.", "pkg/sftp.", "twintape/sources/sftp."} {
			if bytes.Contains(stacks, []byte(owner)) {
				return errors.New("goroutines are left:\n" + string(stacks))
			}
		}
		return nil
	})
}
