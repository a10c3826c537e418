// Package pool keeps a host's connections, for the sources that have several of them.
//
// The first is made when it is first needed, others when all that are there are busy; a dead one is replaced when next
// needed. A host that could not be reached is left alone for a while: 1 s, doubled by each further failure up to 60 s.
// All methods may be called concurrently.
package pool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"
)

var (
	// ErrLost marks an error of the connection rather than of the path: the same call may succeed on another one.
	ErrLost = errors.New("connection lost")
	// ErrSilent is the cause of death of a connection whose host hung. A call that waited so long is not repeated.
	ErrSilent = errors.New("no answer")
)

// Conn is a connection to a host.
type Conn interface {
	Busy() int         // calls under way on it
	IsDead() bool      // it will never be used again
	Kill(reason error) // ends it and the calls on it; only the first kill's reason counts
}

// Pool keeps the connections of one host.
type Pool[C Conn] struct {
	limit   int
	timeout time.Duration // for one connect
	dial    func(ctx context.Context) (C, error)
	ctx     context.Context // ends when the pool is closed
	cancel  context.CancelFunc
	wg      sync.WaitGroup // connects, and what was spawned

	mu      sync.Mutex
	closed  bool
	conns   []C
	pending chan struct{} // closed when the connect under way is over; nil if there is none
	backoff Backoff       // of connects that failed while there was no other connection
	growAt  time.Time     // when a host that refused a further connection is asked for one again
}

// New makes a pool of at most limit connections, which dial makes, each within timeout. The host is not contacted yet.
func New[C Conn](limit int, timeout time.Duration, dial func(ctx context.Context) (C, error)) *Pool[C] {
	p := &Pool[C]{limit: limit, timeout: timeout, dial: dial}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Limit is the largest number of connections.
func (p *Pool[C]) Limit() int { return p.limit }

// Context ends when the pool is closed.
func (p *Pool[C]) Context() context.Context { return p.ctx }

// Spawn runs work as a goroutine that Close waits for; false if the pool is closed. The work must end soon after Context
// does, or after the connection that it serves is killed.
func (p *Pool[C]) Spawn(work func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.wg.Go(work)
	return true
}

// Close kills all connections and waits until nothing runs any more.
func (p *Pool[C]) Close() {
	p.mu.Lock()
	p.closed = true
	conns := p.conns
	p.mu.Unlock()
	p.cancel()
	for _, c := range conns {
		c.Kill(fs.ErrClosed)
	}
	p.wg.Wait()
}

// Get returns the connection with the least to do. If all are busy another one is begun for those who come later; if
// there is none, Get waits for the first. An error wraps sources.ErrUnavailable unless ctx ended or the pool is closed.
func (p *Pool[C]) Get(ctx context.Context) (C, error) {
	for {
		if err := ctx.Err(); err != nil {
			var none C
			return none, err
		}
		c, pending, err := p.choose()
		if pending == nil || err != nil {
			return c, err
		}
		select {
		case <-pending:
		case <-ctx.Done():
		}
	}
}

// choose returns a connection, or what to wait for.
func (p *Pool[C]) choose() (best C, wait <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return best, nil, fs.ErrClosed
	}
	p.conns = slices.DeleteFunc(p.conns, C.IsDead)
	for i, c := range p.conns {
		if i == 0 || c.Busy() < best.Busy() {
			best = c
		}
	}
	none := len(p.conns) == 0
	if none && p.pending == nil {
		if err := p.backoff.Err(); err != nil {
			return best, nil, err
		}
	}
	more := !none && best.Busy() > 0 && len(p.conns) < p.limit && !time.Now().Before(p.growAt)
	if p.pending == nil && (none || more) {
		pending := make(chan struct{})
		p.pending = pending
		p.wg.Go(func() { p.connect(pending, more) })
	}
	if none {
		wait = p.pending
	}
	return best, wait, nil
}

// connect makes the first connection or, if more is set, a further one, which the host may refuse without being down.
func (p *Pool[C]) connect(pending chan struct{}, more bool) {
	ctx, cancel := context.WithTimeoutCause(p.ctx, p.timeout, fmt.Errorf("%w for %v", ErrSilent, p.timeout))
	defer cancel()
	c, err := p.dial(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	p.mu.Lock()
	p.pending = nil
	switch {
	case err != nil && more:
		p.growAt = time.Now().Add(lastPause)
	case err != nil:
		p.backoff.Failed(err)
	case !p.closed:
		p.backoff = Backoff{}
		p.conns = append(p.conns, c)
	}
	closed := p.closed
	p.mu.Unlock()
	close(pending)
	if closed && err == nil {
		c.Kill(fs.ErrClosed)
	}
}

// On makes a call on a connection, and once more on another one if the first was lost under it. A call that waited out
// the timeout is not repeated.
func On[C Conn, T any](ctx context.Context, p *Pool[C], do func(c C) (T, error)) (T, error) {
	for repeated := false; ; repeated = true {
		c, err := p.Get(ctx)
		if err != nil {
			var none T
			return none, err
		}
		v, err := do(c)
		if repeated || !WorthRepeating(err) {
			return v, err
		}
	}
}

// WorthRepeating says that a call failed with its connection, and soon.
func WorthRepeating(err error) bool {
	return errors.Is(err, ErrLost) && !errors.Is(err, ErrSilent) && !errors.Is(err, fs.ErrClosed)
}
