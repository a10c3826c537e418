package paperdump

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"

	"twintape/internal/catalog"
)

// block is the unit of tar: headers and data are padded to it.
const block = 512

// inner is the name of the tar inside a tape file; top is the folder that all of its members lie in.
var (
	inner = regexp.MustCompile(`^paper\.([0-9]{1,18})\.([0-9]{1,9})\.tar$`)
	top   = regexp.MustCompile(`^paper\.([0-9]{1,18})\.([0-9]{1,9})/`)
)

// header is one tar header, extended headers included.
type header struct {
	*tar.Header
	length int // bytes
}

// readHeader reads the header that begins with a block, and goes on behind it in r. The error is the tar's; that of r is r's
// to tell.
func readHeader(first []byte, r io.Reader) (h header, err error) {
	var n counter
	h.Header, err = tar.NewReader(io.TeeReader(io.MultiReader(bytes.NewReader(first), r), &n)).Next()
	h.length = int(n)
	return h, err
}

// sparse tells whether holes of a file were left out, so that nobody knows how much of it follows.
func (h header) sparse() bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

// data is how many bytes follow the header, as far as is known.
func (h header) data() int64 {
	if h.sparse() {
		return 0
	}
	switch h.Typeflag {
	case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo:
		return 0
	}
	return min(h.Size, mostData)
}

// mostData bounds the data of a member, so that sums of sizes do not overflow.
const mostData = 1 << 60

type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// ParseHeader reads the header of one member from the beginning of b, which may go on behind it. It returns the member,
// without Place.Archive, Record and Offset, and the header's length in bytes.
func ParseHeader(b []byte) (catalog.Entry, int, error) {
	h, err := readHeader(nil, bytes.NewReader(b))
	if err != nil {
		return catalog.Entry{}, 0, fmt.Errorf("%w: tar header: %w", ErrFormat, err)
	}
	e, err := h.member(top.FindString(h.Name))
	return e, h.length, err
}

var errNames = errors.New("its name is no plain path of a host")

// member makes an entry of a header of a member in the folder that all lie in, whose name ends with a slash. With an error, the
// entry has a host if its name is a good one.
func (h header) member(folder string) (e catalog.Entry, err error) {
	if e.Host, e.Path, err = split(h.Name, folder, h.Typeflag == tar.TypeDir); err != nil {
		return catalog.Entry{}, err
	}
	e.Size, e.Mode, e.MTime, e.User, e.Group = h.Size, uint32(h.Mode), h.ModTime.UTC(), h.Uname, h.Gname
	e.UID, e.GID, e.Header = uint32(h.Uid), uint32(h.Gid), h.length
	if h.Mode>>32 != 0 || h.Uid>>32 != 0 || h.Gid>>32 != 0 {
		return e, fmt.Errorf("%w: mode %d, owner %d:%d", ErrFormat, h.Mode, h.Uid, h.Gid)
	}
	if h.sparse() {
		return e, errors.New("it is stored as a sparse file")
	}
	switch h.Typeflag {
	case tar.TypeReg:
		e.Type = catalog.File
	case tar.TypeDir:
		e.Type, e.Size = catalog.Dir, 0
	case tar.TypeSymlink:
		e.Type, e.Link, e.Size = catalog.Symlink, h.Linkname, 0
	case tar.TypeLink:
		e.Type, e.Size = catalog.Hardlink, 0
		var host string
		if host, e.Link, err = split(h.Linkname, folder, false); err != nil || host != e.Host {
			return e, fmt.Errorf("it is another name of %q, which is not beside it", clip(h.Linkname))
		}
	case tar.TypeFifo:
		e.Type, e.Size = catalog.FIFO, 0
	case tar.TypeChar, tar.TypeBlock:
		e.Type, e.Size = catalog.Device, 0
	default:
		return e, fmt.Errorf("it is of a kind (%q) that is not known", h.Typeflag)
	}
	return e, e.Check()
}

// split takes a member's name apart: the folder, the host with its colon, the path.
func split(name, folder string, dir bool) (host, p string, err error) {
	rest, ok := strings.CutPrefix(name, folder)
	if !ok || folder == "" {
		return "", "", errNames
	}
	host, p, ok = strings.Cut(rest, ":")
	if dir {
		if p = strings.TrimSuffix(p, "/"); p == "" {
			p = "/"
		}
	}
	if !ok || path.Clean(p) != p {
		return "", "", errNames
	}
	return host, p, catalog.CheckName(host, p)
}

func clip(s string) string { return s[:min(len(s), 200)] }
