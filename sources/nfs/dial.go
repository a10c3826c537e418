package nfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Source ports that only root can use, and that servers trust by default; those below are for well-known services.
const (
	minPrivileged = 665
	maxPrivileged = 1023
)

const (
	portmapPort = 111
	nfsPort     = 2049
)

// What to do about a host without NFSv3.
const (
	kernelInstead = "mount it with the kernel and configure the mount point as a \"local\" source"
	noNFS3        = "twintape speaks NFSv3: if the host serves NFSv4 only, " + kernelInstead
)

// dial makes a connection to the NFS server, and sees that it answers.
func (s *Source) dial(ctx context.Context) (*conn, error) {
	port := s.cfg.NFSPort
	if port == 0 {
		var err error
		if port, err = s.portOf(ctx, nfsProgram, "NFSv3"); err != nil {
			return nil, s.explain(ctx, err)
		}
	}
	c, err := s.connect(ctx, port)
	if err != nil {
		return nil, err
	}
	if _, err := do(ctx, c, procNull, nil, 0, func(*decoder) struct{} { return struct{}{} }); err != nil {
		c.Kill(err)
		var refused *refusal
		if errors.As(err, &refused) && refused.programGone {
			return nil, fmt.Errorf("no NFSv3 at port %d: %w; %s", port, err, noNFS3)
		}
		return nil, fmt.Errorf("port %d: %w", port, err)
	}
	return c, nil
}

// errNoPortmapper and errNotRegistered are why a program's port is not known.
var (
	errNoPortmapper  = errors.New("no port mapper (rpcbind) answers")
	errNotRegistered = errors.New("is not registered with the port mapper (rpcbind)")
)

// portOf asks the port mapper for a program's port.
func (s *Source) portOf(ctx context.Context, program uint32, name string) (int, error) {
	c, err := s.connect(ctx, portmapPort)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errNoPortmapper, err)
	}
	defer c.Kill(fs.ErrClosed)
	port, err := do(ctx, c, procGetport, getportArgs(program, 3), 4, (*decoder).uint32)
	if err != nil {
		return 0, fmt.Errorf("the port mapper (rpcbind): %w", err)
	}
	if port == 0 || port > 65535 {
		return 0, fmt.Errorf("%s %w", name, errNotRegistered)
	}
	return int(port), nil
}

// explain says what a host without a port of NFSv3 has instead.
func (s *Source) explain(ctx context.Context, err error) error {
	if !errors.Is(err, errNoPortmapper) && !errors.Is(err, errNotRegistered) || ctx.Err() != nil {
		return err
	}
	c, connectErr := s.connect(ctx, nfsPort)
	if connectErr != nil {
		return fmt.Errorf("%w; nor does NFS itself at port %d: is the NFS server running?", err, nfsPort)
	}
	defer c.Kill(fs.ErrClosed)
	null := func(version uint32) bool {
		_, err := do(ctx, c, procedure{nfsProgram, version, 0, "NULL"}, nil, 0, func(*decoder) struct{} { return struct{}{} })
		return err == nil
	}
	switch {
	case null(3):
		return fmt.Errorf("%w, but NFSv3 answers at port %d: configure nfs_port = %d, and mount_port as the host has it", err, nfsPort, nfsPort)
	case null(4):
		return errors.New("the host serves NFSv4 only, and twintape speaks NFSv3: " + kernelInstead)
	}
	return fmt.Errorf("%w; %s", err, noNFS3)
}

// connect makes a TCP connection, from a privileged port if this process may have one and the port mapper is not the
// one who is asked: that answers everybody.
func (s *Source) connect(ctx context.Context, port int) (*conn, error) {
	addr := net.JoinHostPort(strings.Trim(s.cfg.Address, "[]"), strconv.Itoa(port))
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: s.cfg.Timeout, Interval: s.cfg.Timeout / 3, Count: 3}}
	dial := dialPrivileged
	if port == portmapPort {
		dial = dialOrdinary
	}
	sock, err := dial(ctx, dialer, addr)
	if err != nil {
		return nil, fmt.Errorf("cannot connect: %w", err)
	}
	c := newConn(sock, s.credential, s.cfg.Timeout, s.pool.Spawn)
	if c == nil {
		return nil, fs.ErrClosed
	}
	return c, nil
}

func dialPrivileged(ctx context.Context, dialer net.Dialer, addr string) (net.Conn, error) {
	const ports = maxPrivileged - minPrivileged + 1
	for i, begin := 0, rand.IntN(ports); i < ports; i++ {
		from := dialer
		from.LocalAddr = &net.TCPAddr{Port: minPrivileged + (begin+i)%ports}
		from.Control = reuse
		sock, err := from.DialContext(ctx, "tcp", addr)
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL) {
			continue
		}
		if errors.Is(err, syscall.EACCES) {
			break
		}
		return sock, err
	}
	return dialOrdinary(ctx, dialer, addr)
}

func dialOrdinary(ctx context.Context, dialer net.Dialer, addr string) (net.Conn, error) {
	return dialer.DialContext(ctx, "tcp", addr)
}

// reuse lets a port be had that a connection to another host, or one that has ended, had last; there are few of them.
func reuse(_, _ string, raw syscall.RawConn) error {
	var set error
	err := raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	return errors.Join(err, set)
}

// machine is this machine's name, as AUTH_SYS tells it.
func machine() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost" // nobody decides upon it
	}
	return name
}
