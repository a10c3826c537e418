package fsmount

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// hostAttr is the extended attribute that names a file's host by its own name, whatever alias the path has.
const hostAttr = "user.twintape.host"

func (f *fileSystem) GetXAttr(_ <-chan struct{}, in *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	n := f.nodes.get(in.NodeId)
	switch {
	case n == nil:
		return 0, fuse.Status(syscall.ESTALE)
	case n.tree == nil, name != hostAttr:
		return 0, fuse.Status(syscall.ENODATA)
	}
	return give(n.tree.name, dest)
}

func (f *fileSystem) ListXAttr(_ <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	n := f.nodes.get(in.NodeId)
	switch {
	case n == nil:
		return 0, fuse.Status(syscall.ESTALE)
	case n.tree == nil:
		return 0, fuse.OK
	}
	return give(hostAttr+"\x00", dest)
}

// give answers with a value, or with its length if there is no room: who asks tries again then.
func give(value string, dest []byte) (uint32, fuse.Status) {
	if len(dest) < len(value) {
		return uint32(len(value)), fuse.ERANGE
	}
	return uint32(copy(dest, value)), fuse.OK
}
