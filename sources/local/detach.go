package local

import (
	"context"
	"fmt"
	"time"

	"twintape/sources"
)

// silence is how long the kernel may take for a call before its file system counts as hanging: longer than a disk that wakes
// up, or a server that restarts. Listings have listTimes as much.
const (
	silence   = 2 * time.Minute
	listTimes = 10
)

// mostAbandoned is how many calls of a source may wait in the kernel with nobody waiting for them: each takes a thread.
const mostAbandoned = 64

// detach runs a call that the kernel may never end, and waits for it no longer than the context and a limit last. A result
// that nobody waits for any more goes to undo, if that is not nil.
func detach[T any](ctx context.Context, s *Source, limit time.Duration, call func() (T, error), undo func(T)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if s.abandoned.Load() >= mostAbandoned {
		return none, fmt.Errorf("%w: %d calls wait for its file system already: is the server up that it is mounted from?", sources.ErrUnavailable, mostAbandoned)
	}
	done := make(chan outcome)  // without room: either the caller takes the result, or undo does
	gone := make(chan struct{}) // closed when nobody waits any more
	go func() {
		value, err := call()
		select {
		case done <- outcome{value, err}:
		case <-gone:
			s.abandoned.Add(-1)
			if err == nil && undo != nil {
				undo(value)
			}
		}
	}()
	late := time.NewTimer(limit)
	defer late.Stop()
	abandon := func(err error) (T, error) {
		s.abandoned.Add(1)
		close(gone)
		return none, err
	}
	select {
	case out := <-done:
		return out.value, out.err
	case <-ctx.Done():
		return abandon(ctx.Err())
	case <-late.C:
		return abandon(fmt.Errorf("%w: its file system has not answered for %v: is the server up that it is mounted from?", sources.ErrUnavailable, limit))
	}
}
