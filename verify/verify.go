// Package verify reads tapes back and tells what they are worth. It promises the archiver, and whoever checks a tape years
// later, that a Report claims only what a drive returned in that very run: label, catalogs, and of the archives a sample or
// every byte. It shares nothing with the writer but the tape format, so that no fault of the writer's can hide itself here.
//
// Tape checks one cartridge in one drive; Pair checks both twins at once, and neither waits for or stops the other. A drive
// is used by one goroutine at a time. Calls on different drives may run concurrently. Memory is bounded by one archive's
// catalog entries, a few records, and the report's line per item.
package verify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"twintape/internal/catalog"
	"twintape/internal/event"
	"twintape/internal/tape"
)

// Expect is what should be on a tape.
type Expect struct {
	Barcode    string
	Tape       string // UUID of the volume label; empty if not known
	Pair       string // UUID; empty if not known
	RecordSize int    // bytes
	Sessions   []Session
	// Old says that paper-dump wrote the tape. In place of label and catalogs its only session's catalog, the first record, is
	// compared; what its archives hold is the ledger's word. An archive's last record may be shorter than the others.
	Old bool
}

// Session is one session that should be on the tape; Expect has them in tape order.
type Session struct {
	UUID     string
	Number   int   // on the pair, from 1
	TapeFile int   // of its catalog
	Record   int64 // logical block number of its catalog's first record
	MD5      catalog.MD5
	// CatalogOnly says that its archives are not to be read, because an earlier check did: only its catalog is.
	CatalogOnly bool
	// Archives yields what the ledger says of the session's archives, in tape order. It may be nil when there is no
	// ledger to compare with. It is called several times, one call at a time for one tape.
	Archives func() iter.Seq2[*catalog.Archive, error]
	// Records are how many each archive takes, by its number, where the format does not tell; nil where it does.
	Records map[int]int64
}

// Options say how much is read, and who hears of it.
type Options struct {
	// Sample is the fraction of the tape's items to read, at least one of every archive. From 1 on every byte of the tape
	// is read, headers and padding too.
	Sample float64
	// Archives, if not empty, are the numbers of the archives that are read, each in full, instead of a sample of all: those
	// that were damaged on the twin.
	Archives []int
	// Limit is about how long reading the sample may take: where it falls behind, items are left out, but not the tape's first
	// and last ones; and a mismatch ends it, instead of making it a full check. 0 is no limit.
	Limit time.Duration
	// Seed draws the sample: the same seed on the same tape reads the same records.
	Seed uint64
	// Scratch is the folder for temporary files, which together take the size of the tape's catalogs; "" is the
	// system's. They have no name and vanish with the process.
	Scratch string
	// Events hears of every mismatch as it is found; nil discards.
	Events event.Sink
	// Progress is called about every 64 MiB, and at the end, by one goroutine at a time, with the bytes read in this call
	// and how many there will be. The latter grows when a mismatch makes the check a full one. Nil if nobody asks.
	Progress func(bytesRead, bytesToRead int64)
}

// Tape checks the cartridge in d against e. The cartridge must be loaded; d stands anywhere before and after.
//
// What the tape did not give back as expected is in the report. The error is only for what kept Tape from judging: ctx
// ended, the drive failed, the ledger or the scratch folder could not be read. The report then holds what was found until
// then and is never good. It is never nil.
func Tape(ctx context.Context, d tape.Drive, e Expect, o Options) (*Report, error) {
	if o.Events == nil {
		o.Events = event.Discard
	}
	c := &check{d: d, e: e, o: o, bad: map[itemKey]string{}, disowned: map[itemKey]bool{}, seen: map[Mismatch]bool{}}
	c.r = &Report{Mismatches: []Mismatch{}, Items: []Item{}, Barcode: e.Barcode, Drive: d.Name(), Began: time.Now().UTC(), Seed: o.Seed, Sample: min(o.Sample, 1), Only: o.Archives}
	defer c.close()
	err := c.run(ctx)
	if err != nil {
		err = fmt.Errorf("verifying tape %s on %s: %w", e.Barcode, d.Name(), err)
	}
	c.progress(true)
	c.r.Ended = time.Now().UTC()
	c.r.Good = err == nil && len(c.r.Mismatches) == 0
	return c.r, err
}

// Pair checks both twins at once, each as Tape does, on its own drive by its own goroutine. What happens to one has no
// influence on the other; Pair returns when both have ended.
func Pair(ctx context.Context, drives [2]tape.Drive, e [2]Expect, o [2]Options) (reports [2]*Report, errs [2]error) {
	var both sync.WaitGroup
	for side := range drives {
		both.Go(func() { reports[side], errs[side] = Tape(ctx, drives[side], e[side], o[side]) })
	}
	both.Wait()
	return reports, errs
}

// check is one run of Tape.
type check struct {
	d tape.Drive
	e Expect
	o Options
	r *Report

	proven   bool               // label or catalog say that it is the expected tape, or its twin
	sessions []*session         // in tape order
	extents  []extent           // of all archives, in tape order
	bad      map[itemKey]string // why, of items against which something was found; outlives an escalation
	disowned map[itemKey]bool   // items that the ledger does not count on where they lie
	seen     map[Mismatch]bool  // those listed in the report

	fixed    int64 // bytes of the label and the catalogs, all read
	moved    int64 // bytes that came from the drive
	planned  int64 // what moved will be in the end
	reported int64 // moved, when Progress was last called
}

// itemKey finds an item on the tape: its session and archive by their order, and its place in the archive.
type itemKey struct{ archive, item int }

// errFound ends a sample at its first mismatch.
var errFound = errors.New("a mismatch was found")

func (c *check) run(ctx context.Context) error {
	if c.e.RecordSize < 1 {
		return errors.New("its record size is not known: was it ever written?")
	}
	if c.e.Old {
		if err := c.old(ctx); err != nil {
			return err
		}
	} else if foreign, err := c.label(ctx); foreign || err != nil {
		return err
	} else if err := c.catalogs(ctx); err != nil {
		return err
	}
	if !c.proven { // an unreadable label, and no catalog of ours: whatever this is, it is not the tape to judge
		return nil
	}
	if err := c.survey(ctx); err != nil {
		return err
	}
	if len(c.o.Archives) > 0 {
		return c.read(ctx, c.everything(), false)
	}
	if len(c.r.Mismatches) == 0 && c.o.Sample < 1 {
		plan, err := c.sample(ctx)
		if err != nil {
			return err
		}
		if err := c.read(ctx, plan, true); !errors.Is(err, errFound) {
			return err
		}
	}
	if c.o.Limit > 0 {
		return nil
	}
	c.r.Escalated = c.o.Sample < 1
	return c.read(ctx, c.everything(), false)
}

// progress tells how far the reading is, when 64 MiB more have come, or now.
func (c *check) progress(now bool) {
	if c.o.Progress == nil || !now && c.moved-c.reported < 64<<20 {
		return
	}
	c.reported = c.moved
	c.o.Progress(c.moved, max(c.moved, c.planned))
}
