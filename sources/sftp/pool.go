package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"twintape/sources"
)

// A host that refused is left alone for firstPause; each further failure doubles the pause up to lastPause.
const (
	firstPause = time.Second
	lastPause  = time.Minute
)

// dialFunc makes a connection, whose goroutines it starts with spawn.
type dialFunc func(ctx context.Context, spawn func(work func()) bool) (*conn, error)

// pool keeps a host's connections.
type pool struct {
	limit   int
	timeout time.Duration // for one connect
	dial    dialFunc
	ctx     context.Context // ends when the pool is closed
	cancel  context.CancelFunc
	wg      sync.WaitGroup // connects, connections' goroutines, exchanges

	mu       sync.Mutex
	closed   bool
	conns    []*conn
	pending  chan struct{} // closed when the connect under way is over; nil if there is none
	failures int           // connects in a row that failed while there was no other connection
	retryAt  time.Time     // when a host without a connection is tried again
	growAt   time.Time     // when a host that refused a further connection is asked for one again
	lastErr  error
}

func newPool(limit int, timeout time.Duration, dial dialFunc) *pool {
	p := &pool{limit: limit, timeout: timeout, dial: dial}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// spawn runs work as a goroutine that close waits for; false if the pool is closed.
func (p *pool) spawn(work func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.wg.Go(work)
	return true
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	conns := p.conns
	p.mu.Unlock()
	p.cancel()
	for _, c := range conns {
		c.kill(fs.ErrClosed)
	}
	p.wg.Wait()
}

// get returns the connection with the least to do. If all are busy another one is begun for those who come later; if
// there is none, get waits for the first.
func (p *pool) get(ctx context.Context) (*conn, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c, pending, err := p.choose()
		if c != nil || err != nil {
			return c, err
		}
		select {
		case <-pending:
		case <-ctx.Done():
		}
	}
}

// choose returns a connection, or what to wait for.
func (p *pool) choose() (*conn, <-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, fs.ErrClosed
	}
	p.conns = slices.DeleteFunc(p.conns, (*conn).isDead)
	var best *conn
	for _, c := range p.conns {
		if best == nil || c.busy.Load() < best.busy.Load() {
			best = c
		}
	}
	pause := time.Until(p.retryAt)
	if best == nil && p.pending == nil && pause > 0 {
		return nil, nil, fmt.Errorf("%w: %w (next try in %v)", sources.ErrUnavailable, p.lastErr, pause.Round(time.Millisecond))
	}
	more := best != nil && best.busy.Load() > 0 && len(p.conns) < p.limit && !time.Now().Before(p.growAt)
	if p.pending == nil && (best == nil || more) {
		pending := make(chan struct{})
		p.pending = pending
		p.wg.Go(func() { p.connect(pending, more) })
	}
	return best, p.pending, nil
}

// connect makes the first connection or, if more is set, a further one, which the host may refuse without being down.
func (p *pool) connect(pending chan struct{}, more bool) {
	ctx, cancel := context.WithTimeoutCause(p.ctx, p.timeout, fmt.Errorf("%w for %v", errSilent, p.timeout))
	defer cancel()
	c, err := p.dial(ctx, p.spawn)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	p.mu.Lock()
	p.pending = nil
	switch {
	case err != nil && more:
		p.growAt = time.Now().Add(lastPause)
	case err != nil:
		p.lastErr = err
		p.retryAt = time.Now().Add(min(firstPause<<min(p.failures, 6), lastPause))
		p.failures++
	case !p.closed:
		p.failures, p.retryAt, p.lastErr = 0, time.Time{}, nil
		p.conns = append(p.conns, c)
	}
	closed := p.closed
	p.mu.Unlock()
	close(pending)
	if closed && c != nil {
		c.kill(fs.ErrClosed)
	}
}

// onConn makes a call on a connection, and once more on another one if the first was lost under it. A call that waited
// out the timeout is not repeated.
func onConn[T any](ctx context.Context, p *pool, do func(c *conn) (T, error)) (T, error) {
	for repeated := false; ; repeated = true {
		c, err := p.get(ctx)
		if err != nil {
			var none T
			return none, err
		}
		v, err := do(c)
		if repeated || !worthRepeating(err) {
			return v, err
		}
	}
}

func worthRepeating(err error) bool {
	return errors.Is(err, errLost) && !errors.Is(err, errSilent) && !errors.Is(err, fs.ErrClosed)
}
