package archiver

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"

	"twintape/archiver/plan"
	"twintape/internal/catalog"
	"twintape/internal/event"
	"twintape/internal/ledger"
)

// lookAhead is how many items are looked at on their hosts at once.
const lookAhead = 8

// maxMisfits is how many items in a row may not fit any more before a pair counts as full.
const maxMisfits = 16

// filling is the planning of one pair.
type filling struct {
	*Archiver
	planner *plan.Planner
	looks   map[int64]ledger.ItemLook // of the archive that is being filled
	misfits int
	left    bool // items are left for the next pair

	// next returns the items to look at behind the one with an ID, at most lookAhead.
	next func(ctx context.Context, after int64) ([]ledger.Item, error)
	// leave gives items back that do not fit.
	leave func(context.Context, []int64) error
	// planned takes each archive as it is complete, with what its items look like now.
	planned func(context.Context, *plan.Archive, []ledger.ItemLook) error
	// unfit takes each item that cannot be archived; the rest goes on.
	unfit func(context.Context, ledger.Item, string) error
}

// fill takes waiting items in queue order, looks at each on its host, and plans them until the pair or the queue is
// exhausted.
func (f *filling) fill(ctx context.Context) error {
	f.looks = make(map[int64]ledger.ItemLook)
	for after := int64(0); f.misfits < maxMisfits; {
		items, err := f.next(ctx, after)
		if err != nil {
			return err
		}
		if len(items) == 0 {
			break
		}
		after = items[len(items)-1].ID
		if err := f.take(ctx, items); err != nil {
			return err
		}
	}
	last, err := f.planner.Finish()
	if err != nil {
		return err
	}
	return f.complete(ctx, last)
}

// take looks at some items at once, then plans them in order.
func (f *filling) take(ctx context.Context, items []ledger.Item) error {
	looks, errs := make([]*Look, len(items)), make([]error, len(items))
	var wg sync.WaitGroup
	for i, it := range items {
		if it.Bytes > f.planner.Room() && it.Bytes < f.planner.Empty() {
			continue // it did not fit when it was queued: not worth a walk
		}
		wg.Go(func() { looks[i], errs[i] = f.look(ctx, it) })
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	var misfits []int64
	for i, it := range items {
		err := errs[i]
		var archive *plan.Archive
		switch {
		case err != nil:
		case looks[i] == nil:
			err = plan.ErrFull
		default:
			archive, err = f.planner.Add(looks[i].Item)
		}
		switch {
		case err == nil:
			f.misfits = 0
			if err := f.complete(ctx, archive); err != nil {
				return err
			}
			l := looks[i]
			f.looks[it.ID] = ledger.ItemLook{ID: it.ID, Bytes: l.Bytes, Members: l.Members, Fingerprint: l.Fingerprint}
			f.tellLeftOut(&l.Item)
		case errors.Is(err, plan.ErrFull):
			f.misfits++
			f.left = true
			misfits = append(misfits, it.ID)
		default:
			if err := f.unfit(ctx, it, err.Error()); err != nil {
				return err
			}
		}
	}
	return f.leave(ctx, misfits)
}

// look walks an item at its source, and makes sure that the members with an expected MD5 are there.
func (f *filling) look(ctx context.Context, it ledger.Item) (*Look, error) {
	_, src, err := f.Namespace.Source(it.Host)
	if err != nil {
		return nil, err
	}
	l, err := Collect(ctx, src, it.Host, it.Path)
	if err != nil {
		return nil, err
	}
	l.Item.ID = it.ID
	expected, err := f.Ledger.Expected(ctx, it.ID)
	if err != nil {
		return nil, err
	}
	for below := range expected {
		if p := path.Join(it.Path, below); !hasFile(&l.Item, p) {
			return nil, fmt.Errorf("an MD5 is expected of %s:%s, but no such file is in the item", it.Host, p)
		}
	}
	return l, nil
}

func hasFile(it *catalog.Item, p string) bool {
	for i := range it.Entries {
		if it.Entries[i].Path == p {
			return it.Entries[i].Type == catalog.File
		}
	}
	return false
}

// complete hands over an archive that the planner completed, if it did.
func (f *filling) complete(ctx context.Context, a *plan.Archive) error {
	if a == nil {
		return nil
	}
	var looks []ledger.ItemLook
	for i := range a.Items {
		id := a.Items[i].ID
		looks = append(looks, f.looks[id])
		delete(f.looks, id)
	}
	return f.planned(ctx, a, looks)
}

// tellLeftOut names the members that are not on tape by their nature.
func (f *filling) tellLeftOut(it *catalog.Item) {
	for i := range it.Entries {
		if e := &it.Entries[i]; !e.Type.OnTape() {
			f.Events.Emit(event.LeftOut{Host: e.Host, Path: e.Path, Type: string(e.Type)})
		}
	}
}
