package bridge

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"twintape/internal/ledger"
	"twintape/internal/paperdata"
)

// pass is one call.
type pass struct {
	*Bridge
	db *paperdata.DB
	r  *Report
}

// recheck takes what waits out of the queue if its row is another's now. An old paper-dump overwrites a claim that came between its
// reading a row and its taking it; so who has the row is asked again before the item is archived.
func (p *pass) recheck(ctx context.Context) error {
	for after := int64(0); ; {
		rows, err := p.Archiver.Ledger.WaitingRows(ctx, after, atOnce)
		if err != nil || len(rows) == 0 {
			return err
		}
		after = rows[len(rows)-1].Item
		var names []string
		for _, row := range rows {
			names = append(names, row.Source)
		}
		held, err := p.db.Holders(ctx, names)
		if err != nil {
			return err
		}
		for _, row := range rows {
			holder, there := held[row.Source]
			switch {
			case !there:
				p.r.problem("%s waits, but its row is gone from File: `twintape queue rm` takes it out, or it is archived all the same", row.Source)
				continue
			case holder == "" || holder == p.db.Claim() || p.db.OnTape(paperdata.Row{TapeIndex: holder}):
				continue
			}
			err := p.Archiver.Ledger.Forsake(ctx, row)
			switch {
			case err == nil:
				p.r.Lost++
				p.r.problem("%s is taken out of the queue: another took its row (tape_index %s)", row.Source, holder)
			case errors.Is(err, ledger.ErrClaimed), errors.Is(err, ledger.ErrOnTape), errors.Is(err, ledger.ErrNotFound):
				// Too late, or somebody else did it: the write-back tells.
			default:
				return err
			}
		}
	}
}

// claims mends what was cut off: rows that are taken, but not queued. Those that were taken out of the queue are given back.
func (p *pass) claims(ctx context.Context) error {
	var unknown []paperdata.Row
	var back []string
	err := inBatches(p.db.Claims(ctx), func(rows []paperdata.Row) error {
		known, err := p.Archiver.Ledger.BridgedRows(ctx, sourcesOf(rows))
		for _, row := range rows {
			item, is := known[row.Source]
			switch {
			case !is:
				unknown = append(unknown, row)
			case item == 0:
				back = append(back, row.Source)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	items, _, err := p.look(ctx, unknown, func(source string) { back = append(back, source) })
	if err != nil {
		return err
	}
	if err := p.queue(ctx, items); err != nil {
		return err
	}
	return p.release(ctx, back)
}

// inBatches gives rows to f, some at a time.
func inBatches(rows iter.Seq2[paperdata.Row, error], f func([]paperdata.Row) error) error {
	var batch []paperdata.Row
	for row, err := range rows {
		if err != nil {
			return err
		}
		if batch = append(batch, row); len(batch) == atOnce {
			if err := f(batch); err != nil {
				return err
			}
			batch = nil
		}
	}
	if len(batch) == 0 {
		return nil
	}
	return f(batch)
}

// look walks the items of rows on their hosts and returns those that can be archived, with their rows. The others are told.
func (p *pass) look(ctx context.Context, rows []paperdata.Row, bad func(source string)) (items []ledger.NewItem, good []paperdata.Row, err error) {
	var all []ledger.NewItem
	var of []paperdata.Row
	for _, row := range rows {
		it, err := p.item(row)
		if err != nil {
			p.r.Problems = append(p.r.Problems, err)
			bad(row.Source)
			continue
		}
		all, of = append(all, it), append(of, row)
	}
	errs, err := p.Archiver.Look(ctx, all, 0)
	if err != nil {
		return nil, nil, err
	}
	for i, err := range errs {
		if err != nil {
			p.r.Problems = append(p.r.Problems, &rowError{Source: of[i].Source, Err: err})
			bad(of[i].Source)
			continue
		}
		items, good = append(items, all[i]), append(good, of[i])
	}
	return items, good, nil
}

// take takes new rows, in paper-dump's order.
func (p *pass) take(ctx context.Context, limit int) error {
	var after *paperdata.Row
	for left := limit; limit == 0 || left > 0; {
		size := atOnce
		if limit > 0 {
			size = min(size, left)
		}
		page, err := p.db.Tapeable(ctx, after, size)
		if err != nil || len(page) == 0 {
			return err
		}
		after = &page[len(page)-1]
		known, err := p.Archiver.Ledger.BridgedRows(ctx, sourcesOf(page))
		if err != nil {
			return err
		}
		var wanted []paperdata.Row
		for _, row := range page {
			if item, is := known[row.Source]; is && item == 0 {
				p.r.Removed++
				continue
			}
			wanted = append(wanted, row)
		}
		items, good, err := p.look(ctx, wanted, func(string) {})
		if err != nil {
			return err
		}
		taken, err := p.db.Take(ctx, good)
		if err != nil {
			return err
		}
		left -= len(taken)
		names := sourcesOf(taken)
		items = slices.DeleteFunc(items, func(it ledger.NewItem) bool { return !slices.Contains(names, it.Row) }) // another was faster
		if err := p.queue(ctx, items); err != nil {
			return err
		}
	}
	return nil
}

// queue queues the items of rows that are taken. Those that cannot be queued are given back.
func (p *pass) queue(ctx context.Context, items []ledger.NewItem) error {
	if len(items) == 0 {
		return nil
	}
	// File says that it is to go to tape; so a new version of what is archived goes there, too.
	out, err := p.Archiver.Ledger.Enqueue(ctx, items, true)
	if err != nil {
		return err
	}
	var back []string
	for _, e := range out {
		if e.Outcome == ledger.Enclosed {
			p.r.Problems = append(p.r.Problems, &rowError{Source: e.Row, Err: fmt.Errorf("%s:%s waits, and one of them lies in the other", e.Host, e.Other)})
			back = append(back, e.Row)
			continue
		}
		p.r.Queued = append(p.r.Queued, e)
	}
	return p.release(ctx, back)
}

func (p *pass) release(ctx context.Context, rows []string) error {
	if len(rows) == 0 {
		return nil
	}
	n, err := p.db.Release(ctx, rows)
	p.r.Released += n
	return err
}

func sourcesOf(rows []paperdata.Row) []string {
	var out []string
	for _, r := range rows {
		out = append(out, r.Source)
	}
	return out
}
