package nfs

import (
	"context"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"twintape/sources/pool"
)

// lazy is something that the host is asked for when it is first needed, once for all who need it meanwhile. A failure is
// remembered as long as pool.Backoff says. The zero value knows nothing yet.
type lazy[T any] struct {
	mu      sync.Mutex
	value   T
	at      time.Time     // when it was asked for; zero if it never was with success
	pending chan struct{} // closed when the question under way is over; nil if there is none
	backoff pool.Backoff
}

// get returns the value. One older than ttl is asked for again, if that is not 0, and kept if there is no new one.
func (l *lazy[T]) get(ctx context.Context, s *Source, ttl time.Duration, ask func(ctx context.Context) (T, error)) (T, error) {
	for {
		value, pending, err := l.look(s, ttl, ask)
		if pending == nil || err != nil {
			return value, err
		}
		select {
		case <-pending:
		case <-ctx.Done():
			return value, ctx.Err()
		}
	}
}

// look returns the value, or what to wait for.
func (l *lazy[T]) look(s *Source, ttl time.Duration, ask func(ctx context.Context) (T, error)) (value T, wait <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.pool.Context().Err() != nil {
		return value, nil, fs.ErrClosed
	}
	known := !l.at.IsZero()
	if known && (ttl == 0 || time.Since(l.at) < ttl) {
		return l.value, nil, nil
	}
	if l.pending == nil {
		if err := l.backoff.Err(); err != nil {
			if known {
				err = nil
			}
			return l.value, nil, err
		}
		pending := make(chan struct{})
		if !s.pool.Spawn(func() { l.ask(s, pending, ask) }) {
			return value, nil, fs.ErrClosed
		}
		l.pending = pending
	}
	return value, l.pending, nil
}

func (l *lazy[T]) ask(s *Source, pending chan struct{}, ask func(ctx context.Context) (T, error)) {
	ctx, cancel := context.WithTimeoutCause(s.pool.Context(), s.cfg.Timeout, fmt.Errorf("%w for %v", pool.ErrSilent, s.cfg.Timeout))
	defer cancel()
	at := time.Now()
	value, err := ask(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = nil
	close(pending)
	if err != nil {
		l.backoff.Failed(err)
		return
	}
	l.value, l.at, l.backoff = value, at, pool.Backoff{}
}

// forget has the value asked for again.
func (l *lazy[T]) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = time.Time{}
}
