package nfs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"twintape/sources"
	"twintape/sources/pool"
)

// conn is one TCP connection to one RPC program. Calls on it are told apart by their xid, and any number of them may be
// under way. Its two goroutines belong to the pool and end soon after Kill.
type conn struct {
	sock       net.Conn
	credential []byte
	timeout    time.Duration
	out        chan []byte  // to the goroutine that writes
	busy       atomic.Int32 // calls under way

	start time.Time
	alive atomic.Int64 // when the last byte came in, in nanoseconds since start

	mu      sync.Mutex
	first   uint32 // xid of the first call
	next    uint32
	pending map[uint32]*call
	cause   error // why it is dead; set before dead is closed
	dead    chan struct{}
}

// call is a call under way.
type call struct {
	into  []byte // where a READ's data goes; nil for other procedures
	limit int    // the most that its results may have, in bytes; not for READ

	// The connection's mutex guards these.
	receiving bool      // the answer is coming in
	overtaken time.Time // when a call that was made later was answered; zero if none was

	done chan struct{} // closed when it was answered, or never will be; then these are its owner's:
	body []byte
	read readReply
	err  error
}

// newConn serves a socket. It is nil if the pool is closed.
func newConn(sock net.Conn, credential []byte, timeout time.Duration, spawn func(func()) bool) *conn {
	c := &conn{
		sock: sock, credential: credential, timeout: timeout, out: make(chan []byte), start: time.Now(),
		first: rand.Uint32(), pending: make(map[uint32]*call), dead: make(chan struct{}),
	}
	c.next = c.first
	if !spawn(c.receive) {
		sock.Close()
		return nil
	}
	if !spawn(c.send) {
		c.Kill(fs.ErrClosed)
		return nil
	}
	return c
}

// Busy returns how many calls are under way.
func (c *conn) Busy() int { return int(c.busy.Load()) }

func (c *conn) IsDead() bool {
	select {
	case <-c.dead:
		return true
	default:
		return false
	}
}

// Kill ends the connection; every call that waits on it fails with the first kill's reason.
func (c *conn) Kill(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return
	}
	c.cause = reason
	close(c.dead)
	c.sock.Close()
	for xid, k := range c.pending {
		delete(c.pending, xid)
		k.err = c.lost()
		close(k.done)
	}
}

// lost is the error of a call whose connection died under it.
func (c *conn) lost() error {
	return fmt.Errorf("%w: %w: %w", sources.ErrUnavailable, pool.ErrLost, c.cause)
}

// unprivileged says that servers which trust only root's ports do not trust this connection.
func (c *conn) unprivileged() bool {
	addr, ok := c.sock.LocalAddr().(*net.TCPAddr)
	return ok && addr.Port > maxPrivileged
}

func (c *conn) send() {
	for {
		select {
		case msg := <-c.out:
			if _, err := c.sock.Write(msg); err != nil {
				c.Kill(err)
				return
			}
		case <-c.dead:
			return
		}
	}
}

// noted is the socket; it notes when bytes came in.
type noted struct{ c *conn }

func (n noted) Read(p []byte) (int, error) {
	k, err := n.c.sock.Read(p)
	if k > 0 {
		n.c.alive.Store(int64(time.Since(n.c.start)))
	}
	return k, err
}

// receive takes in answers until the connection ends.
func (c *conn) receive() {
	const ahead = 16 << 10 // several small answers in one piece; what is larger goes past this buffer
	src := bufio.NewReaderSize(noted{c}, ahead)
	for {
		if err := c.answer(src); err != nil {
			if err == io.EOF {
				err = errors.New("the server closed the connection")
			}
			c.Kill(err)
			return
		}
	}
}

// answer takes in one record. An error is the connection's.
func (c *conn) answer(src *bufio.Reader) error {
	if _, err := src.Peek(1); err != nil {
		return err
	}
	r := &record{src: src}
	begin, err := r.words(2)
	if err != nil {
		return err
	}
	if begin[1] != rpcReply {
		return malformed("a message of kind %d instead of a reply", begin[1])
	}
	k, err := c.claim(begin[0])
	if err != nil {
		return err
	}
	if k == nil { // given up by its caller
		_, err := io.Copy(io.Discard, r)
		return err
	}
	err = k.receive(r)
	if err != nil {
		c.Kill(err) // so that there is a reason to tell
		k.err = c.lost()
	}
	close(k.done)
	return err
}

// claim finds the call that an answer is for, which from now on only the caller of claim may finish; nil if there is none
// any more.
func (c *conn) claim(xid uint32) (*call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.pending[xid]
	if k == nil {
		if xid-c.first >= c.next-c.first {
			return nil, malformed("an answer to a call that was not made")
		}
		return nil, nil
	}
	k.receiving = true
	delete(c.pending, xid)
	for earlier, other := range c.pending {
		if earlier-c.first < xid-c.first && other.overtaken.IsZero() {
			other.overtaken = time.Now()
		}
	}
	return k, nil
}

// receive takes in the answer to a call. An error is the connection's; the server's own goes to k.err.
func (k *call) receive(r *record) error {
	err := r.head()
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		k.err = refused
	case err != nil:
		return err
	case k.into != nil:
		k.read, err = receiveRead(r, k.into)
	default:
		k.body, err = r.rest(k.limit)
	}
	if err != nil && k.err == nil {
		return err
	}
	return r.end()
}

// grace is how long a cancelled read may wait for an answer that is coming in before its connection is given up.
const grace = time.Second

// call makes a call and waits for its answer: until ctx ends, until nothing at all came in for the timeout, which kills
// the connection, or until calls made later have been answered for the timeout, which gives up this call alone. Its
// memory is the caller's again when call returns.
func (c *conn) call(ctx context.Context, p procedure, args func(*encoder), k *call) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.busy.Add(1)
	defer c.busy.Add(-1)
	k.done = make(chan struct{})
	c.mu.Lock()
	if c.cause != nil {
		defer c.mu.Unlock()
		return c.lost()
	}
	xid := c.next
	c.next++
	c.pending[xid] = k
	c.mu.Unlock()

	msg, out := message(xid, p, c.credential, args), c.out
	began := time.Since(c.start)
	timer := time.NewTimer(c.timeout)
	defer timer.Stop()
	for {
		select {
		case out <- msg:
			out = nil
		case <-k.done:
			return k.err
		case <-ctx.Done():
			c.abandon(xid, k)
			return ctx.Err()
		case <-timer.C:
			left, err := c.patience(p, k, began)
			if err != nil {
				c.abandon(xid, k)
				return err
			}
			timer.Reset(left)
		}
	}
}

// patience returns how much longer a call may wait, or why not.
func (c *conn) patience(p procedure, k *call, began time.Duration) (time.Duration, error) {
	left := c.timeout - (time.Since(c.start) - max(began, time.Duration(c.alive.Load())))
	if left <= 0 {
		c.Kill(fmt.Errorf("%w for %v", pool.ErrSilent, c.timeout))
		return 0, c.lost()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !k.overtaken.IsZero() && !k.receiving {
		left = min(left, c.timeout-time.Since(k.overtaken))
	}
	if left <= 0 {
		return 0, fmt.Errorf("%w: %w to %s for %v, but to later calls", sources.ErrUnavailable, pool.ErrSilent, p.name, c.timeout)
	}
	return left, nil
}

// abandon gives up a call: an answer that comes later is dropped.
func (c *conn) abandon(xid uint32, k *call) {
	c.mu.Lock()
	delete(c.pending, xid)
	wait := k.receiving && k.into != nil
	c.mu.Unlock()
	if !wait {
		return
	}
	select {
	case <-k.done:
	case <-time.After(grace):
		c.Kill(fmt.Errorf("%w to a read that was cancelled", pool.ErrSilent))
		<-k.done
	}
}

// do calls a procedure and decodes its results.
func do[T any](ctx context.Context, c *conn, p procedure, args func(*encoder), limit int, results func(d *decoder) T) (T, error) {
	var none T
	k := &call{limit: limit}
	if err := c.call(ctx, p, args, k); err != nil {
		return none, err
	}
	d := &decoder{b: k.body}
	v := results(d)
	if err := d.end(); err != nil {
		c.Kill(err)
		return none, c.lost()
	}
	return v, nil
}
