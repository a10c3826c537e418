package stream

import (
	"context"
	"sync"
	"sync/atomic"
)

// record is one tape record in the ring.
type record struct {
	buf     []byte
	missing atomic.Int64  // bytes not filled in yet
	ready   chan struct{} // closed when missing is 0
	users   atomic.Int64  // writers and hash workers that still need buf
}

// ring is a bounded set of records. Those used last are handed out first, so that a ring that does not fill up stays in
// the processor's caches.
type ring struct {
	size   int
	total  int
	tokens chan struct{} // one for each free record
	ready  atomic.Int64  // records that are filled and not released

	mu        sync.Mutex
	free      []*record
	changed   sync.Cond // of completed and closed
	completed int64     // records that were ever filled
	closed    bool      // no more will be
}

func newRing(records, size int) *ring {
	g := &ring{size: size, total: records, tokens: make(chan struct{}, records)}
	g.changed.L = &g.mu
	slab := make([]byte, records*size)
	for i := range records {
		g.free = append(g.free, &record{buf: slab[i*size : (i+1)*size : (i+1)*size]})
		g.tokens <- struct{}{}
	}
	return g
}

// get waits for a free record. It comes with the given number of users, and empty.
func (g *ring) get(ctx context.Context, users int) (*record, error) {
	select {
	case <-g.tokens:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	g.mu.Lock()
	rec := g.free[len(g.free)-1]
	g.free = g.free[:len(g.free)-1]
	g.mu.Unlock()
	rec.missing.Store(int64(g.size))
	rec.users.Store(int64(users))
	rec.ready = make(chan struct{})
	return rec, nil
}

// filled says that n more bytes of rec are in place.
func (g *ring) filled(rec *record, n int) {
	if n > 0 && rec.missing.Add(-int64(n)) == 0 {
		g.ready.Add(1)
		close(rec.ready)
		g.mu.Lock()
		g.completed++
		g.mu.Unlock()
		g.changed.Broadcast()
	}
}

// close says that no more records will be filled than are handed out.
func (g *ring) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.changed.Broadcast()
}

// awaitHalf waits until half of the ring is filled with records that a writer, which has written so many, does not have
// yet, or until no more will come.
func (g *ring) awaitHalf(ctx context.Context, written int64) error {
	defer context.AfterFunc(ctx, g.close)()
	g.mu.Lock()
	defer g.mu.Unlock()
	for !g.closed && g.completed-written < int64(g.total/2) {
		g.changed.Wait()
	}
	return ctx.Err()
}

// release says that one user is done with rec; after the last it is free again.
func (g *ring) release(rec *record) {
	if rec.users.Add(-1) > 0 {
		return
	}
	g.ready.Add(-1)
	g.mu.Lock()
	g.free = append(g.free, rec)
	g.mu.Unlock()
	g.tokens <- struct{}{}
}

// span is a run of bytes in one record.
type span struct {
	rec      *record
	from, to int
}

func (s span) bytes() []byte { return s.rec.buf[s.from:s.to] }
