package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"twintape/sources"
	"twintape/sources/pool"
)

// conn is one SSH connection with one SFTP session on it. Its goroutines, and the exchanges that their callers left
// behind, belong to the pool and end soon after Kill.
type conn struct {
	socket  net.Conn // to the host, or to the first server on the way to it
	ssh     *ssh.Client
	sftp    *sftp.Client
	names   *names
	packet  int // largest read request, in bytes
	timeout time.Duration
	busy    atomic.Int32           // exchanges under way
	spawn   func(work func()) bool // runs work as a goroutine of the pool; false if that is closed

	start time.Time
	alive atomic.Int64 // when the session last received a byte, in nanoseconds since start

	once  sync.Once
	dead  chan struct{}
	cause error // why it is dead; set before dead is closed
}

// watch starts what finds out that the connection died.
func (c *conn) watch() {
	c.spawn(func() {
		err := c.sftp.Wait()
		if err == nil || err == io.EOF {
			err = errors.New("the server closed the session")
		}
		c.Kill(err)
	})
	c.spawn(c.keepalive)
}

// keepalive finds out that an idle connection is dead, and keeps routers from forgetting it.
func (c *conn) keepalive() {
	tick := time.NewTicker(c.timeout)
	defer tick.Stop()
	for {
		select {
		case <-c.dead:
			return
		case <-tick.C:
		}
		late := time.AfterFunc(c.timeout, func() { c.Kill(c.silent()) })
		_, _, err := c.ssh.SendRequest("keepalive@openssh.com", true, nil)
		late.Stop()
		if err != nil {
			c.Kill(err)
		}
	}
}

func (c *conn) silent() error { return fmt.Errorf("%w for %v", pool.ErrSilent, c.timeout) }

// Kill ends the connection; every call that waits on it fails with the first kill's reason.
func (c *conn) Kill(reason error) {
	if errors.Is(reason, io.EOF) { // the end of a connection is no end of a file
		reason = errors.New(reason.Error())
	}
	c.once.Do(func() {
		c.cause = reason
		close(c.dead)
		c.hangUp()
	})
}

// hangUp closes the socket first, so that it does not wait for a peer that hangs.
func (c *conn) hangUp() {
	c.socket.Close()
	c.ssh.Close()
}

// Busy returns how many exchanges are under way.
func (c *conn) Busy() int { return int(c.busy.Load()) }

func (c *conn) IsDead() bool {
	select {
	case <-c.dead:
		return true
	default:
		return false
	}
}

// lost is the error of a call whose connection died under it.
func (c *conn) lost() error {
	return fmt.Errorf("%w: %w: %w", sources.ErrUnavailable, pool.ErrLost, c.cause)
}

// verdict tells the server's answers about a path from failures of the connection, which it kills.
func (c *conn) verdict(err error) error {
	if err == nil || err == io.EOF || isPathError(err) || errors.Is(err, fs.ErrClosed) || errors.Is(err, context.Canceled) ||
		errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	c.Kill(err)
	return c.lost()
}

// outcome is what an exchange came to.
type outcome[T any] struct {
	value T
	err   error
}

// call runs one exchange with the server. It returns when the exchange does, when ctx ends, or when the session received
// nothing for the timeout, which kills the connection. A result that came too late goes to undo, if that is not nil.
func call[T any](ctx context.Context, c *conn, exchange func() (T, error), undo func(T)) (T, error) {
	return await(ctx, c, exchange, undo, false)
}

// grace is how long a cancelled read may wait for the answers that are under way before its connection is given up. They
// come within a round trip, unless the host hangs.
const grace = time.Second

// fill is call for an exchange that writes into the caller's memory: it returns only when the exchange is over.
func fill[T any](ctx context.Context, c *conn, exchange func() (T, error)) (T, error) {
	return await(ctx, c, exchange, nil, true)
}

func await[T any](ctx context.Context, c *conn, exchange func() (T, error), undo func(T), toTheEnd bool) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	c.busy.Add(1)
	defer c.busy.Add(-1)
	done := make(chan outcome[T]) // without room: either the caller takes the result, or undo does
	left := make(chan struct{})
	defer close(left)
	if !c.spawn(func() {
		value, err := exchange()
		select {
		case done <- outcome[T]{value, err}:
		case <-left:
			if err == nil && undo != nil {
				undo(value)
			}
		}
	}) {
		return none, fs.ErrClosed
	}
	began := time.Since(c.start)
	timer := time.NewTimer(c.timeout)
	defer timer.Stop()
	for {
		select {
		case out := <-done:
			return out.value, c.verdict(out.err)
		case <-ctx.Done():
			if toTheEnd {
				select {
				case <-done:
				case <-time.After(grace):
					c.Kill(fmt.Errorf("%w to a read that was cancelled", pool.ErrSilent))
					<-done
				}
			}
			return none, ctx.Err()
		case <-timer.C:
			quiet := time.Since(c.start) - max(began, time.Duration(c.alive.Load()))
			if quiet < c.timeout {
				timer.Reset(c.timeout - quiet)
				continue
			}
			c.Kill(c.silent())
			if toTheEnd {
				<-done
			}
			return none, c.lost()
		}
	}
}

// open opens a file for reading.
func (c *conn) open(ctx context.Context, remote string) (*sftp.File, error) {
	return call(ctx, c, func() (*sftp.File, error) { return c.sftp.Open(remote) }, c.discard)
}

// discard closes a handle. Nobody waits for the server's answer: it has nothing to say about a file only read.
func (c *conn) discard(h *sftp.File) { c.spawn(func() { h.Close() }) }

// read fills p from one handle with all its requests in flight at once. It returns io.EOF where the server said so.
func (c *conn) read(ctx context.Context, h *sftp.File, p []byte, off int64) (int, error) {
	requests := (len(p) + c.packet - 1) / c.packet
	size := (len(p) + requests - 1) / requests
	return fill(ctx, c, func() (int, error) {
		if requests == 1 {
			return h.ReadAt(p, off)
		}
		results := make([]outcome[int], requests)
		var wg sync.WaitGroup
		for i := range results {
			from, to := min(i*size, len(p)), min((i+1)*size, len(p))
			wg.Go(func() {
				// A request no larger than a packet is read on by the library until it is full or the server reports the
				// end, so a server that sends less than it was asked for does no harm.
				results[i].value, results[i].err = h.ReadAt(p[from:to], off+int64(from))
			})
		}
		wg.Wait()
		n := 0
		for _, r := range results {
			n += r.value
			if r.err != nil {
				return n, r.err
			}
		}
		return n, nil
	})
}
