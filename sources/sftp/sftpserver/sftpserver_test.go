package sftpserver_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net"
	"os"
	"path/filepath"
	"testing"

	client "github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"twintape/sources/sftp/sftpserver"
)

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func login(s *sftpserver.Server, signer ssh.Signer) (*ssh.Client, error) {
	return ssh.Dial("tcp", s.Addr, &ssh.ClientConfig{
		User: "anyone", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(s.HostKey),
	})
}

func TestServesReadOnlyToItsKey(t *testing.T) {
	top := t.TempDir()
	root := filepath.Join(top, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for p, data := range map[string]string{top + "/outside": "out", root + "/inside": "in"} {
		if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../outside", root+"/link"); err != nil {
		t.Fatal(err)
	}
	key := newSigner(t)
	ctx, cancel := context.WithCancel(t.Context())
	s, err := sftpserver.Start(ctx, sftpserver.Config{Root: root, Addr: "127.0.0.1:0", Authorized: key.PublicKey()})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := login(s, newSigner(t)); err == nil {
		c.Close()
		t.Error("a foreign key may log in")
	}
	conn, err := login(s, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Open("/inside")
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2)
	if _, err := f.ReadAt(buf, 0); err != nil || string(buf) != "in" {
		t.Errorf("%q, %v", buf, err)
	}
	for _, p := range []string{"/link", "/../outside", "/missing", "/"} {
		if f, err := c.Open(p); err == nil {
			f.Close()
			t.Errorf("%s can be opened", p)
		}
	}
	if _, err := c.Create("/new"); err == nil {
		t.Error("a file can be made")
	}
	if f, err := c.OpenFile("/inside", os.O_RDWR); err == nil {
		f.Close()
		t.Error("a file can be opened for writing")
	}
	for what, err := range map[string]error{
		"removed": c.Remove("/inside"), "renamed": c.Rename("/inside", "/x"), "made a folder": c.Mkdir("/x"),
		"truncated": c.Truncate("/inside", 0), "chmod": c.Chmod("/inside", 0), "linked": c.Symlink("inside", "/x"),
	} {
		if err == nil {
			t.Errorf("can be %s", what)
		}
	}
	if data, err := os.ReadFile(root + "/inside"); err != nil || string(data) != "in" {
		t.Errorf("the file is now %q, %v", data, err)
	}
	if session, err := conn.NewSession(); err != nil {
		t.Error(err)
	} else if err := session.Run("id"); err == nil {
		t.Error("a command can be run")
	}
	// The end of the context ends it all, connections under way too.
	cancel()
	if err := conn.Wait(); err == nil {
		t.Error("the connection ended without an error")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", s.Addr); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

func TestStartFails(t *testing.T) {
	key := newSigner(t).PublicKey()
	if _, err := sftpserver.Start(t.Context(), sftpserver.Config{Root: t.TempDir() + "/missing", Addr: "127.0.0.1:0", Authorized: key}); err == nil {
		t.Error("without the folder")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := sftpserver.Start(t.Context(), sftpserver.Config{Root: t.TempDir(), Addr: l.Addr().String(), Authorized: key}); err == nil {
		t.Error("on a taken address")
	}
}
