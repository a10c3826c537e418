package nfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// believed is for how long a directory's handle is taken for the one of its path, without asking again.
	believed = time.Second
	// maxDirs bounds the cache of directories.
	maxDirs = 4096
	// maxLinks is how many symlinks a path may lead through, as in Linux.
	maxLinks = 40
)

// node is what a path stands for.
type node struct {
	path string  // as the host knows it, without symlinks
	exp  *export // nil for a directory that leads to exports and lies in none
	root mounted // of exp
	fh   handle
	attr attr
	at   time.Time // when its path was looked up, and not later than its parents' were
}

func (n *node) isDir() bool { return n.exp == nil || n.attr.kind == typeDir }

// dirs are the directories that were looked up lately, by path.
type dirs struct {
	mu sync.Mutex
	m  map[string]*node
}

func (d *dirs) get(p string) *node {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.m[p]; n != nil && time.Since(n.at) < believed {
		return n
	}
	return nil
}

func (d *dirs) put(n *node) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.m == nil || len(d.m) >= maxDirs {
		d.m = make(map[string]*node)
	}
	d.m[n.path] = n
}

func (d *dirs) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.m = nil
}

// forget drops what is known of paths, after a handle turned out to stand for nothing any more.
func (s *Source) forget() {
	s.dirs.forget()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.byPath {
		e.root.forget()
	}
}

// stale says that a handle stands for nothing any more.
func stale(err error) bool {
	return errors.Is(err, statusStale) || errors.Is(err, statusBadHandle)
}

// onPath finds what a path stands for and does something with it; once more if a handle was stale by then.
func onPath[T any](ctx context.Context, s *Source, p string, use func(n *node) (T, error)) (T, error) {
	for repeated := false; ; repeated = true {
		var v T
		n, err := s.walk(ctx, path.Join(s.root, p))
		if err == nil {
			v, err = use(n)
		}
		if repeated || !stale(err) {
			return v, err
		}
		s.forget()
	}
}

// walk finds what a path of the host stands for. It follows symlinks as the host would do, except in the last element;
// an absolute one counts from the host's root, and leads wherever an export has it.
func (s *Source) walk(ctx context.Context, p string) (*node, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	if strings.IndexByte(p, 0) >= 0 {
		return nil, syscall.EINVAL
	}
	list, err := s.exports(ctx)
	if err != nil {
		return nil, err
	}
	top, err := s.top(ctx, list)
	if err != nil {
		return nil, err
	}
	trail := []*node{top} // from the host's root on, for ".."
	rest := elements(p)
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		here := trail[len(trail)-1]
		if name == ".." {
			trail = trail[:max(len(trail)-1, 1)]
			continue
		}
		if !here.isDir() {
			return nil, syscall.ENOTDIR
		}
		n, err := s.step(ctx, list, here, name)
		if err != nil {
			return nil, err
		}
		if len(rest) == 0 || n.attr.kind != typeSymlink {
			trail = append(trail, n)
			continue
		}
		if links++; links > maxLinks {
			return nil, syscall.ELOOP
		}
		target, err := s.readlink(ctx, n)
		if err != nil {
			return nil, err
		}
		if target == "" {
			return nil, syscall.ENOENT
		}
		if path.IsAbs(target) {
			trail = trail[:1]
		}
		rest = append(elements(target), rest...)
	}
	return trail[len(trail)-1], nil
}

// elements splits a path. Empty ones and "." lead nowhere.
func elements(p string) []string {
	var names []string
	for name := range strings.SplitSeq(p, "/") {
		if name != "" && name != "." {
			names = append(names, name)
		}
	}
	return names
}

// top is the host's root.
func (s *Source) top(ctx context.Context, list exports) (*node, error) {
	if e := list.at("/"); e != nil {
		return s.enter(ctx, e)
	}
	return &node{path: "/", at: time.Now()}, nil
}

// step goes from a directory to one of its entries.
func (s *Source) step(ctx context.Context, list exports, dir *node, name string) (*node, error) {
	p := path.Join(dir.path, name)
	if e := list.at(p); e != nil {
		return s.enter(ctx, e)
	}
	if n := s.dirs.get(p); n != nil {
		return n, nil
	}
	if dir.exp == nil {
		if len(list.below(p)) > 0 {
			return &node{path: p, at: dir.at}, nil
		}
		return nil, fmt.Errorf("none of the host's NFS exports covers %s: %w", p, fs.ErrNotExist)
	}
	at := time.Now()
	if dir.at.Before(at) {
		at = dir.at
	}
	found, err := s.lookup(ctx, dir.fh, name)
	if err != nil {
		return nil, err
	}
	n := &node{path: p, exp: dir.exp, root: dir.root, fh: found.fh, attr: *found.attr, at: at}
	if n.isDir() {
		s.dirs.put(n)
	}
	return n, nil
}

// enter goes to an export's root.
func (s *Source) enter(ctx context.Context, e *export) (*node, error) {
	if n := s.dirs.get(e.path); n != nil && n.exp == e {
		return n, nil
	}
	root, err := e.root.get(ctx, s, 0, func(ctx context.Context) (mounted, error) { return s.mount(ctx, e.path) })
	if err != nil {
		return nil, err
	}
	at := time.Now()
	a, err := s.getattr(ctx, root.fh)
	if err != nil {
		return nil, err
	}
	n := &node{path: e.path, exp: e, root: root, fh: root.fh, attr: a, at: at}
	if n.isDir() {
		s.dirs.put(n)
	}
	return n, nil
}
