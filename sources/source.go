// Package sources gives one read-only face to the trees of all hosts whose data is archived.
//
// A Source is one host's tree; Namespace joins the sources of all configured hosts under their names. Both are safe for
// concurrent use. Paths are bytes held in strings: absolute, slash-separated, cleaned, and not necessarily UTF-8. Every
// call takes a context and returns soon after it is cancelled, even if the host hangs. Every error is an *Error that
// names the operation, the host and the path, and satisfies errors.Is for fs.ErrNotExist, fs.ErrPermission and the other
// errors of io/fs.
package sources

import (
	"context"
	"io/fs"
	"time"
)

// Source is one host's tree. It never writes, never follows a symlink given as the last element of a path (Stat is
// lstat), and never updates access times where the host lets it choose.
type Source interface {
	// Stat returns the attributes of path itself, not of what a symlink points to.
	Stat(ctx context.Context, path string) (Info, error)
	// ReadDir returns the entries of a directory with their attributes, sorted by name bytewise, without "." and "..".
	// An entry that vanished between listing and lstat is left out.
	ReadDir(ctx context.Context, path string) ([]Info, error)
	// Readlink returns a symlink's target as it is stored.
	Readlink(ctx context.Context, path string) (string, error)
	// Open opens a regular file for reading; anything else is refused.
	Open(ctx context.Context, path string) (File, error)
	// Close gives back all connections. Calls under way fail.
	Close() error
}

// File is an open regular file. ReadAt may be called concurrently with itself and Stat, not with Close. One that this
// machine's kernel reads implements syscall.Conn too, for those who can have it read without us.
type File interface {
	// ReadAt fills p from offset off, or says why not. Like io.ReaderAt it returns io.EOF if and only if it came to the
	// file's end before p was full.
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	// Stat returns the open file's attributes now, by its handle where the protocol can.
	Stat(ctx context.Context) (Info, error)
	Close() error
}

// XattrReader is implemented by sources that can read extended attributes.
type XattrReader interface {
	// Xattrs returns the extended attributes of path itself, nil if there are none or the file system has no such thing.
	Xattrs(ctx context.Context, path string) (map[string]string, error)
}

// Rooted is implemented by sources whose "/" can be any folder of the host. Root returns that folder as the host knows
// it: an absolute symlink on the host counts from the host's own root.
type Rooted interface{ Root() string }

// Roots is implemented by sources that hold the trees of several hosts. RootOf returns the folder from which an absolute
// symlink at path counts, and which none may lead out of.
type Roots interface{ RootOf(path string) string }

// SpaceTeller is implemented by sources that can tell how full a file system is.
type SpaceTeller interface {
	// Space tells of the file system that holds path. A host that cannot tell gives an error.
	Space(ctx context.Context, path string) (Space, error)
}

// Space is how large a file system is, in bytes and in files.
type Space struct {
	ID               string // the same for the same file system, as far as the source knows; unlike any other's
	Total, Free      uint64 // bytes
	Available        uint64 // bytes that are free for others than root
	Files, FreeFiles uint64 // inodes
}

// Info is what is known of one directory entry.
type Info struct {
	Name  string      // last element of the path; "/" for the root
	Mode  fs.FileMode // type and permission bits, with setuid, setgid and sticky
	Size  int64       // bytes; for a symlink the target's length; otherwise 0 unless a regular file
	MTime time.Time   // to the resolution the protocol has: nanoseconds (local), seconds (SFTP)
	CTime time.Time   // inode change time; zero where unknown (SFTP)
	UID   uint32
	GID   uint32
	User  string // owner's name, empty where unknown
	Group string
	// Dev and Inode identify a file among hard links, and mount points inside a tree. Nlink is 0 where the source knows
	// no identity (SFTP); Dev and Inode mean nothing then.
	Dev   uint64
	Inode uint64
	Nlink uint32
}
