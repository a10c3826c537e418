// Package sftp is the source of a host that is reached over SSH.
//
// A Source keeps up to Config.Connections connections. The first is made by the first call, others when all that are
// there are busy; a lost one is replaced when next needed. Large reads are cut into requests that are in flight together
// and spread over the connections, since one carries no more than 2 MiB per round trip.
//
// A host that does not answer within Config.Timeout loses the connection that it left hanging, and the call fails with
// sources.ErrUnavailable. After a failed connect further calls fail at once for a while: 1 s, doubled by each further
// failure up to 60 s. A call whose connection was lost under it is repeated once on another.
//
// SFTP (version 3, as OpenSSH speaks it) knows whole seconds only, no change times, and no identity of files.
package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pkg/sftp"

	"twintape/sources"
	"twintape/sources/pool"
)

// Config says how a host is reached.
type Config struct {
	Host         string        // its configured name, for errors
	Address      string        // host or host:port, or a name that SSHConfig has lines for; Host if empty
	User         string        // login name; as SSHConfig says, or the name of the user who runs this, if empty
	IdentityFile string        // private key; as SSHConfig says, and keys of the SSH agent, if empty
	KnownHosts   string        // file of trusted host keys; as SSHConfig says, or ~/.ssh/known_hosts, if empty
	SSHConfig    string        // ssh_config(5) file for what is not said here; none if empty
	Root         string        // the folder on the host that is "/" here; "/" if empty
	Connections  int           // at most so many; 4 if 0
	Timeout      time.Duration // for a connect with its handshake, and for each sign of life while calls wait; 30 s if 0
}

const (
	defaultConnections = 4
	defaultTimeout     = 30 * time.Second
)

// Source is one host's tree.
type Source struct {
	host string
	root string
	pool *pool.Pool[*conn]
}

var (
	_ sources.Source      = (*Source)(nil)
	_ sources.Rooted      = (*Source)(nil)
	_ sources.SpaceTeller = (*Source)(nil)
)

// New makes the source of a host. The host is not contacted yet.
func New(cfg Config) *Source {
	if cfg.Address == "" {
		cfg.Address = cfg.Host
	}
	if cfg.Connections <= 0 {
		cfg.Connections = defaultConnections
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	d := &dialer{cfg: cfg}
	s := &Source{host: cfg.Host, root: path.Clean("/" + cfg.Root)}
	s.pool = pool.New(cfg.Connections, cfg.Timeout, func(ctx context.Context) (*conn, error) { return d.dial(ctx, s.pool.Spawn) })
	return s
}

// Close ends all connections, fails the calls under way, and waits until nothing of it runs any more.
func (s *Source) Close() error {
	s.pool.Close()
	return nil
}

// Root returns the folder on the host that is "/" here.
func (s *Source) Root() string { return s.root }

func (s *Source) Stat(ctx context.Context, p string) (sources.Info, error) {
	info, err := pool.On(ctx, s.pool, func(c *conn) (sources.Info, error) { return s.lstat(ctx, c, p) })
	return info, s.fail("stat", p, err)
}

func (s *Source) Readlink(ctx context.Context, p string) (string, error) {
	target, err := pool.On(ctx, s.pool, func(c *conn) (string, error) {
		return call(ctx, c, func() (string, error) { return c.sftp.ReadLink(s.remote(p)) }, nil)
	})
	return target, s.fail("readlink", p, err)
}

func (s *Source) ReadDir(ctx context.Context, p string) ([]sources.Info, error) {
	infos, err := pool.On(ctx, s.pool, func(c *conn) ([]sources.Info, error) { return s.list(ctx, c, p) })
	return infos, s.fail("list", p, err)
}

// list lists a folder, and asks at the same time whether it is one itself: the host would follow a symlink.
func (s *Source) list(ctx context.Context, c *conn, p string) ([]sources.Info, error) {
	type look struct {
		info sources.Info
		err  error
	}
	looked := make(chan look, 1)
	go func() {
		info, err := s.lstat(ctx, c, p)
		looked <- look{info, err}
	}()
	entries, err := call(ctx, c, func() ([]fs.FileInfo, error) { return c.sftp.ReadDirContext(ctx, s.remote(p)) }, nil)
	itself := <-looked
	switch {
	case itself.err != nil:
		return nil, itself.err
	case !itself.info.Mode.IsDir():
		return nil, syscall.ENOTDIR
	case err != nil:
		return nil, err
	}
	infos := make([]sources.Info, 0, len(entries))
	for _, e := range entries {
		if name := e.Name(); name == "" || name == "." || name == "/" {
			return nil, fmt.Errorf("the server lists an entry without a name")
		}
		infos = append(infos, c.names.info(e.Name(), e))
	}
	slices.SortFunc(infos, func(a, b sources.Info) int { return strings.Compare(a.Name, b.Name) })
	return infos, nil
}

func (s *Source) Open(ctx context.Context, p string) (sources.File, error) {
	f, err := pool.On(ctx, s.pool, func(c *conn) (*file, error) {
		// A server that opens a pipe hangs, so look first.
		info, err := s.lstat(ctx, c, p)
		if err != nil {
			return nil, err
		}
		if !info.Mode.IsRegular() {
			return nil, fmt.Errorf("not a regular file (%v)", info.Mode.Type())
		}
		h, err := c.open(ctx, s.remote(p))
		if err != nil {
			return nil, err
		}
		return newFile(s, p, info, c, h), nil
	})
	if err != nil {
		return nil, s.fail("open", p, err)
	}
	return f, nil
}

func (s *Source) lstat(ctx context.Context, c *conn, p string) (sources.Info, error) {
	return call(ctx, c, func() (sources.Info, error) {
		fi, err := c.sftp.Lstat(s.remote(p))
		if err != nil {
			return sources.Info{}, err
		}
		return c.names.info(path.Base(p), fi), nil
	}, nil)
}

// remote returns a path as the host knows it.
func (s *Source) remote(p string) string { return path.Join(s.root, p) }

func (s *Source) fail(op, p string, err error) error {
	if err == nil {
		return nil
	}
	return &sources.Error{Op: op, Host: s.host, Path: p, Err: told(err)}
}

// told puts an error of the server into words: many are only "Failure".
func told(err error) error {
	var status *sftp.StatusError
	if errors.As(err, &status) {
		return fmt.Errorf("the SFTP server says: %w", err)
	}
	return err
}
