// Package catalog is the on-tape format as a pure codec over readers and writers: the volume label, the archives' tar
// headers, manifests and MD5SUMS, and the catalog that closes a session. docs/tape-format.md describes the same to the
// byte. The package knows no drive and no ledger; positions are integers. Its functions keep no state and may be called
// concurrently; nothing read from a tape is trusted, and malformed input gives an error that wraps ErrFormat.
package catalog

import (
	"errors"
	"io/fs"
	"time"
)

// Version is the format's version, as label, manifests and catalogs state it.
const Version = 1

// DefaultRecordSize is the length of a tape record in bytes, unless configured otherwise.
const DefaultRecordSize = 512 << 10

// ErrFormat marks input that is not of this format.
var ErrFormat = errors.New("not in twintape's tape format")

// Type is what kind of file a member is.
type Type string

// The member types. The first four are on tape; of the others only the catalog tells.
const (
	File     Type = "file"
	Dir      Type = "dir"
	Symlink  Type = "symlink"
	Hardlink Type = "hardlink"
	Socket   Type = "socket"
	FIFO     Type = "fifo"
	Device   Type = "device"
)

// OnTape tells whether members of this type are written to the tape.
func (t Type) OnTape() bool { return t == File || t == Dir || t == Symlink || t == Hardlink }

// MD5 is a checksum; the zero value stands for "none".
type MD5 [16]byte

// Entry is one member: what it is, and where it lies on the tape.
type Entry struct {
	Host   string
	Path   string // absolute on the host; bytes, not necessarily UTF-8
	Type   Type
	Size   int64  // bytes of data on the tape; 0 unless a File
	Mode   uint32 // permission bits with setuid, setgid and sticky, as in stat(2): 0o7777
	MTime  time.Time
	CTime  time.Time // inode change time when planned, zero where unknown; kept in the ledger, not on tape
	UID    uint32
	GID    uint32
	User   string // empty where unknown
	Group  string
	Link   string            // a Symlink's target; a Hardlink's first name, an absolute path on the same host
	Xattrs map[string]string // nil if none

	MD5 MD5    // of a File's data; zero if bad
	Bad string // why the data on the tape is not the file's; empty if good

	Place
}

// FileMode is the member's type with its mode.
func (e *Entry) FileMode() fs.FileMode {
	mode := fs.FileMode(e.Mode & 0o777)
	for bit, special := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if e.Mode&bit != 0 {
			mode |= special
		}
	}
	switch e.Type {
	case Dir:
		mode |= fs.ModeDir
	case Symlink:
		mode |= fs.ModeSymlink
	case Socket:
		mode |= fs.ModeSocket
	case FIFO:
		mode |= fs.ModeNamedPipe
	case Device:
		mode |= fs.ModeDevice
	}
	return mode
}

// Place is where a member lies on the tape. The header begins at byte Offset of record Record; the data follows Header
// bytes later, in the same run of records.
type Place struct {
	Archive int   // archive number within the pair, from 1
	Record  int64 // logical block number on the tape
	Offset  int   // bytes into that record
	Header  int   // length of the tar header in bytes, extended headers included
}

// Item is what was queued and archived as one unit; its members follow each other on the tape.
type Item struct {
	ID      int64 // the ledger's number; 0 if not known
	Host    string
	Path    string
	Entries []Entry // in tape order: a directory before what it holds
	Bad     string  // why the item is not archived by this session; empty if good
}

// Archive is what one tape file of items holds and where it lies.
type Archive struct {
	Pair       string // UUID
	Session    string // UUID
	Job        string // UUID
	Number     int    // archive number within the pair, from 1
	TapeFile   int    // tape file number; the label is tape file 0
	Record     int64  // logical block number of the archive's first record
	RecordSize int
	Items      []Item
}

// Session is the head of a session's catalog.
type Session struct {
	Pair       string    // UUID
	Session    string    // UUID
	Job        string    // UUID
	Number     int       // session number on the pair, from 1
	RecordSize int       // bytes
	Closed     time.Time // when the catalog was made
	Record     int64     // logical block number of the session's first record
	Earlier    []Earlier // the catalogs of earlier sessions, in order
}

// Earlier says where an earlier session's catalog lies, and its checksum.
type Earlier struct {
	Session  string // UUID
	TapeFile int
	Record   int64
	MD5      MD5 // of its catalog.jsonl
}
