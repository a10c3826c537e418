package nfs_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"twintape/sources"
	"twintape/sources/nfs"
	"twintape/sources/nfs/ganeshatest"
	"twintape/sources/sourcetest"
)

// refusing exports a folder to another machine only.
func refusing(p string) ganeshatest.Export {
	return ganeshatest.Export{Path: p, Options: []string{"Access_Type = NONE;", "CLIENT { Clients = 203.0.113.1; Access_Type = RO; }"}}
}

func mkdirs(t *testing.T, top string, dirs ...string) {
	t.Helper()
	for _, d := range dirs {
		must(t, os.MkdirAll(filepath.Join(top, d), 0o755))
	}
}

func names(infos []sources.Info) string {
	var all []string
	for _, i := range infos {
		all = append(all, i.Name)
	}
	return strings.Join(all, " ")
}

// TestExports: each export shows at its own path, directories above lead there, a nested one hides what it lies upon, and one
// that is refused fails alone.
func TestExports(t *testing.T) {
	top := t.TempDir()
	mkdirs(t, top, "srv/a/sub/inner", "srv/a/sub/deep", "srv/b", "srv/refused")
	for name, data := range map[string]string{"srv/a/file": "of a", "srv/a/sub/deep/file": "of deep", "srv/b/file": "of b", "srv/refused/file": "secret"} {
		must(t, os.WriteFile(filepath.Join(top, name), []byte(data), 0o644))
	}
	for link, target := range map[string]string{
		"srv/a/toB": top + "/srv/b", "srv/a/sub/up": "../../b", "srv/a/loop": "loop/x", "srv/a/out": "/etc", "srv/a/chain": "sub/up", "srv/b/dot": "../a/./sub//deep/../deep",
	} {
		must(t, os.Symlink(target, filepath.Join(top, link)))
	}
	s := ganeshatest.Start(t, ganeshatest.Options{Exports: []ganeshatest.Export{
		{Path: top + "/srv/a"}, {Path: top + "/srv/a/sub/deep"}, {Path: top + "/srv/b"}, refusing(top + "/srv/refused"),
	}})
	for name, exports := range map[string][]string{
		"listed":     nil,
		"configured": {top + "/srv/b/", top + "/srv/a/sub/deep", top + "/srv/a", top + "/srv/refused"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(s, "")
			cfg.Exports = exports
			src := newSource(t, cfg)
			list := func(p, want string) {
				t.Helper()
				infos, err := src.ReadDir(t.Context(), p)
				if err != nil || names(infos) != want {
					t.Errorf("%s lists %q, %v, want %q", p, names(infos), err, want)
				}
				for _, i := range infos {
					if stat, err := src.Stat(t.Context(), filepath.Join(p, i.Name)); i.Name != "refused" && (err != nil || stat != i) {
						t.Errorf("%s/%s is listed as %+v and is %+v, %v", p, i.Name, i, stat, err)
					}
				}
			}
			first, _, _ := strings.Cut(top[1:], "/")
			list("/", first)
			list(filepath.Dir(top), filepath.Base(top))
			list(top, "srv")
			if exports == nil {
				list(top+"/srv", "a b") // ganesha lists to each only what he may have
			} else {
				list(top+"/srv", "a b refused")
			}
			list(top+"/srv/a", "chain file loop out sub toB")
			list(top+"/srv/a/sub", "deep inner up")
			list(top+"/srv/a/sub/deep", "file")

			read := func(p, want string) {
				t.Helper()
				f, err := src.Open(t.Context(), p)
				if err != nil {
					t.Error(err)
					return
				}
				buf := make([]byte, len(want))
				if _, err := f.ReadAt(t.Context(), buf, 0); err != nil || string(buf) != want {
					t.Errorf("%s holds %q, %v", p, buf, err)
				}
			}
			read(top+"/srv/a/file", "of a")
			read(top+"/srv/a/sub/deep/file", "of deep")
			read(top+"/srv/a/toB/file", "of b")
			read(top+"/srv/a/sub/up/file", "of b")
			read(top+"/srv/a/chain/file", "of b")
			read(top+"/srv/b/dot/file", "of deep")
			read(top+"/srv/a/chain/dot/file", "of deep")

			for p, want := range map[string]error{
				top + "/srv/a/loop/x":   syscall.ELOOP,
				top + "/srv/a/out/x":    fs.ErrNotExist,
				top + "/srv/missing":    fs.ErrNotExist,
				"/etc/passwd":           fs.ErrNotExist,
				top + "/srv/a/file/x":   syscall.ENOTDIR,
				top + "/srv/a/toB/none": fs.ErrNotExist,
			} {
				if _, err := src.Stat(t.Context(), p); !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", p, err, want)
				}
			}
			_, err := src.Stat(t.Context(), top+"/srv/refused/file")
			want, kind := "NFS export "+top+"/srv/refused refuses "+s.Client+": either there is no such export, or it is not exported to this machine (MNT3ERR_ACCES)", sources.ErrUnavailable
			if exports == nil {
				want, kind = "none of the host's NFS exports covers "+top+"/srv/refused", fs.ErrNotExist
			}
			if !errors.Is(err, kind) || !strings.Contains(err.Error(), want) {
				t.Errorf("refused: %v, want %q", err, want)
			}
			space, err := src.Space(t.Context(), top+"/srv/a")
			if err != nil || space.Total == 0 || space.Free > space.Total || space.Files == 0 {
				t.Errorf("Space: %+v, %v", space, err)
			}
			// Above, each file system once: all exports lie on one.
			above, err := src.Space(t.Context(), top)
			if err != nil || above.ID != space.ID || above.Total != space.Total {
				t.Errorf("Space above: %+v, %v, want %+v", above, err, space)
			}
		})
	}
	t.Run("missing", func(t *testing.T) {
		cfg := config(s, "")
		cfg.Exports = []string{"/nowhere"}
		src := newSource(t, cfg)
		_, err := src.Stat(t.Context(), "/nowhere/x")
		if !errors.Is(err, sources.ErrUnavailable) || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "NFS export /nowhere") {
			t.Errorf("%v", err)
		}
		t.Log(err)
		if _, err := src.Space(t.Context(), "/"); err == nil {
			t.Error("the size of no file system")
		}
		if infos, err := src.ReadDir(t.Context(), "/"); err != nil || names(infos) != "nowhere" {
			t.Errorf("%s, %v", names(infos), err)
		}
	})
}

// TestCredential: the server sees the configured user with his groups.
func TestCredential(t *testing.T) {
	s := start(t)
	root := t.TempDir()
	must(t, os.Chmod(root, 0o755))
	must(t, os.Chmod(filepath.Dir(root), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "group"), []byte("x"), 0o640))
	must(t, os.Chown(filepath.Join(root, "group"), 0, 4321))
	for _, c := range []struct {
		who  nfs.Credential
		want error
	}{
		{nfs.Credential{UID: 1234, GID: 1234}, fs.ErrPermission},
		{nfs.Credential{UID: 1234, GID: 4321}, nil},
		{nfs.Credential{UID: 1234, GID: 1234, GIDs: []uint32{7, 4321}}, nil},
	} {
		cfg := config(s, root)
		cfg.Credential = &c.who
		f, err := newSource(t, cfg).Open(t.Context(), "/group")
		if !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c.who, err, c.want)
		}
		if err == nil {
			if _, err := f.ReadAt(t.Context(), make([]byte, 1), 0); err != nil {
				t.Errorf("%+v: %v", c.who, err)
			}
		}
	}
}

// TestVersion4Only: the error says so, and what to do.
func TestVersion4Only(t *testing.T) {
	s := ganeshatest.Start(t, ganeshatest.Options{Exports: []ganeshatest.Export{{Path: t.TempDir()}}, Version4: true})
	for name, port := range map[string]int{"asked": 0, "configured": 2049} {
		cfg := config(s, "")
		cfg.NFSPort, cfg.Exports = port, []string{"/data"}
		_, err := newSource(t, cfg).Stat(t.Context(), "/data/x")
		if !errors.Is(err, sources.ErrUnavailable) || !strings.Contains(err.Error(), "NFSv4 only") || !strings.Contains(err.Error(), `as a "local" source`) {
			t.Errorf("%s: %v", name, err)
		}
		t.Log(err)
	}
}

// TestNoPortMapper: who knows the ports needs none, and who does not is told.
func TestNoPortMapper(t *testing.T) {
	s := start(t)
	root, data := bigFile(t, 1<<20)
	s.KillPortMapper()
	_, err := newSource(t, config(s, root)).Stat(t.Context(), "/big")
	if !errors.Is(err, sources.ErrUnavailable) || !strings.Contains(err.Error(), "configure nfs_port = 2049") {
		t.Errorf("%v", err)
	}
	t.Log(err)
	cfg := config(s, root)
	cfg.NFSPort, cfg.MountPort = 2049, ganeshatest.MountPort
	must(t, sourcetest.Whole(t.Context(), openBig(t, newSource(t, cfg)), data))
	s.Kill()
	_, err = newSource(t, config(s, root)).Stat(t.Context(), "/big")
	if !errors.Is(err, sources.ErrUnavailable) || !strings.Contains(err.Error(), "is the NFS server running?") {
		t.Errorf("%v", err)
	}
	t.Log(err)
}

// TestPrivilegedPort: a server that trusts only root's ports is read by root, and tells others what is missing.
func TestPrivilegedPort(t *testing.T) {
	dir := t.TempDir()
	s := ganeshatest.Start(t, ganeshatest.Options{Exports: []ganeshatest.Export{{Path: dir, Options: []string{"PrivilegedPort = true;"}}}})
	cfg := nfs.Config{Host: sourcetest.Host, Address: s.Addr, Root: dir}
	_, err := newSource(t, cfg).ReadDir(t.Context(), "/")
	must(t, err)
	must(t, syscall.Seteuid(65534))
	t.Cleanup(func() { must(t, syscall.Seteuid(0)) })
	_, err = newSource(t, cfg).ReadDir(t.Context(), "/")
	if !errors.Is(err, sources.ErrUnavailable) || !strings.Contains(err.Error(), `the export option "insecure"`) || !strings.Contains(err.Error(), "CAP_NET_BIND_SERVICE") {
		t.Errorf("%v", err)
	}
	t.Log(err)
}
