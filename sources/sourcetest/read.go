package sourcetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"twintape/sources"
)

func random(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(data)
	return data
}

// checkRead compares one ReadAt with the data that the file holds.
func checkRead(ctx context.Context, f sources.File, data []byte, off int64, length int) error {
	buf := bytes.Repeat([]byte{0xa5}, length+8)
	n, err := f.ReadAt(ctx, buf[:length:length], off)
	var want []byte
	if off < int64(len(data)) {
		want = data[off:min(int64(len(data)), off+int64(length))]
	}
	switch {
	case n != len(want) || !bytes.Equal(buf[:n], want):
		return fmt.Errorf("ReadAt(%d bytes at %d of %d) = %d, %v: wrong data or count, want %d", length, off, len(data), n, err, len(want))
	case n < length && err != io.EOF, n == length && err != nil:
		return fmt.Errorf("ReadAt(%d bytes at %d of %d) = %d, error %v", length, off, len(data), n, err)
	case !bytes.Equal(buf[length:], bytes.Repeat([]byte{0xa5}, 8)):
		return fmt.Errorf("ReadAt(%d bytes at %d) wrote behind its buffer", length, off)
	}
	return nil
}

func testRead(t *testing.T, newSource Maker) {
	root := t.TempDir()
	for _, size := range []int{0, 1, 32768, 261120, 261121, 3<<20 + 12345} {
		write(t, root, fmt.Sprint(size), random(size))
	}
	src := open(t, newSource, root)
	for _, size := range []int{0, 1, 32768, 261120, 261121, 3<<20 + 12345} {
		p := fmt.Sprintf("/%d", size)
		data := random(size)
		f, err := src.Open(t.Context(), p)
		must(t, err)
		info, err := f.Stat(t.Context())
		if err != nil || info.Size != int64(size) || info.Name != p[1:] || !info.Mode.IsRegular() {
			t.Errorf("%s: Stat = %+v, %v", p, info, err)
		}
		for _, off := range []int{0, 1, 32767, 261119, 261121, 1<<20 - 1, size - 1, size, size + 1, size + 3<<20} {
			for _, length := range []int{0, 1, 4096, 32769, 261120, 261121, 1 << 20, 2<<20 + 3, size, size + 1} {
				if off < 0 || (length == 0 && off >= size) {
					continue // io.ReaderAt leaves open what an empty read at the end returns
				}
				if err := checkRead(t.Context(), f, data, int64(off), length); err != nil {
					t.Error(err)
				}
			}
		}
		must(t, f.Close())
	}
}

func testReadSparse(t *testing.T, newSource Maker) {
	root := t.TempDir()
	f, err := os.Create(filepath.Join(root, "sparse"))
	must(t, err)
	const size = 3 << 30
	must(t, f.Truncate(size))
	_, err = f.WriteAt([]byte("end"), size-3)
	must(t, err)
	must(t, f.Close())
	src := open(t, newSource, root)
	file, err := src.Open(t.Context(), "/sparse")
	must(t, err)
	defer file.Close()
	buf := make([]byte, 1<<20)
	n, err := file.ReadAt(t.Context(), buf, size-int64(len(buf))+1)
	if n != len(buf)-1 || err != io.EOF || string(buf[n-3:n]) != "end" || !bytes.Equal(buf[:n-3], make([]byte, n-3)) {
		t.Errorf("ReadAt across the end: %d, %v", n, err)
	}
}

func testReadConcurrently(t *testing.T, newSource Maker) {
	root := t.TempDir()
	data := random(9<<20 + 77)
	write(t, root, "big", data)
	src := open(t, newSource, root)
	f, err := src.Open(t.Context(), "/big")
	must(t, err)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for range 6 {
				if err := checkRead(t.Context(), f, data, r.Int64N(int64(len(data))+10), r.IntN(3<<20)+1); err != nil {
					t.Error(err)
				}
				if _, err := src.ReadDir(t.Context(), "/"); err != nil {
					t.Error(err)
				}
				own, err := src.Open(t.Context(), "/big")
				if err != nil {
					t.Error(err)
					continue
				}
				if err := checkRead(t.Context(), own, data, r.Int64N(1<<20), 70000); err != nil {
					t.Error(err)
				}
				if err := own.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	must(t, f.Close())
}

func testReadWhileItChanges(t *testing.T, newSource Maker) {
	root := t.TempDir()
	data := random(2 << 20)
	write(t, root, "log", data[:1<<20])
	src := open(t, newSource, root)
	f, err := src.Open(t.Context(), "/log")
	must(t, err)
	defer f.Close()
	if err := checkRead(t.Context(), f, data[:1<<20], 0, 2<<20); err != nil {
		t.Error(err)
	}
	write(t, root, "log", data)
	if err := checkRead(t.Context(), f, data, 0, 2<<20); err != nil {
		t.Error("grown: ", err)
	}
	if info, err := f.Stat(t.Context()); err != nil || info.Size != 2<<20 {
		t.Errorf("grown: Stat = %+v, %v", info, err)
	}
	must(t, os.Truncate(filepath.Join(root, "log"), 1000))
	if err := checkRead(t.Context(), f, data[:1000], 0, 1<<20); err != nil {
		t.Error("shrunk: ", err)
	}
	// The handle stands for the file, not for its name.
	must(t, os.Rename(filepath.Join(root, "log"), filepath.Join(root, "old")))
	write(t, root, "log", []byte("another"))
	if err := checkRead(t.Context(), f, data[:1000], 10, 100); err != nil {
		t.Error("renamed: ", err)
	}
}

func testCancelled(t *testing.T, newSource Maker) {
	root := t.TempDir()
	write(t, root, "file", []byte("x"))
	src := open(t, newSource, root)
	f, err := src.Open(t.Context(), "/file")
	must(t, err)
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = src.Stat(ctx, "/file")
	wantError(t, err, "/file", context.Canceled)
	_, err = src.ReadDir(ctx, "/")
	wantError(t, err, "/", context.Canceled)
	_, err = src.Readlink(ctx, "/file")
	wantError(t, err, "/file", context.Canceled)
	_, err = src.Open(ctx, "/file")
	wantError(t, err, "/file", context.Canceled)
	_, err = f.ReadAt(ctx, make([]byte, 1), 0)
	wantError(t, err, "/file", context.Canceled)
	_, err = f.Stat(ctx)
	wantError(t, err, "/file", context.Canceled)
	// A call that another one's context ended does no harm.
	if err := checkRead(t.Context(), f, []byte("x"), 0, 1); err != nil {
		t.Error(err)
	}
}

func testClosed(t *testing.T, newSource Maker) {
	root := t.TempDir()
	write(t, root, "file", []byte("x"))
	src := newSource(t, root)
	_, err := src.Stat(t.Context(), "/file")
	must(t, err)
	must(t, src.Close())
	if err := src.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	_, err = src.Stat(t.Context(), "/file")
	wantError(t, err, "/file", fs.ErrClosed)
	_, err = src.Open(t.Context(), "/file")
	wantError(t, err, "/file", fs.ErrClosed)
}

// testDescriptors sees that a closed source leaves no descriptor behind, not even after refused and abandoned calls.
func testDescriptors(t *testing.T, newSource Maker) {
	root := t.TempDir()
	write(t, root, "file", random(3<<20))
	must(t, os.Symlink("file", filepath.Join(root, "link")))
	// The first source may open what stays: the poller, the resolver.
	first := newSource(t, root)
	readAll(t, first, "/file")
	must(t, first.Close())
	before := descriptors(t)
	src := newSource(t, root)
	for i := range 10 {
		readAll(t, src, "/file")
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*50*time.Microsecond)
		if f, err := src.Open(ctx, "/file"); err == nil {
			f.Close()
		}
		cancel()
		src.Open(t.Context(), "/link")
		src.ReadDir(t.Context(), "/")
	}
	must(t, src.Close())
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		after := descriptors(t)
		if after <= before {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors before, %d after", before, after)
		}
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

// Denied checks how missing rights are told. Run as root it becomes nobody for the time of the test, so that the rights
// are really missing for a local source; it must not run in parallel with other tests. A source that logs in elsewhere
// must log in as a user without special rights too.
func Denied(t *testing.T, newSource Maker) {
	root := t.TempDir()
	write(t, root, "secret", []byte("x"))
	write(t, root, "dir/below", []byte("x"))
	must(t, os.Chmod(filepath.Join(root, "secret"), 0))
	must(t, os.Chmod(filepath.Join(root, "dir"), 0))
	t.Cleanup(func() { os.Chmod(filepath.Join(root, "dir"), 0o755) })
	must(t, os.Chmod(root, 0o755))
	must(t, os.Chmod(filepath.Dir(root), 0o755))
	if os.Geteuid() == 0 {
		const nobody = 65534
		must(t, syscall.Seteuid(nobody))
		t.Cleanup(func() { must(t, syscall.Seteuid(0)) })
	}
	src := open(t, newSource, root)
	if info, err := src.Stat(t.Context(), "/secret"); err != nil || info.Size != 1 {
		t.Errorf("Stat of an unreadable file: %+v, %v", info, err)
	}
	_, err := src.Open(t.Context(), "/secret")
	wantError(t, err, "/secret", fs.ErrPermission)
	_, err = src.ReadDir(t.Context(), "/dir")
	wantError(t, err, "/dir", fs.ErrPermission)
	_, err = src.Stat(t.Context(), "/dir/below")
	wantError(t, err, "/dir/below", fs.ErrPermission)
	if errors.Is(err, fs.ErrNotExist) {
		t.Errorf("denied is told as missing: %v", err)
	}
}
