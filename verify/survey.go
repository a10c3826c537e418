package verify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"twintape/internal/catalog"
)

// survey goes through all archives that are to be read once, compares them with the ledger, and keeps where they lie.
func (c *check) survey(ctx context.Context) error {
	var records int64
	for _, s := range c.sessions {
		if s.CatalogOnly {
			continue
		}
		extents, err := c.surveySession(ctx, s)
		if errors.Is(err, errUseless) {
			c.found(Mismatch{Kind: KindCatalog, Record: s.Record, Reason: fmt.Sprintf("session %d: %v", s.Number, err)})
			s.forget()
			extents, err = c.surveySession(ctx, s)
		}
		if err != nil {
			return err
		}
		c.extents = append(c.extents, extents...)
		for _, x := range extents {
			records += x.records
			c.r.ItemsTotal += x.items
			c.r.DataTotal += x.data
		}
	}
	c.r.Archives = len(c.extents)
	c.r.BytesTotal = c.fixed + records*int64(c.e.RecordSize)
	c.r.RunRecords = min(max(runBytes/int64(c.e.RecordSize), 1), records)
	return nil
}

func (c *check) surveySession(ctx context.Context, s *session) (extents []extent, err error) {
	var d differences
	var records int64
	ledger := func() (*catalog.Archive, error, bool) { return nil, nil, false }
	if s.jsonl != nil && s.Archives != nil {
		next, stop := iter.Pull2(s.Archives())
		defer stop()
		ledger = next
	}
	err = s.each(ctx, func(a *catalog.Archive, n int64) error {
		if s.jsonl != nil && s.Archives != nil {
			l, err, _ := ledger()
			if err != nil {
				return fmt.Errorf("reading session %d from the ledger: %w", s.Number, err)
			}
			d.archives(l, a)
			c.disown(len(c.extents)+len(extents), l, a)
		}
		if records += n; !c.wanted(a.Number) {
			return nil
		}
		x := extent{first: a.Record, records: n}
		for i := range a.Items {
			if a.Items[i].Bad != "" {
				continue
			}
			x.items++
			for j := range a.Items[i].Entries {
				x.data += a.Items[i].Entries[j].Size
			}
		}
		extents = append(extents, x)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for l, err, more := ledger(); more; l, err, more = ledger() {
		if err != nil {
			return nil, fmt.Errorf("reading session %d from the ledger: %w", s.Number, err)
		}
		d.archives(l, nil)
	}
	if s.crcs != nil {
		info, err := s.crcs.Stat()
		if err != nil {
			return nil, fmt.Errorf("the copy of the checksums of session %d: %w", s.Number, err)
		}
		if info.Size() != 4*records {
			return nil, fmt.Errorf("%w: it has checksums of %d records, its archives have %d", errUseless, info.Size()/4, records)
		}
	}
	if d.count > 0 {
		d.first.Reason += fmt.Sprintf(" (session %d, the first of %d differences)", s.Number, d.count)
		c.found(d.first)
	}
	return extents, nil
}

// disown notes the items of an archive that the ledger does not count on there any more, since their copies were given up and
// written once more elsewhere: what is found here says nothing of those.
func (c *check) disown(index int, ledger, tape *catalog.Archive) {
	if ledger == nil || !c.wanted(tape.Number) {
		return
	}
	for n := range min(len(ledger.Items), len(tape.Items)) {
		if ledger.Items[n].ID == 0 {
			c.disowned[itemKey{index, n}] = true
		}
	}
}

// wanted tells whether an archive is to be read.
func (c *check) wanted(number int) bool {
	return len(c.o.Archives) == 0 || slices.Contains(c.o.Archives, number)
}

// each calls f with every archive that is to be read, in order.
func (c *check) each(ctx context.Context, f func(*archive) error) error {
	index := 0
	for _, s := range c.sessions {
		if s.CatalogOnly {
			continue
		}
		var at int64
		err := s.each(ctx, func(a *catalog.Archive, records int64) error {
			var crcs []byte
			if s.crcs != nil {
				crcs = make([]byte, 4*records)
				if _, err := s.crcs.ReadAt(crcs, at); err != nil {
					return fmt.Errorf("the copy of the checksums of session %d: %w", s.Number, err)
				}
				at += int64(len(crcs))
			}
			if !c.wanted(a.Number) {
				return nil
			}
			l := lay(index, a, records, crcs)
			index++
			return f(l)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
