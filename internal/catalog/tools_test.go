package catalog

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// run runs a tool in dir and returns what it said; it must exit with the given code.
func run(t *testing.T, dir string, code int, stdin []byte, env string, args ...string) string {
	t.Helper()
	c := exec.Command(args[0], args[1:]...)
	c.Dir, c.Stdin, c.Env = dir, bytes.NewReader(stdin), append(os.Environ(), env)
	out, err := c.CombinedOutput()
	if c.ProcessState == nil || c.ProcessState.ExitCode() != code {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// extractors are the tools that must be able to read an archive, with their environments.
var extractors = map[string]struct {
	env  string
	args []string
}{
	"GNU tar":          {"LC_ALL=C.UTF-8", []string{"tar", "-b", "8", "--no-same-owner", "--warning=no-timestamp", "--xattrs", "--xattrs-include=user.*", "-xpf", "-"}},
	"GNU tar C locale": {"LC_ALL=C", []string{"tar", "--no-same-owner", "--warning=no-timestamp", "--xattrs", "--xattrs-include=user.*", "-xpf", "-"}},
	"Python": {"LC_ALL=C.UTF-8", []string{"python3", "-c", `
import sys, tarfile
tarfile.TarFile.chown = lambda *a, **k: None
tarfile.open(fileobj=sys.stdin.buffer, mode="r|").extractall(filter="fully_trusted")`}},
}

// asFiles makes metadata what a file system would give and a user who is not root can extract and look at.
func asFiles(a *Archive) {
	files := map[string]*Entry{}
	for e := range a.onTape() {
		e.MTime = e.MTime.UTC()
		if y := e.MTime.Year(); y < 1902 || y > 2400 {
			e.MTime = time.Unix(1e9, 1).UTC()
		}
		e.Mode |= 0o600
		switch e.Type {
		case Dir:
			e.Mode |= 0o700
		case File:
			files[e.Path] = e
		case Hardlink:
			e.Mode, e.MTime = files[e.Link].Mode, files[e.Link].MTime
		}
		if e != &a.Items[0].Entries[0] {
			e.Xattrs = nil
		}
	}
	// As few file systems keep an attribute of 0 bytes or a name that is not UTF-8 alike, these stay with the round trips.
	a.Items[0].Entries[0].Xattrs = map[string]string{"user.a=b%": "\x00\xff", "user.note": "naïve"}
}

func TestToolsExtract(t *testing.T) {
	for name, tool := range extractors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range 8 {
				a := rapid.Custom(func(t *rapid.T) *Archive { return archive(t, 3000) }).Example(seed)
				if seed == 0 {
					a = goldenArchive()
					a.Items[0].Entries[5].Bad = ""
				}
				asFiles(a)
				_, b := build(t, a)
				dir := t.TempDir()
				if out := run(t, dir, 0, b, tool.env, tool.args...); out != "" {
					t.Fatalf("extracting says:\n%s", out)
				}
				for e := range a.onTape() {
					checkExtracted(t, dir, e, name == "Python")
				}
				run(t, dir, 0, nil, tool.env, "sh", "-c", "test ! -s .twintape/*/*.MD5SUMS || md5sum --strict --quiet -c .twintape/*/*.MD5SUMS")
			}
		})
	}
}

func checkExtracted(t *testing.T, dir string, e *Entry, noXattrs bool) {
	t.Helper()
	name := filepath.Join(dir, e.Host+e.Path)
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	wantMode := map[Type]uint32{File: syscall.S_IFREG, Hardlink: syscall.S_IFREG, Dir: syscall.S_IFDIR, Symlink: syscall.S_IFLNK}[e.Type]
	if e.Type != Symlink {
		wantMode |= e.Mode
	}
	if got := st.Mode; got != wantMode && !(e.Type == Symlink && got&syscall.S_IFMT == wantMode) {
		t.Errorf("%q has mode %o, want %o", name, got, wantMode)
	}
	if e.Type != Symlink && !sameTime(info.ModTime(), e.MTime, noXattrs) {
		t.Errorf("%q has mtime %v, want %v", name, info.ModTime().UTC(), e.MTime)
	}
	switch e.Type {
	case File:
		if b, err := os.ReadFile(name); err != nil || !bytes.Equal(b, content(e)) {
			t.Errorf("%q: data differs: %v", name, err)
		}
	case Symlink:
		if got, err := os.Readlink(name); err != nil || got != e.Link {
			t.Errorf("%q: link to %q, want %q: %v", name, got, e.Link, err)
		}
	case Hardlink:
		if first, err := os.Lstat(filepath.Join(dir, e.Host+e.Link)); err != nil || !os.SameFile(first, info) {
			t.Errorf("%q is not the same file as %q: %v", name, e.Link, err)
		}
	}
	if noXattrs {
		return
	}
	for k, v := range e.Xattrs {
		var buf [64]byte
		if n, err := unix.Lgetxattr(name, k, buf[:]); err != nil || string(buf[:n]) != v {
			t.Errorf("%q: attribute %s is %q, want %q: %v", name, k, buf[:max(n, 0)], v, err)
		}
	}
}

// sameTime compares times; Python keeps them in a float.
func sameTime(got, want time.Time, float bool) bool {
	return got.Equal(want) || float && math.Abs(got.Sub(want).Seconds()) < 1e-5
}

// md5sum names exactly the members that are bad.
func TestMD5SumNamesBadMembers(t *testing.T) {
	a := goldenArchive()
	asFiles(a)
	_, b := build(t, a)
	dir := t.TempDir()
	run(t, dir, 0, b, extractors["GNU tar"].env, extractors["GNU tar"].args...)
	out := run(t, dir, 1, nil, "LC_ALL=C", "sh", "-c", "md5sum --strict -c .twintape/*/*.MD5SUMS 2>/dev/null")
	if strings.Count(out, ": OK\n") != 5 || strings.Count(out, "FAILED") != 1 || !strings.Contains(out, "/shrank: FAILED\n") {
		t.Fatal(out)
	}
}

// Files too large for the header's octal size are carried whole.
func TestToolsListHugeFile(t *testing.T) {
	a := goldenArchive()
	size := int64(9<<30 + 1)
	a.Items = a.Items[:1]
	a.Items[0].Entries = a.Items[0].Entries[:2]
	a.Items[0].Entries[1].Size = size
	name := filepath.Join(t.TempDir(), "sparse.tar")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	at := int64(0)
	for p, err := range a.Pieces() {
		if err != nil {
			t.Fatal(err)
		}
		b := p.Literal
		if p.Sums > 0 {
			b = a.SumsText()
		}
		if p.Data != nil {
			at += p.Data.Size
			continue
		}
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
		at += int64(len(b))
	}
	want := fmt.Sprint(size)
	if out := run(t, ".", 0, nil, "LC_ALL=C", "tar", "-tvf", name); !strings.Contains(out, want) || !strings.Contains(out, "1.MD5SUMS") {
		t.Fatal(out)
	}
	list := `import sys, tarfile; [print(m.name, m.size) for m in tarfile.open(sys.argv[1])]`
	if out := run(t, ".", 0, nil, "LC_ALL=C.UTF-8", "python3", "-c", list, name); !strings.Contains(out, want) || !strings.Contains(out, "1.MD5SUMS") {
		t.Fatal(out)
	}
}

// What the label tells to type reads the catalog's tape file.
func TestToolsReadCatalog(t *testing.T) {
	label, _, file := goldenTape(t)
	if !bytes.Contains(label, []byte("tar -b 8 -xOf /dev/nst0 --wildcards '.twintape/*/catalog.jsonl'")) {
		t.Fatal("the label tells another command")
	}
	out := run(t, t.TempDir(), 0, file, "LC_ALL=C", "tar", "-b", "8", "-xOf", "-", "--wildcards", ".twintape/*/catalog.jsonl")
	if out != string(goldenLines(t)) {
		t.Fatal("the catalog differs from what was written")
	}
	dir := t.TempDir()
	run(t, dir, 0, file, "LC_ALL=C", "tar", "-b", "8", "-xpf", "-")
	run(t, dir, 0, nil, "LC_ALL=C", "sh", "-c", "md5sum --strict --quiet -c .twintape/*/*MD5SUMS")
}

// The program in the format's document, which shares no code with this package, reads a cartridge and finds a flip.
func TestDocumentedReader(t *testing.T) {
	doc, err := os.ReadFile("../../docs/tape-format.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(doc), "```python\n")
	program, _, ok := strings.Cut(after, "```")
	if !ok {
		t.Fatal("no program in the document")
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "readtap.py")
	if err := os.WriteFile(script, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	tape, err := os.ReadFile("testdata/PAPR1001.tap")
	if err != nil {
		t.Fatal(err)
	}
	cartridge := filepath.Join(dir, "PAPR1001.tap")
	for at, wantCode := range map[int]int{-1: 0, 4096 + 4 + 4096 + 20000: 1} {
		b := bytes.Clone(tape)
		if at >= 0 {
			b[at] ^= 1
		}
		if err := os.WriteFile(cartridge, b, 0o600); err != nil {
			t.Fatal(err)
		}
		out := run(t, dir, wantCode, nil, "LC_ALL=C.UTF-8", "python3", script, cartridge)
		if wantCode == 0 && (!strings.Contains(out, "PAPR1001") || !strings.Contains(out, "5 files good, 1 bad when the tape was written, 0 damages found")) {
			t.Fatal(out)
		}
	}
}
