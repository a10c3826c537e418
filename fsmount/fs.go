package fsmount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"twintape/sources"
)

// errOwn keeps walks from going round in circles.
var errOwn = fmt.Errorf("this is the mount itself, seen through the host: %w", syscall.ELOOP)

// fileSystem answers the kernel. What is not defined here is answered with ENOSYS, on purpose: access (so that the host's
// login decides who may read; with allow_other the kernel checks modes itself), flush and fsync (there is nothing to
// write), lseek for holes and statx (the kernel has answers of its own).
type fileSystem struct {
	fuse.RawFileSystem
	cfg     Config
	forest  *forest
	root    *node
	nodes   *nodes
	files   handles[*file]
	dirs    handles[*directory]
	told    told
	life    context.Context // ends with errUnmounted
	running sync.WaitGroup
	server  *fuse.Server
	device  atomic.Uint64 // of the mount; 0 while it is not known
	noPass  atomic.Bool   // the kernel, or our rights, allow no passthrough
}

// begin makes the context of a call from the kernel. done ends it.
func (f *fileSystem) begin(cancel <-chan struct{}) (ctx context.Context, done func()) {
	ctx, end := context.WithCancelCause(f.life)
	stop := make(chan struct{})
	f.running.Go(func() {
		select {
		case <-stop:
			return
		case <-cancel:
		}
		// Any signal comes here, that of a timer or of a child's end too. An answer that is about to come is worth more than
		// an error which few programs expect; a host that hangs is not waited for.
		grace := time.NewTimer(interruptGrace)
		defer grace.Stop()
		select {
		case <-stop:
		case <-grace.C:
			end(errInterrupted)
		}
	})
	return ctx, func() {
		close(stop)
		end(context.Canceled)
	}
}

// interruptGrace is how long a call that a signal interrupted may still take.
const interruptGrace = 200 * time.Millisecond

// limited bounds a single call on a host, whatever the host's own time-out is.
func (f *fileSystem) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, f.cfg.CallLimit, errTooLong)
}

// caused puts why a context ended in the place of the context's own error.
func (f *fileSystem) caused(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if cause == nil || !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var e *sources.Error
	if errors.As(err, &e) {
		return &sources.Error{Op: e.Op, Host: e.Host, Path: e.Path, Err: cause}
	}
	return cause
}

// failed turns an error into what the kernel is told, and tells the operator of those that are not of every day.
func (f *fileSystem) failed(ctx context.Context, err error) fuse.Status {
	err = f.caused(ctx, err)
	errno := errnoOf(err)
	if !ordinary(errno) || errors.Is(err, sources.ErrUnavailable) {
		f.told.problem(f.cfg.Problem, err, errno)
	}
	return fuse.Status(errno)
}

func (f *fileSystem) Lookup(cancel <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	parent := f.nodes.get(in.NodeId)
	if parent == nil {
		return fuse.Status(syscall.ESTALE)
	}
	ctx, done := f.begin(cancel)
	defer done()
	n, info, at, err := f.lookup(ctx, parent, name)
	if errors.Is(err, fs.ErrNotExist) && errnoOf(err) == syscall.ENOENT {
		out.SetEntryTimeout(f.left(at))
		return fuse.OK // without a node: the kernel may remember that there is none
	}
	if err != nil {
		return f.failed(ctx, err)
	}
	f.tell(n, info, at, out)
	return fuse.OK
}

// lookup finds an entry of a directory, and says what it looked like, and when.
func (f *fileSystem) lookup(ctx context.Context, parent *node, name string) (*node, *sources.Info, time.Time, error) {
	now := time.Now()
	if parent.tree == nil {
		tr := f.forest.find(name)
		if tr == nil {
			return nil, nil, now, fs.ErrNotExist
		}
		info := f.forest.top(name)
		return f.enter(parent, name, tr, "/", &info), &info, now, nil
	}
	path := parent.child(name)
	info, at, err := f.stat(ctx, parent, name, path)
	if err != nil {
		return nil, nil, at, err
	}
	n := f.enter(parent, name, parent.tree, path, info)
	if n.kind == syscall.S_IFLNK {
		info = f.linkInfo(ctx, n, info)
	}
	return n, info, at, nil
}

// stat says what an entry of a directory looks like: as the directory's listing has it if one is at hand, else as the host
// says.
func (f *fileSystem) stat(ctx context.Context, parent *node, name, path string) (*sources.Info, time.Time, error) {
	if parent.own {
		return nil, time.Now(), &sources.Error{Op: "stat", Host: parent.tree.name, Path: path, Err: errOwn}
	}
	l := parent.known()
	if l != nil {
		info := l.find(name)
		if info == nil {
			return nil, l.at, &sources.Error{Op: "stat", Host: parent.tree.name, Path: path, Err: fs.ErrNotExist}
		}
		return info, l.at, nil
	}
	at := time.Now()
	ctx, cancel := f.limited(ctx)
	defer cancel()
	info, err := parent.tree.src.Stat(ctx, path)
	if err != nil {
		return nil, at, f.caused(ctx, err)
	}
	parent.tree.space.use()
	return &info, at, nil
}

// enter returns the node of an entry, which the kernel will be told of once more.
func (f *fileSystem) enter(parent *node, name string, tr *tree, path string, info *sources.Info) *node {
	return f.nodes.enter(parent, name, tr, path, info, info.Nlink > 0 && info.Dev == f.device.Load())
}

// tell gives the kernel an entry that looked like info at a time.
func (f *fileSystem) tell(n *node, info *sources.Info, at time.Time, out *fuse.EntryOut) {
	n.look(info, at)
	out.NodeId, out.Generation = n.id, 1
	n.setAttr(&out.Attr, info)
	left := f.left(at)
	out.SetEntryTimeout(left)
	out.SetAttrTimeout(left)
}

// left is how long what was seen at a time may still be used.
func (f *fileSystem) left(at time.Time) time.Duration { return max(0, f.cfg.AttrTTL-time.Since(at)) }

func (f *fileSystem) Forget(id, lookups uint64) { f.nodes.forget(id, lookups) }

func (f *fileSystem) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	n := f.nodes.get(in.NodeId)
	if n == nil {
		return fuse.Status(syscall.ESTALE)
	}
	if n.isTop() {
		info := f.forest.top(n.name)
		n.setAttr(&out.Attr, &info)
		out.SetTimeout(f.cfg.AttrTTL)
		return fuse.OK
	}
	ctx, done := f.begin(cancel)
	defer done()
	info, at, err := f.attributes(ctx, n)
	if err != nil {
		return f.failed(ctx, err)
	}
	n.look(info, at)
	n.setAttr(&out.Attr, info)
	out.SetTimeout(f.left(at))
	return fuse.OK
}

// attributes asks what a node looks like: of a file that is open by its handle, since its name may stand for another by
// now, else by its name. ESTALE says that the name stands for something else: the kernel then looks the name up again.
func (f *fileSystem) attributes(ctx context.Context, n *node) (*sources.Info, time.Time, error) {
	if info, at, ok := f.byHandle(ctx, n); ok {
		return info, at, nil
	}
	info, at, err := f.stat(ctx, n.parent, n.name, n.path())
	if err != nil {
		return nil, at, err
	}
	if kindOf(info.Mode) != n.kind || info.Nlink > 0 && n.ident != [2]uint64{info.Dev, info.Inode} {
		return nil, at, &sources.Error{Op: "stat", Host: n.tree.name, Path: n.path(), Err: syscall.ESTALE}
	}
	if n.kind == syscall.S_IFLNK {
		info = f.linkInfo(ctx, n, info)
	}
	return info, at, nil
}
