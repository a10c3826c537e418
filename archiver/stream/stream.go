// Package stream writes archives onto both tapes of a pair in one pass: each byte is read once, hashed once, and written
// to both drives from the same buffer.
//
// The layout of an archive is known before it is read, so one goroutine lays it out over a bounded ring of records in
// tape order, fetchers fill the records in parallel and out of order, hash workers go over consecutive members in
// parallel, and one writer a drive takes the records in order, each at its own pace within the ring. Nothing in the
// package keeps state between runs; Run owns every goroutine that it starts and returns after all have ended.
package stream

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"twintape/internal/catalog"
	"twintape/internal/event"
	"twintape/internal/tape"
	"twintape/sources"
)

// Side is one tape of the pair in its drive. Without a drive it is lost from the beginning.
type Side struct {
	Barcode string
	Drive   tape.Drive
	// Backhitch is tape.Medium's: write only with a well-filled ring.
	Backhitch bool
}

// Pair is both sides. They stand at the planned position of the first archive.
type Pair [2]Side

// SideError says which side of the pair failed.
type SideError struct {
	Side    int // 0 or 1
	Barcode string
	Drive   string
	Block   int64 // where the drive stood before what failed, as far as it told
	Err     error
}

func (e *SideError) Error() string {
	return fmt.Sprintf("tape %s in %s: %v", e.Barcode, e.Drive, e.Err)
}

func (e *SideError) Unwrap() error { return e.Err }

// PositionError says that a drive does not stand where the plan says: it was reset, moved by somebody else, or lost data.
type PositionError struct{ Want, Got int64 }

func (e *PositionError) Error() string {
	return fmt.Sprintf("the drive stands at block %d instead of %d: it was reset, or another program moved it; "+
		"nothing since the last flush counts", e.Got, e.Want)
}

// Archive is one archive to write, with what the ledger knows of it.
type Archive struct {
	*catalog.Archive
	ID       int64
	Expected map[string]catalog.MD5 // by host and path, "host:/path"; nil if nothing is expected
}

// Written is an archive that both tapes hold, flushed. Its entries have their MD5 or Bad, its items their Bad.
type Written struct {
	Archive
	CRCs []byte // CRC32C of each record, little-endian, 4 bytes each
}

// Config is what Run needs.
type Config struct {
	RecordSize int   // bytes
	Memory     int64 // bytes of the ring
	FlushBytes int64 // both drives are flushed at the first archive border after this many bytes
	Total      int64 // bytes that will be written to each tape, for Progress
	Namespace  *sources.Namespace
	Events     event.Sink

	// Next returns the next archive, io.EOF after the last. It is called from one goroutine, ahead of the writing.
	Next func(ctx context.Context) (Archive, error)
	// Single says to go on with the other side when the drive of one fails. Early warning and the end of the medium are no
	// failures: they end the run.
	Single bool
	// Lost is called once with the failure of the side that the run goes on without, before anything more is flushed. The
	// calls of Lost and Flushed follow each other.
	Lost func(*SideError)
	// Flushed is called after the drives were flushed at the same border and stand where the plan says, with the archives
	// that are safe now. The position of a lost side is 0. Writing goes on when it returns nil.
	Flushed func(ctx context.Context, archives []Written, positions [2]int64) error
	// Unchanged compares an item with its source after all of it was read; its error fails the item. It may be called
	// concurrently.
	Unchanged func(ctx context.Context, src sources.Source, it *catalog.Item) error
	// Stop, when closed, ends the run at the next archive border, flushed.
	Stop <-chan struct{}
}

// fetchers is how many members, or parts of large ones, are read at once from one host: with records of 512 KiB enough
// for 400 MB/s over 20 ms of round trip.
const fetchers = 16

// minRecords is the smallest ring that lets fetchers, hash workers and writers overlap.
const minRecords = 8

// run is the state of one Run.
type run struct {
	Config
	pair     Pair
	ring     *ring
	queues   [2]chan op
	hashes   chan *member
	flushes  chan sideFlush
	hosts    *hosts
	progress progress

	doubt [2]atomic.Bool // the other side failed: what made it fail may have reset this one too

	mu    sync.Mutex // held while Lost and Flushed are called
	alone bool       // one side is lost
}

// Run writes all archives that cfg.Next gives, in order, each followed by a filemark, to both sides, and flushes at the
// last border. A member that cannot be read as planned fails its item, never the run. An error of a drive is a
// *SideError, unless the run goes on with the other side; archives that cfg.Flushed was not called for are not on tape then.
func Run(ctx context.Context, cfg Config, pair Pair) error {
	records := int(cfg.Memory / int64(cfg.RecordSize))
	if records < minRecords {
		return fmt.Errorf("archive.memory of %d bytes holds %d records of %d bytes; at least %d are needed",
			cfg.Memory, records, cfg.RecordSize, minRecords)
	}
	r := &run{
		Config:  cfg,
		pair:    pair,
		ring:    newRing(records, cfg.RecordSize),
		hashes:  make(chan *member, 4096),
		flushes: make(chan sideFlush, len(pair)),
	}
	for side := range r.queues {
		r.queues[side] = make(chan op, records)
		r.alone = r.alone || pair[side].Drive == nil
	}
	g, ctx := errgroup.WithContext(ctx)
	r.hosts = newHosts(ctx, r, g)
	g.Go(func() error {
		defer func() {
			close(r.hashes)
			for _, q := range r.queues {
				close(q)
			}
			r.hosts.close()
		}()
		return r.layOut(ctx)
	})
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error { return r.hash(ctx) })
	}
	writers, wctx := errgroup.WithContext(ctx)
	for side := range pair {
		writers.Go(func() error { return r.write(wctx, side) })
	}
	g.Go(func() error {
		defer close(r.flushes)
		return writers.Wait()
	})
	g.Go(func() error { return r.recordFlushes(ctx) })
	stopProgress := r.progress.start(r)
	err := g.Wait()
	stopProgress()
	r.hosts.abandon()
	return err
}

// recordFlushes waits until both sides are flushed, or lost, at a border, reports it, and lets them go on.
func (r *run) recordFlushes(ctx context.Context) error {
	var arrived int
	var positions [2]int64
	for f := range r.flushes {
		positions[f.side] = f.position
		if arrived++; arrived < len(r.pair) {
			continue
		}
		arrived = 0
		if err := r.record(ctx, f.border, positions); err != nil {
			return err
		}
		last := f.border.archives[len(f.border.archives)-1]
		r.Events.Emit(event.Flushed{Archive: last.Number, Positions: positions, Took: time.Since(f.began)})
		close(f.border.passed)
	}
	return nil
}

func (r *run) record(ctx context.Context, b *border, positions [2]int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Flushed(ctx, b.written(), positions)
}

// errStopped ends layOut at a border.
var errStopped = errors.New("stopped")
