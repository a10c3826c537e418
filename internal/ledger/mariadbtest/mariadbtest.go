// Package mariadbtest brings up a private MariaDB for tests, from Debian's package mariadb-server-core: in a folder of its own, on a
// socket there, apart from whatever else runs on the machine. Tests that share the one of their process get a database each.
package mariadbtest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/sys/unix"
)

// Server is a server with its data in Dir. It can be stopped and started again. The user root has no password.
type Server struct {
	Dir     string
	options []string

	mu      sync.Mutex
	process *os.Process // nil while it does not run
	ended   chan error
}

// Socket is where it listens.
func (s *Server) Socket() string { return filepath.Join(s.Dir, "s") }

var shared struct {
	sync.Once
	server *Server
	err    error
}

// Run is what TestMain of a package does whose tests use Shared.
func Run(m *testing.M) int {
	code := m.Run()
	if shared.server != nil {
		if err := shared.server.end(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// Shared returns the server that all tests of this process share.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.Do(func() { shared.server, shared.err = start() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// Private starts a server for one test, with options of mariadbd beside the usual ones.
func Private(t testing.TB, options ...string) *Server {
	t.Helper()
	s, err := start(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.end(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func start(options ...string) (*Server, error) {
	for _, name := range []string{"mariadbd", "mariadb-install-db"} {
		if _, err := look(name); err != nil {
			return nil, fmt.Errorf("%w: install Debian's package mariadb-server-core", err)
		}
	}
	dir, err := os.MkdirTemp(inMemory(), "mariadb-") // short: a socket's path has 107 bytes at most
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, options: options}
	install, err := look("mariadb-install-db")
	if err != nil {
		return nil, err
	}
	out, err := exec.Command(install, "--no-defaults", "--user="+userName(), "--datadir="+filepath.Join(dir, "data"), "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve", "--innodb-log-file-size=8M", "--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0").CombinedOutput()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mariadb-install-db: %w\n%s", err, out), os.RemoveAll(dir))
	}
	if err := s.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// inMemory is a folder for the server's data that knows no slow disk, which most of a test's time would wait for: a killed server
// loses nothing there either. It is empty, for the usual one, where there is none with enough room.
func inMemory() string {
	const shm, enough = "/dev/shm", 2 << 30
	var fs unix.Statfs_t
	if err := unix.Statfs(shm, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < enough {
		return ""
	}
	return shm
}

func look(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/" + name)
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "root"
}

// Start starts it, after Stop or Kill, and returns when it answers.
func (s *Server) Start() error {
	name, err := look("mariadbd")
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(name, append([]string{"--no-defaults", "--user=" + userName(), "--datadir=" + filepath.Join(s.Dir, "data"), "--socket=" + s.Socket(),
		"--pid-file=" + filepath.Join(s.Dir, "pid"), "--skip-networking", "--skip-name-resolve", "--max-connections=300",
		"--innodb-flush-log-at-trx-commit=2", "--innodb-doublewrite=0", "--innodb-flush-method=nosync", "--innodb-buffer-pool-size=128M", "--innodb-log-file-size=96M", "--key-buffer-size=1M", "--performance-schema=OFF", "--skip-log-bin",
		"--tmpdir=" + s.Dir /* others' servers may call their temporary tables the same */}, s.options...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it does not outlive its test
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the signal comes when the thread that started it ends
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.mu.Lock()
	s.process, s.ended = cmd.Process, ended
	s.mu.Unlock()
	for {
		conn, err := net.Dial("unix", s.Socket())
		if err == nil {
			conn.Close()
			db := s.Open("")
			err = db.Ping()
			db.Close()
		}
		if err == nil {
			return nil
		}
		select {
		case err := <-ended:
			text, _ := os.ReadFile(filepath.Join(s.Dir, "log"))
			return fmt.Errorf("mariadbd ended: %w\n%s", errors.Join(err), bytes.TrimSpace(text))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends it in order, Kill at once.
func (s *Server) Stop() error { return s.signal(syscall.SIGTERM) }

// Kill ends it as a power cut would.
func (s *Server) Kill() error { return s.signal(syscall.SIGKILL) }

func (s *Server) signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return nil
	}
	err := s.process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) { // it died of itself
		err = nil
	}
	<-s.ended
	s.process = nil
	return err
}

func (s *Server) end() error { return errors.Join(s.Kill(), os.RemoveAll(s.Dir)) }

// Open opens a database as root.
func (s *Server) Open(database string) *sql.DB { return s.OpenAs("root", "", database) }

// OpenAs opens a database as another user.
func (s *Server) OpenAs(user, password, database string) *sql.DB {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.Addr, cfg.DBName = user, password, "unix", s.Socket(), database
	cfg.MultiStatements = true
	cfg.Logger = silent{}
	c, err := mysql.NewConnector(cfg)
	if err != nil {
		panic(err) // the configuration is ours
	}
	return sql.OpenDB(c)
}

type silent struct{}

func (silent) Print(...any) {}

var databases struct {
	sync.Mutex
	n int
}

// Database makes an empty database, gone after the test, with a user of the same name who may do anything in it, and returns
// the name and the password.
func (s *Server) Database(t testing.TB) (name, password string) {
	t.Helper()
	databases.Lock()
	databases.n++
	name = fmt.Sprintf("t%d", databases.n)
	databases.Unlock()
	password = "secret#" + name
	db := s.Open("")
	defer db.Close()
	for _, statement := range []string{
		"CREATE DATABASE " + name + " CHARACTER SET latin1",
		"CREATE USER " + name + "@'%' IDENTIFIED BY '" + password + "'",
		"CREATE USER " + name + "@localhost IDENTIFIED BY '" + password + "'",
		"GRANT ALL ON " + name + ".* TO " + name + "@'%'",
		"GRANT ALL ON " + name + ".* TO " + name + "@localhost",
	} {
		if _, err := db.ExecContext(context.Background(), statement); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		db := s.Open("")
		defer db.Close()
		// It may be stopped; then it goes with its folder.
		_, _ = db.ExecContext(context.Background(), "DROP DATABASE "+name)
	})
	return name, password
}

// Credentials makes a database, and an option file with a [client] section for it, to which more lines may be added.
func (s *Server) Credentials(t testing.TB, more ...string) (file string) {
	t.Helper()
	name, password := s.Database(t)
	file = filepath.Join(t.TempDir(), "client.cnf")
	text := fmt.Sprintf("[client]\nsocket = %s\nuser = %s\npassword = \"%s\"\ndatabase = %s\n", s.Socket(), name, password, name)
	for _, line := range more {
		text += line + "\n"
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
