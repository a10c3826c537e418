package archiver

import (
	"context"
	"errors"
	"slices"

	"twintape/archiver/plan"
	"twintape/internal/event"
	"twintape/internal/ledger"
)

// plan packs queued items onto the pair from a place on, recording each archive, until the pair or the queue is exhausted.
func (j *job) plan(ctx context.Context, from place) (*event.Planned, error) {
	if j.BeforePlan != nil {
		if err := j.BeforePlan(ctx); err != nil {
			return nil, err
		}
	}
	remaining, err := j.remaining(from)
	if err != nil {
		return nil, err
	}
	empty := max(remaining, j.emptyRoom())
	out := &event.Planned{}
	f := filling{
		Archiver: j.Archiver,
		planner: plan.New(
			plan.Limits{ArchiveSize: j.ArchiveSize, RecordSize: j.record, Remaining: remaining, Empty: empty},
			plan.Start{
				Pair: j.start.PairUUID, Session: j.start.SessionUUID, Job: j.row.UUID,
				Number: from.number, TapeFile: from.tapeFile, Record: from.record, Earlier: from.earlier,
			}),
		next:  j.take,
		leave: func(ctx context.Context, ids []int64) error { return j.Ledger.Release(ctx, j.row.ID, ids) },
		planned: func(ctx context.Context, p *plan.Archive, looks []ledger.ItemLook) error {
			var err error
			if j.session.ID == 0 { // from now on both tapes are this session's
				if j.session, err = j.Ledger.StartSession(ctx, j.row.ID, j.start); err != nil {
					return err
				}
			}
			out.Archives++
			out.Items += len(p.Items)
			out.Bytes += p.Layout.Data
			out.Records += p.Layout.Records
			_, err = j.Ledger.PlanArchive(ctx, j.row.ID, j.session.ID, p.Archive, p.Layout.Records, looks)
			return err
		},
		unfit: func(ctx context.Context, it ledger.Item, reason string) error {
			j.fail(FailedItem{ID: it.ID, Host: it.Host, Path: it.Path, Reason: reason})
			return errors.Join(j.Ledger.FailItem(ctx, it.ID, reason), j.Ledger.Release(ctx, j.row.ID, []int64{it.ID}))
		},
	}
	err = f.fill(ctx)
	j.report.Waiting = f.left
	if err == nil && out.Archives > 0 {
		j.Events.Emit(*out)
	}
	return out, err
}

// take claims the next items, so that archivers who work on one queue do not plan the same.
func (j *job) take(ctx context.Context, after int64) ([]ledger.Item, error) {
	for {
		items, err := j.Ledger.TakeQueued(ctx, j.row.ID, after, lookAhead)
		if err != nil || len(items) == 0 {
			return nil, err
		}
		after = items[len(items)-1].ID
		var again []int64
		items = slices.DeleteFunc(items, func(it ledger.Item) bool {
			if j.failed[it.ID] {
				again = append(again, it.ID)
			}
			return j.failed[it.ID]
		})
		if err := j.Ledger.Release(ctx, j.row.ID, again); err != nil || len(items) > 0 {
			return items, err
		}
	}
}

// remaining is how many bytes both tapes take from a place on. What lies behind it is going to be overwritten, so beyond the
// beginning the drives' word, which counts from the end of data, is only a lower bound.
func (j *job) remaining(from place) (int64, error) {
	least := int64(-1)
	for _, l := range j.tapes {
		if l == nil {
			continue
		}
		room := l.Medium.Remaining
		if blank := from == beginning && j.session.ID == 0; (!blank || l.over) && l.Medium.Capacity > 0 {
			room = max(room, usable(l.Medium.Capacity)-from.record*int64(j.record))
		}
		if room == 0 {
			return 0, l.failed(errors.New("the drive does not tell how much the tape takes"))
		}
		if least < 0 || room < least {
			least = room
		}
	}
	return least - int64(j.record), nil // the label
}

// emptyRoom is how many bytes the smaller of the tapes would take if it were empty; 0 if that is not known.
func (j *job) emptyRoom() int64 {
	var least int64
	for _, l := range j.tapes {
		if l == nil {
			continue
		}
		if room := usable(l.Medium.Capacity) - int64(j.record); least == 0 || room < least {
			least = room
		}
	}
	return least
}
