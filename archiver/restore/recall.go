package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"twintape/internal/ledger"
	"twintape/internal/lock"
	"twintape/internal/stage"
	"twintape/internal/tape"
)

// RecallConfig is what a Recaller needs. All fields are required.
type RecallConfig struct {
	Ledger  *ledger.Ledger
	Stage   *stage.Stage
	Library func(ctx context.Context) (tape.Library, error) // takes it, without waiting for others; the error wraps lock.ErrHeld while somebody else has it
	Timeout time.Duration                                   // how long a file may be waited for
	Idle    time.Duration                                   // how long a tape, and what nobody waits for any more, is kept at hand
	Info    func(text string)                               // hears which tape is loaded for whom
	Problem func(text string)                               // hears of tapes that do not give back what was written, and of a library in trouble
}

// Recaller brings single files back while somebody waits for them. It promises that what it gives was read from tape and has
// the MD5 that was archived, and is in the stage; that a file is read once, however many wait for it; that the files
// of one tape are read in one visit, in the order in which they lie on it, those too that are asked for meanwhile; and that
// what one tape does not give back is read from its twin. It has the library only while it reads, and Idle longer.
//
// It may be used concurrently. One goroutine reads, and lives as long as anything is wanted; Close ends it.
type Recaller struct {
	RecallConfig
	life   context.Context
	end    context.CancelFunc
	serves sync.WaitGroup
	wake   chan struct{} // something more is wanted

	mu      sync.Mutex
	closed  bool
	serving bool
	held    error // why the library cannot be had at the moment
	wanted  map[stage.Key]*request
	last    int64 // number of the last request
	stock
}

// RecallError says why a file cannot be had, as the caller's kernel would.
type RecallError struct {
	Errno syscall.Errno // ENOMEDIUM, EBUSY, ETIMEDOUT, or EIO
	Err   error
}

func (e *RecallError) Error() string   { return e.Err.Error() }
func (e *RecallError) Unwrap() []error { return []error{e.Errno, e.Err} }

var errClosed = errors.New("files are not recalled any more")

// NewRecaller makes a Recaller.
func NewRecaller(cfg RecallConfig) *Recaller {
	r := &Recaller{RecallConfig: cfg, wake: make(chan struct{}, 1), wanted: make(map[stage.Key]*request)}
	r.life, r.end = context.WithCancel(context.Background())
	return r
}

// Close ends all recalls: who waits gets an error, the tape goes back to its slot. It returns when that is done.
func (r *Recaller) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.end()
	r.serves.Wait()
	return nil
}

// Recall waits until a file's data is at hand and opens it there. The error is a *RecallError, or that of the stage if the
// file does not fit, or why ctx ended: then others may still wait for the same file. barcode is the tape to read rather than
// another; empty if there is no choice to make.
func (r *Recaller) Recall(ctx context.Context, m ledger.Browsed, barcode string) (*os.File, error) {
	if m.Bad != "" || m.MD5.IsZero() {
		return nil, &RecallError{syscall.EIO, fmt.Errorf("its data on tape is not the file's: %s", m.Bad)}
	}
	key := keyOf(m)
	f, err := r.Stage.Get(key)
	if !errors.Is(err, stage.ErrAbsent) {
		return f, err
	}
	if m.Size == 0 { // no tape knows more of it
		w, err := r.Stage.Create(key)
		if err != nil {
			return nil, err
		}
		return w.Commit()
	}
	q, err := r.request(ctx, m, barcode)
	if err != nil {
		return nil, err
	}
	late := time.NewTimer(r.Timeout)
	defer late.Stop()
	select {
	case <-q.done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-late.C:
		err = r.late(q)
	}
	return r.leave(q, err)
}

func keyOf(m ledger.Browsed) stage.Key { return stage.Key{MD5: m.MD5, Size: m.Size} }

// request joins those who wait for a file, or begins to.
func (r *Recaller) request(ctx context.Context, m ledger.Browsed, barcode string) (*request, error) {
	r.mu.Lock()
	q := r.wanted[keyOf(m)]
	if q != nil {
		q.waiting++
	}
	r.mu.Unlock()
	if q != nil {
		return q, nil
	}
	made, err := r.find(ctx, m, barcode)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	if q = r.wanted[made.key]; q == nil { // nobody was faster
		q = made
		r.last++
		q.number = r.last
		if r.owned && r.choose(q) == "" {
			return nil, r.hopeless(q)
		}
		r.wanted[q.key] = q
		if !r.serving {
			r.serving = true
			r.serves.Go(r.serve)
		}
		select {
		case r.wake <- struct{}{}:
		default: // it is awake
		}
	}
	q.waiting++
	return q, nil
}

// late is the error of who waited too long.
func (r *Recaller) late(q *request) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held != nil {
		return &RecallError{syscall.EBUSY, fmt.Errorf("waited %v for the tape library: %w", r.Timeout, r.held)}
	}
	return &RecallError{syscall.ETIMEDOUT, fmt.Errorf("it did not come from tape %s within %v", strings.Join(q.on, " or "), r.Timeout)}
}

// leave ends one wait for a file, with what came of it.
func (r *Recaller) leave(q *request, err error) (f *os.File, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		err = q.err
	}
	if err == nil {
		// Its own descriptor: by now the stage may have given the file's place to another.
		var fd int
		if fd, err = unix.FcntlInt(q.file.Fd(), unix.F_DUPFD_CLOEXEC, 0); err == nil {
			f = os.NewFile(uintptr(fd), q.file.Name())
		}
	}
	q.left = time.Now()
	if q.waiting--; q.waiting == 0 && q.file != nil {
		q.file.Close() // was only read
		q.file = nil
	}
	return f, err
}

// more tells whether anything is wanted; if nothing is, the goroutine must end.
func (r *Recaller) more() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.serving = r.prune()
	return r.serving
}

// failAll ends all requests.
func (r *Recaller) failAll(err error) {
	if r.life.Err() != nil {
		return // more does it
	}
	r.Problem(err.Error())
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.wanted {
		r.finish(q, nil, &RecallError{syscall.EIO, err})
	}
}

// again is how often a library that somebody else has is asked for.
const again = 500 * time.Millisecond

// serve reads until nothing is wanted.
func (r *Recaller) serve() {
	told := false
	for r.more() {
		lib, err := r.Library(r.life)
		held := errors.Is(err, lock.ErrHeld)
		r.mu.Lock()
		r.held = nil
		if held {
			r.held = err
		}
		r.mu.Unlock()
		if held {
			if !told {
				r.Info("files wait to be recalled: " + err.Error())
			}
			told = true
			r.pause(again)
			continue
		}
		told = false
		if err == nil {
			err = errors.Join(r.use(lib), lib.Close())
		}
		if err != nil {
			r.failAll(fmt.Errorf("recalling files: %w", err))
		}
	}
}

// pause waits, unless something more is wanted or all ends, and tells whether it waited in vain.
func (r *Recaller) pause(d time.Duration) (quiet bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.wake:
	case <-r.life.Done():
	}
	return false
}
