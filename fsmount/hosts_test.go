package fsmount_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"twintape/sources/sftp"
	"twintape/sources/sftp/sftpserver"
	"twintape/sources/sftp/sshdtest"
)

// overSSH is a host behind a server.
func overSSH(s *sshdtest.Server, name, root string, timeout time.Duration) hostSpec {
	return hostSpec{Name: name, Alias: name[:1], SFTP: &sftp.Config{
		Host: name, Address: s.Addr, User: s.User, IdentityFile: s.IdentityFile, KnownHosts: s.KnownHosts, Root: root, Timeout: timeout,
	}}
}

func TestSSH(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	dir := tree(t)
	one := mount(t, site{Hosts: []hostSpec{overSSH(s, "pot1", dir, 20*time.Second)}, OneProcessor: true})
	everything(t, one, dir)
	one.stop()
	m := mount(t, site{Hosts: []hostSpec{overSSH(s, "pot1", dir, 20*time.Second)}})
	everything(t, m, dir)
	space(t, m)
	// The connections die under a reader, which hears nothing of it.
	f, err := os.Open(filepath.Join(m.mnt, "pot1/obs/zen.1.uv/visdata"))
	must(t, err)
	defer f.Close()
	first := make([]byte, 12)
	_, err = f.ReadAt(first, 0)
	must(t, err)
	s.KillConnections()
	last := make([]byte, 12)
	if _, err := f.ReadAt(last, 8_400_000-12); err != nil || string(last) != "visibilities" {
		t.Errorf("behind a broken connection: %q, %v", last, err)
	}
	f.Close()
	m.stop()
}

// A host that does not answer fails alone, in time, and listing the root asks nobody.
func TestDeadHosts(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // connections are taken, and nothing is said
	must(t, err)
	defer silent.Close()
	var asked sync.Map
	go func() {
		for n := 0; ; n++ {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			asked.Store(n, conn)
		}
	}()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	nobody := closed.Addr().String()
	must(t, closed.Close())
	key := sshdtest.Start(t, sshdtest.Options{})
	ssh := func(name, address string) hostSpec {
		return hostSpec{Name: name, SFTP: &sftp.Config{
			Host: name, Address: address, User: "root", IdentityFile: key.IdentityFile, KnownHosts: key.KnownHosts, Timeout: 2 * time.Second,
		}}
	}
	dir := tree(t)
	m := mount(t, site{Hosts: []hostSpec{{Name: "pot1", Root: dir}, ssh("hung", silent.Addr().String()), ssh("down", nobody)}})
	run(t, "ls", "-la", m.mnt)
	if _, ok := asked.Load(0); ok {
		t.Error("listing the root asked a host")
	}
	hung := make(chan error)
	go func() { _, err := os.ReadDir(filepath.Join(m.mnt, "hung/data")); hung <- err }()
	if _, err := os.ReadDir(filepath.Join(m.mnt, "down/data")); !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.EHOSTDOWN) {
		t.Errorf("a host that is down: %v", err)
	}
	run(t, "diff", "-r", "--no-dereference", dir+"/obs/zen.1.uv/flags", m.mnt+"/pot1/obs/zen.1.uv/flags")
	select {
	case err := <-hung:
		if !errors.Is(err, syscall.ETIMEDOUT) && !errors.Is(err, syscall.EHOSTDOWN) {
			t.Errorf("a host that hangs: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("a host that hangs hangs its users")
	}
	m.stop()
}

// A server without the limits extension, that sends no more than 32 KiB in one reply.
func TestSmallPackets(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	key, err := ssh.NewPublicKey(public)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	must(t, err)
	dir, files := tree(t), t.TempDir()
	s, err := sftpserver.Start(context.Background(), sftpserver.Config{Root: dir, Addr: "127.0.0.1:0", Authorized: key})
	must(t, err)
	defer s.Close()
	cfg := &sftp.Config{
		Host: "pot1", Address: s.Addr, User: "anyone", IdentityFile: filepath.Join(files, "identity"),
		KnownHosts: filepath.Join(files, "known_hosts"), Timeout: 20 * time.Second,
	}
	must(t, os.WriteFile(cfg.IdentityFile, pem.EncodeToMemory(block), 0o600))
	must(t, os.WriteFile(cfg.KnownHosts, []byte(knownhosts.Line([]string{s.Addr}, s.HostKey)+"\n"), 0o600))
	m := mount(t, site{Hosts: []hostSpec{{Name: "pot1", Alias: "p", SFTP: cfg}}})
	everything(t, m, dir)
	m.stop()
}

// A server that freezes under a reader fails that reader in time and no other, and is used again when it thaws; one that is
// killed and started again is not even noticed.
func TestServerThatFreezes(t *testing.T) {
	s, well := sshdtest.Start(t, sshdtest.Options{}), sshdtest.Start(t, sshdtest.Options{})
	dir := t.TempDir()
	data := bytes.Repeat([]byte("0123456789abcdef"), 2<<20)
	must(t, os.WriteFile(filepath.Join(dir, "big"), data, 0o644))
	m := mount(t, site{Hosts: []hostSpec{overSSH(s, "pot1", dir, 2*time.Second), overSSH(well, "xot2", dir, 20*time.Second)}, AttrTTL: time.Minute})
	half := func() *os.File {
		f, err := os.Open(filepath.Join(m.mnt, "pot1/big"))
		must(t, err)
		_, err = io.ReadFull(f, make([]byte, len(data)/4))
		must(t, err)
		return f
	}
	f := half()
	defer f.Close()
	s.Stop()
	failed := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, f); failed <- err }()
	if got, err := os.ReadFile(filepath.Join(m.mnt, "xot2/big")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("beside a frozen host: %d bytes, %v", len(got), err)
	}
	select {
	case err := <-failed:
		if !errors.Is(err, syscall.ETIMEDOUT) && !errors.Is(err, syscall.EHOSTDOWN) {
			t.Errorf("a frozen host: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("a frozen host hangs its reader")
	}
	s.Cont()
	deadline := time.Now().Add(30 * time.Second)
	for {
		got, err := os.ReadFile(filepath.Join(m.mnt, "pot1/big"))
		if err == nil && bytes.Equal(got, data) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a host that thawed: %d bytes, %v", len(got), err)
		}
	}

	g := half()
	defer g.Close()
	s.Restart()
	rest, err := io.ReadAll(g)
	if err != nil || !bytes.Equal(rest, data[len(data)/4:]) {
		t.Errorf("behind a restart: %d bytes, %v", len(rest), err)
	}
	m.stop()
}

// A host whose key is not the known one is not read from, and the log says why.
func TestWrongHostKey(t *testing.T) {
	s, other := sshdtest.Start(t, sshdtest.Options{}), sshdtest.Start(t, sshdtest.Options{})
	h := overSSH(s, "pot1", t.TempDir(), 5*time.Second)
	must(t, os.WriteFile(h.SFTP.KnownHosts, []byte(knownhosts.Line([]string{s.Addr}, other.HostKey)+"\n"), 0o600))
	m := mount(t, site{Hosts: []hostSpec{h}})
	if _, err := os.ReadDir(filepath.Join(m.mnt, "pot1")); !errors.Is(err, syscall.EHOSTDOWN) {
		t.Errorf("a wrong key: %v", err)
	}
	m.stop()
	if said := m.said.String(); !strings.Contains(said, "CHANGED") || !strings.Contains(said, "ssh-keygen -R") {
		t.Errorf("the log says %q", said)
	}
}

// A directory of 100,000 entries on a host behind SSH.
func TestManyEntriesOverSSH(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	dir := t.TempDir()
	const many = 100_000
	for i := range many {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06d", i)), nil, 0o644))
	}
	m := mount(t, site{Hosts: []hostSpec{overSSH(s, "pot1", dir, 30*time.Second)}, AttrTTL: time.Minute})
	if out := run(t, "bash", "-c", "find "+m.mnt+"/pot1 -type f -size 0 | wc -l"); strings.TrimSpace(out) != fmt.Sprint(many) {
		t.Errorf("find counts %s", out)
	}
	m.stop()
}
