package fsmount

import (
	"context"
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"twintape/sources"
)

// hostAttr is the extended attribute that names a file's host by its own name, whatever alias the path has.
const hostAttr = "user.twintape.host"

func (f *fileSystem) GetXAttr(cancel <-chan struct{}, in *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	// The kernel asks for capabilities and access lists at every turn; there are only our own.
	if !strings.HasPrefix(name, "user.") {
		return 0, fuse.Status(syscall.ENODATA)
	}
	attrs, status := f.xattrs(cancel, in)
	if status != fuse.OK {
		return 0, status
	}
	value, ok := attrs[name]
	if !ok {
		return 0, fuse.Status(syscall.ENODATA)
	}
	return give(value, dest)
}

func (f *fileSystem) ListXAttr(cancel <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	attrs, status := f.xattrs(cancel, in)
	if status != fuse.OK {
		return 0, status
	}
	var names strings.Builder
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		names.WriteString(name + "\x00")
	}
	return give(names.String(), dest)
}

// xattrs returns what is known of a node beside its attributes.
func (f *fileSystem) xattrs(cancel <-chan struct{}, in *fuse.InHeader) (map[string]string, fuse.Status) {
	n := f.nodes.get(in.NodeId)
	switch {
	case n == nil:
		return nil, fuse.Status(syscall.ESTALE)
	case n.tree == nil:
		return nil, fuse.OK
	}
	ctx, done := f.begin(cancel)
	defer done()
	ctx, stop := f.limited(ctx)
	defer stop()
	attrs, err := f.askXattrs(ctx, n)
	if err != nil {
		return nil, f.failed(ctx, err)
	}
	return attrs, fuse.OK
}

// askXattrs asks who knows.
func (f *fileSystem) askXattrs(ctx context.Context, n *node) (map[string]string, error) {
	if n.tree.name == tapesName {
		if src, ok := n.tree.src.(sources.XattrReader); ok {
			return src.Xattrs(ctx, n.path())
		}
		return nil, nil
	}
	if f.cfg.Xattrs == nil {
		return map[string]string{hostAttr: n.tree.name}, nil
	}
	info := f.forest.top(n.name)
	if !n.isTop() {
		now, _, err := f.attributes(ctx, n)
		if err != nil {
			return nil, err
		}
		info = *now
	}
	return f.cfg.Xattrs(ctx, n.tree.name, n.path(), info)
}

// give answers with a value, or with its length if there is no room: who asks tries again then.
func give(value string, dest []byte) (uint32, fuse.Status) {
	if len(dest) < len(value) {
		return uint32(len(value)), fuse.ERANGE
	}
	return uint32(copy(dest, value)), fuse.OK
}
