package guest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// archive writes the cpio archive (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst) that an initramfs is. The
// folders of what it holds are made with it. The first error stays until close.
type archive struct {
	w    *bufio.Writer
	ino  int
	have map[string]bool
	err  error
}

func newArchive(w io.Writer) *archive {
	return &archive{w: bufio.NewWriterSize(w, 1<<20), have: make(map[string]bool)}
}

// Types of inodes.
const (
	typeDir     = 0o040000
	typeRegular = 0o100000
	typeSymlink = 0o120000
)

// entry writes the header of an entry whose data follows.
func (a *archive) entry(name string, mode uint32, size int64) {
	name = strings.TrimPrefix(path.Clean(name), "/")
	if dir := path.Dir(name); dir != "." && !a.have[dir] {
		a.dir(dir)
	}
	a.header(name, mode, size)
}

func (a *archive) header(name string, mode uint32, size int64) {
	a.ino++
	h := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		a.ino, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name)+1, 0, name)
	a.write(h + padding(int64(len(h))))
}

// padding fills up to the next multiple of four.
func padding(n int64) string { return "\x00\x00\x00"[:(4-n%4)%4] }

func (a *archive) write(s string) {
	if a.err == nil {
		_, a.err = a.w.WriteString(s)
	}
}

func (a *archive) dir(name string) {
	a.have[path.Clean(strings.TrimPrefix(name, "/"))] = true
	a.entry(name, typeDir|0o755, 0)
}

func (a *archive) text(name, text string, perm uint32) {
	a.entry(name, typeRegular|perm, int64(len(text)))
	a.write(text + padding(int64(len(text))))
}

func (a *archive) symlink(name, target string) {
	a.entry(name, typeSymlink|0o777, int64(len(target)))
	a.write(target + padding(int64(len(target))))
}

// file copies a file of this machine.
func (a *archive) file(name, from string) {
	if a.err != nil {
		return
	}
	f, err := os.Open(from)
	if err != nil {
		a.err = err
		return
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		a.err = err
		return
	}
	a.entry(name, typeRegular|uint32(fi.Mode().Perm()), fi.Size())
	if a.err == nil {
		_, a.err = io.CopyN(a.w, f, fi.Size())
	}
	a.write(padding(fi.Size()))
}

func (a *archive) close() error {
	a.header("TRAILER!!!", 0, 0)
	if a.err != nil {
		return a.err
	}
	return a.w.Flush()
}
