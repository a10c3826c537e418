// Package archiver runs the main job: it takes items from the queue, plans them onto a pair of tapes, writes both in one
// pass, closes the session with its catalog, reads both tapes back after a reload, and records in the ledger what is
// true at each step before the next begins.
//
// An Archiver runs one job at a time; across processes the library's lock and the ledger's claims see to it that no tape
// and no item is ever taken twice. What an item's state is follows from its copies in the ledger alone.
package archiver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/internal/tape"
	"twintape/sources"
	"twintape/verify"
)

// Settings are the configuration of all jobs.
type Settings struct {
	ArchiveSize int64     // bytes
	RecordSize  int       // bytes
	FlushBytes  int64     // bytes
	Memory      int64     // bytes
	Sides       [2]string // globs over barcodes
	Sample      float64   // fraction of the items to read back; 1 is everything
	SwapDrives  bool      // verify each tape on the other's drive
	Single      bool      // finish one tape when the other's drive fails
	Scratch     string    // folder for temporary files
}

// Archiver has what a job needs. All exported fields but Labels and BeforePlan are required; QueueAdd does
// without the library.
type Archiver struct {
	Settings
	Namespace *sources.Namespace
	Library   tape.Library
	Ledger    *ledger.Ledger
	Events    event.Sink
	Labels    Labels // nil if nobody takes tapes but who uses this ledger
	// BeforePlan is called when a job's tapes are ready, and it takes items next; nil if nobody else takes items.
	BeforePlan func(context.Context) error

	// failed are the items that failed in a job of this Archiver: another process may try them again, its next job does not.
	failed map[int64]bool
	// endJob ends the context of the job that runs, with a reason.
	endJob context.CancelCauseFunc
}

// waiting returns the next items to archive, at most lookAhead of them, behind the item with ID after.
func (a *Archiver) waiting(ctx context.Context, after int64) ([]ledger.Item, error) {
	for {
		items, err := a.Ledger.NextQueued(ctx, 0, after, lookAhead)
		if err != nil || len(items) == 0 {
			return nil, err
		}
		after = items[len(items)-1].ID
		items = slices.DeleteFunc(items, func(it ledger.Item) bool { return a.failed[it.ID] })
		if len(items) > 0 {
			return items, nil
		}
	}
}

// Report is what a job did.
type Report struct {
	Job      ledger.Job
	Archived int    // items with a flushed copy on both tapes
	Single   int    // items with a flushed copy on one tape, because the other was lost
	Lost     string // that tape
	Bytes    int64  // of their members' data
	Failed   []FailedItem
	Waiting  bool // items are left for the next pair
	Written  time.Duration
	Verified time.Duration
	Tapes    []*verify.Report // by side; behind them what was read again of the twin of a damaged tape
}

// FailedItem is an item that this job could not archive; it stays queued.
type FailedItem struct {
	ID     int64
	Host   string
	Path   string
	Reason string
}

// Good tells whether both tapes were read back and nothing was wrong with them.
func (r *Report) Good() bool {
	return len(r.Tapes) == 2 && !slices.ContainsFunc(r.Tapes, func(t *verify.Report) bool { return t == nil || !t.Good })
}

// judged tells whether every tape that was read back was found good or bad.
func (r *Report) judged() bool {
	return len(r.Tapes) > 0 && !slices.ContainsFunc(r.Tapes, func(t *verify.Report) bool { return t == nil || !t.Good && len(t.Mismatches) == 0 })
}

var (
	// ErrNothingQueued says that no item waits.
	ErrNothingQueued = errors.New("nothing is queued: add items with `twintape queue add 'host:/path/**'`")
	// ErrStopped says that the operator stopped the job at an archive border. What was written is closed by a catalog.
	ErrStopped = errors.New("stopped by the operator")
)

// NoTapeError says that no blank tape is at hand for a side.
type NoTapeError struct {
	Side    int
	Pattern string
	Why     string
}

func (e *NoTapeError) Error() string {
	return fmt.Sprintf("no blank tape for side %d (%s) in the library: %s", e.Side+1, e.Pattern, e.Why)
}

// MismatchError says that a tape did not give back what was written.
type MismatchError struct{ Barcodes []string }

func (e *MismatchError) Error() string {
	tapes := strings.Join(e.Barcodes, " and ")
	return fmt.Sprintf("verification failed on %s: no copy there counts until a full verification is good; the report says what differs", tapes)
}
