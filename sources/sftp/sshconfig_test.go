package sftp_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"twintape/sources/sftp"
	"twintape/sources/sftp/sshdtest"
	"twintape/sources/sourcetest"

	"golang.org/x/crypto/ssh"
)

// sshLines are the lines of an ssh_config that reach a server under a name.
func sshLines(t *testing.T, name string, s *sshdtest.Server) string {
	t.Helper()
	host, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("Host %s\n HostName %s\n Port %s\n User %s\n IdentityFile %q\n UserKnownHostsFile %s\n",
		name, host, port, s.User, s.IdentityFile, s.KnownHosts)
}

func accepts(s *sshdtest.Server) int { return strings.Count(s.Log(), "Accepted publickey") }

// TestSSHConfig: everything about a host stands in ssh_config, and a name alone reaches it.
func TestSSHConfig(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := sshdtest.Start(t, sshdtest.Options{})
	file := filepath.Join(t.TempDir(), "config")
	cfg := sftp.Config{Host: sourcetest.Host, Address: "pot5", SSHConfig: file, Timeout: 20 * time.Second}

	writeFile(t, file, "Include "+writeFile(t, filepath.Join(t.TempDir(), "more"), sshLines(t, "pot?", s))+"\n")
	accepted(t, cfg)

	// What the configuration says counts before it.
	other := cfg
	other.User = "nobody-at-all"
	refused(t, other, "does not let nobody-at-all in", s.IdentityFile)
	other = cfg
	other.KnownHosts = filepath.Join(t.TempDir(), "empty")
	refused(t, other, "not known", other.KnownHosts)
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, strings.Replace(sshLines(t, "pot5", s), "Port "+port, "Port 1", 1))
	refused(t, cfg, "127.0.0.1:1: ")
	other = cfg
	other.Address = "pot5:" + port
	accepted(t, other)

	// A ~ and the tokens that OpenSSH has.
	home := t.TempDir()
	t.Setenv("HOME", home)
	key, err := os.ReadFile(s.IdentityFile)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(home, "key-pot5-127.0.0.1-"+s.User), string(key))
	writeFile(t, file, strings.Replace(sshLines(t, "pot5", s), fmt.Sprintf("%q", s.IdentityFile), "~/key-%n-%h-%r", 1))
	accepted(t, cfg)

	// Without the file all is as if nothing was said.
	cfg.SSHConfig, cfg.Address = filepath.Join(t.TempDir(), "none"), s.Addr
	refused(t, cfg, "no way to log in")
}

// TestSSHConfigFaults: what cannot be followed is told, not left out.
func TestSSHConfigFaults(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := sshdtest.Start(t, sshdtest.Options{})
	file := filepath.Join(t.TempDir(), "config")
	for text, words := range map[string][]string{
		"Match exec \"true\"\n User x\n":                                           {file, "Match Exec is not supported", `ssh_config = "none"`},
		"Host pot5\n ProxyCommand nc %h %p\n":                                      {file, "ProxyCommand", "use ProxyJump"},
		"Host pot5\n ProxyJump a,,b\n":                                             {file, "ProxyJump", "empty"},
		"Host gate\n ProxyJump x\nHost pot5\n ProxyJump gate\n":                    {"gate has a ProxyJump of its own"},
		strings.Replace(sshLines(t, "pot5", s), s.IdentityFile, "/nowhere/key", 1): {"/nowhere/key", "no such file"},
	} {
		writeFile(t, file, text)
		refused(t, sftp.Config{Host: sourcetest.Host, Address: "pot5", SSHConfig: file, Timeout: 20 * time.Second}, words...)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	refused(t, sftp.Config{Host: sourcetest.Host, Address: "pot5", SSHConfig: file}, file, "is a directory")
}

// TestProxyJump reaches a host through two others, each of which checks and is checked, and outlives their failures.
func TestProxyJump(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	first, second, s := sshdtest.Start(t, sshdtest.Options{}), sshdtest.Start(t, sshdtest.Options{}), sshdtest.Start(t, sshdtest.Options{})
	file := filepath.Join(t.TempDir(), "config")
	writeFile(t, file, sshLines(t, "gate1", first)+sshLines(t, "gate2", second)+sshLines(t, "pot5", s)+" ProxyJump gate1,gate2\n")
	cfg := sftp.Config{Host: sourcetest.Host, Address: "pot5", SSHConfig: file, Timeout: 20 * time.Second}
	accepted(t, cfg)
	for i, server := range []*sshdtest.Server{first, second, s} {
		if accepts(server) == 0 {
			t.Errorf("server %d saw nobody", i)
		}
	}
	root, data := bigFile(t, 8<<20)
	cfg.Root = root
	src := sftp.New(cfg)
	defer src.Close()
	f := openBig(t, src)
	defer f.Close()
	got := make([]byte, len(data))
	read := func() error {
		if _, err := f.ReadAt(t.Context(), got, 0); err != nil {
			return err
		}
		if string(got) != string(data) {
			t.Fatal("the data differs")
		}
		return nil
	}
	sourcetest.Eventually(t, read)
	first.KillConnections()
	clear(got)
	sourcetest.Eventually(t, read)

	// A gate that hangs is told as the host's trouble, in time.
	hung := cfg
	hung.Timeout = time.Second
	second.Stop()
	refused(t, hung, "no answer for 1s")
	second.Cont()

	// A gate whose key changed is not passed.
	_, other := newKey(t)
	writeFile(t, second.KnownHosts, second.Addr+" "+string(ssh.MarshalAuthorizedKey(other)))
	refused(t, cfg, second.Addr)
	first.Kill()
	refused(t, cfg, "cannot connect", first.Addr)
}

// TestProxyJumpSharesKeys: what the configuration says of a host counts for gates of which ssh_config says nothing else.
func TestProxyJumpSharesKeys(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := sshdtest.Start(t, sshdtest.Options{})
	file := filepath.Join(t.TempDir(), "config")
	writeFile(t, file, "Host 127.0.0.1\n ProxyJump "+s.User+"@localhost:"+s.Addr[strings.LastIndex(s.Addr, ":")+1:]+"\n")
	known, err := os.ReadFile(s.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, s.KnownHosts, string(known)+strings.Replace(string(known), "127.0.0.1", "localhost", 1))
	cfg := config(s, "/")
	cfg.SSHConfig = file
	accepted(t, cfg)
	if accepts(s) < 2 {
		t.Errorf("the server saw %d logins, want the gate's and the host's", accepts(s))
	}
}
