package fsmount

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"twintape/sources"
)

// Why a call's context ended.
var (
	errInterrupted = errors.New("interrupted")
	errTooLong     = errors.New("no answer in time")
	errUnmounted   = errors.New("the mount is going away")
)

// errnoOf tells what a user of the mount sees of an error. It never is ENOSYS, which the kernel would take for "never ask
// that again".
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	switch has := errors.As(err, &errno); {
	case err == nil:
		return 0
	case errors.Is(err, errInterrupted):
		return syscall.EINTR
	case errors.Is(err, errUnmounted):
		return syscall.ENOTCONN
	// A host that is missing, before what is missing on it: its error may wrap that of a key file that does not exist.
	case errors.Is(err, sources.ErrUnavailable):
		return unavailable(err, errno)
	case errno == syscall.ENOSYS:
		return syscall.ENOTSUP
	case has && errno != 0:
		return errno
	}
	for _, known := range []struct {
		err   error
		errno syscall.Errno
	}{
		{fs.ErrNotExist, syscall.ENOENT},
		{fs.ErrPermission, syscall.EACCES},
		{fs.ErrInvalid, syscall.EINVAL},
		{fs.ErrClosed, syscall.ESHUTDOWN},
		{sources.ErrUnknownHost, syscall.ENOENT},
		{errors.ErrUnsupported, syscall.ENOTSUP},
		{errTooLong, syscall.ETIMEDOUT},
		{context.DeadlineExceeded, syscall.ETIMEDOUT},
	} {
		if errors.Is(err, known.err) {
			return known.errno
		}
	}
	return syscall.EIO
}

// unavailable tells how a host is out of reach.
func unavailable(err error, cause syscall.Errno) syscall.Errno {
	switch cause {
	case syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.ETIMEDOUT, syscall.EACCES:
		return cause
	}
	var late interface{ Timeout() bool }
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &late) && late.Timeout() {
		return syscall.ETIMEDOUT
	}
	return syscall.EHOSTDOWN
}

// ordinary are errors that users run into every day; nobody needs to read of them in a log.
func ordinary(errno syscall.Errno) bool {
	switch errno {
	case syscall.ENOENT, syscall.EACCES, syscall.EPERM, syscall.ENOTDIR, syscall.ENAMETOOLONG, syscall.EINVAL, syscall.EINTR,
		syscall.ENOTCONN, syscall.ESTALE, syscall.EROFS, syscall.ENODATA:
		return true
	}
	return false
}
