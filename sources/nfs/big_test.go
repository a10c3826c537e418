package nfs_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestHundredThousandEntries: a large directory comes whole and sorted.
func TestHundredThousandEntries(t *testing.T) {
	s := start(t)
	root := t.TempDir()
	const count = 100_000
	must(t, os.WriteFile(filepath.Join(root, "first"), []byte("abc"), 0o640))
	for i := range count {
		must(t, os.Link(filepath.Join(root, "first"), filepath.Join(root, fmt.Sprintf("zen.2456620.%06d.xx.uv", i))))
		if i == 50_000 { // ext4 has no more than 65,000 links
			must(t, os.Rename(filepath.Join(root, "first"), filepath.Join(root, "a")))
			must(t, os.WriteFile(filepath.Join(root, "first"), []byte("abc"), 0o640))
		}
	}
	src := newSource(t, config(s, root))
	infos, err := src.ReadDir(t.Context(), "/")
	must(t, err)
	if len(infos) != count+2 || infos[0].Name != "a" || infos[1].Name != "first" {
		t.Fatalf("%d entries, the first %+v", len(infos), infos[0])
	}
	for i, info := range infos[2:] {
		if info.Name != fmt.Sprintf("zen.2456620.%06d.xx.uv", i) || info.Size != 3 || info.Mode != 0o640 || info.Inode == 0 {
			t.Fatalf("entry %d is %+v", i, info)
		}
	}
}

// TestFarEnd reads behind 10 GB of nothing.
func TestFarEnd(t *testing.T) {
	s := start(t)
	root := t.TempDir()
	const size = 10_000_000_000
	f, err := os.Create(filepath.Join(root, "big"))
	must(t, err)
	must(t, f.Truncate(size))
	_, err = f.WriteAt([]byte("end"), size-3)
	must(t, err)
	must(t, f.Close())
	file := openBig(t, newSource(t, config(s, root)))
	buf := bytes.Repeat([]byte{1}, 5<<20)
	n, err := file.ReadAt(t.Context(), buf, size-4<<20)
	if n != 4<<20 || err != io.EOF || string(buf[n-3:n]) != "end" || !bytes.Equal(buf[:n-3], make([]byte, n-3)) || buf[n] != 1 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestEveryByte: names hold every byte but the two that cannot be.
func TestEveryByte(t *testing.T) {
	s := start(t)
	root := t.TempDir()
	for c := range 256 {
		if c == 0 || c == '/' {
			continue
		}
		dir := filepath.Join(root, "d"+string([]byte{byte(c)}))
		must(t, os.Mkdir(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, string([]byte{byte(c), 'f'})), []byte{byte(c)}, 0o644))
	}
	src := newSource(t, config(s, root))
	dirs, err := src.ReadDir(t.Context(), "/")
	must(t, err)
	if len(dirs) != 254 {
		t.Errorf("%d directories", len(dirs))
	}
	for _, d := range dirs {
		infos, err := src.ReadDir(t.Context(), "/"+d.Name)
		if err != nil || len(infos) != 1 || infos[0].Name != d.Name[1:]+"f" {
			t.Errorf("%q: %v, %v", d.Name, infos, err)
			continue
		}
		f, err := src.Open(t.Context(), "/"+d.Name+"/"+infos[0].Name)
		must(t, err)
		buf := make([]byte, 1)
		if _, err := f.ReadAt(t.Context(), buf, 0); err != nil || string(buf) != d.Name[1:] {
			t.Errorf("%q holds %q, %v", infos[0].Name, buf, err)
		}
	}
}
