package restore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"twintape/internal/ledger"
)

// pattern is what is to be restored: paths that match, and what lies below them.
type pattern struct{ host, path string }

func (p pattern) match(host, path string) bool {
	return doublestar.MatchUnvalidated(p.host, host) &&
		(doublestar.MatchUnvalidated(p.path, path) || doublestar.MatchUnvalidated(strings.TrimSuffix(p.path, "/")+"/**", path))
}

func parse(s string) (pattern, error) {
	host, path, ok := strings.Cut(s, ":")
	if !ok || host == "" || !strings.HasPrefix(path, "/") {
		return pattern{}, fmt.Errorf("%q names no path of a host: write host:/path, or a pattern such as 'pot*:/data/**': %w", s, doublestar.ErrBadPattern)
	}
	if !doublestar.ValidatePattern(host) || !doublestar.ValidatePattern(path) {
		return pattern{}, fmt.Errorf("%q: %w", s, doublestar.ErrBadPattern)
	}
	return pattern{host, path}, nil
}

// choose finds the items that hold what is wanted, each in its latest version that is on tape.
func (r *run) choose(ctx context.Context) ([]*wanted, error) {
	type place struct{ host, path string }
	found := make(map[place]*wanted)
	for _, text := range r.Patterns {
		p, err := parse(text)
		if err != nil {
			return nil, err
		}
		r.patterns = append(r.patterns, p)
		for _, glob := range []string{p.host + ":" + p.path, p.host + ":" + strings.TrimSuffix(p.path, "/") + "/**"} {
			for it, err := range r.Ledger.Items(ctx, ledger.Filter{Pattern: glob}) {
				if err != nil {
					return nil, err
				}
				at := place{it.Host, it.Path}
				if known := found[at]; len(it.Copies) == 0 || known != nil && known.item.Version >= it.Version {
					continue
				}
				found[at] = &wanted{item: it, tried: make(map[string]string)}
			}
		}
	}
	if len(found) == 0 {
		return nil, ErrNothing
	}
	var items []*wanted
	for _, w := range found {
		w.whole = r.wants(w.item.Host, w.item.Path)
		items = append(items, w)
	}
	slices.SortFunc(items, func(a, b *wanted) int {
		return strings.Compare(a.item.Host+":"+a.item.Path, b.item.Host+":"+b.item.Path)
	})
	return items, nil
}

// wants tells whether a path matches.
func (r *run) wants(host, path string) bool {
	return slices.ContainsFunc(r.patterns, func(p pattern) bool { return p.match(host, path) })
}
