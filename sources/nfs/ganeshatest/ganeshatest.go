// Package ganeshatest starts a real NFS server for a test: nfs-ganesha with a port mapper, in a network namespace of their own
// that this machine reaches over a pair of virtual interfaces. It needs root and Debian's nfs-ganesha, nfs-ganesha-vfs,
// rpcbind and iproute2. Nothing is left behind, even if the test is killed: the namespace ends with its processes.
package ganeshatest

import (
	"bytes"
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

	"golang.org/x/sys/unix"
)

// Export is one folder of this machine that the server gives out, at its own path.
type Export struct {
	Path    string
	Options []string // of the export, such as "Squash = Root_Squash;"; instead of the defaults of the same name
}

// Options vary the server.
type Options struct {
	Exports  []Export
	Config   []string // further blocks of the configuration
	Version4 bool     // serve NFSv4 only, without a port mapper
}

// MountPort is where the mount daemon listens.
const MountPort = 20048

// Server is a running nfs-ganesha.
type Server struct {
	Addr   string // its IP address
	Client string // the IP address that calls of this machine come from

	t       testing.TB
	dir     string
	keeper  *process // holds the namespace
	rpcbind *process
	ganesha *process
}

// Start starts a server that ends with the test.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("nfs-ganesha's tests need root")
	}
	s := &Server{t: t, dir: t.TempDir()}
	s.must(os.WriteFile(filepath.Join(s.dir, "conf"), []byte(config(opts)), 0o644))
	t.Cleanup(s.end)
	s.namespace()
	if !opts.Version4 {
		// It becomes another user, by which Linux forgets that it should die with this process; the shell does not.
		s.rpcbind = s.spawn(true, "sh", "-c", "/usr/sbin/rpcbind -f & cat; kill $!; wait")
		s.wait("the port mapper", s.rpcbind, func() bool { return unix.Access(s.inside("/run/rpcbind.sock"), 0) == nil })
	}
	s.run()
	return s
}

func config(opts Options) string {
	versions := "3"
	if opts.Version4 {
		versions = "4"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "NFS_CORE_PARAM { Protocols = %s; MNT_Port = %d; Enable_NLM = false; Enable_RQUOTA = false; mount_path_pseudo = false; }\n", versions, MountPort)
	fmt.Fprintf(&b, "NFSv4 { Graceless = true; }\nLOG { Default_Log_Level = EVENT; }\n")
	// What the test does to its files shows at once.
	fmt.Fprintf(&b, "EXPORT_DEFAULTS { Attr_Expiration_Time = 0; }\n")
	for _, block := range opts.Config {
		fmt.Fprintln(&b, block)
	}
	for i, e := range opts.Exports {
		fmt.Fprintf(&b, "EXPORT { Export_Id = %d; Path = %q; Pseudo = \"/e%d\"; Protocols = %s; SecType = sys; Transports = TCP; FSAL { Name = VFS; }\n", i+1, e.Path, i+1, versions)
		defaults := map[string]string{"Access_Type": "RO", "Squash": "No_Root_Squash"}
		for _, o := range e.Options {
			name, _, _ := strings.Cut(o, " ")
			delete(defaults, name)
			fmt.Fprintln(&b, o)
		}
		for name, value := range defaults {
			fmt.Fprintf(&b, "%s = %s;\n", name, value)
		}
		fmt.Fprintln(&b, "}")
	}
	return b.String()
}

// namespace makes a network of two hosts: this machine and the server.
func (s *Server) namespace() {
	s.t.Helper()
	cat := exec.Command("cat")
	cat.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS}
	s.keeper = s.start(cat, true)
	pid := fmt.Sprint(s.keeper.cmd.Process.Pid)
	// Networks of two addresses from the range for tests of devices (RFC 2544); the interface's name claims one.
	var here string
	for i := os.Getpid(); ; i++ {
		i %= 1 << 15
		here = fmt.Sprintf("ganesha%d", i)
		err := s.tool("ip", "link", "add", here, "type", "veth", "peer", "name", "eth0", "netns", pid)
		if err == nil {
			s.Client = fmt.Sprintf("198.%d.%d.%d", 18+i>>14, i>>6&255, i<<2&255+1)
			s.Addr = fmt.Sprintf("198.%d.%d.%d", 18+i>>14, i>>6&255, i<<2&255+2)
			break
		}
		if !strings.Contains(err.Error(), "File exists") {
			s.t.Fatal(err)
		}
	}
	s.t.Cleanup(func() { _ = s.tool("ip", "link", "del", here) }) // gone already, if the namespace is
	s.must(s.tool("ip", "addr", "add", s.Client+"/30", "dev", here))
	s.must(s.tool("ip", "link", "set", here, "up"))
	s.must(s.tool("nsenter", s.enter("ip", "link", "set", "lo", "up")...))
	s.must(s.tool("nsenter", s.enter("ip", "addr", "add", s.Addr+"/30", "dev", "eth0")...))
	s.must(s.tool("nsenter", s.enter("ip", "link", "set", "eth0", "up")...))
	s.must(s.tool("nsenter", s.enter("mount", "-t", "tmpfs", "run", "/run")...))
}

// enter returns nsenter's arguments for a command inside.
func (s *Server) enter(command ...string) []string {
	return append([]string{"--target", fmt.Sprint(s.keeper.cmd.Process.Pid), "--net", "--mount", "--"}, command...)
}

// inside returns how a path of the namespace is reached from here.
func (s *Server) inside(p string) string {
	return fmt.Sprintf("/proc/%d/root%s", s.keeper.cmd.Process.Pid, p)
}

func (s *Server) tool(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s (Debian's iproute2, util-linux): %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// run starts ganesha and waits until it serves.
func (s *Server) run() {
	s.t.Helper()
	before := strings.Count(s.Log(), "NFS SERVER INITIALIZED")
	s.ganesha = s.spawn(false, "/usr/bin/ganesha.nfsd", "-F", "-f", filepath.Join(s.dir, "conf"), "-L", filepath.Join(s.dir, "log"), "-p", "/run/ganesha.pid")
	s.wait("ganesha", s.ganesha, func() bool { return strings.Count(s.Log(), "NFS SERVER INITIALIZED") > before })
	if strings.Contains(s.Log(), ":CONFIG :CRIT") {
		s.t.Fatal("ganesha does not like its configuration")
	}
}

// wait waits until a process is ready.
func (s *Server) wait(what string, p *process, ready func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ready(); time.Sleep(10 * time.Millisecond) {
		select {
		case <-p.done:
			s.t.Fatalf("%s (Debian's nfs-ganesha, nfs-ganesha-vfs, rpcbind) ended at once: %s\n%s", what, p.output.Bytes(), s.Log())
		default:
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s does not start:\n%s", what, s.Log())
		}
	}
}

// Log returns what ganesha logged so far.
func (s *Server) Log() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	return string(text)
}

// Stop freezes the server; the kernel goes on taking connections for it.
func (s *Server) Stop() {
	s.t.Helper()
	s.must(s.ganesha.cmd.Process.Signal(unix.SIGSTOP))
	s.wait("to freeze ganesha", s.ganesha, s.frozen)
}

// frozen says whether all threads stand still, which they do one after the other.
func (s *Server) frozen() bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.ganesha.cmd.Process.Pid))
	s.must(err)
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err != nil {
			continue // it ended meanwhile
		}
		// number (name) state …; the name may hold anything, a parenthesis too.
		if !bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" T")) {
			return false
		}
	}
	return true
}

// Cont thaws what Stop froze.
func (s *Server) Cont() { s.t.Helper(); s.must(s.ganesha.cmd.Process.Signal(unix.SIGCONT)) }

// Kill ends the server at once, frozen or not; the port mapper stays.
func (s *Server) Kill() { s.ganesha.kill() }

// KillPortMapper ends the port mapper; who knows the ports needs none.
func (s *Server) KillPortMapper() { s.rpcbind.kill() }

// Restart is Kill and a new start with the same address and exports.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.run()
}

func (s *Server) end() {
	if s.t.Failed() {
		s.t.Logf("ganesha's log:\n%s", s.Log())
	}
	for _, p := range []*process{s.ganesha, s.rpcbind, s.keeper} {
		if p != nil {
			p.kill()
		}
	}
}

func (s *Server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// process is a process of the server; done is closed when it is gone.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer    // what it reads until its end, if it ends then; else nil
	output bytes.Buffer // to be read when it is gone
	done   chan struct{}
}

// spawn starts a command inside the namespace, in place of nsenter, so that it can be signalled.
func (s *Server) spawn(reads bool, command ...string) *process {
	s.t.Helper()
	cmd := exec.Command("nsenter", s.enter(command...)...)
	return s.start(cmd, reads)
}

// start starts a command. One that reads its input ends with the input, which ends with this process.
func (s *Server) start(cmd *exec.Cmd, reads bool) *process {
	s.t.Helper()
	p := &process{cmd: cmd, done: make(chan struct{})}
	if reads {
		in, err := cmd.StdinPipe()
		s.must(err)
		p.stdin = in
	} else {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	}
	cmd.Stdout = io.Writer(&p.output)
	cmd.Stderr = cmd.Stdout
	s.must(cmd.Start())
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // killed, so it never succeeds
	}()
	return p
}

func (p *process) kill() {
	if p.stdin != nil {
		p.stdin.Close()
	} else {
		_ = p.cmd.Process.Kill() // it may be gone
	}
	<-p.done
}
