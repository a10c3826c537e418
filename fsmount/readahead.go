package fsmount

import (
	"context"
	"sync"
)

// The memory of read-ahead, in bytes.
const (
	aheadPerHost = 64 << 20 // for what was read ahead of all files of one host and not been asked for yet
	aheadPerFile = 16 << 20
	// disorder is how far apart requests of one sequential reader may come in: the kernel sends several at once.
	disorder = 4 << 20
)

// budget bounds what is read ahead on one host, so that a host that hangs takes no memory from the others.
type budget struct {
	mu   sync.Mutex
	free int64
}

func (b *budget) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.free < n {
		return false
	}
	b.free -= n
	return true
}

func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += n
}

// stream reads one open file of a remote host. As long as it is read from front to back, it reads ahead: a chunk first,
// twice as much with each chunk that was asked for, up to aheadPerFile or what the host's budget leaves. A jump ends that,
// until two reads follow each other again.
type stream struct {
	fs   *fileSystem
	file *file
	size int64 // the file's, when it was opened: nothing is read ahead behind it

	mu     sync.Mutex
	next   int64            // behind the furthest byte that was asked for since the last jump
	run    int              // reads since the last jump
	window int64            // bytes to read ahead
	chunks map[int64]*ahead // by their number in the file
	closed bool
}

// ahead is a chunk that was read ahead, or is being so.
type ahead struct {
	*fetch
	left int64 // bytes of it that nobody asked for yet
}

func (f *fileSystem) newStream(h *file, size int64) *stream {
	return &stream{fs: f, file: h, size: size, chunks: make(map[int64]*ahead)}
}

// read returns what lies at off, up to n bytes; less only at the file's end.
func (s *stream) read(ctx context.Context, off int64, n int) ([]part, error) {
	pieces, err := s.gather(off, n)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, p := range pieces {
			p.fetch.release()
		}
	}()
	var parts []part
	for i, p := range pieces {
		err := p.fetch.wait(ctx)
		if err != nil && p.stale && ctx.Err() == nil {
			// It failed some time ago, for whatever reason: what counts is now.
			s.drop(p.fetch)
			p.fetch.release()
			p.fetch = s.start(p.off, p.n)
			pieces[i] = p
			err = p.fetch.wait(ctx)
		}
		if err != nil {
			s.drop(p.fetch)
			(&reply{parts: parts}).Done()
			return nil, err
		}
		got := p.fetch.parts(p.off, p.n)
		parts = append(parts, got...)
		if len(got) == 0 || len(got[0].data) < p.n {
			break // the file's end
		}
	}
	return parts, nil
}

// piece is a range of the file, and the fetch that has it.
type piece struct {
	off   int64
	n     int
	fetch *fetch
	stale bool // it was over before anybody asked for it
}

// gather finds or begins the fetches for a range, and holds them; and it reads ahead.
func (s *stream) gather(off int64, n int) ([]piece, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	s.follow(off, n)
	var pieces []piece
	for end := off + int64(n); off < end; {
		number := off / chunk
		stop := min(end, (number+1)*chunk)
		p := piece{off: off, n: int(stop - off)}
		c := s.chunks[number]
		switch {
		case c != nil && c.off <= off && c.off+int64(len(c.buf)) >= min(stop, s.size):
			p.fetch, p.stale = c.fetch, c.ready()
			p.fetch.holds.Add(1)
			if c.left -= int64(p.n); c.left <= 0 {
				s.forget(number)
			}
		case c == nil && s.window > 0 && off < s.size && stop < min((number+1)*chunk, s.size):
			// Someone who reads on will want the rest of the chunk.
			if s.begin(number, off) {
				c := s.chunks[number]
				c.left -= int64(p.n)
				p.fetch = c.fetch
				p.fetch.holds.Add(1)
				break
			}
			fallthrough
		default:
			p.fetch = s.start(p.off, p.n)
		}
		pieces = append(pieces, p)
		off = stop
	}
	for number := s.next / chunk; number*chunk < min(s.next+s.window, s.size); number++ {
		if s.chunks[number] == nil && number*chunk >= s.next && !s.begin(number, number*chunk) {
			break
		}
	}
	return pieces, nil
}

// follow judges whether a read goes on where the others were.
func (s *stream) follow(off int64, n int) {
	end := off + int64(n)
	if off > s.next+disorder || end < s.next-disorder {
		s.next, s.run, s.window = end, 0, 0
		for number := range s.chunks {
			s.forget(number)
		}
		return
	}
	s.next = max(s.next, end)
	if s.run++; s.run > 1 {
		s.window = min(max(2*s.window, chunk), aheadPerFile)
	}
	// What was passed over is not waited for any longer.
	for number := range s.chunks {
		if (number+1)*chunk <= s.next-disorder {
			s.forget(number)
		}
	}
}

// begin reads a chunk, from off on, if the budget allows.
func (s *stream) begin(number, off int64) bool {
	n := min((number+1)*chunk, s.size) - off
	budget := &s.file.node.tree.budget
	if !budget.take(n) {
		return false
	}
	p := s.start(off, int(n))
	p.freed = func() { budget.give(n) }
	s.chunks[number] = &ahead{fetch: p, left: n}
	return true
}

// start begins a fetch.
func (s *stream) start(off int64, n int) *fetch {
	return s.fs.fetch(s.file, off, n)
}

// forget lets go of a chunk.
func (s *stream) forget(number int64) {
	s.chunks[number].release()
	delete(s.chunks, number)
}

// drop forgets a chunk that failed.
func (s *stream) drop(p *fetch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for number, c := range s.chunks {
		if c.fetch == p {
			s.forget(number)
			return
		}
	}
}

// close lets go of everything.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for number := range s.chunks {
		s.forget(number)
	}
}
