package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"twintape/internal/ledger"
	"twintape/internal/paperdata"
)

// writeBack compares all rows that this ledger has taken with the ledger, and writes where they lie, and whether they may be deleted,
// where that is not what they say.
func (p *pass) writeBack(ctx context.Context) error {
	tapes, err := p.Archiver.Ledger.Tapes(ctx)
	if err != nil {
		return err
	}
	sides := make(map[string]int)
	for _, t := range tapes {
		sides[t.Barcode] = t.Side
	}
	strange := make(map[string]bool)
	err = inBatches(p.db.Ours(ctx), func(rows []paperdata.Row) error {
		places, err := p.places(ctx, rows, sides)
		if err != nil {
			return err
		}
		written, unknown, err := p.db.WriteBack(ctx, places)
		for _, label := range unknown {
			strange[label] = true
		}
		p.r.Written += written
		for _, place := range places {
			if place.Deletable {
				p.r.Deletable++
			}
		}
		return err
	})
	for _, label := range slices.Sorted(maps.Keys(strange)) {
		p.r.problem("paper-dump's table ids does not know the label %s, so it has no date there", label)
	}
	return err
}

// places is what some rows are to say, of those that do not say it.
func (p *pass) places(ctx context.Context, rows []paperdata.Row, sides map[string]int) (out []paperdata.Place, err error) {
	var items []ledger.NewItem // of the rows
	var paths [][2]string
	for i := range rows {
		it, err := p.item(rows[i])
		if err != nil {
			p.r.Problems = append(p.r.Problems, err)
		} else {
			paths = append(paths, [2]string{it.Host, it.Path})
		}
		items = append(items, it)
	}
	latest, err := p.Archiver.Ledger.LatestItems(ctx, paths)
	if err != nil {
		return nil, err
	}
	var ids []int64
	for _, it := range latest {
		ids = append(ids, it.ID)
	}
	laid, err := p.Archiver.Ledger.Laid(ctx, ids, data)
	if err != nil {
		return nil, err
	}
	for i, row := range rows {
		place, err := p.place(row, items[i], latest[[2]string{items[i].Host, items[i].Path}], laid, sides)
		if err != nil {
			p.r.Problems = append(p.r.Problems, &rowError{Source: row.Source, Err: err})
		}
		if place.Index != row.TapeIndex || place.Deletable != row.Deletable && p.db.OnTape(row) {
			out = append(out, place)
		}
	}
	return out, nil
}

// place is what a row is to say, given its item as it is and as it lies. If there is an error it must not say that it may be deleted.
func (p *pass) place(row paperdata.Row, wanted ledger.NewItem, it ledger.Item, laid map[int64]ledger.Laid, sides map[string]int) (paperdata.Place, error) {
	as := paperdata.Place{Row: row, Index: row.TapeIndex} // as it is, and not to be deleted
	switch {
	case wanted.Host == "": // told already
		return as, nil
	case it.ID == 0 && p.db.OnTape(row):
		return as, errors.New("the ledger knows no such item any more, so it may not be deleted")
	case it.State == ledger.Failed && !p.db.OnTape(row):
		p.r.Failed = append(p.r.Failed, it)
	}
	if it.State != ledger.Archived && it.State != ledger.Deletable {
		return as, nil
	}
	at := laid[it.ID]
	switch want := wanted.Expected[data]; {
	case at.MD5.IsZero():
		return as, fmt.Errorf("the tapes hold no %s of it that its md5sum could be compared with: nothing is written back", data)
	case at.MD5 != want:
		return as, fmt.Errorf("the tapes hold a %s with the MD5 %s, but its md5sum is %s: nothing is written back", data, at.MD5, want)
	}
	var good []ledger.Copy
	for _, c := range it.Copies {
		if c.Bad == "" && !c.Verified.IsZero() {
			good = append(good, c)
		}
	}
	slices.SortFunc(good, func(a, b ledger.Copy) int {
		return cmp.Or(cmp.Compare(sides[a.Barcode], sides[b.Barcode]), cmp.Compare(a.Barcode, b.Barcode))
	})
	if len(good) < 2 {
		return as, nil
	}
	as.Tapes = [2]string{good[0].Barcode, good[1].Barcode}
	as.When = good[0].Verified
	if good[1].Verified.After(as.When) {
		as.When = good[1].Verified
	}
	index, err := p.db.Index(as.Tapes, at.Archive, at.Item)
	if err != nil {
		return as, err
	}
	as.Index, as.Deletable = index, it.State == ledger.Deletable
	return as, nil
}

// others tells of rows that ledgers have taken which may no longer be there.
func (p *pass) others(ctx context.Context) error {
	counts, err := p.db.OtherClaims(ctx)
	for claim, n := range counts {
		p.r.problem("%d rows are taken by another ledger (tape_index %s): if that ledger is lost, set their tape_index to NULL", n, claim)
	}
	return err
}
