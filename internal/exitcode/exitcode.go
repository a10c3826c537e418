// Package exitcode has the exit codes that scripts may rely on.
package exitcode

import (
	"errors"
	"fmt"
	"strings"
)

// The exit codes.
const (
	Done = iota
	Failed
	Usage
	Nothing
	Mismatch
	Held
	Unavailable
)

// sentences say what the codes mean.
var sentences = [...]string{
	Done:        "done",
	Failed:      "failed, or some items failed and the rest succeeded",
	Usage:       "the command line or the configuration is wrong",
	Nothing:     "there is nothing to do",
	Mismatch:    "verification found a mismatch",
	Held:        "held: a hold is set, or another run has the lock",
	Unavailable: "the library, a drive, a tape or a host is not available",
}

// Help lists the codes with what they mean, one a line.
func Help() string {
	var b strings.Builder
	for code, sentence := range sentences {
		fmt.Fprintf(&b, "  %d  %s\n", code, sentence)
	}
	return b.String()
}

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
