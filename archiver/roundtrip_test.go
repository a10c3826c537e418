package archiver_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"twintape/internal/ledger"
)

// tapeFiles cuts a virtual cartridge into its tape files, sharing no code with what wrote it: this is what dd does on a
// real tape.
func tapeFiles(t testing.TB, image string) [][]byte {
	t.Helper()
	data, err := os.ReadFile(image)
	must(t, err)
	var files [][]byte
	var file []byte
	for {
		n := binary.LittleEndian.Uint32(data)
		data = data[4:]
		switch n {
		case 0xFFFFFFFF:
			if file != nil {
				t.Fatal("the tape ends without a filemark")
			}
			return files
		case 0:
			files, file = append(files, file), nil
		default:
			file = append(file, data[:n]...)
			data = data[n+n&1+4:]
		}
	}
}

// extract unpacks all archives of a cartridge with GNU tar, and checks each with md5sum.
func (s *site) extract(barcode, dir string) {
	s.t.Helper()
	files := tapeFiles(s.t, filepath.Join(s.dir, "tapes", barcode+".tap"))
	for i, f := range files[1 : len(files)-1] {
		cmd := exec.Command("tar", "-b128", "--xattrs", "--xattrs-include=user.*", "--delay-directory-restore", "--warning=no-timestamp", "-xpf", "-", "-C", dir)
		cmd.Stdin = bytes.NewReader(f)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			s.t.Fatalf("tape file %d: tar: %v\n%s", i+1, err, out)
		}
	}
	sums, err := filepath.Glob(filepath.Join(dir, ".twintape/*/*.MD5SUMS"))
	must(s.t, err)
	if len(sums) == 0 {
		s.t.Fatal("no MD5SUMS came off the tape")
	}
	for _, list := range sums {
		cmd := exec.Command("md5sum", "--quiet", "--strict", "-c", list)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			s.t.Fatalf("md5sum -c %s: %v\n%s", filepath.Base(list), err, out)
		}
	}
}

// sameTree compares two trees: names, types, contents and all attributes that an archive keeps.
func sameTree(t *testing.T, want, got string) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(want, func(p string, d fs.DirEntry, err error) error {
		must(t, err)
		rel, err := filepath.Rel(want, p)
		must(t, err)
		q := filepath.Join(got, rel)
		var a, b unix.Stat_t
		must(t, unix.Lstat(p, &a))
		switch a.Mode & unix.S_IFMT {
		case unix.S_IFSOCK, unix.S_IFIFO:
			if err := unix.Lstat(q, &b); !errors.Is(err, unix.ENOENT) {
				t.Errorf("%q came back", rel)
			}
			return nil
		}
		if err := unix.Lstat(q, &b); err != nil {
			t.Errorf("%q did not come back: %v", rel, err)
			return nil
		}
		seen++
		if a.Mode != b.Mode || a.Uid != b.Uid || a.Gid != b.Gid || a.Mtim != b.Mtim || a.Mode&unix.S_IFMT != unix.S_IFDIR && (a.Size != b.Size || a.Nlink != b.Nlink) {
			t.Errorf("%q: mode %o, owner %d:%d, mtime %v, size %d, links %d came back as %o, %d:%d, %v, %d, %d", rel,
				a.Mode, a.Uid, a.Gid, a.Mtim, a.Size, a.Nlink, b.Mode, b.Uid, b.Gid, b.Mtim, b.Size, b.Nlink)
		}
		if d.Type()&fs.ModeSymlink != 0 {
			x, _ := os.Readlink(p)
			y, _ := os.Readlink(q)
			if x != y {
				t.Errorf("%q points to %q, came back pointing to %q", rel, x, y)
			}
		}
		if d.Type().IsRegular() {
			x, err := os.ReadFile(p)
			must(t, err)
			y, err := os.ReadFile(q)
			must(t, err)
			if !bytes.Equal(x, y) {
				t.Errorf("%q has other content", rel)
			}
		}
		return nil
	})
	must(t, err)
	extra := 0
	must(t, filepath.WalkDir(got, func(string, fs.DirEntry, error) error { extra++; return nil }))
	if extra != seen {
		t.Errorf("%d entries came back, %d were archived", extra, seen)
	}
}

// A tree that nobody here wrote comes back byte for byte with GNU tar alone, from either twin.
func TestRoundTripGOROOT(t *testing.T) {
	s := newSite(t, 1<<30)
	s.a.ArchiveSize = 64 << 20
	out, err := exec.Command("sh", "-ec", `cp -a "$(go env GOROOT)/src" "$1"`, "sh", s.data).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	q := s.queue("pot1:/src/*")
	if len(q.Items) < 50 || len(q.Problems) > 0 {
		t.Fatalf("queued %d items, problems %v", len(q.Items), q.Problems)
	}
	r, err := s.run()
	must(t, err)
	if r.Archived != len(q.Items) || !r.Good() {
		t.Fatalf("%d of %d items were archived", r.Archived, len(q.Items))
	}
	members := 0
	for it, err := range s.a.Ledger.Items(t.Context(), ledger.Filter{}) {
		must(t, err)
		members += int(it.Members)
	}
	if members < 10_000 {
		t.Errorf("the tree has only %d members", members)
	}
	back := t.TempDir()
	s.extract("PAPR2001", back)
	for _, it := range q.Items {
		sameTree(t, filepath.Join(s.data, it.Path), filepath.Join(back, "pot1", it.Path))
	}
	one := tapeFiles(t, filepath.Join(s.dir, "tapes", "PAPR1001.tap"))
	two := tapeFiles(t, filepath.Join(s.dir, "tapes", "PAPR2001.tap"))
	for i := range one[1:] {
		if !bytes.Equal(one[i+1], two[i+1]) {
			t.Errorf("tape file %d differs between the twins", i+1)
		}
	}
}

// Whatever a file system can hold comes back as it was, but sockets and pipes, which are told.
func TestRoundTripEverything(t *testing.T) {
	s := newSite(t, 64<<20)
	base := filepath.Join(s.data, "item")
	must(t, os.MkdirAll(filepath.Join(base, "empty dir"), 0o755))
	var every strings.Builder
	for c := 1; c < 256; c++ {
		if c != '/' {
			every.WriteByte(byte(c))
		}
	}
	long := strings.Repeat("n", 255)
	files := map[string]string{
		"empty": "", "one byte": "x", "-rf": "dash", " lead": "space", "new\nline": "nl", "back\\slash": "bs", "\xff\xfe": "no UTF-8",
		"ünïcödé": "utf8", every.String()[:127]: "low bytes", every.String()[127:]: "high bytes", long: "long name",
		filepath.Join("deep", long, long, long, "f"): "long path", "odd": strings.Repeat("o", 12345), "cr\r": "cr", "*?[a]": "glob",
	}
	for name, content := range files {
		p := filepath.Join(base, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		must(t, os.WriteFile(p, []byte(content), 0o640))
	}
	must(t, os.Truncate(filepath.Join(base, "one byte"), 3<<20)) // sparse
	must(t, os.Link(filepath.Join(base, "odd"), filepath.Join(base, "deep", "linked")))
	must(t, os.Symlink("odd", filepath.Join(base, "sym")))
	must(t, os.Symlink("/nowhere/"+strings.Repeat("x", 200), filepath.Join(base, "dangling\xff")))
	must(t, unix.Mkfifo(filepath.Join(base, "pipe"), 0o600))
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	must(t, err)
	defer unix.Close(socket)
	must(t, os.Chdir(base))
	must(t, unix.Bind(socket, &unix.SockaddrUnix{Name: "sock"}))
	must(t, os.Chdir(s.dir))
	must(t, os.Chmod(filepath.Join(base, "odd"), 0o4711))
	must(t, os.Chmod(filepath.Join(base, "empty"), 0))
	must(t, os.Chmod(filepath.Join(base, "deep"), 0o1777))
	if os.Getuid() == 0 {
		must(t, os.Lchown(filepath.Join(base, "cr\r"), 3_000_000, 12345))
	}
	if err := unix.Setxattr(filepath.Join(base, "odd"), "user.note", []byte("with\x00NUL and = %"), 0); err != nil && err != unix.ENOTSUP {
		t.Fatal(err)
	}
	must(t, os.WriteFile(filepath.Join(base, "ancient"), []byte("old"), 0o600))
	must(t, os.Chtimes(filepath.Join(base, "ancient"), time.Time{}, time.Unix(-86400*365*20, 999_999_999)))
	must(t, os.Chtimes(filepath.Join(base, "empty dir"), time.Time{}, time.Unix(4_000_000_000, 1)))

	leftOut := &recorder{}
	s.a.Events = leftOut
	s.queue("pot1:/item")
	r, err := s.run()
	must(t, err)
	if r.Archived != 1 || !r.Good() {
		t.Fatalf("the report is %+v", r)
	}
	if got := strings.Join(leftOut.leftOut(), " "); got != "pipe:fifo sock:socket" {
		t.Errorf("told as left out: %s", got)
	}
	back := t.TempDir()
	s.extract("PAPR1001", back)
	sameTree(t, base, filepath.Join(back, "pot1", "item"))
	value := make([]byte, 100)
	if n, err := unix.Getxattr(filepath.Join(back, "pot1/item/odd"), "user.note", value); err == nil && string(value[:n]) != "with\x00NUL and = %" {
		t.Errorf("the extended attribute came back as %q", value[:n])
	}
}

// What goes wrong with one item at planning is told, and the rest goes on.
func TestItemsThatCannotBe(t *testing.T) {
	s := newSite(t, 64<<20)
	s.observations(3, 1000)
	s.file("big/visdata", nil)
	must(t, os.Truncate(filepath.Join(s.data, "big/visdata"), 65<<20))
	must(t, os.Symlink("obs", filepath.Join(s.data, "link")))
	s.file("obs/zen.0009.uv/"+strings.Repeat("d/", 100)+"f", nil)
	q := s.queue("pot1:/obs/zen.*.uv", "pot1:/big", "pot1:/none/*", "pot1:/link")
	if len(q.Items) != 4 || len(q.Problems) != 3 {
		t.Fatalf("queued %d items, problems %v", len(q.Items), q.Problems)
	}
	for i, want := range []string{"link", "matches nothing", "needs 65 MiB on tape"} {
		found := false
		for _, p := range q.Problems {
			found = found || strings.Contains(p.Error(), want)
		}
		if !found {
			t.Errorf("problem %d: none says %q: %v", i, want, q.Problems)
		}
	}
	// One vanishes before the run, one has grown too large since.
	must(t, os.RemoveAll(filepath.Join(s.data, "obs/zen.0001.uv")))
	must(t, os.Truncate(filepath.Join(s.data, "obs/zen.0002.uv/visdata"), 65<<20))
	r, err := s.run()
	must(t, err)
	if r.Archived != 2 || len(r.Failed) != 2 || !r.Good() {
		t.Errorf("the report is %+v", r)
	}
	if got := s.states(); got[ledger.Failed] != 2 || got[ledger.Archived]+got[ledger.Deletable] != 2 {
		t.Errorf("the states are %v", got)
	}
}

// A changed item is a new version; an unchanged one is never archived again.
func TestAgain(t *testing.T) {
	s := newSite(t, 64<<20)
	s.observations(2, 1000)
	s.queue("pot1:/obs/zen.*.uv")
	_, err := s.run()
	must(t, err)
	s.file("obs/zen.0001.uv/visdata", pattern(7, 2000))
	outcomes := func(again bool) string {
		o := s.queueing(again)
		return fmt.Sprint(o)
	}
	if got := outcomes(false); got != "[archived changed]" {
		t.Errorf("queued anew: %s", got)
	}
	if got := outcomes(true); got != "[archived renewed]" {
		t.Errorf("queued again: %s", got)
	}
	r, err := s.run()
	must(t, err)
	if r.Archived != 1 || r.Job.Tapes != [2]string{"PAPR1001", "PAPR2001"} {
		t.Errorf("the report is %+v", r)
	}
	it, err := s.a.Ledger.ItemByPath(t.Context(), "pot1", "/obs/zen.0001.uv")
	must(t, err)
	if it.Version != 2 || len(it.Copies) != 2 {
		t.Errorf("the item is %+v", it)
	}
}

// An MD5 that is expected of a member and not found fails its item.
func TestExpected(t *testing.T) {
	s := newSite(t, 64<<20)
	s.observations(2, 1000)
	list := fmt.Sprintf(`{"path":"pot1:/obs/zen.0000.uv","member":"visdata","md5":"%s"}
{"path":"p:/obs/zen.0001.uv","member":"visdata","md5":"%s"}
`, md5Of(pattern(0, 1000)), md5Of(pattern(0, 1000)))
	expected := s.expectations(list)
	q, err := s.a.QueueAdd(t.Context(), nil, expected, queueOptions)
	must(t, err)
	if len(q.Items) != 2 || len(q.Problems) > 0 {
		t.Fatalf("queued %v, problems %v", q.Items, q.Problems)
	}
	r, err := s.run()
	must(t, err)
	if r.Archived != 1 || len(r.Failed) != 1 || !strings.Contains(r.Failed[0].Reason, "expected was") {
		t.Errorf("the report is %+v", r)
	}
	it, err := s.a.Ledger.ItemByPath(t.Context(), "pot1", "/obs/zen.0001.uv")
	must(t, err)
	if it.State != ledger.Failed || len(it.Copies) != 0 {
		t.Errorf("the item is %+v", it)
	}
}
