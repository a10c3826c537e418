package ledger

import (
	"cmp"
	"context"
	"slices"

	"twintape/internal/catalog"
)

// mergeArchive joins what two tapes of another program tell of an archive, whose catalogs tell too little of it: each may give
// back what the other does not. It returns the archive as the ledger has it then, with what this tape lacks of it; false if
// it is another.
func (b *rebuilding) mergeArchive(ctx context.Context, p PlannedArchive, a ScannedArchive, s *ScannedSession) (ScannedArchive, bool, error) {
	if p.TapeFile != a.TapeFile || p.Record != a.Record {
		b.differ("archive %d: it is tape file %d from record %d on, in the ledger tape file %d from record %d on", a.Number, a.TapeFile, a.Record, p.TapeFile, p.Record)
		return a, false, nil
	}
	known, err := loadArchive(ctx, b.tx, p.ID)
	if err != nil {
		return a, false, err
	}
	type place struct{ host, path string }
	mine := make(map[place]int)
	for seq := range a.Items {
		mine[place{a.Items[seq].Host, a.Items[seq].Path}] = seq
	}
	more := a.Records > p.Records
	var items []catalog.Item
	damaged := make(map[*catalog.Entry]string) // by the item's first member
	lacks := func(it *catalog.Item, why string) {
		if len(it.Entries) > 0 {
			damaged[&it.Entries[0]] = why
		}
	}
	for i := range known.Items {
		it := known.Items[i]
		it.ID = 0
		at := place{it.Host, it.Path}
		seq, there := mine[at]
		delete(mine, at)
		good := there && a.Damaged[seq] == ""
		switch {
		case reasonOf(it) != "" && good:
			it, more = a.Items[seq], true
		case reasonOf(it) != "":
		case !there:
			lacks(&it, "it was not found there")
		case !good:
			lacks(&it, a.Damaged[seq])
		default:
			if what := differentItem(&it, &a.Items[seq], true); what != "" {
				lacks(&it, what)
			}
		}
		items = append(items, it)
	}
	for _, seq := range mine {
		items, more = append(items, a.Items[seq]), true
	}
	if more { // in tape order, and those of which nothing is known to lie there last; else as the ledger has them
		slices.SortFunc(items, func(x, y catalog.Item) int {
			return cmp.Or(cmp.Compare(min(len(y.Entries), 1), min(len(x.Entries), 1)), compareFirst(x.Entries, y.Entries), cmp.Compare(x.Host, y.Host), cmp.Compare(x.Path, y.Path))
		})
	}
	merged := *known
	merged.Items = items
	out := ScannedArchive{Archive: &merged, Records: max(a.Records, p.Records), Damaged: make(map[int]string)}
	for seq := range items {
		switch it := &items[seq]; {
		case len(it.Entries) > 0:
			out.Damaged[seq] = damaged[&it.Entries[0]]
		default:
			out.Damaged[seq] = it.Bad
		}
	}
	if more {
		err = b.renewArchive(ctx, p.ID, out, s)
	}
	return out, err == nil, err
}

func compareFirst(x, y []catalog.Entry) int {
	if len(x) == 0 || len(y) == 0 {
		return 0
	}
	return cmp.Or(cmp.Compare(x[0].Record, y[0].Record), cmp.Compare(x[0].Offset, y[0].Offset))
}
