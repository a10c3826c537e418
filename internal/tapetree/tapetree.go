// Package tapetree shows what lies on tapes as a tree of files, from the ledger alone: no drive is asked.
//
//	/<BARCODE>/<host>/<path>   what is on one tape, as it was when it was archived
//	/<BARCODE>/.label          the volume label, if twintape wrote it
//	/<BARCODE>/.catalog.jsonl  the catalogs of its sessions, one behind the other; the same
//	/<BARCODE>/.MD5SUMS        the MD5 of every file on it, for md5sum -c
//	/all/<host>/<path>         what is on any tape; of several versions the latest
//
// A Tree is a sources.Source and as safe for concurrent use. Directories that only lead to what was archived have neither
// owner nor time. The data of what was archived is for a Recaller to bring; without one it cannot be opened: the error wraps
// ErrOnTape.
package tapetree

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"twintape/internal/catalog"
	"twintape/internal/ledger"
	"twintape/sources"
)

// Name is what errors call the tree, as they name a host.
const Name = "tapes"

// all is the folder that joins all tapes.
const all = "all"

// ErrOnTape says that a file's data is on tape. It is an ENOMEDIUM, too.
var ErrOnTape = fmt.Errorf("its data is on tape: %w", syscall.ENOMEDIUM)

// Tree is the tree. The fields are set before it is used.
type Tree struct {
	Ledger  *ledger.Ledger
	Scratch string // folder for files that are made when they are opened
	// Changed compares a member with how its source looks now, and says in which way it differs.
	Changed func(member *catalog.Entry, now sources.Info) error
	// Recaller brings the data of members; nobody does if it is nil.
	Recaller Recaller
}

// Recaller brings the data of members off their tapes. It may be used concurrently.
type Recaller interface {
	// Recall waits until a member's data is on disk, and opens it for reading at any offset. barcode is the
	// tape that it is to come from rather than from another; empty if any will do.
	Recall(ctx context.Context, member ledger.Browsed, barcode string) (*os.File, error)
	// Residency tells in a word where the data of a member can be had that has copies on some tapes; empty if it is not known.
	Residency(ctx context.Context, member ledger.Browsed, barcodes []string) string
}

var (
	_ sources.Source      = (*Tree)(nil)
	_ sources.XattrReader = (*Tree)(nil)
	_ sources.Roots       = (*Tree)(nil)
)

// place is what a path of the tree means.
type place struct {
	tape string // barcode; all; empty for the root
	host string // empty for a tape's folder
	path string // on the host
}

func parse(p string) place {
	parts := strings.SplitN(strings.TrimPrefix(p, "/"), "/", 3)
	at := place{tape: parts[0], path: "/"}
	if len(parts) > 1 {
		at.host = parts[1]
	}
	if len(parts) > 2 {
		at.path = "/" + parts[2]
	}
	return at
}

// barcode is the tape that the ledger is asked for; empty for all.
func (at place) barcode() string {
	if at.tape == all {
		return ""
	}
	return at.tape
}

// RootOf returns the folder that is the root for symlinks at a path: that of their host, on their tape.
func (t *Tree) RootOf(p string) string {
	at := parse(p)
	if at.host == "" {
		return "/"
	}
	return "/" + at.tape + "/" + at.host
}

// Close does nothing: the ledger is not the tree's.
func (t *Tree) Close() error { return nil }

func (t *Tree) Stat(ctx context.Context, p string) (sources.Info, error) {
	info, err := t.stat(ctx, parse(p))
	return info, failed("stat", p, err)
}

func (t *Tree) stat(ctx context.Context, at place) (sources.Info, error) {
	switch {
	case at.tape == "":
		return folder("/", time.Time{}), nil
	case at.tape == all && at.host == "":
		return folder(all, time.Time{}), nil
	case at.host == "":
		tape, err := t.Ledger.Tape(ctx, at.tape)
		return tapeInfo(tape), err
	case at.path == "/" && strings.HasPrefix(at.host, ".") && at.tape != all:
		made, err := t.made(ctx, at.tape, at.host)
		return made.info(), err
	}
	e, err := t.Ledger.Browse(ctx, at.barcode(), at.host, at.path)
	if err != nil {
		return sources.Info{}, err
	}
	return infoOf(e, at), nil
}

func (t *Tree) ReadDir(ctx context.Context, p string) ([]sources.Info, error) {
	infos, err := t.list(ctx, parse(p))
	slices.SortFunc(infos, func(a, b sources.Info) int { return cmp.Compare(a.Name, b.Name) })
	return infos, failed("list", p, err)
}

func (t *Tree) list(ctx context.Context, at place) (infos []sources.Info, err error) {
	switch {
	case at.tape == "":
		tapes, err := t.Ledger.Tapes(ctx)
		infos = append(infos, folder(all, time.Time{}))
		for _, tape := range tapes {
			infos = append(infos, tapeInfo(tape))
		}
		return infos, err
	case at.host == "":
		if at.tape != all {
			for _, name := range madeNames {
				made, err := t.made(ctx, at.tape, name)
				if errors.Is(err, fs.ErrNotExist) {
					continue
				}
				if err != nil {
					return nil, err
				}
				infos = append(infos, made.info())
			}
		}
		hosts, err := t.Ledger.BrowseHosts(ctx, at.barcode())
		for _, host := range hosts {
			infos = append(infos, folder(host, time.Time{}))
		}
		return infos, err
	}
	self, err := t.stat(ctx, at)
	if err != nil {
		return nil, err
	}
	if !self.Mode.IsDir() {
		return nil, syscall.ENOTDIR
	}
	entries, err := t.Ledger.BrowseDir(ctx, at.barcode(), at.host, at.path)
	if err != nil {
		return nil, err
	}
	infos = make([]sources.Info, 0, len(entries))
	for _, e := range entries {
		infos = append(infos, infoOf(e, place{path: e.Path}))
	}
	return infos, nil
}

func (t *Tree) Readlink(ctx context.Context, p string) (string, error) {
	at := parse(p)
	if at.host == "" || at.path == "/" {
		_, err := t.stat(ctx, at)
		return "", failed("readlink", p, cmp.Or(err, error(syscall.EINVAL)))
	}
	e, err := t.Ledger.Browse(ctx, at.barcode(), at.host, at.path)
	if err == nil && e.Type != catalog.Symlink {
		err = syscall.EINVAL
	}
	return e.Link, failed("readlink", p, err)
}

// Open opens one of the files that tell of a tape, and makes its content first, which takes seconds for a tape with a million
// members; or a member, and waits until its data was recalled.
func (t *Tree) Open(ctx context.Context, p string) (sources.File, error) {
	at := parse(p)
	info, err := t.stat(ctx, at)
	switch {
	case err != nil:
		return nil, failed("open", p, err)
	case !info.Mode.IsRegular():
		return nil, failed("open", p, fmt.Errorf("not a regular file (%v)", info.Mode.Type()))
	case at.path == "/" && strings.HasPrefix(at.host, "."):
		f, err := t.openMade(ctx, at.tape, at.host)
		if err != nil {
			return nil, failed("open", p, err)
		}
		return f, nil
	}
	if t.Recaller != nil {
		f, err := t.recall(ctx, at)
		if err != nil {
			return nil, failed("open", p, err)
		}
		return &file{path: p, info: info, temp: f}, nil
	}
	return nil, failed("open", p, fmt.Errorf("%w; `twintape find --commands %s:%s` tells how to read it back", ErrOnTape, at.host, at.path))
}

func (t *Tree) recall(ctx context.Context, at place) (*os.File, error) {
	e, err := t.Ledger.Browse(ctx, at.barcode(), at.host, at.path)
	if err != nil {
		return nil, err
	}
	return t.Recaller.Recall(ctx, e, at.barcode())
}

func failed(op, p string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, ledger.ErrNotFound) {
		err = fs.ErrNotExist
	}
	return &sources.Error{Op: op, Host: Name, Path: p, Err: err}
}

// folder is a directory that was not archived itself.
func folder(name string, at time.Time) sources.Info {
	return sources.Info{Name: name, Mode: fs.ModeDir | 0o555, MTime: at}
}

func tapeInfo(t ledger.Tape) sources.Info {
	at := t.Written
	if at.IsZero() {
		at = t.Added
	}
	return folder(t.Barcode, at)
}

// infoOf is what a member looked like.
func infoOf(e ledger.Browsed, at place) sources.Info {
	info := sources.Info{
		Name: at.path[strings.LastIndexByte(at.path, '/')+1:], Mode: e.FileMode(), Size: e.Size, MTime: e.MTime,
		CTime: e.CTime, UID: e.UID, GID: e.GID, User: e.User, Group: e.Group,
	}
	if at.path == "/" {
		info.Name = "/"
	}
	if e.Type == catalog.Symlink {
		info.Size = int64(len(e.Link))
	}
	return info
}
