package fsmount

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"twintape/sources"
)

// tapesName is kept for the folder of the tape catalogs: paths that begin with it must not mean a host.
const tapesName = "tapes"

// tree is what one folder of the mount's root shows: a host, or the tape catalogs.
type tree struct {
	name   string // of the host; its own name, not an alias
	src    sources.Source
	root   string // the host's folder that is shown; "/" if it is all of it
	budget budget // for read-ahead
	space  spaceState
}

func newTree(name string, src sources.Source) *tree {
	t := &tree{name: name, src: src, root: "/"}
	if r, ok := src.(sources.Rooted); ok {
		t.root = r.Root()
	}
	t.budget.free = aheadPerHost
	return t
}

// forest is what stands in the mount's root.
type forest struct {
	ns    *sources.Namespace
	names []string // as they are listed
	trees map[string]*tree
	since time.Time // when it was mounted: the time of what no host has times for
}

func newForest(ns *sources.Namespace, tapes sources.Source) (*forest, error) {
	f := &forest{ns: ns, trees: make(map[string]*tree), since: time.Now()}
	for _, host := range ns.Hosts() {
		_, src, err := ns.Source(host)
		if err != nil {
			return nil, err
		}
		f.names = append(f.names, host)
		f.trees[host] = newTree(host, src)
	}
	if host, _, err := ns.Source(tapesName); err == nil {
		return nil, fmt.Errorf("host %s goes by the name %q, which the mount keeps for tape catalogs: give it another name", host, tapesName)
	}
	if tapes != nil {
		f.names = append(f.names, tapesName)
		slices.Sort(f.names)
		f.trees[tapesName] = newTree(tapesName, tapes)
	}
	return f, nil
}

// find returns the tree that a name in the root stands for: a host's name or alias, with a colon behind it too, as paths
// of host:/path are spelled; nil if there is none. No host is asked.
func (f *forest) find(name string) *tree {
	if t := f.trees[name]; t != nil {
		return t
	}
	host, _, err := f.ns.Source(strings.TrimSuffix(name, ":"))
	if err != nil {
		return nil
	}
	return f.trees[host]
}

// top is what the root of the mount and of each tree looks like. No host is asked: listing all hosts must not wait for
// one that is down.
func (f *forest) top(name string) sources.Info {
	return sources.Info{Name: name, Mode: fs.ModeDir | 0o555, MTime: f.since}
}
