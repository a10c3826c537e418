package nfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sync"
	"syscall"

	"twintape/sources"
	"twintape/sources/pool"
)

// file is an open file: the server's handle for it, which any connection can use.
type file struct {
	src   *Source
	path  string
	chunk int // largest request, in bytes

	mu     sync.Mutex
	fh     handle
	attr   attr  // as last seen
	gone   error // why the handle stands for nothing any more; nil if it does
	closed bool
}

func newFile(s *Source, p string, n *node) *file {
	return &file{src: s, path: p, chunk: int(n.root.maxRead), fh: n.fh, attr: n.attr}
}

// onHandle does something with the handle, and once more with a new one if the server does not know it any more.
func onHandle[T any](ctx context.Context, f *file, use func(fh handle) (T, error)) (T, error) {
	for repeated := false; ; repeated = true {
		var none T
		if err := f.src.usable(ctx); err != nil {
			return none, err
		}
		fh, err := f.handle()
		if err != nil {
			return none, err
		}
		v, err := use(fh)
		if !stale(err) || repeated {
			return v, err
		}
		if err := f.renew(ctx, fh, err); err != nil {
			return none, err
		}
	}
}

func (f *file) handle() (handle, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return "", fs.ErrClosed
	}
	return f.fh, f.gone
}

// seen notes attributes that came with an answer.
func (f *file) seen(a *attr) {
	if a != nil {
		f.mu.Lock()
		f.attr = *a
		f.mu.Unlock()
	}
}

// renew looks the path up again after the server called the handle stale. What is there now must be the same file: the same
// number, and not changed since it was last seen, since a number is given to another file after a removal.
func (f *file) renew(ctx context.Context, old handle, cause error) error {
	f.src.forget()
	n, err := f.src.walk(ctx, path.Join(f.src.root, f.path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.gone != nil || f.fh != old: // another call was faster
	case err != nil:
		f.gone = fmt.Errorf("the file was removed on the host: %w", err)
	case n.exp == nil || n.attr.fileid != f.attr.fileid || !n.attr.ctime.Equal(f.attr.ctime):
		f.gone = fmt.Errorf("the file was replaced on the host: %w", cause)
	default:
		f.fh = n.fh
	}
	return f.gone
}

func (f *file) Stat(ctx context.Context) (sources.Info, error) {
	a, err := onHandle(ctx, f, func(fh handle) (attr, error) {
		return onFile(ctx, f.src, true, procGetattr, fh.encode, maxSmall, (*decoder).attr)
	})
	if err != nil {
		return sources.Info{}, f.src.fail("stat", f.path, err)
	}
	f.seen(&a)
	return info(f.path, &a), nil
}

func (f *file) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, f.src.fail("read", f.path, syscall.EINVAL)
	}
	if len(p) == 0 {
		return 0, f.src.usable(ctx)
	}
	// So many at once that each connection has its next requests before it is done.
	n, err := pool.Stripe(ctx, p, off, f.chunk, 4*f.src.pool.Limit(), f.readChunk)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, f.src.fail("read", f.path, err)
}

// readChunk reads one request's worth, and on where the server sent less without being at the file's end.
func (f *file) readChunk(ctx context.Context, p []byte, off int64) (int, error) {
	for n := 0; ; {
		r, err := onHandle(ctx, f, func(fh handle) (readReply, error) { return f.src.read(ctx, fh, p[n:], off+int64(n)) })
		if err != nil {
			return n, err
		}
		f.seen(r.attr)
		n += r.count
		end := off + int64(n)
		switch {
		case n == len(p):
			return n, nil
		case (r.eof || r.count == 0) && (r.attr == nil && r.eof || r.attr != nil && uint64(end) >= r.attr.size):
			return n, io.EOF
		case r.count == 0:
			return n, fmt.Errorf("the server sent nothing at byte %d: %w", end, io.ErrUnexpectedEOF)
		}
	}
}

// Close forgets the handle; the server has nothing to close.
func (f *file) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return f.src.fail("close", f.path, fs.ErrClosed)
	}
	f.closed = true
	return nil
}
