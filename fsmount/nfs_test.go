package fsmount_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"twintape/sources/nfs"
	"twintape/sources/nfs/ganeshatest"
)

// overNFS is a host behind a server that gives out everything a test makes.
func overNFS(s *ganeshatest.Server, name, root string, exports ...string) hostSpec {
	return hostSpec{Name: name, Alias: name[:1], NFS: &nfs.Config{Host: name, Address: s.Addr, Root: root, Exports: exports, Timeout: 20 * time.Second}}
}

func TestNFS(t *testing.T) {
	s := ganeshatest.Start(t, ganeshatest.Options{Exports: []ganeshatest.Export{{Path: os.TempDir()}}})
	dir := tree(t)
	for name, one := range map[string]bool{"all processors": false, "one processor": true} {
		t.Run(name, func(t *testing.T) {
			m := mount(t, site{Hosts: []hostSpec{overNFS(s, "pot1", dir)}, OneProcessor: one})
			everything(t, m, dir)
			space(t, m)
			m.stop()
		})
	}

	// The server is killed under a reader and started again, which the reader does not notice.
	m := mount(t, site{Hosts: []hostSpec{overNFS(s, "pot1", dir)}})
	f, err := os.Open(filepath.Join(m.mnt, "pot1/obs/zen.1.uv/visdata"))
	must(t, err)
	defer f.Close()
	begin := make([]byte, 12)
	_, err = io.ReadFull(f, begin)
	must(t, err)
	s.Restart()
	rest, err := io.ReadAll(f)
	if err != nil || len(rest) != 8_400_000-12 || string(rest[len(rest)-12:]) != "visibilities" {
		t.Errorf("behind a restart: %d bytes, %v", len(rest), err)
	}
	m.stop()
}

// An export that the host refuses fails alone, with what happened in the log.
func TestDeniedExport(t *testing.T) {
	open, shut := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(open, "f"), []byte("open"), 0o644))
	s := ganeshatest.Start(t, ganeshatest.Options{Exports: []ganeshatest.Export{{Path: open}, {Path: shut, Options: []string{"Access_Type = NONE;"}}}})
	m := mount(t, site{Hosts: []hostSpec{overNFS(s, "pot1", "/", open, shut)}})
	if _, err := os.ReadDir(filepath.Join(m.mnt, "pot1", shut)); !errors.Is(err, syscall.EACCES) {
		t.Errorf("a refused export: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(m.mnt, "pot1", open, "f")); err != nil || string(got) != "open" {
		t.Errorf("beside it: %q, %v", got, err)
	}
	m.stop()
	if said := m.said.String(); !strings.Contains(said, "NFS export "+shut+" refuses "+s.Client) {
		t.Errorf("the log says %q", said)
	}
}

// BenchmarkNFS reads a file of 1 GiB through the mount, and with libnfs's nfs-cat.
func BenchmarkNFS(b *testing.B) {
	const size = 1 << 30
	dir := big(b, size)
	s := ganeshatest.Start(b, ganeshatest.Options{Exports: []ganeshatest.Export{{Path: os.TempDir()}}})
	compare(b, size/1e6, "MB", func() time.Duration { return through(b, site{Hosts: []hostSpec{overNFS(s, "pot1", dir)}}, size) }, func() time.Duration {
		cmd := exec.Command("sh", "-c", fmt.Sprintf("nfs-cat 'nfs://%s%s/big?version=3' >/dev/null", s.Addr, dir))
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("nfs-cat: %v\n%s", err, out)
		}
		return time.Since(began)
	})
}
