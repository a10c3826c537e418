package sftp_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"twintape/sources"
	"twintape/sources/sftp"
	"twintape/sources/sftp/sshdtest"
)

func newKey(t *testing.T) (ed25519.PrivateKey, ssh.PublicKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return private, key
}

func writeFile(t *testing.T, p, text string) string {
	t.Helper()
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// refused checks that the host cannot be used, and that the error holds all the words.
func refused(t *testing.T, cfg sftp.Config, words ...string) {
	t.Helper()
	src := sftp.New(cfg)
	defer src.Close()
	_, err := src.Stat(t.Context(), "/")
	if !errors.Is(err, sources.ErrUnavailable) {
		t.Errorf("error %v", err)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
}

func accepted(t *testing.T, cfg sftp.Config) {
	t.Helper()
	src := sftp.New(cfg)
	defer src.Close()
	if _, err := src.Stat(t.Context(), "/"); err != nil {
		t.Error(err)
	}
}

func TestHostKeys(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	shown := ssh.FingerprintSHA256(s.HostKey)
	_, other := newKey(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaPublic, err := ssh.NewPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "known hosts")
	cfg := config(s, "/")
	cfg.KnownHosts = file

	unknown := []string{"not known", shown, "ssh-keyscan -t ed25519 -p " + port + " 127.0.0.1 >> '" + file + "'"}
	refused(t, cfg, unknown...) // no file

	writeFile(t, file, knownhosts.Line([]string{"elsewhere"}, s.HostKey)+"\n")
	refused(t, cfg, unknown...)

	writeFile(t, file, "# old\n\n"+knownhosts.Line([]string{s.Addr}, other)+"\n")
	refused(t, cfg, "CHANGED", shown, file+" has line 3", ssh.FingerprintSHA256(other), "ssh-keygen -R '[127.0.0.1]:"+port+"'")

	writeFile(t, file, "@revoked * "+string(ssh.MarshalAuthorizedKey(s.HostKey)))
	refused(t, cfg, "revoked", file+" line 1")

	writeFile(t, file, "garbage\n")
	refused(t, cfg, file+":1")

	// Only its RSA key is known, which this host does not have: it must not be told as changed.
	writeFile(t, file, knownhosts.Line([]string{s.Addr}, rsaPublic)+"\n")
	refused(t, cfg, "no common algorithm", "ssh-rsa", file)

	writeFile(t, file, knownhosts.Line([]string{s.Addr}, s.HostKey)+"\n")
	accepted(t, cfg)
	writeFile(t, file, knownhosts.HashHostname(knownhosts.Normalize(s.Addr))+" "+string(ssh.MarshalAuthorizedKey(s.HostKey)))
	accepted(t, cfg)
}

// TestHostWithSeveralKeys: the host would rather show its other key than the one that is known.
func TestHostWithSeveralKeys(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	second := writeFile(t, filepath.Join(t.TempDir(), "rsa"), string(pem.EncodeToMemory(block)))
	public, err := ssh.NewPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	s := sshdtest.Start(t, sshdtest.Options{Config: []string{"HostKey " + second}})
	for _, key := range []ssh.PublicKey{public, s.HostKey} {
		cfg := config(s, "/")
		cfg.KnownHosts = writeFile(t, filepath.Join(t.TempDir(), "known_hosts"), knownhosts.Line([]string{s.Addr}, key)+"\n")
		accepted(t, cfg)
	}
}

func TestLogin(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	t.Setenv("SSH_AUTH_SOCK", "")
	private, _ := newKey(t)
	dir := t.TempDir()
	cfg := config(s, "/")
	marshal := func(block *pem.Block, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(block))
	}
	with := func(file string) sftp.Config { c := cfg; c.IdentityFile = file; return c }

	refused(t, with(filepath.Join(dir, "missing")), "identity file", "no such file")
	foreign := writeFile(t, filepath.Join(dir, "foreign"), marshal(ssh.MarshalPrivateKey(private, "")))
	refused(t, with(foreign), "does not let "+s.User+" in", foreign, "authorized_keys")
	locked := writeFile(t, filepath.Join(dir, "locked"), marshal(ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("secret"))))
	refused(t, with(locked), "passphrase", "ssh-add "+locked)
	refused(t, with(writeFile(t, filepath.Join(dir, "garbage"), "garbage")), "no private key")
	open := writeFile(t, filepath.Join(dir, "open"), marshal(ssh.MarshalPrivateKey(private, "")))
	if err := os.Chmod(open, 0o640); err != nil {
		t.Fatal(err)
	}
	refused(t, with(open), "chmod 600 "+open)
	refused(t, with(""), "SSH_AUTH_SOCK is not set")
	t.Setenv("SSH_AUTH_SOCK", filepath.Join(dir, "nobody"))
	refused(t, with(""), "SSH agent")

	// An agent that holds the right key among others.
	identity, err := os.ReadFile(s.IdentityFile)
	if err != nil {
		t.Fatal(err)
	}
	right, err := ssh.ParseRawPrivateKey(bytes.TrimSpace(identity))
	if err != nil {
		t.Fatal(err)
	}
	ring := agent.NewKeyring()
	for _, key := range []any{&private, right} {
		if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
			t.Fatal(err)
		}
	}
	socket, err := net.Listen("unix", filepath.Join(dir, "agent"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := socket.Accept()
			if err != nil {
				return
			}
			agent.ServeAgent(ring, c) // until the client hangs up
			c.Close()
		}
	}()
	t.Setenv("SSH_AUTH_SOCK", socket.Addr().String())
	accepted(t, with(""))
	socket.Close()
	<-served
}
