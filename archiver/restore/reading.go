package restore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

	"twintape/internal/catalog"
	"twintape/internal/ledger"
)

// buffers is how many records are in flight for each drive.
const buffers = 32

// reading is one visit of a tape: one goroutine reads records, another writes what comes of them, and a third hashes it at
// the same time.
type reading struct {
	*run
	head
	target *target // of the reader
	linker *target // of the writer
	side   int

	record *record // the one that was read last
	free   chan *record
	work   chan work
	hash   chan hashing
	dead   chan struct{} // closed when fatal is set: nothing is written any more
	fatal  error

	faults map[*wanted]string // what the tape did not give back, by item; the writer's
}

// record is a record that was read, shared by the members that have a part of it.
type record struct {
	block int64
	data  []byte
	uses  atomic.Int32
}

// work is what the writer does next: write data of a file, or end it, or make a link.
type work struct {
	item *wanted
	file *file
	data []byte // of rec
	rec  *record
	err  error // why the file cannot be had
	link *catalog.Entry
}

// hashing is what is hashed next: data of a file. When everything before was, done is closed.
type hashing struct {
	file *file
	data []byte // of rec
	rec  *record
	done chan<- struct{}
}

// ends tells whether an error of the target is not about one member.
func ends(err error) bool {
	for _, errno := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// visit reads items, in order, and notes at each what became of it. The first error is what is wrong with the tape or its
// drive, the second ends the run.
func (r *reading) visit(ctx context.Context, items []*wanted) (tapeErr, err error) {
	r.free, r.work, r.dead = make(chan *record, buffers), make(chan work, 2*buffers), make(chan struct{})
	for range buffers {
		r.free <- &record{data: make([]byte, r.size)}
	}
	r.faults = make(map[*wanted]string)
	r.hash = make(chan hashing, buffers)
	var helpers sync.WaitGroup
	helpers.Go(func() {
		defer close(r.hash)
		for w := range r.work {
			r.do(w)
		}
	})
	helpers.Go(func() {
		for h := range r.hash {
			if h.done != nil {
				close(h.done)
				continue
			}
			h.file.sum.Write(h.data)
			r.release(h.rec)
		}
	})
	visited := 0
	for _, w := range items {
		if tapeErr, err = r.item(ctx, w); tapeErr != nil || err != nil {
			break
		}
		visited++
	}
	close(r.work)
	helpers.Wait()
	for _, w := range items[:visited] {
		if why, faulty := r.faults[w]; faulty {
			w.tried[r.l.Barcode] = "tape " + r.l.Barcode + ": " + why
		} else {
			w.done = true
		}
	}
	return tapeErr, errors.Join(err, r.fatal)
}

// item restores what is wanted of an item.
func (r *reading) item(ctx context.Context, w *wanted) (tapeErr, err error) {
	all, err := r.Ledger.ItemMembers(ctx, w.item.ID)
	if err != nil {
		return nil, err
	}
	files := make(map[string]*catalog.Entry) // those that are wanted, by path, and those that links may need
	for i := range all.Entries {
		e := &all.Entries[i]
		if e.Type == catalog.File {
			files[e.Path] = e
		}
	}
	for i := range all.Entries {
		e := all.Entries[i]
		if !w.whole && !r.wants(e.Host, e.Path) {
			continue
		}
		if e.Type == catalog.Hardlink && !w.whole && !r.wants(e.Host, e.Link) {
			first := files[e.Link]
			if first == nil {
				r.fail(e.Host, e.Path, "it is another name of "+e.Link+", which is not in its item")
				continue
			}
			path := e.Path // its only name here
			e = *first
			e.Path = path
		}
		if tapeErr, err = r.member(ctx, w, &e); tapeErr != nil || err != nil {
			return tapeErr, err
		}
	}
	return nil, nil
}

// member restores a member, or sees to it that the writer does.
func (r *reading) member(ctx context.Context, w *wanted, e *catalog.Entry) (tapeErr, err error) {
	if !e.Type.OnTape() {
		r.lack(e, fmt.Sprintf("a %s is not on tape", e.Type))
		return nil, nil
	}
	there, err := r.target.has(e)
	if there {
		r.count(func(p *Report) {
			if len(w.tried) == 0 {
				p.Already++
			}
		})
		return nil, nil
	}
	if err == nil {
		switch e.Type {
		case catalog.Dir:
			if err = r.target.folder(e); err == nil {
				r.count(func(p *Report) {
					if len(w.tried) == 0 {
						p.Folders++
					}
				})
			}
		case catalog.Symlink:
			if err = r.target.symlink(e); err == nil {
				r.count(func(p *Report) { p.Links++ })
			}
		case catalog.Hardlink:
			return nil, r.send(ctx, work{item: w, link: e})
		default:
			var f *file
			if f, err = r.target.create(*e); err == nil {
				return r.file(ctx, w, f)
			}
		}
	}
	if err == nil {
		return nil, nil
	}
	if ends(err) {
		return nil, fmt.Errorf("restore %s:%s: %w", e.Host, e.Path, err)
	}
	r.fail(e.Host, e.Path, err.Error())
	return nil, nil
}

// file reads a file's records and hands them to the writer.
func (r *reading) file(ctx context.Context, w *wanted, f *file) (tapeErr, err error) {
	from := int64(f.e.Offset + f.e.Header)
	block, off := f.e.Record+from/r.size, from%r.size
	var why error
	for left := f.e.Size; left > 0 && why == nil && tapeErr == nil && err == nil; block++ {
		var rec *record
		if rec, why, tapeErr = r.recordAt(ctx, block); rec == nil {
			break
		}
		n := min(r.size-off, left)
		rec.uses.Add(1)
		err = r.send(ctx, work{item: w, file: f, data: rec.data[off : off+n], rec: rec})
		left, off = left-n, 0
	}
	if tapeErr != nil || err != nil {
		why = errors.Join(tapeErr, err)
	}
	return tapeErr, errors.Join(err, r.send(ctx, work{item: w, file: f, err: why}))
}

// send gives the writer work. Data that it cannot take any more is released.
func (r *reading) send(ctx context.Context, w work) error {
	r.work <- w // the writer takes everything, also when it writes nothing any more
	select {
	case <-r.dead:
		return errDead
	default:
		return ctx.Err()
	}
}

// errDead says that the writer has ended the run; what for is told elsewhere.
var errDead = errors.New("nothing can be written any more")

// recordAt reads a record. why is what the tape does not give back; tapeErr means that it, or its drive, gives nothing more.
func (r *reading) recordAt(ctx context.Context, block int64) (rec *record, why, tapeErr error) {
	if r.record != nil && r.record.block == block {
		return r.record, nil, nil
	}
	if r.record != nil {
		r.release(r.record)
		r.record = nil
	}
	select {
	case rec = <-r.free:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	rec.block = block
	rec.uses.Store(1)
	if why, tapeErr = r.read(ctx, block, rec.data); why != nil || tapeErr != nil {
		r.release(rec)
		return nil, why, tapeErr
	}
	r.record = rec
	return rec, nil, nil
}

func (r *reading) release(rec *record) {
	if rec.uses.Add(-1) == 0 {
		r.free <- rec
	}
}

// do is the writer's.
func (r *reading) do(w work) {
	switch {
	case w.link != nil:
		err := r.fatal
		if err == nil {
			err = r.linker.hardlink(w.link)
		}
		r.ended(w, w.link, err, func(p *Report) { p.Links++ })
	case w.data != nil:
		if w.file.failed == nil && r.fatal == nil {
			w.rec.uses.Add(1)
			r.hash <- hashing{file: w.file, data: w.data, rec: w.rec}
			w.file.failed = w.file.put(w.data)
		}
		r.release(w.rec)
		r.advance(r.side, int64(len(w.data)))
	default:
		done := make(chan struct{})
		r.hash <- hashing{done: done}
		<-done
		err := errors.Join(w.err, w.file.failed, r.fatal)
		if err != nil {
			w.file.abandon()
		} else if err = w.file.commit(); errors.Is(err, errSum) {
			err = &tapeError{err}
		}
		r.ended(w, &w.file.e, err, func(p *Report) { p.Files++; p.Bytes += w.file.e.Size })
	}
}

// ended notes what became of a member.
func (r *reading) ended(w work, e *catalog.Entry, err error, good func(*Report)) {
	var fault *tapeError
	switch {
	case err == nil:
		r.count(good)
	case r.fatal != nil:
	case errors.As(err, &fault):
		if r.faults[w.item] == "" {
			r.faults[w.item] = fmt.Sprintf("%s:%s: %v", e.Host, e.Path, fault)
		}
	case w.err != nil: // the tape gives nothing more, or the run ends: of this member nothing is known
	case ends(err):
		r.fatal = fmt.Errorf("restore %s:%s: %w", e.Host, e.Path, err)
		close(r.dead)
	default:
		r.fail(e.Host, e.Path, err.Error())
	}
}

// bad are the copies that the tape did not give back.
func (r *reading) bad() (copies []ledger.CheckedCopy) {
	for w, why := range r.faults {
		copies = append(copies, ledger.CheckedCopy{Item: w.item.ID, Bad: why})
	}
	return copies
}
