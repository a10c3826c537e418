package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sync"
	"syscall"

	"github.com/pkg/sftp"

	"twintape/sources"
	"twintape/sources/pool"
)

// stripe is how much of a read goes to one connection, in bytes; half of what SSH lets a channel have under way.
const stripe = 1 << 20

// errChanged says that another handle for a file does not stand for what was opened first.
var errChanged = errors.New("the file changed since it was opened")

// file is an open file: a handle on the connection that opened it, and on others as large reads need them or as the first
// is lost.
type file struct {
	src  *Source
	path string
	info sources.Info // as it was opened

	mu      sync.Mutex
	handles map[*conn]*handle
	single  bool // other connections see another file by now: stay with the handles there are
	closed  bool
}

// handle is one connection's handle; ready is closed when it was opened, or was not.
type handle struct {
	ready chan struct{}
	sftp  *sftp.File
	err   error
}

func newFile(s *Source, p string, info sources.Info, c *conn, opened *sftp.File) *file {
	h := &handle{ready: make(chan struct{}), sftp: opened}
	close(h.ready)
	return &file{src: s, path: p, info: info, handles: map[*conn]*handle{c: h}}
}

func (f *file) Stat(ctx context.Context) (sources.Info, error) {
	for repeated := false; ; repeated = true {
		info, err := f.stat(ctx)
		if repeated || !pool.WorthRepeating(err) {
			return info, f.src.fail("stat", f.path, err)
		}
	}
}

func (f *file) stat(ctx context.Context) (sources.Info, error) {
	c, h, err := f.handle(ctx, false)
	if err != nil {
		return sources.Info{}, err
	}
	return f.fstat(ctx, c, h)
}

func (f *file) fstat(ctx context.Context, c *conn, h *sftp.File) (sources.Info, error) {
	return call(ctx, c, func() (sources.Info, error) {
		fi, err := h.Stat()
		if err != nil {
			return sources.Info{}, err
		}
		return c.names.info(path.Base(f.path), fi), nil
	}, nil)
}

func (f *file) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, f.src.fail("read", f.path, syscall.EINVAL)
	}
	n, err := f.readStriped(ctx, p, off)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, f.src.fail("read", f.path, err)
}

func (f *file) readStriped(ctx context.Context, p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, ctx.Err()
	}
	// Pieces of the same size, so many at once that each connection has its next one's requests before it is done.
	count := (len(p) + stripe - 1) / stripe
	return pool.Stripe(ctx, p, off, (len(p)+count-1)/count, 2*f.src.pool.Limit(), f.readStripe)
}

// readStripe reads from one connection, and once more from another one if the first is lost.
func (f *file) readStripe(ctx context.Context, p []byte, off int64) (int, error) {
	for repeated := false; ; repeated = true {
		n, err := f.readOnce(ctx, p, off)
		if repeated || !pool.WorthRepeating(err) {
			return n, err
		}
	}
}

func (f *file) readOnce(ctx context.Context, p []byte, off int64) (int, error) {
	c, h, err := f.handle(ctx, true)
	if err != nil {
		return 0, err
	}
	n, err := c.read(ctx, h, p, off)
	end := off + int64(n)
	if err != io.EOF || end >= f.info.Size {
		return n, err
	}
	// The server says that the file ends sooner than when it was opened: believe it only if it also says so by its size.
	now, err := f.fstat(ctx, c, h)
	if err != nil {
		return n, err
	}
	if end < now.Size {
		return n, fmt.Errorf("the server ended the file at byte %d of %d: %w", end, now.Size, io.ErrUnexpectedEOF)
	}
	return n, io.EOF
}

// handle returns a connection and its handle for the file. To spread a large file, it may be a connection without one yet.
func (f *file) handle(ctx context.Context, spread bool) (*conn, *sftp.File, error) {
	c, closed := f.home()
	if closed {
		return nil, nil, fs.ErrClosed
	}
	if c != nil && (!spread || f.info.Size <= stripe || f.isSingle()) {
		h, err := f.on(ctx, c)
		return c, h, err
	}
	c, err := f.src.pool.Get(ctx)
	if err != nil {
		return nil, nil, err
	}
	h, err := f.on(ctx, c)
	if errors.Is(err, errChanged) {
		if home, _ := f.home(); home != nil {
			f.mu.Lock()
			f.single = true
			f.mu.Unlock()
			h, err := f.on(ctx, home)
			return home, h, err
		}
	}
	return c, h, err
}

func (f *file) isSingle() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.single
}

// home returns a living connection that has a handle, nil if there is none, and forgets dead ones.
func (f *file) home() (home *conn, closed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c, h := range f.handles {
		if c.IsDead() {
			delete(f.handles, c)
			continue
		}
		select {
		case <-h.ready:
			if h.err == nil && (home == nil || c.busy.Load() < home.busy.Load()) {
				home = c
			}
		default:
		}
	}
	return home, f.closed
}

// on returns the connection's handle, and opens it if there is none.
func (f *file) on(ctx context.Context, c *conn) (*sftp.File, error) {
	for {
		f.mu.Lock()
		if f.closed {
			f.mu.Unlock()
			return nil, fs.ErrClosed
		}
		h, exists := f.handles[c]
		if !exists {
			h = &handle{ready: make(chan struct{})}
			f.handles[c] = h
		}
		f.mu.Unlock()
		if !exists {
			if h.sftp, h.err = f.reopen(ctx, c); h.err != nil {
				f.mu.Lock()
				delete(f.handles, c)
				f.mu.Unlock()
			}
			close(h.ready)
			return h.sftp, h.err
		}
		select {
		case <-h.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if h.err == nil || c.IsDead() || errors.Is(h.err, errChanged) {
			return h.sftp, h.err
		}
		// Who opened it gave up, perhaps only for its own reasons: try ourselves.
	}
}

// reopen opens the file by its name again, and refuses it if it is not what it was at first.
func (f *file) reopen(ctx context.Context, c *conn) (*sftp.File, error) {
	h, err := c.open(ctx, f.src.remote(f.path))
	if err != nil {
		return nil, err
	}
	now, err := f.fstat(ctx, c, h)
	if err == nil && (now.Mode.Type() != f.info.Mode.Type() || now.Size != f.info.Size || !now.MTime.Equal(f.info.MTime)) {
		err = fmt.Errorf("%w: it had %d bytes of %v, and has %d of %v", errChanged, f.info.Size, f.info.MTime.UTC(), now.Size, now.MTime.UTC())
	}
	if err != nil {
		c.discard(h)
		return nil, err
	}
	return h, nil
}

func (f *file) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return f.src.fail("close", f.path, fs.ErrClosed)
	}
	f.closed = true
	for c, h := range f.handles {
		if h.sftp != nil && !c.IsDead() {
			c.discard(h.sftp)
		}
	}
	return nil
}
