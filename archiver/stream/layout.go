package stream

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"twintape/internal/catalog"
	"twintape/internal/digest"
)

// op is what a writer does next: begin an archive, write a record, end an archive with a filemark, flush at a border.
// Exactly one field is set, or a record with its archive.
type op struct {
	begin   *archive
	record  *record
	archive *archive // that record belongs to
	end     *archive
	flush   *border
}

// border is a place where both drives are flushed.
type border struct {
	position int64 // the block number both drives must report there
	archives []*archive
	passed   chan struct{} // closed when the flush is recorded
}

func (b *border) written() []Written {
	var out []Written
	for _, a := range b.archives {
		out = append(out, Written{Archive: a.Archive, CRCs: a.crcs})
	}
	return out
}

// sideFlush is one side's arrival at a border.
type sideFlush struct {
	side     int
	position int64
	border   *border
	began    time.Time
}

// archive is one archive on its way.
type archive struct {
	Archive
	layout  catalog.Layout
	members []*member
	items   []*item
	open    atomic.Int64  // members and items not finished, and layOut while it is not through
	read    chan struct{} // closed when open is 0
	crcs    []byte        // by the writer of side 0, whether that is lost or not
}

// item is one item on its way: the last of its fetches checks that the source has not changed meanwhile.
type item struct {
	archive *archive
	*catalog.Item
	seen   int          // entries that layOut has passed
	unread atomic.Int64 // chunks to fetch, and layOut while it is not through
	failed failure
}

// member is one regular file on its way.
type member struct {
	item   *item
	entry  *catalog.Entry
	chunks chan *chunk  // in order, closed after the last; nil for a file of no bytes, which is not hashed
	unread atomic.Int64 // chunks to fetch
	file   openFile
	failed failure
	sum    catalog.MD5
}

// chunk is the part of a member that lies in one record; it is fetched by one call.
type chunk struct {
	member *member
	off    int64
	span   span          // none for a file of no bytes
	done   chan struct{} // closed when the span is filled
}

// failure keeps the first reason why something failed.
type failure struct {
	mu     sync.Mutex
	reason string
}

func (f *failure) set(reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reason == "" {
		f.reason = reason
	}
}

func (f *failure) get() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reason
}

// layOut lays archive after archive over the ring, in tape order.
func (r *run) layOut(ctx context.Context) error {
	b := &border{passed: make(chan struct{})}
	var sinceFlush int64
	flush := func() error {
		if len(b.archives) == 0 {
			return nil
		}
		if err := r.enqueue(ctx, op{flush: b}); err != nil {
			return err
		}
		b, sinceFlush = &border{passed: make(chan struct{})}, 0
		return nil
	}
	for {
		next, err := r.next(ctx)
		if err == io.EOF || err == errStopped {
			r.ring.close()
			return flush()
		}
		if err != nil {
			return err
		}
		a := &archive{Archive: next}
		if err := r.layOutArchive(ctx, a); err != nil {
			return err
		}
		b.archives = append(b.archives, a)
		b.position = a.Record + a.layout.Records + 1 // behind the filemark
		sinceFlush += a.layout.Records * int64(r.RecordSize)
		if sinceFlush >= r.FlushBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

// next is Config.Next, unless the run was asked to stop.
func (r *run) next(ctx context.Context) (Archive, error) {
	select {
	case <-r.Stop:
		return Archive{}, errStopped
	default:
		return r.Next(ctx)
	}
}

// enqueue gives both writers something to do.
func (r *run) enqueue(ctx context.Context, o op) error {
	for _, q := range r.queues {
		select {
		case q <- o:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (r *run) layOutArchive(ctx context.Context, a *archive) error {
	var err error
	if a.layout, err = a.Layout(); err != nil {
		return err
	}
	if err := r.enqueue(ctx, op{begin: a}); err != nil {
		return err
	}
	for i := range a.Items {
		it := &item{archive: a, Item: &a.Items[i]}
		it.unread.Store(1)
		a.items = append(a.items, it)
	}
	a.open.Store(1 + int64(len(a.items)))
	a.read = make(chan struct{})
	c := &cursor{run: r, archive: a}
	next := 0 // the first item that may have more to lay out
	for piece, err := range a.Pieces() {
		if err != nil {
			return err
		}
		switch {
		case piece.Data != nil:
			for !a.items[next].has(piece.Data) {
				if err := r.itemLaidOut(ctx, a.items[next]); err != nil {
					return err
				}
				next++
			}
			err = r.layOutMember(ctx, c, a.items[next], piece.Data)
		case piece.Sums > 0:
			// The checksums are known only now that everything before them was read; the ring keeps the drives busy meanwhile.
			if err = r.finish(ctx, a, next); err == nil {
				next = len(a.items)
				err = c.fill(ctx, a.SumsText())
			}
		default:
			err = c.fill(ctx, piece.Literal)
		}
		if err != nil {
			return err
		}
	}
	if next < len(a.items) { // no regular file in the whole archive
		if err := r.finish(ctx, a, next); err != nil {
			return err
		}
	}
	return r.enqueue(ctx, op{end: a})
}

// has tells whether e is one of the item's entries.
func (it *item) has(e *catalog.Entry) bool {
	for it.seen < len(it.Entries) {
		if &it.Entries[it.seen] == e {
			return true
		}
		it.seen++
	}
	return false
}

// itemLaidOut has the files of no bytes looked at, and lets the item's last fetch check the source.
func (r *run) itemLaidOut(ctx context.Context, it *item) error {
	for i := range it.Entries {
		if e := &it.Entries[i]; e.Type == catalog.File && e.Size == 0 {
			if err := r.layOutMember(ctx, nil, it, e); err != nil {
				return err
			}
		}
	}
	if it.unread.Add(-1) > 0 {
		return nil
	}
	return r.hosts.queue(ctx, it.Host, task{check: it})
}

// finish waits until all of the archive was read, and settles what is good and what is not.
func (r *run) finish(ctx context.Context, a *archive, next int) error {
	for _, it := range a.items[next:] {
		if err := r.itemLaidOut(ctx, it); err != nil {
			return err
		}
	}
	a.finished()
	select {
	case <-a.read:
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, m := range a.members {
		if reason := m.failed.get(); reason != "" {
			m.entry.Bad, m.entry.MD5 = reason, catalog.MD5{}
			m.item.failed.set(m.entry.Host + ":" + m.entry.Path + ": " + reason)
		} else {
			m.entry.MD5 = m.sum
		}
	}
	for _, it := range a.items {
		it.Bad = it.failed.get()
	}
	a.members, a.items = nil, a.items[:0]
	return nil
}

// finished counts down the archive's open parts.
func (a *archive) finished() {
	if a.open.Add(-1) == 0 {
		close(a.read)
	}
}

// layOutMember reserves a member's bytes record by record and has them fetched.
func (r *run) layOutMember(ctx context.Context, c *cursor, it *item, e *catalog.Entry) error {
	m := &member{item: it, entry: e}
	it.archive.members = append(it.archive.members, m)
	it.archive.open.Add(1)
	if e.Size == 0 {
		m.sum = digest.MD5(nil)
		m.unread.Store(1)
		it.unread.Add(1)
		return r.hosts.queue(ctx, it.Host, task{chunk: &chunk{member: m, done: make(chan struct{})}})
	}
	parts := c.parts(e.Size)
	m.unread.Store(parts)
	it.unread.Add(parts)
	m.chunks = make(chan *chunk, min(parts, int64(r.ring.total)))
	defer close(m.chunks)
	select {
	case r.hashes <- m:
	case <-ctx.Done():
		return ctx.Err()
	}
	for off := int64(0); off < e.Size; {
		s, err := c.reserve(ctx, e.Size-off, 1)
		if err != nil {
			return err
		}
		ck := &chunk{member: m, off: off, span: s, done: make(chan struct{})}
		select {
		case m.chunks <- ck:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := r.hosts.queue(ctx, it.Host, task{chunk: ck}); err != nil {
			return err
		}
		off += int64(s.to - s.from)
	}
	return nil
}

// cursor hands out an archive's bytes in order, record by record.
type cursor struct {
	run     *run
	archive *archive
	rec     *record
	at      int // next byte in rec
}

// parts is how many calls of reserve the next n bytes take.
func (c *cursor) parts(n int64) int64 {
	if c.rec == nil {
		c.at = 0
	}
	size := int64(c.run.RecordSize)
	return (int64(c.at)%size + n + size - 1) / size
}

// reserve hands out the next bytes, up to n of them and to the record's end, adding users to the record.
func (c *cursor) reserve(ctx context.Context, n int64, users int64) (span, error) {
	if c.rec == nil {
		rec, err := c.run.ring.get(ctx, len(c.run.queues))
		if err != nil {
			return span{}, err
		}
		if err := c.run.enqueue(ctx, op{record: rec, archive: c.archive}); err != nil {
			return span{}, err
		}
		c.rec, c.at = rec, 0
	}
	s := span{rec: c.rec, from: c.at, to: int(min(int64(c.at)+n, int64(len(c.rec.buf))))}
	s.rec.users.Add(users)
	if c.at = s.to; c.at == len(c.rec.buf) {
		c.rec = nil
	}
	return s, nil
}

// fill puts p into the next bytes.
func (c *cursor) fill(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		s, err := c.reserve(ctx, int64(len(p)), 0)
		if err != nil {
			return err
		}
		n := copy(s.bytes(), p)
		p = p[n:]
		c.run.ring.filled(s.rec, n)
	}
	return nil
}
