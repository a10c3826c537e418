package catalog

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// What tar tools and Linux carry. A member beyond these limits is refused at planning.
const (
	maxPath   = 4095      // bytes of host/absolute/path, and of a link's target: PATH_MAX without its NUL
	maxName   = 255       // bytes of one path element, of a user's or group's name, of an xattr's name: NAME_MAX
	maxHeader = 512 << 10 // bytes of a member's header; readers refuse extended headers above 1 MiB
	maxSize   = 1 << 60   // bytes of data, so that sums of sizes do not overflow
)

// block is the unit of tar: headers and data are padded to it.
const block = 512

// ownHost is the top folder of what twintape adds to a tape file; no host may have this name.
const ownHost = ".twintape"

// Extended attributes are spelled as GNU tar spells them.
const xattrKey = "SCHILY.xattr."

var (
	xattrEscaper   = strings.NewReplacer("%", "%25", "=", "%3D")
	xattrUnescaper = strings.NewReplacer("%25", "%", "%3D", "=")
)

// EntryError says why a member cannot be written to a tape as it is. It is found at planning and fails the member's item.
type EntryError struct {
	Host   string
	Path   string
	Reason string
}

func (e *EntryError) Error() string {
	return fmt.Sprintf("%s:%s: cannot be archived: %s", e.Host, printable(clip(e.Path)), e.Reason)
}

// Header returns the tar header of an on-tape member, extended headers included: a multiple of 512 bytes, a function of
// the metadata alone. A zero MTime is written as 1970. The error is an *EntryError if the member has what tar tools
// cannot carry.
func Header(e *Entry) ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := writeHeader(&b, e); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// headerSize returns the length of Header(e) without keeping it.
func headerSize(e *Entry) (int, error) {
	if err := e.check(); err != nil {
		return 0, err
	}
	var n counter
	err := writeHeader(&n, e)
	return int(n), err
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// writeHeader writes the header of a member that was checked, or of one of twintape's own files.
func writeHeader(w io.Writer, e *Entry) error {
	h := tar.Header{
		Format:  tar.FormatPAX,
		Name:    e.Host + e.Path,
		Size:    e.Size,
		Mode:    int64(e.Mode),
		Uid:     int(e.UID),
		Gid:     int(e.GID),
		Uname:   e.User,
		Gname:   e.Group,
		ModTime: e.MTime,
	}
	switch e.Type {
	case File:
		h.Typeflag = tar.TypeReg
	case Dir:
		h.Typeflag = tar.TypeDir
		if e.Path != "/" {
			h.Name += "/"
		}
	case Symlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.Link
	case Hardlink:
		h.Typeflag, h.Linkname = tar.TypeLink, e.Host+e.Link
	default:
		return e.refuse("a %s is not written to tape", e.Type)
	}
	if len(e.Xattrs) > 0 {
		h.PAXRecords = make(map[string]string, len(e.Xattrs))
		for k, v := range e.Xattrs {
			h.PAXRecords[xattrKey+xattrEscaper.Replace(k)] = v
		}
	}
	var n counter
	if err := tar.NewWriter(io.MultiWriter(w, &n)).WriteHeader(&h); err != nil {
		return e.refuse("%v", err)
	}
	if n > maxHeader {
		return e.refuse("its tar header has %d bytes, tar tools take %d: too many extended attributes", n, maxHeader)
	}
	return nil
}

// ParseHeader reads one member's header, extended headers included, from the beginning of b, which may go on behind it.
// It returns the member, without Place.Archive, Record and Offset, and the header's length in bytes. io.EOF: b is empty, or
// begins with the zero blocks that end a tar.
func ParseHeader(b []byte) (Entry, int, error) {
	e, n, err := readHeader(bytes.NewReader(b))
	if err != nil {
		return Entry{}, 0, err
	}
	if err := e.check(); err != nil {
		return Entry{}, 0, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	e.Header = n
	return e, n, nil
}

// readHeader reads exactly one header from r; it does not check the names. At the end of the archive it returns io.EOF.
func readHeader(r io.Reader) (Entry, int, error) {
	var n counter
	h, err := tar.NewReader(io.TeeReader(r, &n)).Next()
	if errors.Is(err, io.EOF) {
		return Entry{}, 0, io.EOF
	}
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: tar header: %w", ErrFormat, err)
	}
	if err != nil {
		return Entry{}, 0, err
	}
	host, rest, ok := strings.Cut(h.Name, "/")
	e := Entry{
		Host:  host,
		Path:  "/" + rest,
		Size:  h.Size,
		Mode:  uint32(h.Mode),
		MTime: h.ModTime.UTC(),
		UID:   uint32(h.Uid),
		GID:   uint32(h.Gid),
		User:  h.Uname,
		Group: h.Gname,
	}
	if !ok || h.Mode>>32 != 0 || h.Uid>>32 != 0 || h.Gid>>32 != 0 {
		return Entry{}, 0, fmt.Errorf("%w: tar header of %q", ErrFormat, clip(h.Name))
	}
	switch h.Typeflag {
	case tar.TypeReg:
		e.Type = File
	case tar.TypeDir:
		e.Type = Dir
		if rest != "" {
			e.Path, ok = strings.CutSuffix(e.Path, "/")
		}
	case tar.TypeSymlink:
		e.Type, e.Link = Symlink, h.Linkname
	case tar.TypeLink:
		e.Type = Hardlink
		e.Link, ok = strings.CutPrefix(h.Linkname, host)
	default:
		ok = false
	}
	if !ok {
		return Entry{}, 0, fmt.Errorf("%w: tar header of %q: type %q, link %q", ErrFormat, clip(h.Name), h.Typeflag, clip(h.Linkname))
	}
	for k, v := range h.PAXRecords {
		switch k {
		case "path", "linkpath", "size", "uid", "gid", "uname", "gname", "mtime":
			continue
		}
		name, ok := strings.CutPrefix(k, xattrKey)
		if !ok {
			return Entry{}, 0, fmt.Errorf("%w: tar header of %q: extended record %q", ErrFormat, clip(h.Name), clip(k))
		}
		if e.Xattrs == nil {
			e.Xattrs = map[string]string{}
		}
		e.Xattrs[xattrUnescaper.Replace(name)] = v
	}
	return e, int(n), nil
}

func (e *Entry) refuse(format string, args ...any) error {
	return &EntryError{Host: e.Host, Path: e.Path, Reason: fmt.Sprintf(format, args...)}
}

// check tells what of a member's metadata tar tools or the catalog cannot carry.
func (e *Entry) check() error {
	if err := checkHost(e.Host); err != nil {
		return e.refuse("%v", err)
	}
	if err := checkPath(e.Host, e.Path); err != nil {
		return e.refuse("%v", err)
	}
	switch e.Type {
	case File, Socket, FIFO, Device:
		if e.Path == "/" {
			return e.refuse("the root of a host is no %s", e.Type)
		}
	case Dir:
	case Symlink:
		if e.Link == "" || len(e.Link) > maxPath || strings.Contains(e.Link, "\x00") {
			return e.refuse("a symlink's target has 1 to %d bytes and no NUL", maxPath)
		}
	case Hardlink:
		if err := checkPath(e.Host, e.Link); err != nil {
			return e.refuse("hard link to %s: %v", printable(clip(e.Link)), err)
		}
	default:
		return e.refuse("unknown type %q", clip(string(e.Type)))
	}
	switch {
	case e.Link != "" && e.Type != Symlink && e.Type != Hardlink:
		return e.refuse("a %s has no link", e.Type)
	case e.Size < 0 || e.Size > maxSize || e.Size > 0 && e.Type != File:
		return e.refuse("a %s of %d bytes", e.Type, e.Size)
	case e.Mode > 0o7777:
		return e.refuse("mode %#o has more than permission bits", e.Mode)
	case e.MTime.UTC().Year() < 1 || e.MTime.UTC().Year() > 9999:
		return e.refuse("modification time is outside the years 1 to 9999")
	case len(e.User) > maxName || len(e.Group) > maxName || strings.Contains(e.User+e.Group, "\x00"):
		return e.refuse("a user's or group's name has at most %d bytes and no NUL", maxName)
	}
	for k := range e.Xattrs {
		if k == "" || len(k) > maxName || strings.Contains(k, "\x00") {
			return e.refuse("the name %q of an extended attribute has not 1 to %d bytes without NUL", clip(k), maxName)
		}
	}
	return nil
}

func checkHost(host string) error {
	bad := host == "" || len(host) > maxName || host == "." || host == ".." || host == ownHost || !utf8.ValidString(host) ||
		strings.ContainsFunc(host, func(r rune) bool { return r == '/' || r == ':' || unicode.IsSpace(r) || unicode.IsControl(r) })
	if bad {
		return fmt.Errorf("%q cannot be a host's name on a tape", clip(host))
	}
	return nil
}

// checkPath tells whether tar tools can carry host/abs, a directory's slash included.
func checkPath(host, abs string) error {
	switch {
	case !path.IsAbs(abs) || path.Clean(abs) != abs:
		return errors.New("the path is not absolute and clean")
	case strings.Contains(abs, "\x00"):
		return errors.New("the path contains a NUL byte")
	case len(host)+len(abs)+1 > maxPath:
		return fmt.Errorf("host and path have %d bytes, tar tools take %d", len(host)+len(abs)+1, maxPath)
	}
	for name := range strings.SplitSeq(abs, "/") {
		if len(name) > maxName {
			return fmt.Errorf("a name in the path has %d bytes, tar tools take %d", len(name), maxName)
		}
	}
	return nil
}

// within tells whether p is dir or lies below it.
func within(dir, p string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir) && p[len(dir)] == '/'
}

// padded rounds up to tar's blocks.
func padded(n int64) int64 { return (n + block - 1) &^ (block - 1) }

// records returns how many records n bytes take.
func records(n int64, recordSize int) int64 { return (n + int64(recordSize) - 1) / int64(recordSize) }

// maxRecordSize is what the 24-bit transfer length of READ(6) and WRITE(6) (SSC-3) can say, in tar's blocks.
const maxRecordSize = 1<<24 - block

func checkRecordSize(n int) error {
	if n < block || n > maxRecordSize || n%block != 0 {
		return fmt.Errorf("%w: record size %d is not a multiple of %d up to %d", ErrFormat, n, block, maxRecordSize)
	}
	return nil
}

// own returns one of twintape's own files on a tape.
func own(session, name string, size int64, mtime time.Time) *Entry {
	return &Entry{Host: ownHost, Path: "/" + session + "/" + name, Type: File, Size: size, Mode: 0o444, MTime: mtime}
}
