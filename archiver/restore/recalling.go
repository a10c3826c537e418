package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"twintape/archiver"
	"twintape/internal/ledger"
	"twintape/internal/stage"
	"twintape/internal/tape"
)

// use visits tapes until nothing is wanted that one in the library gives.
func (r *Recaller) use(lib tape.Library) error {
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.owned = false
	}()
	for r.life.Err() == nil {
		if _, err := r.inventory(r.life, lib, true); err != nil {
			return err
		}
		barcode, whose := r.next()
		if barcode == "" {
			return nil
		}
		r.visit(lib, barcode, whose)
	}
	return nil
}

// next returns the tape of the file that was asked for first, and tells for whom it is loaded. Files that no tape at hand
// gives have no hope.
func (r *Recaller) next() (barcode, whose string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	others := 0
	for _, q := range r.oldest() {
		at := r.choose(q)
		switch {
		case at == "":
			r.finish(q, nil, r.hopeless(q))
		case barcode == "":
			barcode, whose = at, q.name()
		case at == barcode:
			others++
		}
	}
	if others > 0 {
		whose += fmt.Sprintf(" and %d more", others)
	}
	return barcode, whose
}

// visit loads a tape, reads what is wanted of it, and puts it away when nothing more was asked for in a while.
func (r *Recaller) visit(lib tape.Library, barcode, whose string) {
	drives, err := (&archiver.Archiver{Library: lib, Ledger: r.Ledger}).PickDrives(r.life, []string{barcode})
	if err != nil {
		r.giveUp(barcode, fmt.Errorf("loading tape %s: %w", barcode, err))
		return
	}
	loaded, err := archiver.Load(r.life, lib, []string{barcode}, drives)
	if err != nil {
		r.giveUp(barcode, fmt.Errorf("loading tape %s: %w", barcode, err))
		return
	}
	l := loaded[0]
	defer func() {
		if err := l.PutAway(context.WithoutCancel(r.life), lib); err != nil {
			r.Problem(err.Error())
			return
		}
		r.Info("tape " + barcode + " is back in its slot")
	}()
	from, err := identify(r.life, r.Ledger, l)
	if err != nil {
		r.giveUp(barcode, err)
		return
	}
	r.Info(fmt.Sprintf("tape %s is loaded in %s for %s", barcode, l.Drive.Name(), whose))
	v := newRecalling(r, from)
	for r.life.Err() == nil {
		q, elsewhere := r.pick(barcode, v.at)
		switch {
		case q != nil:
			if err := v.one(q); err != nil {
				r.giveUp(barcode, fmt.Errorf("reading tape %s on %s: %w", barcode, l.Drive.Name(), err))
				return
			}
		case elsewhere || r.pause(r.Idle):
			return
		}
	}
}

// giveUp notes that a tape, or its drive, gives nothing more: what is wanted of it has to come from elsewhere.
func (r *Recaller) giveUp(barcode string, err error) {
	if r.life.Err() == nil {
		r.Problem(err.Error())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.oldest() {
		q.reading = false
		if q.lies(barcode) && r.life.Err() == nil {
			r.elsewhere(q, barcode, err)
		}
	}
}

// pick returns the next file of a tape that stands behind a block: going forward, and back to the beginning only if no
// other tape is waited for, which others tells.
func (r *Recaller) pick(barcode string, at int64) (next *request, others bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prune()
	var first *request
	for _, q := range r.oldest() {
		if !q.lies(barcode) {
			others = true
			continue
		}
		if first == nil || q.before(first) {
			first = q
		}
		if q.member.Record >= at-1 && (next == nil || q.before(next)) {
			next = q
		}
	}
	if next == nil && !others {
		next = first
	}
	if next != nil {
		next.reading = true
	}
	return next, others
}

// recalling is one visit of a tape.
type recalling struct {
	*Recaller
	head
	free chan []byte // records
	kept []byte      // the last record of the file before, which the next may begin in
	last int64       // its block; negative if there is none
}

func newRecalling(r *Recaller, from head) *recalling {
	v := &recalling{Recaller: r, head: from, free: make(chan []byte, buffers), kept: make([]byte, from.size), last: -1}
	for range buffers {
		v.free <- make([]byte, from.size)
	}
	return v
}

// one reads a file into the stage. The error is why the tape gives nothing more; the request is open then.
func (v *recalling) one(q *request) error {
	w, err := v.Stage.Create(q.key)
	if err != nil {
		v.ended(q, nil, err)
		return nil
	}
	why, tapeErr, err := v.copy(q, w)
	var f *os.File
	if why == nil && tapeErr == nil && err == nil {
		if f, err = w.Commit(); errors.Is(err, stage.ErrSum) {
			why = errSum
		}
	} else {
		w.Abandon()
	}
	switch {
	case tapeErr != nil:
		return tapeErr
	case why != nil:
		v.fault(q, why)
	default:
		v.ended(q, f, err)
	}
	return nil
}

func (v *recalling) ended(q *request, f *os.File, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if q.reading = false; errors.Is(err, errForsaken) && q.waiting > 0 {
		return // somebody came just now
	}
	v.finish(q, f, err)
}

// fault notes that the tape did not give a file back.
func (v *recalling) fault(q *request, why error) {
	barcode := v.l.Barcode
	why = fmt.Errorf("tape %s: %s: %w", barcode, q.name(), why)
	v.Problem(why.Error())
	if q.sure {
		requeued, err := doubt(context.WithoutCancel(v.life), v.Ledger, v.l, "recalling", []ledger.CheckedCopy{{Item: q.item, Bad: why.Error()}})
		for _, it := range requeued {
			v.Info(fmt.Sprintf("%s:%s waits to be archived again: %s", it.Host, it.Path, it.Error))
		}
		if err != nil {
			v.Problem(err.Error())
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.elsewhere(q, barcode, why)
}

// copy reads a file's records, while what came before is written. why is what the tape does not give back, tapeErr why it gives
// nothing more, err what else went wrong.
func (v *recalling) copy(q *request, w io.Writer) (why, tapeErr, err error) {
	type piece struct{ data, of []byte }
	pieces, dead, written := make(chan piece, buffers), make(chan struct{}), make(chan struct{})
	var failed error
	go func() {
		defer close(written)
		for p := range pieces {
			if failed == nil {
				if _, failed = w.Write(p.data); failed != nil {
					close(dead)
				}
			}
			v.free <- p.of
		}
	}()
	e := &q.member
	from := int64(e.Offset + e.Header)
	block, off := e.Record+from/v.size, from%v.size
	for left := e.Size; left > 0; block++ {
		buf := <-v.free
		if block == v.last {
			copy(buf, v.kept)
		} else if why, tapeErr = v.read(v.life, block, buf); why != nil {
			v.free <- buf
			break
		} else if tapeErr != nil {
			break // what was given up may still write to it
		}
		n := min(v.size-off, left)
		if left -= n; left == 0 {
			copy(v.kept, buf)
			v.last = block
		}
		pieces <- piece{buf[off : off+n], buf}
		off = 0
		if v.over(q, dead) {
			err = errForsaken
			break
		}
	}
	close(pieces)
	<-written
	if failed != nil {
		err = failed
	}
	return why, tapeErr, err
}

// over tells whether there is no use in reading on.
func (v *recalling) over(q *request, dead <-chan struct{}) bool {
	select {
	case <-dead:
		return true
	default:
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.forsaken(q)
}
