package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"twintape/sources"
)

// task is one thing to do at a host. Exactly one field is set.
type task struct {
	chunk *chunk // read it
	check *item  // see whether it changed while it was read
}

// host is one source with its queue. Each host has fetchers of its own, so that one that hangs stops only its own items.
type host struct {
	run    *run
	source sources.Source
	err    error // why there is no source
	tasks  chan task
	bytes  atomic.Int64
	// down is set when retries did not help; until a call succeeds again, nothing is retried.
	down atomic.Bool

	mu   sync.Mutex
	open map[sources.File]struct{}
}

// hosts are the sources of one run, started when first used.
type hosts struct {
	ctx   context.Context
	run   *run
	group *errgroup.Group

	mu     sync.Mutex
	byName map[string]*host
	order  []string
}

func newHosts(ctx context.Context, r *run, g *errgroup.Group) *hosts {
	return &hosts{ctx: ctx, run: r, group: g, byName: make(map[string]*host)}
}

// queue gives a host something to do. It is called from layOut only.
func (h *hosts) queue(ctx context.Context, name string, t task) error {
	select {
	case h.get(name).tasks <- t:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *hosts) get(name string) *host {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o := h.byName[name]; o != nil {
		return o
	}
	o := &host{run: h.run, tasks: make(chan task, 4096), open: make(map[sources.File]struct{})}
	_, o.source, o.err = h.run.Namespace.Source(name)
	h.byName[name] = o
	h.order = append(h.order, name)
	for range fetchers {
		h.group.Go(func() error {
			for t := range o.tasks {
				if err := h.ctx.Err(); err != nil {
					return err
				}
				if t.check != nil {
					o.check(h.ctx, t.check)
				} else {
					o.fetch(h.ctx, t.chunk)
				}
			}
			return nil
		})
	}
	return o
}

// close ends the fetchers when their queues are empty.
func (h *hosts) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.byName {
		close(o.tasks)
	}
}

// openFile is a member's file, opened by its first fetch and shared by all.
type openFile struct {
	mu   sync.Mutex
	file sources.File
}

// fetch fills a chunk's spans with the member's bytes, or with zeros if they cannot be had.
func (o *host) fetch(ctx context.Context, c *chunk) {
	m := c.member
	if m.failed.get() == "" {
		if err := o.read(ctx, c); err != nil {
			m.failed.set(err.Error())
		}
	}
	if c.span.rec != nil {
		if m.failed.get() != "" {
			clear(c.span.bytes())
		}
		o.run.ring.filled(c.span.rec, c.span.to-c.span.from)
	}
	close(c.done)
	if m.unread.Add(-1) == 0 {
		o.closeFile(m)
		if m.chunks == nil {
			m.item.archive.finished()
		}
	}
	if m.item.unread.Add(-1) == 0 {
		o.check(ctx, m.item)
	}
}

// read reads a chunk, opening the file if need be.
func (o *host) read(ctx context.Context, c *chunk) error {
	file, err := o.openFile(ctx, c.member)
	if err != nil || c.span.rec == nil {
		return err
	}
	p := c.span.bytes()
	err = o.retry(ctx, func() error {
		n, err := file.ReadAt(ctx, p, c.off)
		if n == len(p) {
			return nil
		}
		if err == nil || err == io.EOF { // not one that wraps it, such as that of a connection that ended
			return fmt.Errorf("the file became shorter while it was read: it ends at byte %d of %d", c.off+int64(n), c.member.entry.Size)
		}
		return err
	})
	if err == nil {
		o.bytes.Add(int64(len(p)))
	}
	return err
}

func (o *host) openFile(ctx context.Context, m *member) (sources.File, error) {
	m.file.mu.Lock()
	defer m.file.mu.Unlock()
	if m.file.file != nil {
		return m.file.file, nil
	}
	if o.err != nil {
		return nil, o.err
	}
	err := o.retry(ctx, func() (err error) {
		m.file.file, err = o.source.Open(ctx, m.entry.Path)
		return err
	})
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open[m.file.file] = struct{}{}
	return m.file.file, nil
}

func (o *host) closeFile(m *member) {
	m.file.mu.Lock()
	defer m.file.mu.Unlock()
	if m.file.file == nil {
		return
	}
	o.mu.Lock()
	delete(o.open, m.file.file)
	o.mu.Unlock()
	m.file.file.Close() // it was only read: nothing can be lost
}

// abandon closes what a run that failed left open.
func (h *hosts) abandon() {
	for _, o := range h.byName {
		for f := range o.open {
			f.Close()
		}
	}
}

// The waits between attempts at a host that is unavailable. Sources reconnect by themselves.
var retryWaits = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second}

// retry calls f again while the host is unavailable. A host that stayed so through all attempts gets one attempt a call
// until one succeeds, so that its other items fail soon and the drives go on with other hosts.
func (o *host) retry(ctx context.Context, f func() error) error {
	for _, wait := range retryWaits {
		err := f()
		if !errors.Is(err, sources.ErrUnavailable) {
			o.down.Store(false)
			return err
		}
		if o.down.Load() {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := f()
	o.down.Store(errors.Is(err, sources.ErrUnavailable))
	return err
}

// check compares the item's source with the plan once more, now that all of it was read: whatever was added, removed,
// renamed or changed meanwhile fails the item.
func (o *host) check(ctx context.Context, it *item) {
	defer it.archive.finished()
	if it.failed.get() != "" {
		return
	}
	if o.err != nil {
		it.failed.set(o.err.Error())
		return
	}
	err := o.retry(ctx, func() error { return o.run.Unchanged(ctx, o.source, it.Item) })
	if err != nil {
		it.failed.set(err.Error())
	}
}
