package archiver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"twintape/internal/ledger"
)

// Unfinished returns the jobs that Resume can go on with here, the oldest first: those whose process died, and those that ended
// before they were verified, of this machine, or of another if both tapes are in this library.
func (a *Archiver) Unfinished(ctx context.Context) ([]ledger.Job, error) {
	died, err := a.bury(ctx)
	if err != nil {
		return nil, err
	}
	all, err := a.Ledger.Jobs(ctx, 0)
	if err != nil {
		return nil, err
	}
	inside, err := a.inside(ctx)
	if err != nil {
		return nil, err
	}
	this, err := ThisProcess()
	if err != nil {
		return nil, err
	}
	slices.Reverse(all)
	var out []ledger.Job
	for _, j := range all {
		here := a.ours(j, this) || inside[j.Tapes[0]] && inside[j.Tapes[1]]
		if slices.Contains(died, j.ID) || j.Step == ledger.Stopped && j.Session != "" && here {
			out = append(out, j)
		}
	}
	return out, nil
}

// bury ends the jobs of dead processes that wrote nothing, or ran on another machine: what they had planned waits again, and their
// tapes stay reserved for who resumes them. It returns the others that died. It may run beside a job.
func (a *Archiver) bury(ctx context.Context) (died []int64, err error) {
	live, err := a.Ledger.LiveJobs(ctx)
	if err != nil {
		return nil, err
	}
	this, err := ThisProcess()
	if err != nil {
		return nil, err
	}
	for _, j := range live {
		if Alive(j) {
			continue
		}
		reason := "its process died before anything was written"
		if j.Session != "" {
			if a.ours(j, this) {
				died = append(died, j.ID)
				continue
			}
			reason = fmt.Sprintf("process %d on %s was not heard of any more; who has its tapes goes on with it", j.Owner.PID, j.Owner.Machine)
		}
		// Who is faster, or comes back meanwhile, has it.
		if err := a.Ledger.FinishDead(ctx, j, this, reason); err != nil && !errors.Is(err, ledger.ErrClaimed) {
			return nil, err
		}
	}
	return died, nil
}

// ours tells whether a job ran on this machine, or its ledger knows no others.
func (a *Archiver) ours(j ledger.Job, this ledger.Owner) bool {
	return !a.Ledger.Shared() || j.Owner.Machine == this.Machine
}

// Resume goes on with a job that was cut off or stopped, as Run would have: what lies before the last good flush stays,
// what lies behind is cut off and planned anew, on both tapes alike. Before anything is written, both labels and what was
// flushed last must be what the ledger says; else the tapes are left as they are. With forsake the job goes on without one
// tape that it cannot go on with.
func (a *Archiver) Resume(ctx context.Context, was ledger.Job, owner ledger.Owner, stop <-chan struct{}, forsake bool) (*Report, error) {
	j, err := a.reopen(ctx, was, owner)
	if err != nil {
		return nil, err
	}
	j.stop, j.forsake = stop, forsake
	ctx, end := a.heartbeat(ctx)
	defer end()
	return j.finish(ctx, j.resume(ctx))
}

// reopen takes a job over.
func (a *Archiver) reopen(ctx context.Context, was ledger.Job, owner ledger.Owner) (*job, error) {
	row, err := a.Ledger.Reopen(ctx, was, owner)
	if err != nil {
		return nil, err
	}
	j := &job{Archiver: a, row: row, chosen: row.Tapes, report: &Report{}}
	t, err := a.Ledger.Tape(ctx, row.Tapes[0])
	if err == nil {
		j.record = t.RecordSize // what the tapes were begun with counts, whatever is configured now
		j.session, err = a.Ledger.Session(ctx, row.Session)
	}
	if err != nil {
		_, err = j.finish(ctx, err)
		return nil, err
	}
	j.start.PairUUID, j.start.SessionUUID = j.session.Pair, j.session.UUID
	if row.Lost != 0 {
		j.report.Lost = row.Tapes[row.Lost-1]
	}
	return j, nil
}

func (j *job) resume(ctx context.Context) error {
	j.step(ledger.Planning, "going on where it stopped")
	if !j.session.Closed.IsZero() {
		if err := j.ready(ctx, nil); err != nil {
			return err
		}
		return j.verify(ctx)
	}
	t, err := j.tailOf(ctx, j.session.Pair, j.session.Number)
	if err != nil {
		return err
	}
	if err := j.ready(ctx, t); err != nil {
		return err
	}
	planned, err := j.plan(ctx, t.end)
	if err != nil {
		return err
	}
	if planned.Archives == 0 && t.archive == nil {
		return fmt.Errorf("job %d is over: %w", j.row.ID, errNothingLeft)
	}
	err = j.fill(ctx, t, planned)
	if errors.Is(err, errNoRoom) { // which is no failure: what waits is for other tapes
		err = fmt.Errorf("job %d is over: %w: %w", j.row.ID, errNothingLeft, err)
	}
	return err
}

// ready loads the tapes and makes sure that they hold the tail, if there is something to go on behind, without one of them if
// the job may forsake it.
func (j *job) ready(ctx context.Context, t *tail) error {
	err := j.trusted(ctx)
	if err == nil {
		err = j.load(ctx)
	}
	if err == nil && t != nil {
		err = j.each(ctx, func(ctx context.Context, _ int, l *Loaded) error { return j.checkTail(ctx, l, t) })
	}
	side := slices.Index(j.chosen[:], barcodeOf(err))
	if err == nil || !j.forsake || j.row.Lost != 0 || side < 0 {
		return err
	}
	err = errors.Join(j.lose(ctx, side, j.blame(ctx, err)), j.putAway(ctx))
	if err != nil {
		return err
	}
	return j.ready(ctx, t)
}

// trusted refuses tapes that failed before: they are never chosen again by themselves.
func (j *job) trusted(ctx context.Context) error {
	for side, barcode := range j.chosen {
		if j.row.Lost == side+1 {
			continue
		}
		t, err := j.Ledger.Tape(ctx, barcode)
		if err != nil {
			return err
		}
		if t.State == ledger.TapeSuspect || t.State == ledger.TapeRetired {
			return &SuspectError{What: "tape " + barcode, Err: &TapeError{Barcode: barcode, Err: fmt.Errorf("is %s: %s", t.State, t.Why)}, Cure: fmt.Sprintf(
				"`twintape resume %d --single` goes on with its twin alone, `twintape tapes trust %s` lets it be used again", j.row.ID, barcode)}
		}
	}
	return nil
}

// barcodeOf is the tape that an error is about; empty if it is about none.
func barcodeOf(err error) string {
	var tape *TapeError
	var foreign *ForeignError
	var absent *AbsentError
	switch {
	case errors.As(err, &foreign):
		return foreign.Barcode
	case errors.As(err, &tape):
		return tape.Barcode
	case errors.As(err, &absent):
		return absent.Barcode
	}
	return ""
}
