package archiver

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"twintape/archiver/plan"
	"twintape/internal/ledger"
)

// DryPlan is what a run would write now.
type DryPlan struct {
	Tapes    [2]string
	Archives []DryArchive
	Failed   []FailedItem
	Waiting  bool  // items are left for the next pair
	Bytes    int64 // of the members' data
	OnTape   int64 // of the archives' records, on each tape
}

// DryArchive is one archive of a DryPlan.
type DryArchive struct {
	Number   int
	TapeFile int
	Record   int64
	Records  int64
	Bytes    int64
	Items    []DryItem
}

// DryItem is one item of a DryPlan.
type DryItem struct{ Host, Path string }

// DryRun plans as Run does, with the ledger's word for the capacity of the tapes. It moves no cartridge and records
// nothing.
func (a *Archiver) DryRun(ctx context.Context) (*DryPlan, error) {
	waiting, err := a.waiting(ctx, 0)
	if err != nil {
		return nil, err
	}
	if len(waiting) == 0 {
		return nil, ErrNothingQueued
	}
	tapes, err := a.choose(ctx, waiting)
	if err != nil {
		return nil, err
	}
	out := &DryPlan{Tapes: [2]string{tapes[0].Barcode, tapes[1].Barcode}}
	record, from := a.RecordSize, beginning
	if pair := tapes[0].Pair; pair != "" {
		record = tapes[0].RecordSize
		t, err := a.nextTail(ctx, pair)
		if err != nil {
			return nil, err
		}
		from = t.end
	}
	empty := usable(min(tapes[0].Capacity, tapes[1].Capacity)) - int64(record)
	if empty <= 0 {
		return nil, errors.New("the ledger does not know the capacity of the tapes yet: their first run will ask the drives")
	}
	remaining := empty - max(tapes[0].Used, tapes[1].Used)
	f := filling{
		Archiver: a,
		planner: plan.New(
			plan.Limits{ArchiveSize: a.ArchiveSize, RecordSize: record, Remaining: remaining, Empty: empty},
			// UUIDs as long as the real ones: the layout depends on their length alone.
			plan.Start{
				Pair: uuid.NewString(), Session: uuid.NewString(), Job: uuid.NewString(),
				Number: from.number, TapeFile: from.tapeFile, Record: from.record, Earlier: from.earlier,
			}),
		next:  a.waiting,
		leave: func(context.Context, []int64) error { return nil },
		planned: func(_ context.Context, p *plan.Archive, _ []ledger.ItemLook) error {
			d := DryArchive{Number: p.Number, TapeFile: p.TapeFile, Record: p.Record, Records: p.Layout.Records, Bytes: p.Layout.Data}
			for _, it := range p.Items {
				d.Items = append(d.Items, DryItem{Host: it.Host, Path: it.Path})
			}
			out.Archives = append(out.Archives, d)
			out.Bytes += p.Layout.Data
			out.OnTape += p.Layout.Records * int64(record)
			return nil
		},
		unfit: func(_ context.Context, it ledger.Item, reason string) error {
			out.Failed = append(out.Failed, FailedItem{ID: it.ID, Host: it.Host, Path: it.Path, Reason: reason})
			return nil
		},
	}
	err = f.fill(ctx)
	out.Waiting = f.left
	return out, err
}
