package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"twintape/internal/catalog"
	"twintape/internal/ledger"
	"twintape/internal/stage"
)

// request is a file that somebody waits for. It is guarded by the Recaller's mutex, but for what never changes.
type request struct {
	key    stage.Key
	number int64         // in the order of asking
	member catalog.Entry // the file that has the data, with its place
	item   int64
	on     []string // tapes with a copy, those first that are to be read first
	sure   bool     // the place is the same on all of them, so that it is the tape's fault if the data is not there

	tried   map[string]error // by barcode, what it did not give back, and why
	reading bool
	waiting int       // how many wait
	left    time.Time // when the last one went away
	done    chan struct{}
	file    *os.File // when done and somebody waits, unless err is set
	err     error
}

func (q *request) name() string { return q.member.Host + ":" + q.member.Path }

// before tells which of two files comes first on their tape.
func (q *request) before(p *request) bool {
	return cmp.Or(cmp.Compare(q.member.Record, p.member.Record), cmp.Compare(q.member.Offset, p.member.Offset)) < 0
}

// find asks the ledger where a file lies.
func (r *Recaller) find(ctx context.Context, m ledger.Browsed, barcode string) (*request, error) {
	q := &request{key: keyOf(m), member: m.Entry, item: m.Item, sure: true, tried: make(map[string]error), done: make(chan struct{})}
	if m.Type == catalog.Hardlink {
		all, err := r.Ledger.ItemMembers(ctx, m.Item)
		if err != nil {
			return nil, err
		}
		first := slices.IndexFunc(all.Entries, func(e catalog.Entry) bool { return e.Path == m.Link && e.Type == catalog.File })
		if first < 0 {
			return nil, &RecallError{syscall.EIO, fmt.Errorf("it is another name of %s, which is not in its item", m.Link)}
		}
		q.member = all.Entries[first]
	}
	var bad []string
	var at *ledger.Copy
	for it, err := range r.Ledger.Items(ctx, ledger.Filter{IDs: []int64{m.Item}}) {
		if err != nil {
			return nil, err
		}
		for _, c := range it.Copies {
			switch {
			case c.Archive != q.member.Archive || c.Record > q.member.Record: // it was archived twice, and this is elsewhere
				continue
			case c.Bad != "":
				bad = append(bad, c.Barcode)
			case c.Barcode == barcode:
				q.on = append([]string{barcode}, q.on...)
			default:
				q.on = append(q.on, c.Barcode)
			}
			q.sure = q.sure && (at == nil || at.Record == c.Record && at.TapeFile == c.TapeFile)
			at = &c
		}
	}
	q.on = append(q.on, bad...)
	if len(q.on) == 0 {
		return nil, &RecallError{syscall.EIO, errors.New("the ledger knows no copy of it any more")}
	}
	return q, nil
}

// finish ends a request. The mutex is held.
func (r *Recaller) finish(q *request, f *os.File, err error) {
	delete(r.wanted, q.key)
	q.err = err
	if f != nil && q.waiting > 0 {
		q.file = f
	} else if f != nil {
		f.Close() // nobody waits any more; it is staged
	}
	close(q.done)
}

// hopeless is why no tape at hand gives a file.
func (r *Recaller) hopeless(q *request) error {
	var why []string
	errno := syscall.EIO
	for _, barcode := range q.on {
		if err, tried := q.tried[barcode]; tried {
			why = append(why, err.Error())
		} else {
			why = append(why, "tape "+barcode+" is not in the library: bring it in")
			errno = syscall.ENOMEDIUM
		}
	}
	return &RecallError{errno, errors.New(strings.Join(why, "; "))}
}

// choose returns the tape to read a file from, empty if none is at hand. The mutex is held, and the library owned.
func (r *Recaller) choose(q *request) string {
	for _, barcode := range q.on {
		if _, tried := q.tried[barcode]; !tried && r.inside[barcode] {
			return barcode
		}
	}
	return ""
}

// forsaken tells that nobody has wanted a file for a while. Who was interrupted by a signal asks again at once.
func (r *Recaller) forsaken(q *request) bool { return q.waiting == 0 && time.Since(q.left) >= r.Idle }

// errForsaken says that nobody waits for a file any more.
var errForsaken = errors.New("nobody waits for it any more")

// prune forgets what nobody wants any more, and tells whether anything is left. The mutex is held.
func (r *Recaller) prune() bool {
	for _, q := range r.wanted {
		switch {
		case q.reading: // who reads looks itself
		case r.closed:
			r.finish(q, nil, errClosed)
		case r.forsaken(q):
			r.finish(q, nil, errForsaken)
		}
	}
	return len(r.wanted) > 0
}

// elsewhere has a file looked for on another tape, if there is one at hand. The mutex is held.
func (r *Recaller) elsewhere(q *request, barcode string, err error) {
	q.reading = false
	q.tried[barcode] = err
	if r.choose(q) == "" {
		r.finish(q, nil, r.hopeless(q))
	}
}

// lies tells whether a file may be had from a tape. The mutex is held.
func (q *request) lies(barcode string) bool {
	_, tried := q.tried[barcode]
	return !tried && slices.Contains(q.on, barcode)
}

// oldest returns what is wanted, in the order of asking. The mutex is held.
func (r *Recaller) oldest() []*request {
	return slices.SortedFunc(maps.Values(r.wanted), func(a, b *request) int { return int(a.number - b.number) })
}
