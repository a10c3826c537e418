// Package sshdtest starts a real OpenSSH server for a test: on a loopback port, with keys of its own, without touching the
// machine's configuration. It needs Debian's openssh-server. As root any user can log in; otherwise only oneself.
package sshdtest

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sys/unix"
)

const sshd = "/usr/sbin/sshd"

// Options vary the server.
type Options struct {
	User      string   // who logs in; who runs the test if empty
	Subsystem string   // the SFTP server's command; internal-sftp if empty
	Config    []string // lines before the server's own; the first of a kind counts, except HostKey, which adds up
}

// Server is a running sshd.
type Server struct {
	Addr         string // 127.0.0.1:port, the same after Restart
	User         string
	IdentityFile string
	KnownHosts   string // trusts the server
	HostKey      ssh.PublicKey

	t    testing.TB
	dir  string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process is gone and its log read
	mu   sync.Mutex
	log  strings.Builder
}

// Start starts a server that ends with the test.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), User: opts.User}
	if s.User == "" {
		me, err := user.Current()
		s.must(err)
		s.User = me.Username
	}
	if os.Geteuid() == 0 {
		s.must(os.MkdirAll("/run/sshd", 0o755)) // where sshd locks its unprivileged half in
	}
	s.HostKey = s.newKey("host_key")
	s.IdentityFile = filepath.Join(s.dir, "identity")
	authorized := filepath.Join(s.dir, "authorized_keys")
	s.must(os.WriteFile(authorized, ssh.MarshalAuthorizedKey(s.newKey("identity")), 0o644))
	// The user who logs in reads it.
	s.must(os.Chmod(s.dir, 0o755))
	s.must(os.Chmod(filepath.Dir(s.dir), 0o755))

	port := freePort(t)
	s.Addr = fmt.Sprintf("127.0.0.1:%d", port)
	s.KnownHosts = filepath.Join(s.dir, "known_hosts")
	s.must(os.WriteFile(s.KnownHosts, []byte(knownhosts.Line([]string{s.Addr}, s.HostKey)+"\n"), 0o644))
	if opts.Subsystem == "" {
		opts.Subsystem = "internal-sftp"
	}
	config := append(slices.Clone(opts.Config),
		"ListenAddress 127.0.0.1", fmt.Sprintf("Port %d", port), "HostKey "+filepath.Join(s.dir, "host_key"),
		"AuthorizedKeysFile "+authorized, "StrictModes no", "UsePAM no", "PidFile none", "PermitRootLogin yes",
		"PasswordAuthentication no", "KbdInteractiveAuthentication no", "MaxStartups 100", "Subsystem sftp "+opts.Subsystem)
	s.must(os.WriteFile(filepath.Join(s.dir, "sshd_config"), []byte(strings.Join(config, "\n")+"\n"), 0o644))
	s.run()
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("sshd's log:\n%s", s.Log())
		}
	})
	return s
}

// newKey writes a private key into the server's folder.
func (s *Server) newKey(name string) ssh.PublicKey {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	s.must(err)
	block, err := ssh.MarshalPrivateKey(private, "")
	s.must(err)
	s.must(os.WriteFile(filepath.Join(s.dir, name), pem.EncodeToMemory(block), 0o600))
	key, err := ssh.NewPublicKey(public)
	s.must(err)
	return key
}

// run starts the process and waits until it listens.
func (s *Server) run() {
	s.t.Helper()
	cmd := exec.Command(sshd, "-D", "-e", "-f", filepath.Join(s.dir, "sshd_config"))
	stderr, err := cmd.StderrPipe()
	s.must(err)
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("sshd (Debian's openssh-server) is needed: %v", err)
	}
	s.cmd, s.done = cmd, make(chan struct{})
	listening := make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		var once sync.Once
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			s.mu.Lock()
			s.log.WriteString(lines.Text() + "\n")
			s.mu.Unlock()
			if strings.Contains(lines.Text(), "Server listening") {
				once.Do(func() { close(listening) })
			}
		}
		cmd.Wait() // killed, so it never succeeds
	}(s.done)
	select {
	case <-listening:
	case <-s.done:
		s.t.Fatalf("sshd did not start:\n%s", s.Log())
	}
}

// Log returns what sshd printed so far.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// Stop freezes the server and all its connections.
func (s *Server) Stop() { s.t.Helper(); s.must(signalTree(s.cmd.Process.Pid, unix.SIGSTOP)) }

// Cont thaws what Stop froze.
func (s *Server) Cont() { s.t.Helper(); s.must(signalTree(s.cmd.Process.Pid, unix.SIGCONT)) }

// KillConnections ends all connections; the server goes on listening.
func (s *Server) KillConnections() {
	s.t.Helper()
	pids, err := descendants(s.cmd.Process.Pid)
	s.must(err)
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			s.t.Fatal(err)
		}
	}
}

// Kill ends the server and all its connections, frozen or not.
func (s *Server) Kill() {
	s.t.Helper()
	select {
	case <-s.done:
		return
	default:
	}
	s.must(signalTree(s.cmd.Process.Pid, unix.SIGSTOP)) // so that none begets another meanwhile
	s.must(signalTree(s.cmd.Process.Pid, unix.SIGKILL))
	<-s.done
}

// Restart is Kill and a new start with the same port and keys.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.run()
}

func (s *Server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
