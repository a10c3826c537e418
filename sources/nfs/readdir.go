package nfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"twintape/sources"
)

const (
	// maxTransfer is the most that is asked for in one call, in bytes.
	maxTransfer = 1 << 20
	// maxEntries is the largest directory that is listed; a server that has no end of entries is stopped there.
	maxEntries = 1 << 22
	// askedAtOnce is for how many entries the server is asked at the same time, where its list has less than is needed.
	askedAtOnce = 32
)

func (s *Source) ReadDir(ctx context.Context, p string) ([]sources.Info, error) {
	infos, err := onPath(ctx, s, p, func(n *node) ([]sources.Info, error) { return s.readDir(ctx, n) })
	return infos, s.fail("list", p, err)
}

func (s *Source) readDir(ctx context.Context, n *node) ([]sources.Info, error) {
	if !n.isDir() {
		return nil, syscall.ENOTDIR
	}
	var infos []sources.Info
	if n.exp != nil {
		entries, err := s.list(ctx, n)
		if err != nil {
			return nil, err
		}
		infos = make([]sources.Info, 0, len(entries))
		for _, e := range entries {
			if e.attr != nil {
				infos = append(infos, info("/"+e.name, e.attr))
			}
		}
	}
	slices.SortFunc(infos, func(a, b sources.Info) int { return strings.Compare(a.Name, b.Name) })
	// A server may list a name again that came while it was listing.
	infos = slices.CompactFunc(infos, func(a, b sources.Info) bool { return a.Name == b.Name })
	return s.addExports(ctx, n, infos)
}

// addExports puts the exports, and what leads to them, into the sorted list of a directory: they hide what the server has
// there.
func (s *Source) addExports(ctx context.Context, n *node, infos []sources.Info) ([]sources.Info, error) {
	list, err := s.exports(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range list.below(n.path) {
		p := path.Join(n.path, name)
		e := list.at(p)
		if e == nil && n.exp != nil {
			continue // the way there is the server's
		}
		found := syntheticInfo(p)
		if e != nil {
			root, err := s.enter(ctx, e)
			var refused *refusedError
			switch {
			case err == nil:
				found = root.info(p)
			case !errors.As(err, &refused): // else who goes there is told why not
				return nil, err
			}
		}
		i, listed := slices.BinarySearchFunc(infos, name, func(i sources.Info, name string) int { return strings.Compare(i.Name, name) })
		if listed {
			infos[i] = found
		} else {
			infos = slices.Insert(infos, i, found)
		}
	}
	return infos, nil
}

// list lists a directory of the server. An entry that vanished meanwhile has no attributes.
func (s *Source) list(ctx context.Context, n *node) ([]entry, error) {
	entries, err := s.listAll(ctx, n, true)
	if errors.Is(err, statusNotSupp) { // a server can be told not to do it
		entries, err = s.listAll(ctx, n, false)
	}
	if err != nil {
		return nil, err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(askedAtOnce)
	for i := range entries {
		e := &entries[i]
		if e.attr != nil {
			continue
		}
		g.Go(func() error {
			err := s.complete(gctx, n, e)
			if errors.Is(err, fs.ErrNotExist) || stale(err) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("%q in it: %w", e.name, err)
			}
			return nil
		})
	}
	return entries, g.Wait()
}

// complete asks for an entry's attributes.
func (s *Source) complete(ctx context.Context, n *node, e *entry) error {
	if e.fh != "" {
		a, err := s.getattr(ctx, e.fh)
		if err == nil {
			e.attr = &a
		}
		return err
	}
	found, err := s.lookup(ctx, n.fh, e.name)
	if err == nil {
		e.attr = found.attr
	}
	return err
}

// listAll lists a directory as the server has it, once more from the beginning if the server lost the place.
func (s *Source) listAll(ctx context.Context, n *node, plus bool) ([]entry, error) {
	for repeated := false; ; repeated = true {
		entries, err := s.listOnce(ctx, n, plus)
		if repeated || !errors.Is(err, statusBadCookie) {
			return entries, err
		}
	}
}

func (s *Source) listOnce(ctx context.Context, n *node, plus bool) ([]entry, error) {
	size := n.root.preferredList
	p := procReaddir
	if plus {
		p = procReaddirplus
	}
	var entries []entry
	for at := (listing{}); !at.end; {
		args := func(e *encoder) {
			n.fh.encode(e)
			e.uint64(at.cookie)
			e.uint64(at.verifier)
			if plus {
				e.uint32(size / 4) // names and cookies without attributes
			}
			e.uint32(size)
		}
		// Some servers count a little differently.
		next, err := onFile(ctx, s, false, p, args, 2*int(size)+maxSmall, func(d *decoder) listing { return d.listing(plus) })
		if err != nil {
			return nil, err
		}
		entries = append(entries, next.entries...)
		if !next.end && (next.cookie == at.cookie || len(entries) > maxEntries) {
			return nil, fmt.Errorf("the server's list of the directory has no end, after %d entries", len(entries))
		}
		at = next
	}
	return entries, nil
}
