package archiver_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"twintape/sources"
)

// silence is how long a call on a host that hangs is waited for.
const silence = 50 * time.Millisecond

// hanging is a host that says nothing any more of what lies below a path, once it hangs: each call gives up after a while.
type hanging struct {
	sources.Source
	below string
	hangs atomic.Bool
}

// canHang lets the site's host hang for a path, which the function that it returns makes it do.
func (s *site) canHang(t *testing.T, below string) (hang func()) {
	t.Helper()
	_, src, err := s.a.Namespace.Source("pot1")
	must(t, err)
	h := &hanging{Source: src, below: below}
	s.a.Namespace, err = sources.NewNamespace([]sources.Host{{Name: "pot1", Source: h}})
	must(t, err)
	return func() { h.hangs.Store(true) }
}

func (h *hanging) wait(ctx context.Context, op, path string) error {
	if !h.hangs.Load() || !strings.HasPrefix(path, h.below) {
		return nil
	}
	late := time.NewTimer(silence)
	defer late.Stop()
	select {
	case <-late.C:
		return &sources.Error{Op: op, Host: "pot1", Path: path, Err: sources.ErrUnavailable}
	case <-ctx.Done():
		return &sources.Error{Op: op, Host: "pot1", Path: path, Err: ctx.Err()}
	}
}

func (h *hanging) Stat(ctx context.Context, path string) (sources.Info, error) {
	if err := h.wait(ctx, "stat", path); err != nil {
		return sources.Info{}, err
	}
	return h.Source.Stat(ctx, path)
}

func (h *hanging) ReadDir(ctx context.Context, path string) ([]sources.Info, error) {
	if err := h.wait(ctx, "list", path); err != nil {
		return nil, err
	}
	return h.Source.ReadDir(ctx, path)
}

func (h *hanging) Open(ctx context.Context, path string) (sources.File, error) {
	if err := h.wait(ctx, "open", path); err != nil {
		return nil, err
	}
	f, err := h.Source.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	return hangingFile{f, h, path}, nil
}

type hangingFile struct {
	sources.File
	h    *hanging
	path string
}

func (f hangingFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := f.h.wait(ctx, "read", f.path); err != nil {
		return 0, err
	}
	return f.File.ReadAt(ctx, p, off)
}

func (f hangingFile) Stat(ctx context.Context) (sources.Info, error) {
	if err := f.h.wait(ctx, "stat", f.path); err != nil {
		return sources.Info{}, err
	}
	return f.File.Stat(ctx)
}
