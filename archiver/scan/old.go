package scan

import (
	"cmp"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"slices"
	"time"

	"twintape/internal/catalog"
	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/internal/paperdump"
)

// archives are those of a tape of paper-dump, as they were found: their members' places are bytes until the length of the
// tape's records is known.
type archives struct {
	head    catalog.Session
	place   ledger.CatalogPlace
	end     int64          // block behind what was read
	file    *os.File       // oldArchive, one behind the other
	numbers []int          // that were found
	seen    map[place]bool // items that were found
	unnamed int            // items that the catalog does not name
}

// oldArchive is what is kept of an archive until all were read.
type oldArchive struct {
	Number, TapeFile int
	Record, Records  int64
	Size             int            // of its records but for the last; of its only one, if there is one
	Items            []catalog.Item // a member's Offset is 0, its Record a byte of the tape file
	Damaged          map[int]string
}

// lacks notes what the tape does not give back.
func (s *scan) lacks(format string, args ...any) {
	s.r.Lacking = true
	s.note(format, args...)
}

// readOld reads a tape of paper-dump from its beginning to its end, since its catalog has neither members nor places.
func (s *scan) readOld(ctx context.Context) (err error) {
	c := s.old
	s.r.WrittenBy = paperdump.Kind
	made := c.Made
	if made.IsZero() {
		made = time.Unix(1, 0).UTC()
		s.note("its catalog does not say when it was made")
	}
	for _, line := range c.Odd {
		s.lacks("a line of its catalog cannot be understood: %s", line)
	}
	if c.Cut != "" {
		s.note("its catalog is truncated after %d items: %s. The rest is taken from the archives", len(c.Items), c.Cut)
	}
	s.events.Emit(event.Note{Text: s.r.Barcode + ": written by paper-dump, whose catalog has neither members nor places: all of it is read, which takes as long as a full check"})
	s.found = &archives{seen: make(map[place]bool)}
	if s.found.file, err = s.file(); err != nil {
		return err
	}
	size, err := s.oldFiles(ctx)
	if err != nil {
		return err
	}
	s.absent()
	if len(s.found.numbers) == 0 {
		return errors.New("it is a tape of paper-dump, and no archive on it can be read: it is not taken in")
	}
	s.r.Label = catalog.Label{
		Tape: c.Tape(s.r.Barcode), Pair: c.Pair(), Barcode: s.r.Barcode, Twin: c.Twin(s.r.Barcode), RecordSize: size, Created: made,
	}
	s.found.head = catalog.Session{Pair: c.Pair(), Session: c.Session(), Job: c.Job(), Number: 1, RecordSize: size, Closed: made, Record: firstRecord}
	s.found.place = ledger.CatalogPlace{Records: 1, Bytes: int64(len(c.Text)), MD5: c.MD5()}
	return nil
}

// oldFiles reads all tape files, and returns the length of the tape's records.
func (s *scan) oldFiles(ctx context.Context) (size int, err error) {
	out := gob.NewEncoder(s.found.file)
	known := false // else size is that of the longest of those that are their archive's only one
	block, err := s.behindOldCatalog(ctx)
	read := int64(0)
	for n := 1; err == nil; n++ {
		var in *tapeFile
		if in, err = s.openLoose(ctx, block, cmp.Or(size, paperdump.RecordSize)); err != nil {
			break
		}
		in.loose.heard = func(bytes int64) { s.progress(read + bytes) }
		a, ended, err := s.oldArchive(in, block, n)
		if err != nil {
			return 0, err
		}
		read += in.loose.bytes
		if a != nil && !known && a.Size >= size {
			size, known = a.Size, a.Records > 1
		}
		switch {
		case a == nil:
		case a.Records > 1 && a.Size != size, a.Size > size:
			s.lacks("the archive in tape file %d has records of %d bytes, those before it of %d: it is left out", n, a.Size, size)
		case slices.Contains(s.found.numbers, a.Number):
			s.lacks("tape file %d has archive %d once more: it is left out", n, a.Number)
		default:
			s.found.numbers = append(s.found.numbers, a.Number)
			if err := out.Encode(a); err != nil {
				return 0, err
			}
			s.found.end = block + a.Records + 1
		}
		if block = in.next; ended != nil {
			s.r.Lacking = s.r.Lacking || !errors.Is(ended, errEnds)
			return size, s.over(ended)
		}
	}
	return size, s.over(err)
}

// behindOldCatalog returns the block behind the catalog's filemark.
func (s *scan) behindOldCatalog(ctx context.Context) (int64, error) {
	in, err := s.openLoose(ctx, 1, paperdump.RecordSize)
	if err != nil {
		return 0, err
	}
	err = in.toMark()
	if in.next != firstRecord && err == nil {
		s.note("%d records more lie behind the catalog in tape file 0, and are not looked at", in.next-firstRecord)
	}
	s.found.end = firstRecord
	return in.next, err
}

// oldArchive reads one tape file; it is nil if there is no archive in it. ended is why none follows it, err why the tape
// cannot be read on.
func (s *scan) oldArchive(in *tapeFile, block int64, number int) (_ *oldArchive, ended, err error) {
	from := in.ahead()
	a, err := paperdump.ReadArchive(from)
	from.end()
	if in.failed != nil {
		return nil, nil, in.failed
	}
	records := in.next - block // without what could not be read behind them
	if in.mark || errors.Is(err, errEnds) {
		records--
	}
	torn := ""
	switch {
	case errors.Is(err, errEnds):
		if ended = err; records == 0 {
			return nil, ended, nil
		}
		torn = "the tape ends inside it"
	case err != nil:
		torn = fmt.Sprintf("%v; the rest of it was not tried", err)
		in.lost = 0
		ended = in.toMark()
	}
	l := in.loose
	what := fmt.Sprintf("archive %d in tape file %d", a.Number, number)
	if a.PID == "" {
		what = fmt.Sprintf("tape file %d", number)
	}
	for _, r := range runs(l.lost) {
		first, last := block+r.From/int64(l.of()), block+(r.To-1)/int64(l.of())
		if first == last {
			s.lacks("%s: record %d cannot be read", what, first)
		} else {
			s.lacks("%s: records %d to %d cannot be read", what, first, last)
		}
	}
	switch {
	case records == 0:
		return nil, ended, nil // an empty tape file, as a second filemark makes it
	case l.uneven != 0:
		s.lacks("%s is left out: its records have different lengths, which nobody can count with, from record %d on", what, l.uneven)
		return nil, ended, nil
	case a.PID == "":
		s.lacks("%s is left out: no archive of paper-dump's is in it that can be read; %s", what, cmp.Or(torn, "it holds something else"))
		return nil, ended, nil
	case a.PID != s.old.PID:
		s.lacks("%s is of run %s, the catalog of run %s: it is left out", what, a.PID, s.old.PID)
		return nil, ended, nil
	case torn != "":
		s.lacks("%s is torn: %s", what, torn)
	case !a.Whole():
		s.lacks("%s ends before its time: what it should hold more is not known", what)
	}
	for _, name := range a.Refused {
		s.lacks("%s has a member that is not taken in: %s", what, name)
	}
	if a.Unlisted > 0 {
		s.lacks("%s has %d more members that are not taken in", what, a.Unlisted)
	}
	out := &oldArchive{Number: a.Number, TapeFile: number, Record: block, Records: records, Size: l.first, Damaged: make(map[int]string)}
	for _, it := range group(a, s.old, l.lost) {
		at := place{it.host, it.path}
		if s.found.seen[at] {
			s.lacks("%s holds %s once more: it is left out", what, at)
			continue
		}
		s.found.seen[at] = true
		if it.listed == nil && s.old.Cut == "" {
			if s.found.unnamed++; s.found.unnamed <= mostUnnamed {
				s.note("%s holds %s, which the catalog does not name", what, at)
			}
		}
		if it.why != "" {
			s.r.Lacking = true
			out.Damaged[len(out.Items)] = it.why
		}
		out.Items = append(out.Items, it.item())
	}
	s.events.Emit(event.Note{Text: fmt.Sprintf("%s: %s read (items: %d)", s.r.Barcode, what, len(out.Items))})
	return out, ended, nil
}

// runs joins ranges that follow each other.
func runs(all []paperdump.Range) (out []paperdump.Range) {
	for _, r := range all {
		if n := len(out); n > 0 && out[n-1].To == r.From {
			out[n-1].To = r.To
			continue
		}
		out = append(out, r)
	}
	return out
}

// mostUnnamed is how many items are told one by one that the catalog does not name.
const mostUnnamed = 20

// absent tells of items that the catalog names and no archive holds.
func (s *scan) absent() {
	if more := s.found.unnamed - mostUnnamed; more > 0 {
		s.note("%d more items are on the tape that the catalog does not name", more)
	}
	for _, it := range s.old.Items {
		if at := (place{it.Host, it.Path}); !s.found.seen[at] {
			s.lacks("%s is in the catalog, in archive %d, and was not found on the tape", at, it.Archive)
		}
	}
}

// session is what the ledger is told. The archives are read from their file each time.
func (a *archives) session() ledger.ScannedSession {
	return ledger.ScannedSession{Head: a.head, Catalog: a.place, End: a.end, Archives: a.all()}
}

func (a *archives) all() iter.Seq2[ledger.ScannedArchive, error] {
	return func(yield func(ledger.ScannedArchive, error) bool) {
		in := gob.NewDecoder(io.NewSectionReader(a.file, 0, math.MaxInt64))
		for {
			var o oldArchive
			err := in.Decode(&o)
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(o.scanned(a.head), err) || err != nil {
				return
			}
		}
	}
}

// scanned gives the members their places.
func (o *oldArchive) scanned(head catalog.Session) ledger.ScannedArchive {
	size := int64(head.RecordSize)
	for i := range o.Items {
		it := &o.Items[i]
		for k := range it.Entries {
			e := &it.Entries[k]
			at := e.Record
			e.Archive, e.Record, e.Offset = o.Number, o.Record+at/size, int(at%size)
		}
	}
	return ledger.ScannedArchive{
		Archive: &catalog.Archive{
			Pair: head.Pair, Session: head.Session, Job: head.Job, Number: o.Number, TapeFile: o.TapeFile,
			Record: o.Record, RecordSize: head.RecordSize, Items: o.Items,
		},
		Records: o.Records, Damaged: o.Damaged,
	}
}
