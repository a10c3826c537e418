package sources_test

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"twintape/sources"
)

// tree is a source in memory: paths to modes. It notes what was asked of it.
type tree struct {
	host   string
	modes  map[string]fs.FileMode
	fail   map[string]error // by path, for any call
	mu     sync.Mutex
	listed []string
	closed bool
}

func newTree(host string, files ...string) *tree {
	t := &tree{host: host, modes: map[string]fs.FileMode{"/": fs.ModeDir | 0o755}, fail: map[string]error{}}
	for _, f := range files {
		mode := fs.FileMode(0o644)
		if dir, ok := strings.CutSuffix(f, "/"); ok {
			f, mode = dir, fs.ModeDir|0o755
		} else if link, ok := strings.CutSuffix(f, "@"); ok {
			f, mode = link, fs.ModeSymlink|0o777
		}
		if _, isDir := t.modes[f]; !isDir {
			t.modes[f] = mode
		}
		for d := path.Dir(f); d != "/"; d = path.Dir(d) {
			t.modes[d] = fs.ModeDir | 0o755
		}
	}
	return t
}

func (t *tree) err(op, p string, err error) error {
	return &sources.Error{Op: op, Host: t.host, Path: p, Err: err}
}

func (t *tree) Stat(_ context.Context, p string) (sources.Info, error) {
	if err := t.fail[p]; err != nil {
		return sources.Info{}, t.err("stat", p, err)
	}
	mode, ok := t.modes[p]
	if !ok {
		return sources.Info{}, t.err("stat", p, fs.ErrNotExist)
	}
	return sources.Info{Name: path.Base(p), Mode: mode}, nil
}

func (t *tree) ReadDir(_ context.Context, p string) ([]sources.Info, error) {
	t.mu.Lock()
	t.listed = append(t.listed, p)
	t.mu.Unlock()
	if err := t.fail[p]; err != nil {
		return nil, t.err("list", p, err)
	}
	if mode, ok := t.modes[p]; !ok {
		return nil, t.err("list", p, fs.ErrNotExist)
	} else if !mode.IsDir() {
		return nil, t.err("list", p, syscall.ENOTDIR)
	}
	var infos []sources.Info
	for q, mode := range t.modes {
		if q != "/" && path.Dir(q) == p {
			infos = append(infos, sources.Info{Name: q[strings.LastIndexByte(q, '/')+1:], Mode: mode})
		}
	}
	slices.SortFunc(infos, func(a, b sources.Info) int { return strings.Compare(a.Name, b.Name) })
	return infos, nil
}

func (t *tree) Readlink(_ context.Context, p string) (string, error) {
	return "", t.err("readlink", p, fs.ErrInvalid)
}

func (t *tree) Open(_ context.Context, p string) (sources.File, error) {
	return nil, t.err("open", p, fs.ErrPermission)
}

func (t *tree) Close() error { t.closed = true; return nil }
