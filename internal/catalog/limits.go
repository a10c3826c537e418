package catalog

import (
	"errors"
	"fmt"
	"path"
	"strings"
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

// EntryError says why a member cannot be written to a tape as it is. It is found at planning and fails the member's item.
type EntryError struct {
	Host   string
	Path   string
	Reason string
}

func (e *EntryError) Error() string {
	return fmt.Sprintf("%s:%s: cannot be archived: %s", printable(clip(e.Host)), printable(clip(e.Path)), e.Reason)
}

func (e *Entry) refuse(format string, args ...any) error {
	return &EntryError{Host: e.Host, Path: e.Path, Reason: fmt.Sprintf(format, args...)}
}

// Check tells what of a member's metadata tar tools or the catalog cannot carry: the error is an *EntryError.
func (e *Entry) Check() error {
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

// CheckName tells whether tar tools and the catalog can carry a path of a host.
func CheckName(host, path string) error {
	if err := checkHost(host); err != nil {
		return err
	}
	return checkPath(host, path)
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

// maxRecordSize is what the 24-bit transfer length of READ(6) and WRITE(6) (SSC-3) can say, in tar's blocks.
const maxRecordSize = 1<<24 - block

func checkRecordSize(n int) error {
	if n < block || n > maxRecordSize || n%block != 0 {
		return fmt.Errorf("%w: record size %d is not a multiple of %d up to %d", ErrFormat, n, block, maxRecordSize)
	}
	return nil
}
