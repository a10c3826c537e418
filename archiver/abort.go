package archiver

import (
	"context"
	"fmt"

	"twintape/internal/ledger"
)

// Abort ends a job that was cut off or stopped: what it flushed stays and is closed by a catalog, behind a check as
// Resume's, and the rest waits for another job. With forget no tape is touched: a session that no catalog closes keeps its
// pair from being written again.
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
	if err != nil || forget || len(archives) == 0 || !j.session.Closed.IsZero() {
		return err
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
