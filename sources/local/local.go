// Package local is the source of a tree that this machine has mounted: its own disks, or another host's through a kernel
// mount.
//
// A path is resolved as if the source's root were the root of the file system (openat2 with RESOLVE_IN_ROOT), so neither
// ".." nor any symlink leaves it. Nothing is held open between calls: the file system can be unmounted at any time that no
// file is open, and a root that appears later works from then on.
//
// All methods may be called concurrently. They return when their context ends even if the kernel does not (a dead NFS
// server behind a hard mount), and fail with sources.ErrUnavailable after two minutes; what they started then ends when the
// kernel lets it. Reads of a file system that may hang go through memory of their own for that; those of a disk wait for
// the kernel.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"twintape/sources"
)

// Source is the tree below one folder.
type Source struct {
	host   string
	root   string
	owners owners
	closed atomic.Bool

	silence   time.Duration // see the constant
	abandoned atomic.Int64  // calls that wait in the kernel with nobody waiting for them
}

var (
	_ sources.Source      = (*Source)(nil)
	_ sources.XattrReader = (*Source)(nil)
	_ sources.Rooted      = (*Source)(nil)
	_ sources.SpaceTeller = (*Source)(nil)
	_ syscall.Conn        = (*file)(nil)
)

// New makes the source of a host whose "/" is the folder root, an absolute path. The folder is not touched yet.
func New(host, root string) (*Source, error) {
	if !filepath.IsAbs(root) {
		return nil, fmt.Errorf("host %s: the root %q is not an absolute path", host, root)
	}
	return &Source{host: host, root: filepath.Clean(root), silence: silence}, nil
}

// Close refuses further calls. Files that are open stay usable.
func (s *Source) Close() error {
	s.closed.Store(true)
	return nil
}

// Root returns the folder that is "/" here.
func (s *Source) Root() string { return s.root }

func (s *Source) Stat(ctx context.Context, p string) (sources.Info, error) {
	info, err := detach(ctx, s, s.silence, func() (sources.Info, error) {
		fd, err := s.open(p, unix.O_PATH|unix.O_NOFOLLOW)
		if err != nil {
			return sources.Info{}, err
		}
		defer unix.Close(fd)
		return s.fstat(fd, path.Base(p))
	}, nil)
	return info, s.fail("stat", p, err)
}

func (s *Source) Readlink(ctx context.Context, p string) (string, error) {
	target, err := detach(ctx, s, s.silence, func() (string, error) {
		fd, err := s.open(p, unix.O_PATH|unix.O_NOFOLLOW)
		if err != nil {
			return "", err
		}
		defer unix.Close(fd)
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(fd, "", buf)
		if err == unix.ENOENT {
			err = errors.New("not a symlink") // what the kernel means by it for an empty path
		}
		if err != nil {
			return "", err
		}
		return string(buf[:n]), nil
	}, nil)
	return target, s.fail("readlink", p, err)
}

func (s *Source) ReadDir(ctx context.Context, p string) ([]sources.Info, error) {
	infos, err := detach(ctx, s, s.silence*listTimes, func() ([]sources.Info, error) {
		const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW
		fd, err := s.open(p, flags|unix.O_NOATIME)
		if err == unix.EPERM { // only a file's owner may leave its access time alone
			fd, err = s.open(p, flags)
		}
		if err != nil {
			return nil, err
		}
		dir := os.NewFile(uintptr(fd), p)
		defer dir.Close()
		names, err := dir.Readdirnames(-1)
		if err != nil {
			return nil, cause(err)
		}
		slices.Sort(names)
		infos := make([]sources.Info, 0, len(names))
		for _, name := range names {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			var st unix.Stat_t
			err := retryEINTR(func() error { return unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
			if err == unix.ENOENT {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("%q in it: %w", name, err)
			}
			infos = append(infos, s.info(name, &st))
		}
		return infos, nil
	}, nil)
	return infos, s.fail("list", p, err)
}

func (s *Source) Open(ctx context.Context, p string) (sources.File, error) {
	f, err := detach(ctx, s, s.silence, func() (*file, error) {
		// First without opening it truly: to open a pipe can wait for ever, and to open a tape drive rewinds it.
		look, err := s.open(p, unix.O_PATH|unix.O_NOFOLLOW)
		if err != nil {
			return nil, err
		}
		defer unix.Close(look)
		info, err := s.fstat(look, path.Base(p))
		if err != nil {
			return nil, err
		}
		if !info.Mode.IsRegular() {
			return nil, fmt.Errorf("not a regular file (%v)", info.Mode.Type())
		}
		fd, err := reopen(look, unix.O_RDONLY|unix.O_NOATIME)
		if err == unix.EPERM {
			fd, err = reopen(look, unix.O_RDONLY)
		}
		if err != nil {
			return nil, err
		}
		_ = unix.Fadvise(fd, 0, 0, unix.FADV_SEQUENTIAL) // only a hint
		return &file{src: s, path: p, f: os.NewFile(uintptr(fd), p), mayHang: mayHang(fd)}, nil
	}, func(f *file) { f.f.Close() })
	if err != nil {
		return nil, s.fail("open", p, err)
	}
	return f, nil
}

// open opens a path below the root.
func (s *Source) open(p string, flags int) (int, error) {
	if s.closed.Load() {
		return -1, fs.ErrClosed
	}
	if strings.IndexByte(p, 0) >= 0 {
		return -1, unix.EINVAL
	}
	var root int
	err := retryEINTR(func() (err error) {
		root, err = unix.Open(s.root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("the source's root %s: %w", s.root, err)
	}
	defer unix.Close(root)
	how := &unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	var fd int
	err = retryEINTR(func() (err error) {
		fd, err = unix.Openat2(root, p, how)
		return err
	})
	return fd, err
}

// reopen opens for reading what an O_PATH descriptor stands for; no name is looked up again.
func reopen(fd, flags int) (opened int, err error) {
	err = retryEINTR(func() (err error) {
		opened, err = unix.Open(procPath(fd), flags|unix.O_CLOEXEC, 0)
		return err
	})
	return opened, err
}

func procPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// retryEINTR also repeats on EAGAIN, by which openat2 says that a rename elsewhere came in between.
func retryEINTR(call func() error) error {
	for {
		if err := call(); err != unix.EINTR && err != unix.EAGAIN {
			return err
		}
	}
}

func (s *Source) fail(op, p string, err error) error {
	if err == nil {
		return nil
	}
	return &sources.Error{Op: op, Host: s.host, Path: p, Err: err}
}

// cause takes the file name off an error of package os: it is ours, not the host's.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// file is an open file.
type file struct {
	src     *Source
	path    string
	f       *os.File
	mayHang bool
}

func (f *file) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, f.src.fail("read", f.path, err)
	}
	n, err := f.readAt(ctx, p, off)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, f.src.fail("read", f.path, cause(err))
}

func (f *file) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	if !f.mayHang {
		return f.f.ReadAt(p, off)
	}
	// The caller takes its buffer back when it gives up; the kernel must not write into it then.
	own := make([]byte, len(p))
	var end error
	n, err := detach(ctx, f.src, f.src.silence, func() (int, error) {
		n, err := f.f.ReadAt(own, off)
		if err == io.EOF {
			end, err = err, nil
		}
		return n, err
	}, nil)
	if err != nil {
		return 0, err
	}
	return copy(p, own[:n]), end
}

// mayHang tells whether a file's file system is one whose answers come from elsewhere (statfs(2), magic numbers).
func mayHang(fd int) bool {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return true
	}
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC,
		unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC, unix.CODA_SUPER_MAGIC, unix.V9FS_MAGIC, unix.NCP_SUPER_MAGIC, lustre, gpfs:
		return true
	}
	return false
}

const (
	lustre = 0x0BD00BD0
	gpfs   = 0x47504653
)

func (f *file) Stat(ctx context.Context) (sources.Info, error) {
	info, err := detach(ctx, f.src, f.src.silence, func() (sources.Info, error) {
		conn, err := f.f.SyscallConn()
		if err != nil {
			return sources.Info{}, cause(err)
		}
		var info sources.Info
		var statErr error
		err = conn.Control(func(fd uintptr) { info, statErr = f.src.fstat(int(fd), path.Base(f.path)) })
		return info, errors.Join(err, statErr)
	}, nil)
	return info, f.src.fail("stat", f.path, err)
}

// SyscallConn gives access to the descriptor that the kernel reads from.
func (f *file) SyscallConn() (syscall.RawConn, error) { return f.f.SyscallConn() }

func (f *file) Close() error { return f.src.fail("close", f.path, cause(f.f.Close())) }
