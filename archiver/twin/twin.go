// Package twin makes a new twin of a tape: record by record, each checked against what the ledger knows of it, then read back
// in full after a reload. It promises that the new tape counts as a whole or not at all: until it was read back nothing on it
// counts, and whatever ends the making leaves the pair as it was. What the tape does not give back is read from the twin that
// is to be replaced, where that lies in the library; so two damaged tapes make one good one.
//
// One goroutine reads, one checks the members' MD5s, one writes; between them is a ring of records, so memory is bounded.
// Catalogs are written from the ledger, which makes them byte for byte as they were.
package twin

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"path"
	"time"

	"github.com/google/uuid"

	"twintape/archiver"
	"twintape/internal/catalog"
	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/verify"
)

// Options say how a twin is made.
type Options struct {
	// Override is who lets go of what only the replaced tape holds; empty if nobody does.
	Override string
}

// Report is what was made.
type Report struct {
	Source, Target string
	Replaced       string // the tape that was taken out of the pair; empty if there was none
	Bytes          int64  // of records written
	Bad            map[string]int64
	Written        time.Duration
	Verified       *verify.Report
}

// LostError says that a record cannot be had from any tape that is there.
type LostError struct {
	Archive int
	Record  int64
	Items   []string // that have a part in it, as host:path
	Err     error
}

func (e *LostError) Error() string {
	return fmt.Sprintf("record %d of archive %d cannot be had from any tape that is at hand: %v; in it lie %q. "+
		"Bring the twin into the library, or restore what can be read and archive it anew", e.Record, e.Archive, e.Err, e.Items)
}

func (e *LostError) Unwrap() error { return e.Err }

// Copy makes target, a blank tape, the twin of source, and returns what it did. A target on which the same was begun before is
// begun again.
func Copy(ctx context.Context, a *archiver.Archiver, source, target string, o Options) (*Report, error) {
	c := &copying{Archiver: a, r: &Report{Source: source, Target: target, Bad: make(map[string]int64)}}
	var err error
	if c.source, err = a.Ledger.Tape(ctx, source); err != nil {
		return nil, err
	}
	if c.source.WrittenBy != "" {
		return nil, fmt.Errorf("%s wrote tape %s, and twintape makes no new twin of such a tape: `twintape restore` what it holds, and archive it anew", c.source.WrittenBy, source)
	}
	if c.other, err = a.Ledger.Twin(ctx, source); err != nil {
		return nil, err
	}
	if pattern := a.Sides[2-c.source.Side]; !matches(pattern, target) {
		return nil, fmt.Errorf("the twin of %s belongs to side %d, whose barcodes are like %s: %s is not", source, 3-c.source.Side, pattern, target)
	}
	if c.parts, err = c.plan(ctx); err != nil {
		return nil, err
	}
	if err := a.Reserve(ctx, target); err != nil {
		return nil, err
	}
	c.target, err = a.Ledger.BeginTwin(ctx, ledger.NewTwin{
		Source: source, Target: target, UUID: uuid.NewString(), Forced: o.Override != "",
		Why: fmt.Sprintf("a twin of %s is being made on it: `twintape copy %[1]s --to %s` begins again, `twintape tapes recycle %[2]s` gives it up", source, target),
	})
	if err != nil {
		return nil, err
	}
	// Once more: until the ledger knew what it is for, another process may have given its label back.
	if err := a.Reserve(ctx, target); err != nil {
		return nil, err
	}
	return c.r, c.make(ctx, o)
}

func matches(pattern, barcode string) bool {
	ok, err := path.Match(pattern, barcode)
	return err == nil && ok
}

// copying is one call of Copy.
type copying struct {
	*archiver.Archiver
	r                     *Report
	source, other, target ledger.Tape
	parts                 []part
	ends                  map[int64]int64 // by session: block behind what the target holds of it
	end                   int64           // block behind everything
}

// part is one tape file: an archive, or a session's catalog.
type part struct {
	session ledger.Session
	archive *ledger.PlannedArchive // nil for a catalog
}

func (p *part) record() int64 {
	if p.archive != nil {
		return p.archive.Record
	}
	return p.session.Catalog.Record
}

func (p *part) records() int64 {
	if p.archive != nil {
		return p.archive.Records
	}
	return p.session.Catalog.Records
}

// plan lists what the source holds.
func (c *copying) plan(ctx context.Context) ([]part, error) {
	sessions, err := c.Ledger.Sessions(ctx, c.source.Pair)
	if err != nil {
		return nil, err
	}
	var parts []part
	c.ends, c.end = make(map[int64]int64), 2
	var open *ledger.Session
	for _, s := range sessions {
		archives, err := c.Ledger.Archives(ctx, s.ID)
		if err != nil {
			return nil, err
		}
		for _, p := range archives {
			if !p.On[c.source.Side-1] {
				continue
			}
			if open != nil {
				return nil, fmt.Errorf("session %d has no catalog that anybody knows, and others lie behind it: a twin of %s cannot be made alike", open.Number, c.source.Barcode)
			}
			parts = append(parts, part{session: s, archive: &p})
			c.ends[s.ID] = p.Record + p.Records + 1
			c.end = c.ends[s.ID]
		}
		if c.ends[s.ID] == 0 {
			continue
		}
		if last := archives[len(archives)-1]; s.Closed.IsZero() || !last.On[c.source.Side-1] {
			open = &s
			continue
		}
		parts = append(parts, part{session: s})
		c.ends[s.ID] = s.Catalog.Record + s.Catalog.Records + 1
		c.end = c.ends[s.ID]
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("tape %s holds nothing that counts", c.source.Barcode)
	}
	at := int64(2)
	for i := range parts {
		if parts[i].record() != at {
			return nil, fmt.Errorf("the ledger does not know what lies on %s from record %d to %d: a twin cannot be made alike", c.source.Barcode, at, parts[i].record())
		}
		at += parts[i].records() + 1
	}
	return parts, nil
}

// make writes and verifies the target, and lets it take its place.
func (c *copying) make(ctx context.Context, o Options) error {
	began := time.Now()
	flushed, drives, err := c.write(ctx)
	var foreign *archiver.ForeignError
	if errors.As(err, &foreign) && foreign.Barcode == c.target.Barcode { // nothing was written to it
		_, undo := c.Ledger.Recycle(context.WithoutCancel(ctx), c.target.Barcode, "")
		err = errors.Join(err, undo)
	}
	if err != nil {
		return err
	}
	c.r.Written = time.Since(began)
	if c.r.Verified, err = c.verify(ctx, drives); err != nil {
		return err
	}
	if !c.r.Verified.Good {
		why := fmt.Sprintf("as a new twin of %s it did not give back what was written: %s", c.source.Barcode, c.r.Verified.Mismatches[0])
		return errors.Join(&archiver.MismatchError{Barcodes: []string{c.target.Barcode}}, c.Ledger.FailTwin(ctx, c.target.Barcode, why))
	}
	replaced, err := c.Ledger.AdoptTwin(ctx, ledger.MadeTwin{
		Source: c.source.Barcode, Ends: c.ends, Flushed: flushed, Verification: archiver.Verification(0, c.r.Verified), Override: o.Override,
	})
	c.r.Replaced = replaced.Barcode
	return err
}

// verify reads the target back in full, after a reload, where possible in a drive that did not write it.
func (c *copying) verify(ctx context.Context, drives []int) (r *verify.Report, err error) {
	loaded, err := archiver.Load(ctx, c.Library, []string{c.target.Barcode}, drives[:1])
	if err != nil {
		return nil, err
	}
	l := loaded[0]
	defer func() { err = errors.Join(err, c.PutBack(context.WithoutCancel(ctx), l, 0)) }()
	expect := verify.Expect{Barcode: c.target.Barcode, Tape: c.target.UUID, Pair: c.source.Pair, RecordSize: c.source.RecordSize}
	for _, p := range c.parts {
		if p.archive != nil {
			continue
		}
		s := p.session
		expect.Sessions = append(expect.Sessions, verify.Session{
			UUID: s.UUID, Number: s.Number, TapeFile: s.Catalog.TapeFile, Record: s.Catalog.Record, MD5: s.Catalog.MD5,
			Archives: func() iter.Seq2[*catalog.Archive, error] { return c.Ledger.Entries(ctx, s.ID, c.source.Side) },
		})
	}
	p := progress{events: c.Events, now: event.Progress{Step: "verifying", Began: time.Now()}}
	p.now.Sides[0] = event.Side{Barcode: l.Barcode, Drive: l.Drive.Name()}
	return verify.Tape(ctx, l.Drive, expect, verify.Options{
		Sample: 1, Seed: rand.Uint64(), Scratch: c.Scratch, Events: c.Events, Progress: func(read, toRead int64) { p.set(0, read, toRead) },
	})
}
