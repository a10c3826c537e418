package fsmount

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"twintape/sources"
)

// contentState is what a regular file's node remembers.
type contentState struct {
	// The kernel's pages are of a file of this size and time, if there are any.
	size  int64
	mtime time.Time

	open    []*file
	backing *backing // nil if the kernel does not read the file by itself
}

// backing is the file that the kernel reads by itself for all who have a node open.
type backing struct {
	id   int32
	uses int
	file sources.File
}

// file is an open file.
type file struct {
	node    *node
	path    string
	src     sources.File
	backing *backing // nil if reads come to us
	ahead   *stream  // nil if the kernel's read-ahead is enough
	fetches sync.WaitGroup
}

func (f *fileSystem) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if in.Flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return fuse.EROFS
	}
	n := f.nodes.get(in.NodeId)
	if n == nil {
		return fuse.Status(syscall.ESTALE)
	}
	ctx, done := f.begin(cancel)
	defer done()
	limited, stop := context.WithTimeoutCause(ctx, f.cfg.openLimit(n.tree), errTooLong)
	defer stop()
	h := &file{node: n, path: n.path()}
	var err error
	if h.src, err = n.tree.src.Open(limited, h.path); err != nil {
		return f.failed(limited, err)
	}
	n.tree.space.use()
	if err := f.examine(limited, h); err != nil {
		f.running.Go(func() { h.src.Close() })
		return f.failed(limited, err)
	}
	n.mu.Lock()
	conn, local := h.src.(syscall.Conn)
	if local {
		f.passThrough(h, conn)
	} else {
		h.ahead = f.newStream(h, n.size)
	}
	switch {
	case h.backing != nil:
		out.OpenFlags, out.BackingID = fuse.FOPEN_PASSTHROUGH, h.backing.id
	case n.content.size == n.size && n.content.mtime.Equal(n.mtime):
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	}
	n.content.size, n.content.mtime = n.size, n.mtime
	n.content.open = append(n.content.open, h)
	n.mu.Unlock()
	out.Fh = f.files.add(h)
	return fuse.OK
}

// examine makes sure that the file's size and time are known as of now.
func (f *fileSystem) examine(ctx context.Context, h *file) error {
	n := h.node
	n.mu.Lock()
	seen := n.seen
	n.mu.Unlock()
	if f.left(seen) > 0 {
		return nil
	}
	at := time.Now()
	info, err := h.src.Stat(ctx)
	if err != nil {
		return err
	}
	n.look(&info, at)
	return nil
}

// passThrough lets the kernel read the file by itself, if it can. The node is locked.
func (f *fileSystem) passThrough(h *file, conn syscall.Conn) {
	c := &h.node.content
	if c.backing != nil {
		// A node can have one backing file only.
		c.backing.uses++
		h.backing = c.backing
		return
	}
	// Whoever has it open without stays so, and the kernel lets nobody mix the two.
	if f.cfg.NoPassthrough || f.noPass.Load() || len(c.open) > 0 {
		return
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return // the file is closed: reading it will say so
	}
	var id int32
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) { id, errno = f.server.RegisterBackingFd(&fuse.BackingMap{Fd: int32(fd)}) })
	switch {
	case err != nil:
		return
	case errno == syscall.EPERM, errno == syscall.ENOTTY, errno == syscall.EOPNOTSUPP && !f.canPass():
		if f.noPass.CompareAndSwap(false, true) {
			f.cfg.Info("local files are read without the kernel's passthrough: " + errno.Error())
		}
		return
	case errno != 0:
		return // this file's own file system cannot
	}
	c.backing = &backing{id: id, uses: 1, file: h.src}
	h.backing = c.backing
}

// canPass says whether the kernel offers passthrough.
func (f *fileSystem) canPass() bool {
	return f.server.KernelSettings().Flags64()&fuse.CAP_PASSTHROUGH != 0
}

func (f *fileSystem) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	h := f.files.remove(in.Fh)
	if h == nil {
		return
	}
	n := h.node
	n.mu.Lock()
	for i, other := range n.content.open {
		if other == h {
			n.content.open = append(n.content.open[:i:i], n.content.open[i+1:]...)
			break
		}
	}
	closes := []sources.File{h.src}
	if b := h.backing; b != nil {
		if b.file == h.src {
			closes = nil // others may still read it
		}
		if b.uses--; b.uses == 0 {
			f.server.UnregisterBackingFd(b.id)
			n.content.backing = nil
			closes = append(closes, b.file)
		}
	}
	n.mu.Unlock()
	f.running.Go(func() {
		if h.ahead != nil {
			h.ahead.close()
		}
		h.fetches.Wait()
		for _, src := range closes {
			src.Close() // was only read
		}
	})
}

// byHandle asks what an open file looks like.
func (f *fileSystem) byHandle(ctx context.Context, n *node) (*sources.Info, time.Time, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.content.open) == 0 {
		return nil, time.Time{}, false
	}
	at := time.Now()
	ctx, cancel := f.limited(ctx)
	defer cancel()
	info, err := n.content.open[0].src.Stat(ctx)
	return &info, at, err == nil
}

func (f *fileSystem) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	h := f.files.get(in.Fh)
	if h == nil {
		return nil, fuse.EBADF
	}
	ctx, done := f.begin(cancel)
	defer done()
	var parts []part
	var err error
	if h.ahead != nil {
		parts, err = h.ahead.read(ctx, int64(in.Offset), len(buf))
	} else {
		parts, err = f.readPlain(ctx, h, int64(in.Offset), len(buf))
	}
	if err != nil {
		return nil, f.failed(ctx, err)
	}
	return &reply{parts: parts}, fuse.OK
}

// readPlain reads exactly what is asked for.
func (f *fileSystem) readPlain(ctx context.Context, h *file, off int64, n int) ([]part, error) {
	p := f.fetch(h, off, n)
	defer p.release()
	if err := p.wait(ctx); err != nil {
		return nil, err
	}
	return p.parts(off, n), nil
}

// reply is what a read comes to, without copying it together.
type reply struct {
	parts []part
}

// part is a piece of a reply. It holds a fetch.
type part struct {
	data []byte
	of   *fetch
}

// Slices is how go-fuse takes data that lies in pieces.
func (r *reply) Slices() ([][]byte, fuse.Status) {
	slices := make([][]byte, len(r.parts))
	for i, p := range r.parts {
		slices[i] = p.data
	}
	return slices, fuse.OK
}

func (r *reply) Bytes(buf []byte) ([]byte, fuse.Status) {
	buf = buf[:0]
	for _, p := range r.parts {
		buf = append(buf, p.data...)
	}
	return buf, fuse.OK
}

func (r *reply) Size() (n int) {
	for _, p := range r.parts {
		n += len(p.data)
	}
	return n
}

func (r *reply) Done() {
	for _, p := range r.parts {
		p.of.release()
	}
}

var errClosed = errors.New("the file is closed")
