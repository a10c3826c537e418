// Package plan packs items into archives and archives onto a pair of tapes. It is pure: it reads nothing and writes
// nothing; sizes come with the items, capacities with the limits. A Planner is used by one goroutine; it holds one
// archive's items at a time, however much a tape takes.
package plan

import (
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"

	"twintape/internal/catalog"
)

// MaxMembers is how many members an archive takes before the next one begins: it bounds the memory that one archive's
// entries need. A single item may have more.
const MaxMembers = 1 << 16

// Limits bound the plan.
type Limits struct {
	ArchiveSize int64 // bytes an archive should not exceed; a larger item gets an archive of its own
	RecordSize  int   // bytes
	Remaining   int64 // bytes that the smaller of the two tapes takes from Record on
	Empty       int64 // bytes that an empty tape takes
}

// Start is what all archives of the session have in common, and where the first one lies.
type Start struct {
	Pair, Session, Job string // UUIDs
	Number             int    // of the first archive
	TapeFile           int
	Record             int64
	Earlier            int // sessions on the pair before this one
}

// Archive is one archive as planned.
type Archive struct {
	*catalog.Archive
	Layout catalog.Layout
}

// ErrFull says that an item does not fit on what is left of the pair.
var ErrFull = errors.New("does not fit on what is left of the tapes")

// TooLargeError says that an item fits on no tape.
type TooLargeError struct{ Need, Have int64 }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("needs %s on tape, an empty tape takes %s: split it into smaller items",
		humanize.IBytes(uint64(e.Need)), humanize.IBytes(uint64(e.Have)))
}

// Planner packs items, in the order in which they come.
type Planner struct {
	limits Limits
	start  Start
	next   *catalog.Archive
	bytes  int64 // upper bound of next's bytes on tape
	count  int   // members in next
	used   int64 // bytes of the archives that are complete
	closed int64 // upper bound of the closing catalog's bytes
}

// New returns a Planner for one session.
func New(l Limits, s Start) *Planner {
	p := &Planner{limits: l, start: s, closed: catalog.SessionOverhead(l.RecordSize, s.Earlier)}
	p.begin()
	return p
}

func (p *Planner) begin() {
	s := &p.start
	p.next = &catalog.Archive{
		Pair: s.Pair, Session: s.Session, Job: s.Job,
		Number: s.Number, TapeFile: s.TapeFile, Record: s.Record, RecordSize: p.limits.RecordSize,
	}
	p.bytes, p.count = catalog.ArchiveOverhead(p.limits.RecordSize), 0
}

// Add takes the next item. It returns the archive that became complete by it, if one did. ErrFull and *TooLargeError
// concern this item alone: a smaller one may still fit. Any other error says that the item cannot be on tape as it is.
func (p *Planner) Add(it catalog.Item) (*Archive, error) {
	onTape, inCatalog, err := it.Cost(p.limits.RecordSize)
	if err != nil {
		return nil, err
	}
	alone := catalog.ArchiveOverhead(p.limits.RecordSize) + onTape
	need := alone + inCatalog + catalog.SessionOverhead(p.limits.RecordSize, 0)
	if need > p.limits.Empty {
		return nil, &TooLargeError{Need: need, Have: p.limits.Empty}
	}
	begins := len(p.next.Items) > 0 && (p.bytes+onTape > p.limits.ArchiveSize || p.count+len(it.Entries) > MaxMembers)
	total := p.used + p.bytes + onTape + p.closed + inCatalog
	if begins {
		total += catalog.ArchiveOverhead(p.limits.RecordSize)
	}
	if total > p.limits.Remaining {
		return nil, ErrFull
	}
	var done *Archive
	if begins {
		if done, err = p.complete(); err != nil {
			return nil, err
		}
	}
	p.next.Items = append(p.next.Items, it)
	p.bytes += onTape
	p.count += len(it.Entries)
	p.closed += inCatalog
	return done, nil
}

// Room is an upper bound of the data that still fits on the pair.
func (p *Planner) Room() int64 { return p.limits.Remaining - p.used - p.bytes - p.closed }

// Empty is how much an empty tape takes.
func (p *Planner) Empty() int64 { return p.limits.Empty }

// Finish returns the last archive, nil if it would be empty.
func (p *Planner) Finish() (*Archive, error) {
	if len(p.next.Items) == 0 {
		return nil, nil
	}
	return p.complete()
}

// complete lays the archive out and begins the next one behind it.
func (p *Planner) complete() (*Archive, error) {
	layout, err := p.next.Layout()
	if err != nil {
		return nil, err
	}
	done := &Archive{Archive: p.next, Layout: layout}
	p.used += layout.Records * int64(p.limits.RecordSize)
	p.start.Number++
	p.start.TapeFile++
	p.start.Record += layout.Records + 1 // the filemark counts
	p.begin()
	return done, nil
}
