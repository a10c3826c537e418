package fsmount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"twintape/sources"
)

// errEscapes is the error of a symlink that leads out of its host's root.
var errEscapes = fmt.Errorf("the symlink leads out of the host's root: %w", syscall.EXDEV)

// maxLinks is how many symlinks one target may lead through, as in the kernel.
const maxLinks = 40

// linkState is what a symlink's node remembers.
type linkState struct {
	at     time.Time
	target string // as the mount shows it
	err    error  // why it is not shown
}

func (f *fileSystem) Readlink(cancel <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	n := f.nodes.get(in.NodeId)
	if n == nil {
		return nil, fuse.Status(syscall.ESTALE)
	}
	ctx, done := f.begin(cancel)
	defer done()
	target, err := f.target(ctx, n)
	if err != nil {
		return nil, f.failed(ctx, err)
	}
	return []byte(target), fuse.OK
}

// target returns where a symlink points, as the mount shows it.
func (f *fileSystem) target(ctx context.Context, n *node) (string, error) {
	n.mu.Lock()
	known := n.link
	n.mu.Unlock()
	if f.left(known.at) > 0 {
		return known.target, known.err
	}
	ctx, cancel := f.limited(ctx)
	defer cancel()
	at, path := time.Now(), n.path()
	raw, err := n.tree.src.Readlink(ctx, path)
	if err != nil {
		return "", f.caused(ctx, err)
	}
	target, err := n.tree.showLink(ctx, path, raw)
	if err != nil {
		err = &sources.Error{Op: "readlink", Host: n.tree.name, Path: path, Err: fmt.Errorf("%q: %w", raw, f.caused(ctx, err))}
	}
	if err == nil || errors.Is(err, errEscapes) {
		n.mu.Lock()
		n.link = linkState{at: at, target: target, err: err}
		n.mu.Unlock()
	}
	return target, err
}

// linkInfo is what a symlink looks like: as long as the target that the mount shows.
func (f *fileSystem) linkInfo(ctx context.Context, n *node, info *sources.Info) *sources.Info {
	target, err := f.target(ctx, n)
	if err != nil {
		return info // readlink will say why
	}
	out := *info
	out.Size = int64(len(target))
	return &out
}

// showLink rewrites a symlink's target so that it leads to the same file through the mount, however the mount and the
// host are spelled there, or not at all: an absolute target counts from the host's root, and no target leads out of it.
// What needs no change is left as it is.
func (t *tree) showLink(ctx context.Context, path, raw string) (string, error) {
	base := ""
	if roots, ok := t.src.(sources.Roots); ok {
		base = strings.TrimSuffix(roots.RootOf(path), "/")
	}
	dir := split(strings.TrimPrefix(path, base))
	dir = dir[:max(0, len(dir)-1)]
	absolute := strings.HasPrefix(raw, "/")
	parts := split(t.fromRoot(raw))
	ups, mixed := climbs(parts)
	switch {
	case !absolute && !mixed && ups <= len(dir):
		return raw, nil
	case !mixed && ups > 0:
		return "", errEscapes
	}
	if mixed {
		from := dir
		if absolute {
			from = nil
		}
		var err error
		if parts, err = t.follow(ctx, base, from, parts); err != nil {
			return "", err
		}
	}
	// The folders above the link are no symlinks, so the way up is certain.
	shown := strings.Repeat("../", len(dir)) + strings.Join(parts, "/")
	if shown == "" {
		return ".", nil
	}
	if shown = strings.TrimSuffix(shown, "/"); strings.HasSuffix(raw, "/") && len(parts) > 0 {
		shown += "/"
	}
	return shown, nil
}

// fromRoot takes the folder that the mount shows as the host's root off an absolute target: on the host it counts from the
// host's own root. Other absolute targets count from the folder, as if that were the host's root.
func (t *tree) fromRoot(target string) string {
	if below, ok := strings.CutPrefix(target, t.root); ok && t.root != "/" && (below == "" || below[0] == '/') {
		return below
	}
	return target
}

// split returns the parts of a path, without empty ones and ".".
func split(path string) []string {
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	return parts
}

// climbs counts the leading ".."; mixed says that there are others behind a name.
func climbs(parts []string) (ups int, mixed bool) {
	for i, part := range parts {
		if part != ".." {
			continue
		}
		if i > ups {
			return ups, true
		}
		ups++
	}
	return ups, false
}

// follow resolves a target that goes down and up again: what lies above a name depends on whether that is a symlink. The
// result has no ".." and counts from the host's root, which is at base.
func (t *tree) follow(ctx context.Context, base string, from, parts []string) ([]string, error) {
	at := append([]string(nil), from...)
	for links := 0; len(parts) > 0; {
		part := parts[0]
		parts = parts[1:]
		if part == ".." {
			if len(at) == 0 {
				return nil, errEscapes
			}
			at = at[:len(at)-1]
			continue
		}
		at = append(at, part)
		if !slices.Contains(parts, "..") {
			continue
		}
		path := base + "/" + strings.Join(at, "/")
		info, err := t.src.Stat(ctx, path)
		if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, sources.ErrUnavailable) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if info.Mode&fs.ModeSymlink == 0 {
			continue
		}
		if links++; links > maxLinks {
			return nil, syscall.ELOOP
		}
		raw, err := t.src.Readlink(ctx, path)
		if err != nil {
			return nil, err
		}
		at = at[:len(at)-1]
		if strings.HasPrefix(raw, "/") {
			at = at[:0]
		}
		parts = append(split(t.fromRoot(raw)), parts...)
	}
	return at, nil
}
