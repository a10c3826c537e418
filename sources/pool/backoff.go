package pool

import (
	"errors"
	"fmt"
	"time"

	"twintape/sources"
)

// What failed is left alone for firstPause; each further failure doubles the pause up to lastPause.
const (
	firstPause = time.Second
	lastPause  = time.Minute
)

// Backoff says when what failed may be tried again. The zero value is of something that did not fail; it is what a
// success makes of it. It may not be used concurrently.
type Backoff struct {
	failures int
	retryAt  time.Time
	last     error
}

// Failed notes a failure.
func (b *Backoff) Failed(err error) {
	b.last = err
	b.retryAt = time.Now().Add(min(firstPause<<min(b.failures, 6), lastPause))
	b.failures++
}

// Err returns the last failure as sources.ErrUnavailable, as a *PausedError, as long as it should not be tried again.
func (b *Backoff) Err() error {
	if !time.Now().Before(b.retryAt) {
		return nil
	}
	return &PausedError{Until: b.retryAt, Err: b.last}
}

// PausedError says that nothing was tried, since the last try failed a short while ago.
type PausedError struct {
	Until time.Time // of the next try
	Err   error     // the last failure
}

func (e *PausedError) Error() string {
	text := fmt.Sprintf("%v (next try in %v)", e.Err, time.Until(e.Until).Round(time.Millisecond))
	if errors.Is(e.Err, sources.ErrUnavailable) { // it says so itself
		return text
	}
	return fmt.Sprintf("%v: %s", sources.ErrUnavailable, text)
}

func (e *PausedError) Unwrap() []error { return []error{sources.ErrUnavailable, e.Err} }
