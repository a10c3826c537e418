// Package nfs is the source of a host that is reached over NFS version 3, by a client of its own: no kernel mount, no root.
//
// The host's exports show at their own paths. The longest one that covers a path serves it; directories above exports that
// lie in none are made up and list what leads to exports. Paths are looked up element by element, and a directory's handle
// is believed for a second. An open file is its handle: it goes on over new connections and server restarts, and never
// becomes another file, whatever happens to its name.
//
// A Source keeps up to Config.Connections connections. The first is made by the first call, others when all that are
// there are busy; a lost one is replaced when next needed. Large reads are cut into requests that are in flight together and
// spread over the connections. Calls are told apart by their numbers, so a late answer is dropped, and never taken for another.
//
// A host that does not answer within Config.Timeout loses the connection that it left hanging, and the call fails with
// sources.ErrUnavailable. After a failed connect further calls fail at once for a while: 1 s, doubled by each further
// failure up to 60 s. But a call whose connection was lost under it, and any call on an open file, is repeated
// until the timeout: a server that restarts is back soon.
//
// Nothing of a server is trusted: an answer that makes no sense ends its connection.
package nfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"twintape/sources"
	"twintape/sources/pool"
)

// Config says how a host is reached.
type Config struct {
	Host        string        // its configured name, for errors
	Address     string        // name or IP address; Host if empty
	Root        string        // the folder on the host that is "/" here; "/" if empty
	Exports     []string      // absolute paths; those that the host lists if empty
	Credential  *Credential   // who reads; who runs this if nil
	NFSPort     int           // what the port mapper says if 0
	MountPort   int           // what the port mapper says if 0
	Connections int           // at most so many; 4 if 0
	Timeout     time.Duration // for a connect, and for each sign of life while calls wait; 30 s if 0
}

const (
	defaultConnections = 4
	defaultTimeout     = 30 * time.Second
)

// Source is one host's tree.
type Source struct {
	cfg        Config
	root       string
	credential []byte // encoded
	pool       *pool.Pool[*conn]
	listed     lazy[exports]
	dirs       dirs

	mu     sync.Mutex
	byPath map[string]*export // all that were ever seen
}

var (
	_ sources.Source      = (*Source)(nil)
	_ sources.Rooted      = (*Source)(nil)
	_ sources.SpaceTeller = (*Source)(nil)
)

// New makes the source of a host. The host is not contacted yet.
func New(cfg Config) (*Source, error) {
	if cfg.Address == "" {
		cfg.Address = cfg.Host
	}
	if cfg.Connections <= 0 {
		cfg.Connections = defaultConnections
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Credential == nil {
		me, err := process()
		if err != nil {
			return nil, fmt.Errorf("host %s: %w", cfg.Host, err)
		}
		cfg.Credential = me
	}
	s := &Source{cfg: cfg, root: path.Clean("/" + cfg.Root), credential: cfg.Credential.encode(machine()), byPath: make(map[string]*export)}
	s.pool = pool.New(cfg.Connections, cfg.Timeout, s.dial)
	return s, nil
}

// process is the credential of this process.
func process() (*Credential, error) {
	groups, err := os.Getgroups()
	if err != nil {
		return nil, fmt.Errorf("the groups of this process: %w", err)
	}
	c := &Credential{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	for _, g := range groups {
		c.GIDs = append(c.GIDs, uint32(g))
	}
	return c, nil
}

// Close ends all connections, fails the calls under way, and waits until nothing of it runs any more.
func (s *Source) Close() error {
	s.pool.Close()
	return nil
}

// Root returns the folder on the host that is "/" here.
func (s *Source) Root() string { return s.root }

// usable says why nothing more can be asked; what is known already must not be told either.
func (s *Source) usable(ctx context.Context) error {
	if s.pool.Context().Err() != nil {
		return fs.ErrClosed
	}
	return ctx.Err()
}

func (s *Source) Stat(ctx context.Context, p string) (sources.Info, error) {
	i, err := onPath(ctx, s, p, func(n *node) (sources.Info, error) {
		if n.isDir() && n.exp != nil { // known for a while, perhaps
			a, err := s.getattr(ctx, n.fh)
			return info(p, &a), err
		}
		return n.info(p), nil
	})
	return i, s.fail("stat", p, err)
}

// info is what a node looks like at p.
func (n *node) info(p string) sources.Info {
	if n.exp == nil {
		return syntheticInfo(p)
	}
	return info(p, &n.attr)
}

func (s *Source) Readlink(ctx context.Context, p string) (string, error) {
	target, err := onPath(ctx, s, p, func(n *node) (string, error) {
		if n.attr.kind != typeSymlink {
			return "", errors.New("not a symlink")
		}
		return s.readlink(ctx, n)
	})
	return target, s.fail("readlink", p, err)
}

func (s *Source) Open(ctx context.Context, p string) (sources.File, error) {
	f, err := onPath(ctx, s, p, func(n *node) (*file, error) {
		if i := n.info(p); !i.Mode.IsRegular() {
			return nil, fmt.Errorf("not a regular file (%v)", i.Mode.Type())
		}
		args := func(e *encoder) { n.fh.encode(e); e.uint32(accessRead) }
		allowed, err := onFile(ctx, s, false, procAccess, args, maxSmall, (*decoder).access)
		if err != nil {
			return nil, err
		}
		if allowed&accessRead == 0 {
			return nil, fs.ErrPermission
		}
		return newFile(s, p, n), nil
	})
	if err != nil {
		return nil, s.fail("open", p, err)
	}
	return f, nil
}

func (s *Source) fail(op, p string, err error) error {
	if err == nil {
		return nil
	}
	return &sources.Error{Op: op, Host: s.cfg.Host, Path: p, Err: err}
}
