package catalog

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
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

// Header returns the tar header of an on-tape member, extended headers included: a multiple of 512 bytes, a function of
// the metadata alone. A zero MTime is written as 1970. The error is an *EntryError if the member has what tar tools
// cannot carry.
func Header(e *Entry) ([]byte, error) {
	if err := e.Check(); err != nil {
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
	if err := e.Check(); err != nil {
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
	if err := e.Check(); err != nil {
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

// padded rounds up to tar's blocks.
func padded(n int64) int64 { return (n + block - 1) &^ (block - 1) }

// records returns how many records n bytes take.
func records(n int64, recordSize int) int64 { return (n + int64(recordSize) - 1) / int64(recordSize) }

// own returns one of twintape's own files on a tape.
func own(session, name string, size int64, mtime time.Time) *Entry {
	return &Entry{Host: ownHost, Path: "/" + session + "/" + name, Type: File, Size: size, Mode: 0o444, MTime: mtime}
}
