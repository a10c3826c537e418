package virtual

import (
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What is read after a reload comes from where the cartridge lies, not from what its writer left in memory.
func TestReload(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	var fs unix.Statfs_t
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(unix.Statfs(dir, &fs))
	if fs.Type == unix.TMPFS_MAGIC { // there memory is the medium
		dir = filepath.Join(".", "testdata", "reload")
		must(os.MkdirAll(dir, 0o755))
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	must(Create(dir, Options{Drives: 1, Slots: 1}))
	lib, err := Open(dir)
	must(err)
	defer lib.Close()
	must(lib.AddCartridge("A1", 1<<30))
	must(lib.Load(ctx, 1, 0))
	d, err := lib.OpenDrive(ctx, 0)
	must(err)
	_, err = d.Load(ctx)
	must(err)
	const size, records = 4 << 20, 8
	for range records {
		must(d.WriteRecord(ctx, make([]byte, size)))
	}
	must(d.Flush(ctx))
	if got := inMemory(t, filepath.Join(dir, "A1.tap")); got < records*size/2 {
		t.Fatalf("only %d bytes are in memory before the reload: this proves nothing", got)
	}
	must(d.Unload(ctx))
	must(lib.Unload(ctx, 0, 1))
	must(lib.Load(ctx, 1, 0))
	_, err = d.Load(ctx)
	must(err)
	if got := inMemory(t, filepath.Join(dir, "A1.tap")); got > records*size/2 {
		t.Errorf("%d of %d bytes are in memory after the reload", got, records*size)
	}
}

// inMemory is how many bytes of a file are in the page cache (mincore(2)).
func inMemory(t *testing.T, name string) (bytes int) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m) //nolint:errcheck // the process ends soon
	page := os.Getpagesize()
	there := make([]byte, (len(m)+page-1)/page)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(unsafe.Pointer(&there[0]))); errno != 0 {
		t.Fatal(errno)
	}
	for _, b := range there {
		bytes += int(b&1) * page
	}
	return bytes
}
