package sources

import (
	"errors"
	"fmt"
)

// Error is the error of every Source and of the Namespace: what failed, where, and why.
type Error struct {
	Op   string // "stat", "list", "open", "read", "readlink", "connect"
	Host string // the host's configured name
	Path string // absolute path on the host; empty where the host itself failed
	Err  error  // the cause
}

func (e *Error) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("%s: %s: %v", e.Host, e.Op, e.Err)
	}
	return fmt.Sprintf("%s: %s:%s: %v", e.Op, e.Host, e.Path, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// PatternError is the error of Glob about its pattern.
type PatternError struct {
	Pattern string
	Err     error // what is wrong with it
}

func (e *PatternError) Error() string { return fmt.Sprintf("pattern %q: %v", e.Pattern, e.Err) }

func (e *PatternError) Unwrap() error { return e.Err }

var (
	// ErrUnavailable marks an error of the host, not of the path: down, hung, refusing, or its key is not trusted. Other
	// hosts are not affected, and the same call may succeed later.
	ErrUnavailable = errors.New("host unavailable")
	// ErrUnknownHost says that no configured host has the name.
	ErrUnknownHost = errors.New("no such host in the configuration")
)
