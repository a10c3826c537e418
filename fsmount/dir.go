package fsmount

import (
	"context"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"twintape/sources"
)

// dirState is what a directory's node remembers.
type dirState struct {
	fresh  *listing // nil if there is none, or it is older than attr_ttl
	asking *asking  // the listing under way; nil if there is none
	kernel *listing // what the kernel's own cache of the listing was filled from
	drop   *time.Timer
}

// listing is what a directory held at a time. It does not change.
type listing struct {
	at    time.Time
	infos []sources.Info // sorted by name
}

func (l *listing) find(name string) *sources.Info {
	i, ok := slices.BinarySearchFunc(l.infos, name, func(info sources.Info, name string) int { return strings.Compare(info.Name, name) })
	if !ok {
		return nil
	}
	return &l.infos[i]
}

// asking is a listing that all who want it wait for.
type asking struct {
	done chan struct{}
	got  *listing
	err  error
}

// known returns the directory's listing if one is at hand.
func (n *node) known() *listing {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dir.fresh
}

// list returns the directory's listing, from the host if none is at hand. Who asks gives up with ctx; the question goes on
// for others.
func (f *fileSystem) list(ctx context.Context, n *node) (*listing, error) {
	if n.own {
		return nil, &sources.Error{Op: "list", Host: n.tree.name, Path: n.path(), Err: errOwn}
	}
	n.mu.Lock()
	if l := n.dir.fresh; l != nil {
		n.mu.Unlock()
		return l, nil
	}
	a := n.dir.asking
	if a == nil {
		a = &asking{done: make(chan struct{})}
		n.dir.asking = a
		f.running.Go(func() { f.ask(n, a) })
	}
	n.mu.Unlock()
	select {
	case <-a.done:
		return a.got, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// ask gets a listing from the host.
func (f *fileSystem) ask(n *node, a *asking) {
	ctx, cancel := context.WithTimeoutCause(f.life, f.cfg.listLimit(), errTooLong)
	defer cancel()
	at := time.Now()
	infos, err := n.tree.src.ReadDir(ctx, n.path())
	if err == nil {
		a.got = &listing{at: at, infos: infos}
	} else {
		a.err = f.caused(ctx, err)
	}
	n.mu.Lock()
	n.dir.asking = nil
	if n.dir.fresh = a.got; a.got != nil {
		// What nobody may use any more must not take memory either.
		n.dir.drop = time.AfterFunc(f.cfg.AttrTTL-time.Since(at), func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			if n.dir.fresh == a.got {
				n.dir.fresh = nil
			}
		})
	}
	n.mu.Unlock()
	close(a.done)
}

// directory is an open directory: one listing, however often it is read.
type directory struct {
	node *node
	list *listing
}

func (f *fileSystem) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n := f.nodes.get(in.NodeId)
	if n == nil {
		return fuse.Status(syscall.ESTALE)
	}
	if n.tree == nil {
		out.Fh = f.dirs.add(&directory{node: n, list: f.rootList()})
		return fuse.OK
	}
	ctx, done := f.begin(cancel)
	defer done()
	l, err := f.list(ctx, n)
	if err != nil {
		return f.failed(ctx, err)
	}
	n.mu.Lock()
	// The kernel may answer from its own cache as long as that was filled from the same listing.
	out.OpenFlags = fuse.FOPEN_CACHE_DIR
	if n.dir.kernel == l {
		out.OpenFlags |= fuse.FOPEN_KEEP_CACHE
	}
	n.dir.kernel = l
	n.mu.Unlock()
	out.Fh = f.dirs.add(&directory{node: n, list: l})
	return fuse.OK
}

// rootList lists the mount's root.
func (f *fileSystem) rootList() *listing {
	l := &listing{at: time.Now()}
	for _, name := range f.forest.names {
		l.infos = append(l.infos, f.forest.top(name))
	}
	return l
}

func (f *fileSystem) ReleaseDir(in *fuse.ReleaseIn) { f.dirs.remove(in.Fh) }

func (f *fileSystem) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(in, out, func(e fuse.DirEntry) (*fuse.EntryOut, bool) { return nil, out.AddDirEntry(e) })
}

func (f *fileSystem) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(in, out, func(e fuse.DirEntry) (*fuse.EntryOut, bool) {
		entry := out.AddDirLookupEntry(e)
		return entry, entry != nil
	})
}

// readDir gives entries to add until one does not fit. The offset is the number of entries that were given already, "."
// and ".." included.
func (f *fileSystem) readDir(in *fuse.ReadIn, out *fuse.DirEntryList, add func(fuse.DirEntry) (*fuse.EntryOut, bool)) fuse.Status {
	d := f.dirs.get(in.Fh)
	if d == nil {
		return fuse.EBADF
	}
	dots := []fuse.DirEntry{{Name: ".", Ino: d.node.ino}, {Name: "..", Ino: d.node.ino}}
	if d.node.parent != nil {
		dots[1].Ino = d.node.parent.ino
	}
	base := d.node.path()
	for i := in.Offset; i < uint64(2+len(d.list.infos)); i++ {
		if i < 2 {
			e := dots[i]
			e.Mode, e.Off = syscall.S_IFDIR, i+1
			if _, fits := add(e); !fits {
				break
			}
			continue
		}
		info := &d.list.infos[i-2]
		tr, path := d.node.tree, "/"
		if tr == nil {
			tr = f.forest.trees[info.Name]
		} else {
			path = join(base, info.Name)
		}
		e := fuse.DirEntry{Name: info.Name, Mode: kindOf(info.Mode), Off: i + 1, Ino: f.inode(tr, path, info)}
		entry, fits := add(e)
		if !fits {
			break
		}
		// A symlink's length is known when its target is: the kernel asks when it needs to know.
		if entry == nil || info.Mode&fs.ModeSymlink != 0 {
			continue
		}
		n := f.enter(d.node, info.Name, tr, path, info)
		f.tell(n, info, d.list.at, entry)
	}
	return fuse.OK
}

// inode is the number that an entry's node would have.
func (f *fileSystem) inode(tr *tree, path string, info *sources.Info) uint64 {
	var ident [2]uint64
	if info.Nlink > 0 {
		ident = [2]uint64{info.Dev, info.Inode}
	}
	return f.nodes.inode(tr, path, ident)
}

func join(dir, name string) string {
	if dir == "/" {
		return "/" + name
	}
	return dir + "/" + name
}
