// Package scan brings back into the ledger what tapes hold. It promises that nothing the ledger knows is overwritten, that a
// tape is taken in as a whole or not at all, and that what is not ours is named and left alone: nothing is ever written to a
// tape.
//
// A tape is found out by its label and the catalogs that close its sessions. The last one is looked for from the end of data
// backwards; it tells where those before it lie. Where the end of data leads to none, tape files are gone over from the
// front, each archive's manifest telling how far the next one is at least. With Deep, archives that belong to no readable
// catalog are read, and count as far as their own checksums are right.
//
// A tape of paper-dump, whose catalog tells too little, is read from its beginning to its end; what it gives back whole comes in
// (old.go, group.go).
//
// As many tapes are read at once as there are drives. Memory is bounded by the members of one archive for each.
package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"path"
	"slices"
	"sync"

	"twintape/archiver"
	"twintape/internal/catalog"
	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/internal/paperdump"
	"twintape/internal/tape"
)

// Options say how tapes are scanned.
type Options struct {
	Deep bool // read archives that no catalog lists
}

// Report is what was found on one tape, and what became of it.
type Report struct {
	Barcode string
	Label   catalog.Label  // zero if the tape is not ours
	Foreign string         // what is on it instead; empty if it is ours
	Blank   bool           // nothing is on it
	Notes   []string       // what is damaged, or was not looked at
	Added   ledger.Rebuilt // zero if nothing was taken in
	// WrittenBy is the program that wrote the tape; empty for twintape.
	WrittenBy string
	// Lacking tells that such a tape does not give back all that it should hold; Notes say what.
	Lacking bool
	Err     error // why nothing was
}

// Tapes scans the tapes that patterns over barcodes name, and calls done for each as it is finished, by one goroutine at a
// time. The error is for what concerns more than one tape.
func Tapes(ctx context.Context, a *archiver.Archiver, patterns []string, o Options, done func(*Report)) error {
	barcodes, missing, err := choose(ctx, a.Library, patterns)
	if err != nil {
		return err
	}
	for _, b := range missing {
		done(&Report{Barcode: b, Err: &archiver.AbsentError{Barcode: b, Where: "is not in the library: bring it in"}})
	}
	for len(barcodes) > 0 {
		batch := barcodes[:min(len(barcodes), a.Library.Drives())]
		barcodes = barcodes[len(batch):]
		if err := together(ctx, a, batch, o, done); err != nil {
			return err
		}
	}
	return nil
}

// choose returns the barcodes of the library that patterns match, in their order, and those that are in no element.
func choose(ctx context.Context, lib tape.Library, patterns []string) (barcodes, missing []string, err error) {
	elements, err := tape.LimitedChanger(lib.Changer()).Inventory(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range patterns {
		found := false
		for _, e := range elements {
			ok, err := path.Match(p, e.Barcode)
			if err != nil {
				return nil, nil, fmt.Errorf("%q: %w", p, err)
			}
			if !ok || e.Barcode == "" {
				continue
			}
			found = true
			if !slices.Contains(barcodes, e.Barcode) {
				barcodes = append(barcodes, e.Barcode)
			}
		}
		if !found {
			missing = append(missing, p)
		}
	}
	return barcodes, missing, nil
}

// together scans tapes, each in a drive of its own.
func together(ctx context.Context, a *archiver.Archiver, barcodes []string, o Options, done func(*Report)) error {
	drives, err := a.PickDrives(ctx, barcodes)
	if err != nil {
		return err
	}
	loaded, err := archiver.Load(ctx, a.Library, barcodes, drives)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	p := archiver.NewProgress("scanning", a.Events, loaded)
	for i, l := range loaded {
		wg.Go(func() {
			r := tapeIn(ctx, a, l, o, func(read int64) { p.Set(i, read, max(l.Medium.Capacity-l.Medium.Remaining, read)) })
			r.Err = errors.Join(r.Err, l.PutAway(context.WithoutCancel(ctx), a.Library))
			mu.Lock()
			defer mu.Unlock()
			done(r)
		})
	}
	wg.Wait()
	return ctx.Err()
}

// tapeIn scans a loaded tape and takes in what it holds. Progress hears how many bytes were read, if that may take long.
func tapeIn(ctx context.Context, a *archiver.Archiver, l *archiver.Loaded, o Options, progress func(read int64)) *Report {
	s := &scan{d: l.Drive, r: &Report{Barcode: l.Barcode}, scratch: a.Scratch, events: a.Events, progress: progress}
	defer s.close()
	s.r.Err = s.find(ctx, o)
	if s.r.Err != nil || s.r.Label.Tape == "" {
		return s.r
	}
	found := ledger.Scanned{
		Label: s.r.Label, WrittenBy: s.r.WrittenBy, Side: side(a.Sides, l.Barcode), Serial: l.Medium.Serial, Capacity: l.Medium.Capacity,
		Deep: o.Deep, Fingerprint: archiver.Fingerprint,
	}
	if s.found != nil {
		found.Sessions = append(found.Sessions, s.found.session())
	}
	for _, f := range s.sessions {
		found.Sessions = append(found.Sessions, ledger.ScannedSession{Head: f.head, Catalog: f.place, End: f.end, Archives: f.archives()})
	}
	s.r.Added, s.r.Err = a.Ledger.Rebuild(ctx, found)
	return s.r
}

// side is what the configuration says of a barcode; 0 if that is nothing.
func side(sides [2]string, barcode string) int {
	for i, pattern := range sides {
		if ok, err := path.Match(pattern, barcode); err == nil && ok {
			return i + 1
		}
	}
	return 0
}

// scan is the scanning of one tape.
type scan struct {
	d        tape.Drive
	r        *Report
	scratch  string
	events   event.Sink
	sessions []*session // in tape order
	gaps     []gap      // what belongs to none of them, in tape order
	last     int64      // where the last tape file begins that was seen from the front

	old      *paperdump.Catalog // of a tape of paper-dump; else nil
	found    *archives          // on such a tape
	progress func(read int64)
}

// session is a session that was found.
type session struct {
	head        catalog.Session
	place       ledger.CatalogPlace
	end         int64    // block behind it
	nextFile    int      // tape file behind it
	jsonl, crcs *os.File // as in the catalog's tape file
	damaged     map[int]map[int]string
}

// gap is a part of the tape whose tape files no readable catalog lists.
type gap struct {
	from     int64 // block
	to       int64 // block behind it; math.MaxInt64 up to the end of data
	tapeFile int   // the first one
	session  int   // number of the first session in it
}

func (s *scan) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.r.Notes = append(s.r.Notes, text)
	s.events.Emit(event.Note{Text: s.r.Barcode + ": " + text})
}

// find finds out what is on the tape.
func (s *scan) find(ctx context.Context, o Options) error {
	if err := s.label(ctx); err != nil {
		return err
	}
	if s.old != nil {
		return s.readOld(ctx)
	}
	if s.r.Label.Tape == "" {
		return nil
	}
	found, err := s.fromEnd(ctx)
	if err == nil && !found {
		err = s.fromFront(ctx)
	}
	if err != nil {
		return err
	}
	s.findGaps()
	for _, g := range s.gaps {
		if !o.Deep {
			s.note("%s belongs to no readable catalog: `twintape scan --deep %s` reads the archives there", g, s.r.Barcode)
			continue
		}
		if err := s.deep(ctx, g); err != nil {
			return err
		}
	}
	slices.SortFunc(s.sessions, func(a, b *session) int { return int(a.head.Record - b.head.Record) })
	return nil
}

func (g gap) String() string {
	if g.to == math.MaxInt64 {
		return fmt.Sprintf("what lies from record %d on", g.from)
	}
	return fmt.Sprintf("what lies from record %d to %d", g.from, g.to-1)
}

// findGaps finds what lies between the sessions, and behind them.
func (s *scan) findGaps() {
	at := gap{from: firstRecord, tapeFile: 1, session: 1}
	for _, f := range s.sessions {
		if f.head.Record > at.from {
			at.to = f.head.Record
			s.gaps = append(s.gaps, at)
		}
		at = gap{from: f.end, tapeFile: f.nextFile, session: f.head.Number + 1}
	}
	if s.last >= at.from {
		at.to = math.MaxInt64
		s.gaps = append(s.gaps, at)
	}
}

// archives yields a session's archives as they stand in its temporary files.
func (f *session) archives() iter.Seq2[ledger.ScannedArchive, error] {
	return func(yield func(ledger.ScannedArchive, error) bool) {
		r, err := catalog.NewReader(io.NewSectionReader(f.jsonl, 0, math.MaxInt64))
		for at := int64(0); err == nil; {
			var a ledger.ScannedArchive
			if a.Archive, a.Records, err = r.Next(); err != nil {
				break
			}
			a.CRCs, a.Damaged = make([]byte, 4*a.Records), f.damaged[a.Number]
			if _, err = f.crcs.ReadAt(a.CRCs, at); err != nil {
				break
			}
			at += 4 * a.Records
			if len(a.Damaged) > 0 {
				a.CRCs = nil // they are of what was read, not of what was written
			}
			if !yield(a, nil) {
				return
			}
		}
		if !errors.Is(err, io.EOF) {
			yield(ledger.ScannedArchive{}, err)
		}
	}
}

// file makes a temporary file that is gone when it is closed.
func (s *scan) file() (*os.File, error) {
	f, err := os.CreateTemp(s.scratch, "scan-*")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

func (f *session) close() {
	for _, file := range []*os.File{f.jsonl, f.crcs} {
		if file != nil {
			file.Close() // it has no name any more
		}
	}
}

func (s *scan) close() {
	for _, f := range s.sessions {
		f.close()
	}
	if s.found != nil {
		s.found.file.Close() // it has no name any more
	}
}
