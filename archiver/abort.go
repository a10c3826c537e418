package archiver

import (
	"context"
	"fmt"
	"slices"

	"twintape/internal/ledger"
)

// Abort ends a job that was cut off or stopped: what it flushed stays and is closed by a catalog, behind a check as
// Resume's, and the rest waits for another job. With forget no tape is touched: what it flushed and no catalog closes is given
// up, so that its items wait too, and its pair counts as full.
func (a *Archiver) Abort(ctx context.Context, was ledger.Job, owner ledger.Owner, forget bool) (*Report, error) {
	j, err := a.reopen(ctx, was, owner)
	if err != nil {
		return nil, err
	}
	j.aborting = true
	ctx, end := a.heartbeat(ctx)
	defer end()
	return j.finish(ctx, j.abort(ctx, forget))
}

func (j *job) abort(ctx context.Context, forget bool) error {
	archives, err := j.flushedArchives(ctx)
	if err != nil || len(archives) == 0 || !j.session.Closed.IsZero() {
		return err
	}
	if forget {
		if err := j.Ledger.SetFull(ctx, j.session.Pair); err != nil {
			return err
		}
		for _, archive := range slices.Backward(archives) {
			if err := j.Ledger.GiveUp(ctx, archive.ID); err != nil {
				return err
			}
		}
		return nil
	}
	t, err := j.tailOf(ctx, j.session.Pair, j.session.Number)
	if err != nil {
		return err
	}
	j.step(ledger.Planning, "closing what it flushed")
	if err := j.ready(ctx, t); err != nil {
		return fmt.Errorf("%w; `twintape abort --forget %d` ends the job without touching its tapes", err, j.row.ID)
	}
	if err := j.enter(ctx, ledger.Closing); err != nil {
		return err
	}
	return j.close(ctx)
}
