package fsmount

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"twintape/sources"
)

const (
	spaceWait = 2 * time.Second  // for a host to say how full it is
	spaceTTL  = 10 * time.Second // for how long that is believed
)

// spaceState is what is known of how full a host is.
type spaceState struct {
	used atomic.Bool // something of the host was looked at: only such are asked, so that df wakes nobody

	mu    sync.Mutex
	at    time.Time
	space sources.Space
}

func (s *spaceState) use() { s.used.Store(true) }

// ask returns how full the tree's file system is, as far as the host says so in time.
func (t *tree) askSpace(ctx context.Context) sources.Space {
	teller, ok := t.src.(sources.SpaceTeller)
	if !ok || !t.space.used.Load() {
		return sources.Space{}
	}
	t.space.mu.Lock()
	defer t.space.mu.Unlock()
	if time.Since(t.space.at) < spaceTTL {
		return t.space.space
	}
	ctx, cancel := context.WithTimeout(ctx, spaceWait)
	defer cancel()
	if space, err := teller.Space(ctx, "/"); err == nil {
		t.space.space = space
	}
	t.space.at = time.Now() // one that hangs is not waited for each time
	return t.space.space
}

// StatFs tells how full a host is, and of the mount's root the sum of all hosts that were used, each file system once.
func (f *fileSystem) StatFs(cancel <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	n := f.nodes.get(in.NodeId)
	if n == nil {
		n = f.root
	}
	ctx, done := f.begin(cancel)
	defer done()
	var trees []*tree
	if n.tree != nil {
		trees = []*tree{n.tree}
	} else {
		for _, t := range f.forest.trees {
			trees = append(trees, t)
		}
	}
	spaces := make([]sources.Space, len(trees))
	var wg sync.WaitGroup
	for i, t := range trees {
		wg.Go(func() { spaces[i] = t.askSpace(ctx) })
	}
	wg.Wait()
	const block = 4096
	*out = fuse.StatfsOut{Bsize: block, Frsize: block, NameLen: 255}
	seen := make(map[string]bool)
	for _, s := range spaces {
		if s.ID != "" && seen[s.ID] {
			continue
		}
		seen[s.ID] = true
		out.Blocks += s.Total / block
		out.Bfree += s.Free / block
		out.Bavail += s.Available / block
		out.Files += s.Files
		out.Ffree += s.FreeFiles
	}
	return fuse.OK
}
