package verify

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"twintape/internal/catalog"
	"twintape/internal/digest"
	"twintape/internal/paperdump"
	"twintape/internal/tape"
)

// pass is one reading of the archives.
type pass struct {
	*check
	walk   walk
	base   int64 // records of the archives before this one
	misses misses
	ended  bool // the tape ended before its time
}

// read reads a plan and judges what passes. As a sample it ends with errFound at the first mismatch; otherwise it goes on
// through all of them, and what could not be read is bad.
func (c *check) read(ctx context.Context, plan []span, sampling bool) error {
	c.r.ItemsRead, c.r.DataRead, c.r.Items = 0, 0, nil
	c.r.BytesRead = c.fixed
	c.planned = c.moved
	for _, s := range plan {
		c.planned += (s.end - s.first) * int64(c.e.RecordSize)
	}
	p := &pass{check: c, misses: misses{run: c.r.RunRecords}}
	p.walk.md5, p.walk.parse = digest.NewMD5(), catalog.ParseHeader
	if c.e.Old {
		p.walk.parse = paperdump.ParseHeader
	}

	ctx, cancel := context.WithCancel(ctx)
	limit := c.o.Limit
	if !sampling {
		limit = 0
	}
	ring := newRing(c.d, c.e.RecordSize, limit)
	var reader sync.WaitGroup
	reader.Go(func() { ring.run(ctx, plan) })
	defer reader.Wait()
	defer cancel()

	rec, more := <-ring.out
	err := c.each(ctx, func(a *archive) error {
		if !sampling && !c.e.Old {
			if err := a.expectTexts(); err != nil {
				c.found(Mismatch{Kind: KindCatalog, Archive: a.Number, Record: a.Record, Reason: fmt.Sprintf("the catalog cannot be true of this archive: %v", err)})
			}
		}
		p.walk.begin(a)
		p.walk.wrong = func(off int64, at *part, m Mismatch) { p.wrong(a, off, at, m) }
		if p.ended {
			p.lost(a, 0, a.records*int64(a.RecordSize), "the tape ends before it")
		}
		for more && rec.span.archive == a.index {
			p.look(a, rec)
			if sampling && len(c.r.Mismatches) > 0 {
				return errFound
			}
			ring.free <- rec.data[:cap(rec.data)]
			c.progress(false)
			rec, more = <-ring.out
		}
		p.tally(a)
		if !more {
			return ring.err
		}
		return nil
	})
	c.r.MissItem = 0
	if c.r.ItemsTotal > 0 {
		c.r.MissItem = 1 - float64(c.r.ItemsRead)/float64(c.r.ItemsTotal)
	}
	c.r.MissRun = p.misses.chance(p.base)
	return err
}

// look judges one block.
func (p *pass) look(a *archive, rec record) {
	size := int64(a.RecordSize)
	off := (rec.number - a.Record) * size
	if rec.again {
		p.r.Retried++
	}
	if p.e.Old && rec.err == nil && rec.number == a.Record+a.records-1 && int64(len(rec.data)) < size { // what lacks belongs to no member
		rec.data = append(rec.data, make([]byte, size-int64(len(rec.data)))...)
	}
	m := Mismatch{Kind: KindRecord, Archive: a.Number, Record: rec.number}
	near := a.nearest(off, off+size)
	m.Host, m.Path = near.Host, near.Path
	switch {
	case errors.Is(rec.err, tape.ErrEndOfData):
		p.ended = true
		m.Kind, m.Reason = KindStructure, "the tape ends inside the archive"
		p.found(m)
		p.lost(a, off, a.records*size, "the tape ends before its last record")
	case rec.mark && errors.Is(rec.err, tape.ErrFilemark):
	case rec.mark && rec.err != nil && !errors.Is(rec.err, tape.ErrShortBuffer):
		m.Reason = fmt.Sprintf("the filemark behind the archive is unreadable: %v", rec.err)
		p.found(m)
	case rec.mark:
		p.moved += int64(len(rec.data))
		m.Kind, m.Expected, m.Found, m.Reason = KindStructure, "a filemark", "a record", "the archive does not end where it should"
		p.found(m)
	case rec.err == nil && int64(len(rec.data)) == size:
		p.moved += size
		p.r.BytesRead += size
		p.misses.read(p.base + rec.number - a.Record)
		p.checksum(a, rec, m)
		p.walk.pass(off, rec.data)
	default:
		p.moved += int64(len(rec.data))
		end := off + size
		switch {
		case rec.err == nil:
			m.Kind, m.Expected, m.Found = KindStructure, fmt.Sprintf("%d bytes", size), fmt.Sprintf("%d bytes", len(rec.data))
			m.Reason = "a record has another length"
		case errors.Is(rec.err, tape.ErrShortBuffer):
			m.Kind, m.Expected, m.Found = KindStructure, fmt.Sprintf("%d bytes", size), "more"
			m.Reason = "a record is longer than it should be"
		case errors.Is(rec.err, tape.ErrFilemark):
			m.Kind, m.Expected, m.Found, m.Reason = KindStructure, "a record", "a filemark", "a filemark lies inside the archive"
		default:
			m.Reason = fmt.Sprintf("the record is unreadable: %v", rec.err)
		}
		if rec.gaveUp {
			end = a.records * size
			m.Reason += fmt.Sprintf("; it is the %dth unreadable record in a row, and the rest of the archive was not tried", mostUnreadable)
		}
		p.found(m)
		p.lost(a, off, end, fmt.Sprintf("record %d: %s", rec.number, m.Reason))
	}
}

// checksum compares a record with what the catalog says of it.
func (p *pass) checksum(a *archive, rec record, m Mismatch) {
	if a.crcs == nil {
		return
	}
	expected, found := binary.LittleEndian.Uint32(a.crcs[4*(rec.number-a.Record):]), digest.CRC32C(rec.data)
	if found != expected {
		m.Expected, m.Found = fmt.Sprintf("%08x", expected), fmt.Sprintf("%08x", found)
		m.Reason = "the record's CRC32C differs from the catalog"
		p.found(m)
	}
}

// wrong takes a mismatch at an offset of an archive, in a member or a text.
func (p *pass) wrong(a *archive, off int64, at *part, m Mismatch) {
	m.Archive, m.Record = a.Number, a.Record+off/int64(a.RecordSize)
	near := at.entry
	if near == nil {
		near = a.nearest(off, off+1)
	} else {
		p.condemn(a, at.item, fmt.Sprintf("%s: %s", name(near.Host, near.Path), m.Reason))
	}
	m.Host, m.Path = near.Host, near.Path
	p.found(m)
}

// lost condemns the items that have a byte from one offset to before another.
func (p *pass) lost(a *archive, from, to int64, reason string) {
	for _, m := range a.around(from, to) {
		p.condemn(a, m.item, reason)
	}
}

// condemn keeps the first reason against an item.
func (p *pass) condemn(a *archive, item int, reason string) {
	key := itemKey{a.index, item}
	if p.bad[key] == "" {
		p.bad[key] = reason
	}
}

// tally puts on the report what was read of an archive's items.
func (p *pass) tally(a *archive) {
	p.base += a.records
	for n := range a.items {
		it := &a.items[n]
		if !it.counts() {
			continue
		}
		bad := p.bad[itemKey{a.index, n}]
		if it.unread == 0 {
			p.r.ItemsRead++
		}
		p.r.DataRead += it.data
		id := it.ID
		if p.disowned[itemKey{a.index, n}] {
			id = 0
		}
		p.r.Items = append(p.r.Items, Item{
			ID: id, Session: a.Session, Archive: a.Number, Host: it.Host, Path: it.Path,
			Read: it.data, Full: it.unmatched == 0 && bad == "", Bad: bad,
		})
	}
}
