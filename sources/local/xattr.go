package local

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// Xattrs returns what belongs to the data and its protection: the user's own attributes, file capabilities, and POSIX
// ACLs. Labels of a security module belong to this machine and are left out; so is what may not be read.
func (s *Source) Xattrs(ctx context.Context, p string) (map[string]string, error) {
	attrs, err := detach(ctx, s, s.silence, func() (map[string]string, error) {
		fd, err := s.open(p, unix.O_PATH|unix.O_NOFOLLOW)
		if err != nil {
			return nil, err
		}
		defer unix.Close(fd)
		return xattrs(procPath(fd)) // the calls on descriptors refuse O_PATH
	}, nil)
	return attrs, s.fail("list attributes of", p, err)
}

func xattrs(p string) (map[string]string, error) {
	list, err := sized(func(buf []byte) (int, error) { return unix.Listxattr(p, buf) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var attrs map[string]string
	for name := range strings.SplitSeq(strings.TrimSuffix(list, "\x00"), "\x00") {
		if !kept(name) {
			continue
		}
		value, err := sized(func(buf []byte) (int, error) { return unix.Getxattr(p, name, buf) })
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if attrs == nil {
			attrs = make(map[string]string)
		}
		attrs[name] = value
	}
	return attrs, nil
}

func kept(name string) bool {
	switch name {
	case "security.capability", "system.posix_acl_access", "system.posix_acl_default":
		return true
	}
	return strings.HasPrefix(name, "user.")
}

// sized calls get for the size, then for the value, again if it grew in between.
func sized(get func(buf []byte) (int, error)) (string, error) {
	for {
		n, err := get(nil)
		if n <= 0 || err != nil {
			return "", err
		}
		buf := make([]byte, n)
		n, err = get(buf)
		if err == unix.ERANGE || err == unix.EINTR {
			continue
		}
		if err != nil {
			return "", err
		}
		return string(buf[:n]), nil
	}
}
