package fsmount

import (
	"hash/maphash"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"twintape/sources"
)

// node is what the kernel knows by a number. What it is never changes: a name that stands for something else later gets a
// new node.
type node struct {
	id     uint64
	ino    uint64
	parent *node // nil for the mount's root
	name   string
	tree   *tree // nil for the mount's root
	kind   uint32
	ident  [2]uint64 // device and inode on the host, zero where unknown
	own    bool      // is this very mount, seen through a host: nothing is looked at below

	lookups uint64 // how often the kernel was told of it; guarded by the table

	mu      sync.Mutex
	seen    time.Time // when size and mtime were read from the host
	size    int64
	mtime   time.Time
	dir     dirState
	link    linkState
	content contentState
}

// path is where the node lies in its tree.
func (n *node) path() string {
	if n.parent == nil || n.parent.tree == nil {
		return "/"
	}
	var names []string
	length := 0
	for m := n; m.parent.tree != nil; m = m.parent {
		names = append(names, m.name)
		length += len(m.name) + 1
	}
	var b strings.Builder
	b.Grow(length)
	for i := len(names) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(names[i])
	}
	return b.String()
}

// child is the path of an entry of the node.
func (n *node) child(name string) string {
	if p := n.path(); p != "/" {
		return p + "/" + name
	}
	return "/" + name
}

// isTop tells that the node stands for a whole tree: its attributes are ours, so that nobody is asked for them.
func (n *node) isTop() bool { return n.parent == nil || n.parent.tree == nil }

// nodes are all nodes that the kernel knows.
type nodes struct {
	seed maphash.Seed

	mu     sync.Mutex
	byID   map[uint64]*node
	byName map[nodeName]*node
	last   uint64
}

type nodeName struct {
	parent *node
	name   string
}

func newNodes(root *node) *nodes {
	t := &nodes{seed: maphash.MakeSeed(), byID: make(map[uint64]*node), byName: make(map[nodeName]*node), last: fuse.FUSE_ROOT_ID}
	root.id, root.ino, root.kind = fuse.FUSE_ROOT_ID, fuse.FUSE_ROOT_ID, syscall.S_IFDIR
	t.byID[root.id] = root
	return t
}

// get returns the node that a number of the kernel's stands for.
func (t *nodes) get(id uint64) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

// enter returns the node of an entry, which the kernel will be told of once more.
func (t *nodes) enter(parent *node, name string, tr *tree, path string, info *sources.Info, own bool) *node {
	kind := kindOf(info.Mode)
	var ident [2]uint64
	if info.Nlink > 0 {
		ident = [2]uint64{info.Dev, info.Inode}
	}
	key := nodeName{parent, name}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byName[key]
	if n == nil || n.kind != kind || n.ident != ident {
		t.last++
		n = &node{id: t.last, parent: parent, name: name, tree: tr, kind: kind, ident: ident, own: own}
		n.ino = t.inode(tr, path, ident)
		t.byID[n.id] = n
		t.byName[key] = n
	}
	n.lookups++
	return n
}

// forget takes back some of what the kernel was told.
func (t *nodes) forget(id, lookups uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byID[id]
	if n == nil || n.parent == nil {
		return
	}
	n.lookups -= min(lookups, n.lookups)
	if n.lookups > 0 {
		return
	}
	delete(t.byID, id)
	if key := (nodeName{n.parent, n.name}); t.byName[key] == n {
		delete(t.byName, key)
	}
}

// inode makes an inode number that stays the same as long as the mount lives, without remembering any: of the identity
// where the source knows it, so that hard links share one, else of the path.
func (t *nodes) inode(tr *tree, path string, ident [2]uint64) uint64 {
	var ino uint64
	if ident != ([2]uint64{}) {
		ino = maphash.Comparable(t.seed, identity{tr.name, ident})
	} else {
		ino = maphash.Comparable(t.seed, place{tr.name, path})
	}
	if ino <= fuse.FUSE_ROOT_ID || ino == ^uint64(0) {
		return ino ^ 1<<63
	}
	return ino
}

type identity struct {
	host  string
	ident [2]uint64
}

type place struct{ host, path string }

// kindOf is the file type as stat(2) spells it.
func kindOf(m fs.FileMode) uint32 {
	switch {
	case m.IsDir():
		return syscall.S_IFDIR
	case m&fs.ModeSymlink != 0:
		return syscall.S_IFLNK
	case m&fs.ModeNamedPipe != 0:
		return syscall.S_IFIFO
	case m&fs.ModeSocket != 0:
		return syscall.S_IFSOCK
	case m&fs.ModeCharDevice != 0:
		return syscall.S_IFCHR
	case m&fs.ModeDevice != 0:
		return syscall.S_IFBLK
	}
	return syscall.S_IFREG
}

// permissions are the other bits of stat(2)'s mode.
func permissions(m fs.FileMode) uint32 {
	mode := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		mode |= syscall.S_ISUID
	}
	if m&fs.ModeSetgid != 0 {
		mode |= syscall.S_ISGID
	}
	if m&fs.ModeSticky != 0 {
		mode |= syscall.S_ISVTX
	}
	return mode
}

// setAttr tells the kernel what a node looks like.
func (n *node) setAttr(out *fuse.Attr, info *sources.Info) {
	out.Ino = n.ino
	out.Mode = n.kind | permissions(info.Mode)
	out.Size = uint64(info.Size)
	out.Blocks = (out.Size + 511) / 512
	out.Blksize = 4096
	// A directory has one link: subdirectories are not counted, and 2 would tell find that there are none.
	out.Nlink = 1
	if n.kind != syscall.S_IFDIR && info.Nlink > 0 {
		out.Nlink = info.Nlink
	}
	out.Uid, out.Gid = info.UID, info.GID
	changed := info.CTime
	if changed.IsZero() {
		changed = info.MTime
	}
	out.Mtime, out.Mtimensec = seconds(info.MTime)
	out.Ctime, out.Ctimensec = seconds(changed)
	out.Atime, out.Atimensec = out.Mtime, out.Mtimensec
}

func seconds(t time.Time) (uint64, uint32) {
	if t.IsZero() {
		return 0, 0
	}
	return uint64(t.Unix()), uint32(t.Nanosecond()) // the kernel reads a negative number out of it
}

// look notes what a host said of a file's content, and when.
func (n *node) look(info *sources.Info, at time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !at.Before(n.seen) {
		n.seen, n.size, n.mtime = at, info.Size, info.MTime
	}
}
