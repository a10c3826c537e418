package nfs

import (
	"encoding/binary"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// NFS version 3 (RFC 1813).
var (
	procNull        = procedure{nfsProgram, 3, 0, "NULL"}
	procGetattr     = procedure{nfsProgram, 3, 1, "GETATTR"}
	procLookup      = procedure{nfsProgram, 3, 3, "LOOKUP"}
	procAccess      = procedure{nfsProgram, 3, 4, "ACCESS"}
	procReadlink    = procedure{nfsProgram, 3, 5, "READLINK"}
	procRead        = procedure{nfsProgram, 3, 6, "READ"}
	procReaddir     = procedure{nfsProgram, 3, 16, "READDIR"}
	procReaddirplus = procedure{nfsProgram, 3, 17, "READDIRPLUS"}
	procFsstat      = procedure{nfsProgram, 3, 18, "FSSTAT"}
	procFsinfo      = procedure{nfsProgram, 3, 19, "FSINFO"}
)

const (
	maxHandle = 64   // bytes
	maxName   = 1024 // bytes; Linux has 255
	maxPath   = 4096 // bytes of a symlink's target, as in Linux
	// maxSmall bounds the results of procedures that return no list and no data, in bytes.
	maxSmall = 1024
	attrSize = 84 // bytes of encoded attributes
)

// handle stands for a file or directory; only the server knows what is in it.
type handle string

func (h handle) encode(e *encoder) { e.string(string(h)) }

// status is an error that the server gave for a call on a file.
type status uint32

const (
	statusPerm      status = 1
	statusNoent     status = 2
	statusAccess    status = 13
	statusStale     status = 70
	statusBadHandle status = 10001
	statusBadCookie status = 10003
	statusNotSupp   status = 10004
	statusJukebox   status = 10008
)

const (
	typeRegular = 1
	typeDir     = 2
	typeSymlink = 5

	accessRead = 1 // what ACCESS can allow
)

// errnos has the errors that the protocol has in common with Unix, and the nearest for the others.
var errnos = map[status]syscall.Errno{
	statusPerm: syscall.EPERM, statusNoent: syscall.ENOENT, 5: syscall.EIO, 6: syscall.ENXIO, statusAccess: syscall.EACCES, 17: syscall.EEXIST, 18: syscall.EXDEV,
	19: syscall.ENODEV, 20: syscall.ENOTDIR, 21: syscall.EISDIR, 22: syscall.EINVAL, 27: syscall.EFBIG, 28: syscall.ENOSPC,
	30: syscall.EROFS, 63: syscall.ENAMETOOLONG, 66: syscall.ENOTEMPTY, 69: syscall.EDQUOT, statusStale: syscall.ESTALE,
	71: syscall.EREMOTE, statusBadHandle: syscall.ESTALE, statusNotSupp: syscall.EOPNOTSUPP, 10006: syscall.EREMOTEIO,
	statusJukebox: syscall.EAGAIN,
}

func (s status) Error() string {
	if errno, ok := errnos[s]; ok {
		return fmt.Sprintf("the NFS server says: %v", errno)
	}
	return fmt.Sprintf("the NFS server says: error %d", uint32(s))
}

func (s status) Unwrap() error {
	if errno, ok := errnos[s]; ok {
		return errno
	}
	return nil
}

// attr are a file's attributes.
type attr struct {
	kind, mode, nlink, uid, gid uint32
	size                        uint64
	fsid, fileid                uint64
	mtime, ctime                time.Time
}

func (d *decoder) attr() attr {
	var a attr
	a.kind, a.mode, a.nlink, a.uid, a.gid = d.uint32(), d.uint32(), d.uint32(), d.uint32(), d.uint32()
	a.size = d.uint64()
	d.take(8 + 8) // what it uses on disk; a device's numbers
	a.fsid, a.fileid = d.uint64(), d.uint64()
	d.take(8) // access time
	a.mtime, a.ctime = d.time(), d.time()
	if d.err == nil && (a.kind < 1 || a.kind > 7 || a.size > 1<<63-1) {
		d.fail("a file of type %d and size %d", a.kind, a.size)
	}
	return a
}

func (d *decoder) time() time.Time {
	seconds, nanoseconds := d.uint32(), d.uint32()
	if nanoseconds >= 1e9 {
		d.fail("%d nanoseconds", nanoseconds)
	}
	return time.Unix(int64(seconds), int64(nanoseconds))
}

// optional decodes what a server may leave out; nil if it does.
func optional[T any](d *decoder, decode func() T) *T {
	if !d.bool() {
		return nil
	}
	v := decode()
	return &v
}

func (d *decoder) optionalAttr() *attr { return optional(d, d.attr) }

func (d *decoder) handle() handle { return handle(d.string(maxHandle)) }

// results decodes what every procedure's results begin with. In case of an error the attributes that may follow are not
// looked at.
func results[T any](ok func(d *decoder) T) func(d *decoder) answered[T] {
	return func(d *decoder) answered[T] {
		var a answered[T]
		if a.status = status(d.uint32()); a.status != 0 {
			d.b = nil
			return a
		}
		a.value = ok(d)
		return a
	}
}

// answered is what a procedure returns.
type answered[T any] struct {
	status status
	value  T
}

type lookupReply struct {
	fh   handle
	attr *attr
}

func (d *decoder) lookup() lookupReply {
	r := lookupReply{fh: d.handle(), attr: d.optionalAttr()}
	d.optionalAttr() // of the directory
	return r
}

func (d *decoder) access() uint32 {
	d.optionalAttr()
	return d.uint32()
}

func (d *decoder) readlink() string {
	d.optionalAttr()
	target := d.string(maxPath)
	if strings.IndexByte(target, 0) >= 0 {
		d.fail("a symlink's target with a zero byte")
	}
	return target
}

// fsinfo is what a server can do, in bytes.
type fsinfo struct{ maxRead, preferredList uint32 }

func (d *decoder) fsinfo() fsinfo {
	d.optionalAttr()
	var f fsinfo
	f.maxRead = d.uint32()
	d.take(5 * 4) // preferred size and multiple of reads; of writes
	f.preferredList = d.uint32()
	d.take(8 + 8 + 4) // largest file, resolution of times, properties
	return f
}

type fsstat struct{ total, free, available, files, freeFiles uint64 }

func (d *decoder) fsstat() fsstat {
	d.optionalAttr()
	f := fsstat{d.uint64(), d.uint64(), d.uint64(), d.uint64(), d.uint64()}
	d.uint64() // files available to this user
	d.uint32() // for how long this stays true
	return f
}

// entry is one name of a directory.
type entry struct {
	name string
	attr *attr  // nil where the server left it out
	fh   handle // empty where the server left it out
}

// listing is a part of a directory.
type listing struct {
	verifier uint64
	cookie   uint64 // of the last entry
	entries  []entry
	end      bool // of the directory
}

// listing decodes a part of a directory, with attributes and handles if plus is set.
func (d *decoder) listing(plus bool) listing {
	d.optionalAttr()
	l := listing{verifier: d.uint64()}
	for d.bool() {
		d.uint64() // fileid, which the attributes have too
		e := entry{name: d.string(maxName)}
		l.cookie = d.uint64()
		if plus {
			e.attr = d.optionalAttr()
			if fh := optional(d, d.handle); fh != nil {
				e.fh = *fh
			}
		}
		if d.err != nil {
			return listing{}
		}
		if e.name == "" || strings.ContainsAny(e.name, "/\x00") {
			d.fail("a directory with an entry named %q", e.name)
			return listing{}
		}
		if e.name != "." && e.name != ".." {
			l.entries = append(l.entries, e)
		}
	}
	l.end = d.bool()
	return l
}

// readReply is the answer to a READ but for the data.
type readReply struct {
	status status
	attr   *attr
	count  int
	eof    bool
}

// receiveRead takes in the answer to a READ, its data straight into the reader's memory.
func receiveRead(r *record, into []byte) (readReply, error) {
	begin, err := r.words(2)
	if err != nil {
		return readReply{}, err
	}
	reply := readReply{status: status(begin[0])}
	switch begin[1] {
	case 0:
	case 1:
		d := &decoder{b: make([]byte, attrSize)}
		if err := r.fill(d.b); err != nil {
			return readReply{}, err
		}
		a := d.attr()
		if err := d.end(); err != nil {
			return readReply{}, err
		}
		reply.attr = &a
	default:
		return readReply{}, malformed("%d for a truth value", begin[1])
	}
	if reply.status != 0 {
		return reply, nil
	}
	head := &decoder{b: make([]byte, 12)}
	if err := r.fill(head.b); err != nil {
		return readReply{}, err
	}
	count, eof, length := head.uint32(), head.bool(), head.uint32()
	if err := head.end(); err != nil {
		return readReply{}, err
	}
	if count != length || length > uint32(len(into)) {
		return readReply{}, malformed("%d bytes, said to be %d, where %d were asked for", length, count, len(into))
	}
	reply.count, reply.eof = int(count), eof
	if err := r.fill(into[:count]); err != nil {
		return readReply{}, err
	}
	var pad [3]byte
	return reply, r.fill(pad[:padding(reply.count)])
}

// readArgs are a READ's.
func readArgs(fh handle, off int64, count int) func(*encoder) {
	return func(e *encoder) {
		fh.encode(e)
		e.uint64(uint64(off))
		e.uint32(uint32(count))
	}
}

// portOf asks the port mapper (version 2, RFC 1833) where a program listens on TCP.
var procGetport = procedure{portmapProgram, 2, 3, "GETPORT"}

func getportArgs(program, version uint32) func(*encoder) {
	return func(e *encoder) {
		const tcp = 6
		for _, v := range []uint32{program, version, tcp, 0} {
			e.uint32(v)
		}
	}
}

var (
	procMnt    = procedure{mountProgram, 3, 1, "MNT"}
	procExport = procedure{mountProgram, 3, 5, "EXPORT"}
)

// mntReply is what MNT returns.
type mntReply struct {
	fh      handle
	flavors []uint32
}

func (d *decoder) mnt() mntReply {
	r := mntReply{fh: d.handle()}
	n := d.uint32()
	if int64(n)*4 != int64(len(d.b)) {
		d.fail("%d kinds of credentials in %d bytes", n, len(d.b))
		return r
	}
	for b := d.take(int(n) * 4); len(b) > 0; b = b[4:] {
		r.flavors = append(r.flavors, binary.BigEndian.Uint32(b))
	}
	return r
}

// exportList decodes the paths that are exported; to whom is left out.
func (d *decoder) exportList() []string {
	var paths []string
	for d.bool() {
		paths = append(paths, d.string(maxPath))
		for d.bool() {
			d.string(maxName)
		}
	}
	return paths
}
