package sftp_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"twintape/sources"
	"twintape/sources/sftp"
	"twintape/sources/sftp/sshdtest"
	"twintape/sources/sourcetest"
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

func TestHangs(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	sourcetest.Hangs(t, s, func(_ *testing.T, root string, timeout time.Duration) sources.Source {
		cfg := config(s, root)
		cfg.Timeout = timeout
		return sftp.New(cfg)
	}, "crypto/ssh", "pkg/sftp", "twintape/sources/sftp", "twintape/sources/pool")
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
		sourcetest.Eventually(t, func() error { _, err := f.ReadAt(t.Context(), buf, 0); return err })
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
	sourcetest.Eventually(t, read)
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
