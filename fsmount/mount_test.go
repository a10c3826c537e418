package fsmount_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	"twintape/fsmount"
	"twintape/sources"
	"twintape/sources/local"
	"twintape/sources/nfs"
	"twintape/sources/sftp"
)

// A mount is served by a process of its own, and used by this one: what serves a mount must not wait for it. Every program
// that is run over it has a deadline, and no mount outlives its test.

// childSite is the environment variable that makes a process serve a mount.
const childSite = "TWINTAPE_TEST_MOUNT"

// hostSpec is a host of a child's namespace.
type hostSpec struct {
	Name, Alias string
	Root        string
	Strict      bool // the mount must keep to what sources.File asks of it
	SFTP        *sftp.Config
	NFS         *nfs.Config
}

type site struct {
	Mountpoint    string
	Hosts         []hostSpec
	NoPassthrough bool
	OneProcessor  bool // GOMAXPROCS=1: nothing may wait for another thread
	AttrTTL       time.Duration
	Tapes         string // folder that stands for the tapes; none if empty
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childSite); text != "" {
		if err := serve(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func serve(text string) error {
	var s site
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	var hosts []sources.Host
	for _, h := range s.Hosts {
		host := sources.Host{Name: h.Name}
		if h.Alias != "" {
			host.Aliases = []string{h.Alias}
		}
		var err error
		switch {
		case h.SFTP != nil:
			host.Source = sftp.New(*h.SFTP)
		case h.NFS != nil:
			host.Source, err = nfs.New(*h.NFS)
		default:
			host.Source, err = local.New(h.Name, h.Root)
		}
		if err != nil {
			return err
		}
		if h.Strict {
			host.Source = strict{host.Source}
		}
		hosts = append(hosts, host)
	}
	ns, err := sources.NewNamespace(hosts)
	if err != nil {
		return err
	}
	defer ns.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	tell := func(text string) { fmt.Fprintln(os.Stderr, text) }
	cfg := fsmount.Config{Namespace: ns, AttrTTL: s.AttrTTL, CallLimit: 20 * time.Second, NoPassthrough: s.NoPassthrough, Problem: tell, Info: tell}
	if s.Tapes != "" {
		tapes, err := local.New("tapes", s.Tapes)
		if err != nil {
			return err
		}
		cfg.Tapes, cfg.RecallLimit = slow{tapes}, time.Hour
	}
	return fsmount.Serve(ctx, s.Mountpoint, cfg, func() { fmt.Println("ready") })
}

// server is a process that serves a mount.
type server struct {
	t     testing.TB
	mnt   string
	cmd   *exec.Cmd
	ended chan error
	said  bytes.Buffer // to be read when it has ended
}

// mount starts a process that serves hosts.
func mount(t testing.TB, s site) *server {
	t.Helper()
	if s.Mountpoint == "" {
		s.Mountpoint = t.TempDir()
	}
	if s.AttrTTL == 0 {
		s.AttrTTL = time.Second
	}
	text, err := json.Marshal(s)
	must(t, err)
	m := &server{t: t, mnt: s.Mountpoint, cmd: exec.Command(os.Args[0]), ended: make(chan error, 1)}
	m.cmd.Env = append(os.Environ(), childSite+"="+string(text))
	if s.OneProcessor {
		m.cmd.Env = append(m.cmd.Env, "GOMAXPROCS=1")
	}
	m.cmd.Stderr = &m.said
	out, err := m.cmd.StdoutPipe()
	must(t, err)
	must(t, m.cmd.Start())
	t.Cleanup(func() {
		m.cmd.Process.Kill() //nolint:errcheck // it may have ended
		if mounted(t, m.mnt) {
			must(t, unix.Unmount(m.mnt, unix.MNT_DETACH))
		}
		if t.Failed() {
			t.Logf("the server said:\n%s", m.said.String())
		}
	})
	ready := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		ready <- line
		m.ended <- m.cmd.Wait()
	}()
	select {
	case line := <-ready:
		if line != "ready\n" {
			<-m.ended
			t.Fatalf("no mount: %s", m.said.String())
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the mount is not ready")
	}
	return m
}

// stop ends the process as systemd does, and expects that it ends well and leaves nothing.
func (m *server) stop() {
	m.t.Helper()
	must(m.t, m.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-m.ended:
		if err != nil {
			m.t.Errorf("the server ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		m.t.Fatal("the server does not end")
	}
	if mounted(m.t, m.mnt) {
		m.t.Error("the mount was left")
	}
}

func mounted(t testing.TB, mnt string) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	return bytes.Contains(text, []byte(" "+mnt+" "))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs a program with a deadline and returns what it prints.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// tree makes files of all kinds, with names of every byte that a name can have.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "obs/zen.1.uv/empty"), 0o755))
	for c := 1; c < 256; c++ {
		if c != '/' {
			must(t, os.WriteFile(filepath.Join(dir, "obs", "nx"+string([]byte{byte(c)})), []byte{byte(c)}, 0o640))
		}
	}
	must(t, os.MkdirAll(filepath.Join(dir, "small/d"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "small/d/f"), []byte("x"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "obs/zen.1.uv/visdata"), bytes.Repeat([]byte("visibilities"), 700_000), 0o444))
	must(t, os.WriteFile(filepath.Join(dir, "obs/zen.1.uv/flags"), nil, 0o600))
	must(t, os.Link(filepath.Join(dir, "obs/zen.1.uv/visdata"), filepath.Join(dir, "obs/zen.1.uv/again")))
	must(t, os.Symlink("visdata", filepath.Join(dir, "obs/zen.1.uv/link")))
	must(t, os.Symlink("/obs/zen.1.uv/visdata", filepath.Join(dir, "obs/zen.1.uv/absolute")))
	must(t, os.Symlink("../../../../etc/passwd", filepath.Join(dir, "obs/zen.1.uv/escape")))
	must(t, os.Chtimes(filepath.Join(dir, "obs/zen.1.uv/flags"), time.Time{}, time.Unix(1_000_000_007, 123_456_789)))
	far, err := os.Create(filepath.Join(dir, "far"))
	must(t, err)
	_, err = far.WriteAt([]byte("the end"), 10<<30)
	must(t, errors.Join(err, far.Close()))
	return dir
}

// everything is what holds of a mount whatever its host is.
func everything(t *testing.T, m *server, dir string) {
	host := filepath.Join(m.mnt, "pot1")
	// diff follows symlinks; those that cannot be compared so are looked at below.
	run(t, "diff", "-r", "--no-dereference", "-x", "absolute", "-x", "escape", "-x", "far", dir, host)
	if a, b := run(t, "bash", "-c", "cd "+dir+"/obs && find . | sort | md5sum"), run(t, "bash", "-c", "cd "+host+"/obs && find . | sort | md5sum"); a != b {
		t.Errorf("find lists something else: %s, %s", a, b)
	}
	if a, b := run(t, "bash", "-c", "cd "+dir+" && tar cf - obs/zen.1.uv/visdata obs/nxa | md5sum"),
		run(t, "bash", "-c", "cd "+host+" && tar cf - obs/zen.1.uv/visdata obs/nxa | md5sum"); a != b {
		t.Errorf("tar makes something else: %s, %s", a, b)
	}
	if out := run(t, "rsync", "-rlpt", "--checksum", "--dry-run", "--itemize-changes", "--exclude", "absolute", "--exclude", "escape", dir+"/obs/", host+"/obs/"); out != "" {
		t.Errorf("rsync would change something:\n%s", out)
	}
	for _, name := range []string{"obs", "obs/zen.1.uv/visdata", "obs/zen.1.uv/flags", "obs/zen.1.uv/again", "obs/zen.1.uv/link", "far"} {
		var a, b unix.Stat_t
		must(t, unix.Lstat(filepath.Join(dir, name), &a))
		must(t, unix.Lstat(filepath.Join(host, name), &b))
		if a.Mode != b.Mode || a.Uid != b.Uid || a.Mtim.Sec != b.Mtim.Sec || a.Mode&unix.S_IFMT != unix.S_IFDIR && a.Size != b.Size {
			t.Errorf("%s: %+v, want %+v", name, b, a)
		}
		if a.Mode&unix.S_IFMT == unix.S_IFDIR && b.Nlink != 1 {
			t.Errorf("%s has %d links: find would skip what is below", name, b.Nlink)
		}
	}
	if target, err := os.Readlink(filepath.Join(host, "obs/zen.1.uv/absolute")); err != nil || target != "../../obs/zen.1.uv/visdata" {
		t.Errorf("the absolute symlink points to %q, %v", target, err)
	}
	if a, err := os.ReadFile(filepath.Join(host, "obs/zen.1.uv/absolute")); err != nil || len(a) != 8_400_000 {
		t.Errorf("through it %d bytes are read, %v", len(a), err)
	}
	if _, err := os.ReadFile(filepath.Join(host, "obs/zen.1.uv/escape")); !errors.Is(err, syscall.EXDEV) {
		t.Errorf("a symlink out of the host's root: %v", err)
	}
	far, err := os.Open(filepath.Join(host, "far"))
	must(t, err)
	defer far.Close()
	end := make([]byte, 100)
	if n, _ := far.ReadAt(end, 10<<30); string(end[:n]) != "the end" {
		t.Errorf("the far end is %q", end[:n])
	}
	// Names and aliases, with a colon too; they are not listed.
	for _, name := range []string{"pot1", "p", "pot1:", "p:"} {
		if got, err := os.ReadFile(filepath.Join(m.mnt, name, "obs/nxa")); err != nil || string(got) != "a" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := os.Stat(filepath.Join(m.mnt, "pot9")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unknown host: %v", err)
	}
	listed, err := os.ReadDir(m.mnt)
	must(t, err)
	if len(listed) != 1 || listed[0].Name() != "pot1" {
		t.Errorf("the root lists %v", listed)
	}
	for what, err := range map[string]error{
		"create": os.WriteFile(filepath.Join(host, "obs/new"), nil, 0o644),
		"write":  func() error { _, err := os.OpenFile(filepath.Join(host, "obs/nxa"), os.O_WRONLY, 0); return err }(),
		"mkdir":  os.Mkdir(filepath.Join(m.mnt, "new"), 0o755),
		"remove": os.Remove(filepath.Join(host, "obs/nxa")),
		"rename": os.Rename(filepath.Join(host, "obs/nxa"), filepath.Join(host, "obs/nxb2")),
		"chmod":  os.Chmod(filepath.Join(host, "obs/nxa"), 0o777),
	} {
		if !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v, want %v", what, err, syscall.EROFS)
		}
	}
	value := make([]byte, 100)
	if n, err := unix.Getxattr(filepath.Join(m.mnt, "p:/obs/nxa"), "user.twintape.host", value); err != nil || string(value[:n]) != "pot1" {
		t.Errorf("its host is %q, %v", value[:max(n, 0)], err)
	}
	// Many readers at once, of one file and of many.
	want := md5.Sum(bytes.Repeat([]byte("visibilities"), 700_000))
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			got, err := os.ReadFile(filepath.Join(host, "obs/zen.1.uv/visdata"))
			if err != nil || md5.Sum(got) != want {
				t.Errorf("one of many readers got %d bytes, %v", len(got), err)
			}
		})
	}
	readers.Wait()
}

// space is what a host says of its file system, where it can.
func space(t *testing.T, m *server) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Join(m.mnt, "pot1"), &st); err != nil || st.Blocks == 0 || st.Bavail > st.Blocks {
		t.Errorf("statfs: %+v, %v", st, err)
	}
}

func TestLocal(t *testing.T) {
	for name, s := range map[string]site{"passthrough": {}, "plain reads": {NoPassthrough: true}, "one processor": {NoPassthrough: true, OneProcessor: true}} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t)
			s.Hosts = []hostSpec{{Name: "pot1", Alias: "p", Root: dir}}
			m := mount(t, s)
			everything(t, m, dir)
			space(t, m)
			// Hard links are one file.
			var a, b unix.Stat_t
			must(t, unix.Lstat(filepath.Join(m.mnt, "pot1/obs/zen.1.uv/visdata"), &a))
			must(t, unix.Lstat(filepath.Join(m.mnt, "pot1/obs/zen.1.uv/again"), &b))
			if a.Ino != b.Ino || a.Nlink != 2 {
				t.Errorf("two names of a file have inodes %d and %d, %d links", a.Ino, b.Ino, a.Nlink)
			}
			must(t, fstest.TestFS(os.DirFS(filepath.Join(m.mnt, "pot1/small")), "d/f"))
			m.stop()
		})
	}
}

// SIGTERM ends a mount that is in use, and a mount that a killed process left is taken away by the next.
func TestEnds(t *testing.T) {
	dir := tree(t)
	hosts := []hostSpec{{Name: "pot1", Root: dir}}
	m := mount(t, site{Hosts: hosts, NoPassthrough: true})
	f, err := os.Open(filepath.Join(m.mnt, "pot1/obs/zen.1.uv/visdata"))
	must(t, err)
	m.stop()
	f.Close()

	m = mount(t, site{Hosts: hosts})
	must(t, m.cmd.Process.Kill())
	<-m.ended
	if _, err := os.ReadDir(m.mnt); !errors.Is(err, syscall.ENOTCONN) {
		t.Fatalf("a mount whose process is gone: %v", err)
	}
	again := mount(t, site{Hosts: hosts, Mountpoint: m.mnt})
	if got, err := os.ReadFile(filepath.Join(m.mnt, "pot1/obs/nxa")); err != nil || string(got) != "a" {
		t.Errorf("mounted again: %q, %v", got, err)
	}
	run(t, "umount", m.mnt)
	select {
	case err := <-again.ended:
		must(t, err)
	case <-time.After(30 * time.Second):
		t.Error("the server does not end when it is unmounted")
	}
}

// A directory of 100,000 entries is listed whole.
func TestManyEntries(t *testing.T) {
	dir := t.TempDir()
	const many = 100_000
	for i := range many {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06d", i)), nil, 0o644))
	}
	m := mount(t, site{Hosts: []hostSpec{{Name: "pot1", Root: dir}}, AttrTTL: time.Minute})
	if out := run(t, "bash", "-c", "find "+m.mnt+"/pot1 -type f -size 0 | wc -l"); strings.TrimSpace(out) != fmt.Sprint(many) {
		t.Errorf("find counts %s", out)
	}
	m.stop()
}

// What changed at the host is seen when attr_ttl is over, and no stale page with it.
func TestChanges(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	must(t, os.WriteFile(name, []byte("one"), 0o644))
	m := mount(t, site{Hosts: []hostSpec{{Name: "pot1", Root: dir}}, NoPassthrough: true, AttrTTL: 20 * time.Millisecond})
	seen := filepath.Join(m.mnt, "pot1/f")
	for i := range 20 {
		text := fmt.Sprintf("content %d, as long as before", i%10)
		must(t, os.WriteFile(name, []byte(text), 0o644))
		must(t, os.Chtimes(name, time.Time{}, time.Unix(int64(1_000_000_000+i), 0)))
		deadline := time.Now().Add(20 * time.Second)
		for {
			got, err := os.ReadFile(seen)
			if err == nil && string(got) == text {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%q is read, %v, want %q", got, err, text)
			}
		}
	}
	must(t, os.Remove(name))
	deadline := time.Now().Add(20 * time.Second)
	for {
		if _, err := os.Stat(seen); errors.Is(err, fs.ErrNotExist) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a removed file is still there")
		}
	}
	m.stop()
}
