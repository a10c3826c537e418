package sourcetest

import (
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"twintape/sources"
)

func write(t *testing.T, root, name string, data []byte) {
	t.Helper()
	p := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testAttributes(t *testing.T, newSource Maker) {
	root := t.TempDir()
	mtime := time.Unix(1356998400, 123456789)
	modes := map[string]fs.FileMode{
		"plain":  0o640,
		"setuid": 0o755 | fs.ModeSetuid,
		"setgid": 0o755 | fs.ModeSetgid,
		"none":   0,
		"dir":    0o750 | fs.ModeDir,
		"sticky": 0o777 | fs.ModeDir | fs.ModeSticky,
		"pipe":   0o600 | fs.ModeNamedPipe,
		"link":   0o777 | fs.ModeSymlink,
	}
	for name, mode := range modes {
		p := filepath.Join(root, name)
		switch mode.Type() {
		case fs.ModeDir:
			must(t, os.Mkdir(p, 0o700))
		case fs.ModeNamedPipe:
			must(t, unix.Mkfifo(p, 0o600))
		case fs.ModeSymlink:
			must(t, os.Symlink("plain", p))
			continue
		default:
			must(t, os.WriteFile(p, []byte("hello"), 0o600))
		}
		must(t, os.Chmod(p, mode))
		must(t, os.Chtimes(p, mtime, mtime))
	}
	me, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	must(t, err)
	src := open(t, newSource, root)
	for name, mode := range modes {
		info, err := src.Stat(t.Context(), "/"+name)
		if err != nil {
			t.Errorf("Stat: %v", err)
			continue
		}
		if info.Name != name || info.Mode != mode {
			t.Errorf("%s: name %q, mode %v, want %v", name, info.Name, info.Mode, mode)
		}
		var size int64
		if mode.IsRegular() || mode.Type() == fs.ModeSymlink {
			size = 5
		}
		if info.Size != size {
			t.Errorf("%s: size %d, want %d", name, info.Size, size)
		}
		if mode.Type() != fs.ModeSymlink && !info.MTime.Equal(mtime) && !info.MTime.Equal(mtime.Truncate(time.Second)) {
			t.Errorf("%s: mtime %v, want %v", name, info.MTime, mtime)
		}
		if info.UID != uint32(os.Geteuid()) || info.User != "" && info.User != me.Username {
			t.Errorf("%s: user %d %q, want %s %q", name, info.UID, info.User, me.Uid, me.Username)
		}
		if info.Nlink != 0 && (info.CTime.IsZero() || info.Inode == 0) {
			t.Errorf("%s: the source knows identity, but told ctime %v, inode %d", name, info.CTime, info.Inode)
		}
	}
	info, err := src.Stat(t.Context(), "/")
	if err != nil || info.Name != "/" || !info.Mode.IsDir() || info.Size != 0 {
		t.Errorf("root: %+v, %v", info, err)
	}
}

func testHostileNames(t *testing.T, newSource Maker) {
	names := []string{
		"new\nline", "-rf", " ", " lead", "trail ", "tab\tcr\r", "\xff\xfe", "é", "e\u0301", "*", "?[a-z]{b,c}", `back\slash`, "...",
		"'quote\"$(x)`y`", "colon:here", "\x01\x7f\x1b[31m", "%s%n", strings.Repeat("n", 255), "~", "#x", "\u202e",
	}
	root := t.TempDir()
	for _, name := range names {
		write(t, root, filepath.Join("d"+name[:min(len(name), 250)], name), []byte(name))
	}
	src := open(t, newSource, root)
	for _, name := range names {
		dir := "/d" + name[:min(len(name), 250)]
		infos, err := src.ReadDir(t.Context(), dir)
		if err != nil || len(infos) != 1 || infos[0].Name != name {
			t.Errorf("ReadDir(%q) = %+v, %v", dir, infos, err)
			continue
		}
		info, err := src.Stat(t.Context(), dir+"/"+name)
		if err != nil || info != infos[0] {
			t.Errorf("Stat(%q) = %+v, %v, listed as %+v", name, info, err, infos[0])
		}
		if got := readAll(t, src, dir+"/"+name); string(got) != name {
			t.Errorf("%q holds %q", name, got)
		}
	}
}

func testReadDir(t *testing.T, newSource Maker) {
	root := t.TempDir()
	var want []string
	for i := range 437 { // more than a server puts in one reply
		name := strconv.Itoa(i*7919) + strings.Repeat("x", i%50)
		write(t, root, "many/"+name, nil)
		want = append(want, name)
	}
	slices.Sort(want)
	must(t, os.Mkdir(filepath.Join(root, "empty"), 0o755))
	must(t, os.Symlink("many", filepath.Join(root, "link")))
	write(t, root, "file", nil)
	src := open(t, newSource, root)

	infos, err := src.ReadDir(t.Context(), "/many")
	must(t, err)
	var got []string
	for _, info := range infos {
		got = append(got, info.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %d names, want %d, sorted: %q", len(got), len(want), got)
	}
	if infos, err := src.ReadDir(t.Context(), "/empty"); err != nil || len(infos) != 0 {
		t.Errorf("empty folder: %v, %v", infos, err)
	}
	infos, err = src.ReadDir(t.Context(), "/")
	if err != nil || len(infos) != 4 || infos[2].Name != "link" || infos[2].Mode.Type() != fs.ModeSymlink {
		t.Errorf("root: %v, %v", infos, err)
	}
	// A symlink before the last element is the host's to follow.
	if infos, err := src.ReadDir(t.Context(), "/link/../many"); err != nil || len(infos) != len(want) {
		t.Errorf("through a symlink: %d entries, %v", len(infos), err)
	}
	for _, p := range []string{"/file", "/link"} {
		_, err := src.ReadDir(t.Context(), p)
		wantError(t, err, p, unix.ENOTDIR)
	}
}

func testReadlink(t *testing.T, newSource Maker) {
	root := t.TempDir()
	write(t, root, "file", nil)
	targets := []string{"file", "/absolute/dangling", "../../..", "\xff\n*", strings.Repeat("long/", 600), "./a//b/"}
	for i, target := range targets {
		must(t, os.Symlink(target, filepath.Join(root, strconv.Itoa(i))))
	}
	src := open(t, newSource, root)
	for i, target := range targets {
		p := "/" + strconv.Itoa(i)
		if got, err := src.Readlink(t.Context(), p); err != nil || got != target {
			t.Errorf("Readlink = %q, %v, want %q", got, err, target)
		}
		if info, err := src.Stat(t.Context(), p); err != nil || info.Size != int64(len(target)) || info.Mode.Type() != fs.ModeSymlink {
			t.Errorf("Stat = %+v, %v, want a symlink of %d bytes", info, err, len(target))
		}
	}
	_, err := src.Readlink(t.Context(), "/file")
	wantError(t, err, "/file", nil)
}

func testHardLinks(t *testing.T, newSource Maker) {
	root := t.TempDir()
	write(t, root, "a", []byte("same"))
	write(t, root, "c", []byte("same"))
	must(t, os.Link(filepath.Join(root, "a"), filepath.Join(root, "b")))
	src := open(t, newSource, root)
	infos, err := src.ReadDir(t.Context(), "/")
	must(t, err)
	a, b, c := infos[0], infos[1], infos[2]
	if a.Nlink == 0 {
		if a.Inode != 0 || a.Dev != 0 || b.Nlink != 0 {
			t.Errorf("a source without identities tells %+v and %+v", a, b)
		}
		return
	}
	if a.Nlink != 2 || b.Nlink != 2 || c.Nlink != 1 || a.Inode != b.Inode || a.Inode == c.Inode || a.Dev != b.Dev {
		t.Errorf("links a %+v, b %+v, and c %+v", a, b, c)
	}
}

func testOpenRefuses(t *testing.T, newSource Maker) {
	root := t.TempDir()
	write(t, root, "file", []byte("x"))
	must(t, os.Mkdir(filepath.Join(root, "dir"), 0o755))
	must(t, os.Symlink("file", filepath.Join(root, "link")))
	must(t, unix.Mkfifo(filepath.Join(root, "pipe"), 0o644)) // must not hang
	src := open(t, newSource, root)
	for _, p := range []string{"/dir", "/link", "/pipe", "/"} {
		f, err := src.Open(t.Context(), p)
		if err == nil {
			f.Close()
		}
		wantError(t, err, p, nil)
	}
}

func testMissing(t *testing.T, newSource Maker) {
	root := t.TempDir()
	write(t, root, "file", nil)
	src := open(t, newSource, root)
	calls := map[string]func(p string) error{
		"Stat":     func(p string) error { _, err := src.Stat(t.Context(), p); return err },
		"ReadDir":  func(p string) error { _, err := src.ReadDir(t.Context(), p); return err },
		"Readlink": func(p string) error { _, err := src.Readlink(t.Context(), p); return err },
		"Open":     func(p string) error { _, err := src.Open(t.Context(), p); return err },
	}
	for name, call := range calls {
		for _, p := range []string{"/missing", "/missing/too"} {
			t.Log(name, p)
			wantError(t, call(p), p, fs.ErrNotExist)
		}
		t.Log(name, "below a file")
		wantError(t, call("/file/below"), "/file/below", nil)
	}
}

func readAll(t *testing.T, src sources.Source, p string) []byte {
	t.Helper()
	f, err := src.Open(t.Context(), p)
	must(t, err)
	defer f.Close()
	info, err := f.Stat(t.Context())
	must(t, err)
	buf := make([]byte, info.Size)
	n, err := f.ReadAt(t.Context(), buf, 0)
	if err != nil || n != len(buf) {
		t.Fatalf("%s: read %d of %d bytes: %v", p, n, len(buf), err)
	}
	return buf
}
