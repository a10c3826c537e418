package nfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"
	"syscall"
)

// maxList bounds the list of exports, in bytes.
const maxList = 4 << 20

// onMount asks the host's mount daemon something, on a connection of its own.
func (s *Source) onMount(ctx context.Context, ask func(c *conn) error) error {
	port := s.cfg.MountPort
	if port == 0 {
		var err error
		if port, err = s.portOf(ctx, mountProgram, "the mount daemon (MOUNT version 3)"); err != nil {
			return s.explain(ctx, err)
		}
	}
	c, err := s.connect(ctx, port)
	if err != nil {
		return fmt.Errorf("the mount daemon at port %d: %w", port, err)
	}
	defer c.Kill(fs.ErrClosed)
	err = ask(c)
	var refused *refusal
	if errors.As(err, &refused) {
		if refused.programGone {
			return fmt.Errorf("the mount daemon at port %d: %w; %s", port, err, noNFS3)
		}
		return fmt.Errorf("the mount daemon at port %d: %w%s", port, err, s.portHint(c))
	}
	return err
}

// portHint says what a refusal may come from if this process cannot have a privileged port.
func (s *Source) portHint(c *conn) string {
	if !c.unprivileged() {
		return ""
	}
	return fmt.Sprintf("; the call came from port %d, and many servers trust only ports below 1024, which need root or CAP_NET_BIND_SERVICE here, "+
		"or the export option \"insecure\" there (ganesha: PrivilegedPort = false)", c.sock.LocalAddr().(*net.TCPAddr).Port)
}

// listExports asks which paths the host exports.
func (s *Source) listExports(ctx context.Context) (paths []string, err error) {
	err = s.onMount(ctx, func(c *conn) (err error) {
		paths, err = do(ctx, c, procExport, nil, maxList, (*decoder).exportList)
		return err
	})
	return paths, err
}

// refusedError says that the host does not let this machine have an export; others of its exports may be fine.
type refusedError struct{ text string }

func (e *refusedError) Error() string { return e.text }
func (e *refusedError) Unwrap() error { return syscall.EACCES }

// mounted is an export as it was mounted.
type mounted struct {
	fh handle
	fsinfo
}

// mount asks for the root of an export, and what the server can do there.
func (s *Source) mount(ctx context.Context, path string) (mounted, error) {
	var m mounted
	err := s.onMount(ctx, func(c *conn) error {
		args := func(e *encoder) { e.string(path) }
		reply, err := do(ctx, c, procMnt, args, maxSmall, results((*decoder).mnt))
		if err != nil {
			return err
		}
		if reply.status != 0 {
			return s.denied(ctx, c, path, reply.status)
		}
		// AUTH_NONE in the list means that any credential will do.
		if f := reply.value.flavors; len(f) > 0 && !slices.Contains(f, authSys) && !slices.Contains(f, authNone) {
			return &refusedError{fmt.Sprintf("NFS export %s wants another kind of login (flavors %v, such as Kerberos) than the plain user numbers "+
				"(sec=sys) that twintape has: %s", path, f, kernelInstead)}
		}
		m.fh = reply.value.fh
		return nil
	})
	if err != nil {
		return mounted{}, err
	}
	m.fsinfo, err = onFile(ctx, s, false, procFsinfo, m.fh.encode, maxSmall, (*decoder).fsinfo)
	if err != nil {
		return mounted{}, fmt.Errorf("NFS export %s was mounted, but: %w", path, err)
	}
	m.maxRead = min(max(m.maxRead, 512), maxTransfer)
	m.preferredList = min(max(m.preferredList, m.maxRead, 8192), maxTransfer)
	return m, nil
}

// denied words the refusal of an export.
func (s *Source) denied(ctx context.Context, c *conn, path string, st status) error {
	us := "this machine"
	if addr, ok := c.sock.LocalAddr().(*net.TCPAddr); ok {
		us = addr.IP.String()
	}
	var text string
	switch st {
	case statusAccess, statusPerm:
		text = fmt.Sprintf("NFS export %s refuses %s: either there is no such export, or it is not exported to this machine (%s)", path, us, mountWord(st))
	case statusNoent:
		text = fmt.Sprintf("there is no NFS export %s (%s)", path, mountWord(st))
	default:
		text = fmt.Sprintf("NFS export %s cannot be had by %s: %v (%s)", path, us, st, mountWord(st))
	}
	if list, err := do(ctx, c, procExport, nil, maxList, (*decoder).exportList); err == nil && len(list) > 0 {
		const enough = 10
		text += "; the host lists for us " + strings.Join(list[:min(len(list), enough)], ", ")
		if more := len(list) - enough; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
	}
	return &refusedError{text + s.portHint(c)}
}

func mountWord(st status) string {
	words := map[status]string{statusPerm: "MNT3ERR_PERM", statusNoent: "MNT3ERR_NOENT", 5: "MNT3ERR_IO", statusAccess: "MNT3ERR_ACCES", 20: "MNT3ERR_NOTDIR",
		22: "MNT3ERR_INVAL", 63: "MNT3ERR_NAMETOOLONG", statusNotSupp: "MNT3ERR_NOTSUPP", 10006: "MNT3ERR_SERVERFAULT"}
	if w := words[st]; w != "" {
		return w
	}
	return fmt.Sprintf("MNT3 status %d", uint32(st))
}
