package fsmount

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"twintape/sources"
)

// fetch is one read from a host, into memory of its own: who waits for it may give up, which a host that hangs can be
// told only by giving its connection up, and others may use it too. The memory goes back when all let go of it.
type fetch struct {
	off  int64
	buf  []byte
	done chan struct{}
	n    int // bytes that were read; fewer than wanted at the file's end
	err  error

	holds atomic.Int32
	freed func() // called when the memory is free again; may be nil
}

// patience is how long reads of an open file wait for a host that went away to come back: long enough for a restart of
// its server.
const patience = 10 * time.Second

// fetch begins to read. The caller holds the result until it releases it.
func (f *fileSystem) fetch(h *file, off int64, n int) *fetch {
	p := &fetch{off: off, buf: buffers.get(n), done: make(chan struct{})}
	p.holds.Store(2) // the caller and the goroutine
	h.fetches.Add(1)
	f.running.Go(func() {
		defer h.fetches.Done()
		defer p.release()
		defer close(p.done)
		p.n, p.err = f.readFrom(h, p.buf, off)
	})
	return p
}

// readFrom reads until buf is full or the file ends.
func (f *fileSystem) readFrom(h *file, buf []byte, off int64) (int, error) {
	began := time.Now()
	for {
		ctx, cancel := context.WithTimeoutCause(f.life, f.cfg.CallLimit, errTooLong)
		n, err := h.src.ReadAt(ctx, buf, off)
		err = f.caused(ctx, err)
		cancel()
		if err == io.EOF {
			err = nil
		}
		if err == nil || !errors.Is(err, sources.ErrUnavailable) || time.Since(began) > patience {
			return n, err
		}
		pause := time.NewTimer(patience / 20)
		select {
		case <-pause.C:
		case <-f.life.Done():
			pause.Stop()
			return 0, context.Cause(f.life)
		}
	}
}

// wait waits until the data is there.
func (p *fetch) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ready says whether the fetch is over.
func (p *fetch) ready() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// parts returns what the fetch has of a range, and holds it. The fetch is over.
func (p *fetch) parts(off int64, n int) []part {
	from := off - p.off
	to := min(from+int64(n), int64(p.n))
	if from >= to {
		return nil
	}
	p.holds.Add(1)
	return []part{{data: p.buf[from:to], of: p}}
}

func (p *fetch) release() {
	if p.holds.Add(-1) > 0 {
		return
	}
	buffers.put(p.buf)
	p.buf = nil
	if p.freed != nil {
		p.freed()
	}
}

// chunk is the most that is read at once, and what read-ahead reads in, in bytes: as much as a kernel asks for at once.
const chunk = 1 << 20

// buffers keeps the memory of large fetches.
var buffers bufferPool

type bufferPool struct{ pool sync.Pool }

func (b *bufferPool) get(n int) []byte {
	if n <= chunk/4 || n > chunk {
		return make([]byte, n)
	}
	if p, ok := b.pool.Get().(*[chunk]byte); ok {
		return p[:n]
	}
	return new([chunk]byte)[:n]
}

func (b *bufferPool) put(buf []byte) {
	if cap(buf) == chunk {
		b.pool.Put((*[chunk]byte)(buf[:chunk]))
	}
}
