package nfs

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"
)

// listTTL is for how long the host's own list of exports is believed.
const listTTL = time.Minute

// export is a part of the host's tree that the server gives out as a whole.
type export struct {
	path string
	root lazy[mounted]
}

// exports are all of a host, sorted by path.
type exports []*export

// exports returns the configured ones, or else those that the host lists.
func (s *Source) exports(ctx context.Context) (exports, error) {
	return s.listed.get(ctx, s, listTTL, func(ctx context.Context) (exports, error) {
		if len(s.cfg.Exports) > 0 {
			return s.sorted(s.cfg.Exports), nil
		}
		paths, err := s.listExports(ctx)
		if err != nil {
			return nil, err
		}
		return s.sorted(paths), nil
	})
}

// sorted makes the exports of paths; the same path is the same one again.
func (s *Source) sorted(paths []string) exports {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make(exports, 0, len(paths))
	for _, p := range paths {
		if !path.IsAbs(p) {
			continue // ganesha can list tags, which are no paths
		}
		p = path.Clean(p)
		if s.byPath[p] == nil {
			s.byPath[p] = &export{path: p}
		}
		list = append(list, s.byPath[p])
	}
	slices.SortFunc(list, func(a, b *export) int { return strings.Compare(a.path, b.path) })
	return slices.Compact(list)
}

// at returns the export whose root p is.
func (l exports) at(p string) *export {
	i, found := slices.BinarySearchFunc(l, p, func(e *export, p string) int { return strings.Compare(e.path, p) })
	if !found {
		return nil
	}
	return l[i]
}

// below returns the next path elements of the exports that lie below p; one may come more than once.
func (l exports) below(p string) []string {
	prefix := strings.TrimSuffix(p, "/") + "/"
	var names []string
	for _, e := range l {
		if rest, ok := strings.CutPrefix(e.path, prefix); ok && rest != "" {
			name, _, _ := strings.Cut(rest, "/")
			names = append(names, name)
		}
	}
	return names
}
