// Package exitcode has the exit codes that scripts may rely on.
package exitcode

import "errors"

// The exit codes.
const (
	Done        = 0 // done
	Failed      = 1 // failed, or some items failed and the rest succeeded
	Usage       = 2 // the command line or the configuration is wrong
	Nothing     = 3 // there is nothing to do
	Mismatch    = 4 // verification found a mismatch
	Held        = 5 // another run has the lock
	Unavailable = 6 // the library, a drive, a tape or a host is not available
)

// coded is an error with its exit code.
type coded struct {
	error
	code int
}

func (c coded) Unwrap() error { return c.error }

// With gives err an exit code; nil stays nil. The outermost code counts.
func With(code int, err error) error {
	if err == nil {
		return nil
	}
	return coded{err, code}
}

// Of returns the exit code of err: Done for nil, Failed if it was given none.
func Of(err error) int {
	if err == nil {
		return Done
	}
	var c coded
	if errors.As(err, &c) {
		return c.code
	}
	return Failed
}
