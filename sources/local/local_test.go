package local_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"twintape/sources"
	"twintape/sources/local"
	"twintape/sources/sourcetest"
)

func newSource(t *testing.T, root string) sources.Source {
	t.Helper()
	src, err := local.New(sourcetest.Host, root)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestConformance(t *testing.T) { sourcetest.Run(t, newSource) }

func TestDenied(t *testing.T) { sourcetest.Denied(t, newSource) }

func TestNewRefusesRelativeRoot(t *testing.T) {
	if _, err := local.New("h", "data"); err == nil {
		t.Error("accepted")
	}
}

func TestRootMayComeAndGo(t *testing.T) {
	root := filepath.Join(t.TempDir(), "later")
	src := newSource(t, root)
	defer src.Close()
	if _, err := src.Stat(t.Context(), "/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without root: %v", err)
	}
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := src.ReadDir(t.Context(), "/"); err != nil {
		t.Errorf("with root: %v", err)
	}
}

// TestNothingOutsideTheRoot tries every way out; each must end at the file of the same name inside.
func TestNothingOutsideTheRoot(t *testing.T) {
	top := t.TempDir()
	root := filepath.Join(top, "root")
	for _, dir := range []string{root + "/sub", root + "/etc", top + "/etc"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for p, data := range map[string]string{top + "/etc/passwd": "outside", root + "/etc/passwd": "inside"} {
		if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"/sub/abs": "/etc", "/sub/up": "../../../../../../etc", "/sub/top": "../..", "/sub/proc": "/proc/self/root"} {
		if err := os.Symlink(target, root+link); err != nil {
			t.Fatal(err)
		}
	}
	src := newSource(t, root)
	defer src.Close()
	for _, p := range []string{"/etc/passwd", "/sub/abs/passwd", "/sub/up/passwd", "/sub/top/etc/passwd", "/../../etc/passwd", "/sub/../../../etc/passwd"} {
		f, err := src.Open(t.Context(), p)
		if err != nil {
			t.Error(err)
			continue
		}
		buf := make([]byte, 6)
		if _, err := f.ReadAt(t.Context(), buf, 0); err != nil || string(buf) != "inside" {
			t.Errorf("%s: %q, %v", p, buf, err)
		}
		f.Close()
	}
	if _, err := src.Stat(t.Context(), "/sub/proc/etc"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("/proc/self/root: %v", err)
	}
}

func TestXattrs(t *testing.T) {
	root := t.TempDir()
	p := filepath.Join(root, "file")
	if err := os.WriteFile(p, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	src, err := local.New(sourcetest.Host, root)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if attrs, err := src.Xattrs(t.Context(), "/file"); attrs != nil || err != nil {
		t.Errorf("none: %q, %v", attrs, err)
	}
	want := map[string]string{"user.plain": "value", "user.empty": "", "user.bytes": "\x00\xff\n"}
	for name, value := range want {
		if err := unix.Setxattr(p, name, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 { // only root can set one that does not belong to the data
		if err := unix.Setxattr(p, "trusted.label", []byte("x"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if attrs, err := src.Xattrs(t.Context(), "/file"); err != nil || !maps.Equal(attrs, want) {
		t.Errorf("Xattrs = %q, %v, want %q", attrs, err, want)
	}
	if attrs, err := src.Xattrs(t.Context(), "/link"); len(attrs) != 0 || err != nil {
		t.Errorf("of a symlink: %q, %v", attrs, err)
	}
	if _, err := src.Xattrs(t.Context(), "/missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func TestOwnerHasAName(t *testing.T) {
	src := newSource(t, t.TempDir())
	defer src.Close()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := src.Stat(t.Context(), "/"); err != nil || info.User != me.Username {
		t.Errorf("%+v, %v, want %s", info, err, me.Username)
	}
}

func TestUnknownOwnerHasNoName(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can give a file away: the owner stays known")
		return
	}
	root := t.TempDir()
	if err := os.Chown(root, 3999999999, 3999999998); err != nil {
		t.Fatal(err)
	}
	src := newSource(t, root)
	defer src.Close()
	info, err := src.Stat(t.Context(), "/")
	if err != nil || info.UID != 3999999999 || info.GID != 3999999998 || info.User != "" || info.Group != "" {
		t.Errorf("%+v, %v", info, err)
	}
}
