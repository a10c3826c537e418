package archiver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// putAwayTime is how long the tapes of a job that was cancelled may take to get back to their slots.
const putAwayTime = 10 * time.Minute

// job is one run on one pair.
type job struct {
	*Archiver
	row     ledger.Job
	chosen  [2]string  // barcodes, by side
	tapes   [2]*Loaded // nil while not loaded, and for a side that is lost
	aside   *Loaded    // the tape of a side that was lost, until it is put away
	start   ledger.StartSession
	session ledger.Session // as the ledger has it; its ID is 0 until the first archive is planned
	record  int            // bytes of a record on these tapes
	at      ledger.Step    // the step that was entered last
	report  *Report
	stop    <-chan struct{}
	tallies map[int64]tally // by archive that this process wrote

	forsake  bool // go on without one tape that cannot be gone on with
	aborting bool // the operator ends it
}

var (
	// errNoRoom says that a pair takes nothing of what waits; it counts as full from now on.
	errNoRoom = errors.New("takes nothing of what waits, and counts as full from now on")
	// errTooSmall says that a pair takes not even one archive.
	errTooSmall = errors.New("so nothing is archived, and the pair counts as full: make archive.flush_bytes smaller, or use larger tapes")
	// errNothingLeft says that a job which had flushed nothing has nothing to write any more.
	errNothingLeft = errors.New("nothing of it was flushed, and nothing waits that its tapes could take")
)

// Run archives what is queued onto one pair of tapes and verifies what it wrote: behind what an earlier job wrote where
// there is room, else onto a blank pair. The report tells what was done even if there is an error. A close of stop ends
// the job at the next archive border: the session is closed with its catalog, and the error is ErrStopped. Other errors
// that callers decide on: ErrNothingQueued, *NoTapeError, *MismatchError, and what NeedsHuman tells.
func (a *Archiver) Run(ctx context.Context, owner ledger.Owner, stop <-chan struct{}) (*Report, error) {
	for {
		waiting, err := a.waiting(ctx, 0)
		if err != nil {
			return nil, err
		}
		if len(waiting) == 0 {
			return nil, ErrNothingQueued
		}
		chosen, err := a.choose(ctx, waiting)
		if err != nil {
			return nil, err
		}
		j := &job{Archiver: a, stop: stop, record: a.RecordSize, report: &Report{}, chosen: [2]string{chosen[0].Barcode, chosen[1].Barcode}}
		if j.row, err = a.Ledger.BeginJob(ctx, owner, a.Sample); err != nil {
			return nil, err
		}
		r, err := j.claimAndRun(ctx, chosen)
		var taken *TakenError
		again := errors.Is(err, errNoRoom) && chosen[0].Pair != "" || errors.As(err, &taken)
		if !again || NeedsHuman(err) {
			return r, err
		}
		a.Events.Emit(event.Note{Text: err.Error()})
	}
}

func (j *job) claimAndRun(ctx context.Context, chosen [2]ledger.Tape) (*Report, error) {
	ctx, end := j.heartbeat(ctx)
	defer end()
	err := j.Ledger.ClaimPair(ctx, j.row.ID, j.chosen)
	if err == nil && chosen[0].Pair == "" {
		err = j.Reserve(ctx, j.chosen[:]...) // only now: who gives back labels asks the ledger which tapes jobs have
	}
	if err == nil {
		err = j.run(ctx, chosen)
	}
	return j.finish(ctx, err)
}

// run is Run on two tapes that are claimed.
func (j *job) run(ctx context.Context, chosen [2]ledger.Tape) error {
	j.step(ledger.Planning, "loading both tapes")
	if err := j.load(ctx); err != nil {
		return err
	}
	t := &tail{end: beginning}
	if pair := chosen[0].Pair; pair != "" {
		j.record = chosen[0].RecordSize // what the tapes were begun with counts, whatever is configured now
		var err error
		if t, err = j.appendTo(ctx, pair); err != nil {
			return err
		}
	} else if err := j.begin(ctx); err != nil {
		return err
	}
	planned, err := j.plan(ctx, t.end)
	if err != nil {
		return err
	}
	if planned.Archives == 0 && len(j.report.Failed) == 0 && !j.report.Waiting {
		return ErrNothingQueued // any more: others took it meanwhile
	}
	if planned.Archives == 0 {
		failed := fmt.Errorf("none of the queued items could be planned: %w", &ItemsFailedError{Items: j.report.Failed})
		if !j.report.Waiting {
			return failed
		}
		if chosen[0].Pair == "" {
			return fmt.Errorf("not one of the queued items fits on the blank tapes %s and %s", j.chosen[0], j.chosen[1])
		}
		if err := j.Ledger.SetFull(ctx, chosen[0].Pair); err != nil {
			return err
		}
		return fmt.Errorf("the pair %s and %s %w", j.chosen[0], j.chosen[1], errNoRoom)
	}
	return j.fill(ctx, t, planned)
}

// begin makes sure that both tapes are blank.
func (j *job) begin(ctx context.Context) error {
	j.newPair()
	err := j.each(ctx, func(ctx context.Context, _ int, l *Loaded) error {
		if err := j.CheckBlank(ctx, l); err != nil {
			return err
		}
		return j.Ledger.SetTapeMedium(ctx, l.Barcode, l.Medium.Serial, l.Medium.Capacity)
	})
	if err != nil {
		return err
	}
	return j.Reserve(ctx, j.chosen[:]...) // still: an old paper-dump does not look whether what it takes was taken meanwhile
}

// appendTo makes sure that both tapes of a pair end where the ledger says, and stand there.
func (j *job) appendTo(ctx context.Context, pair string) (*tail, error) {
	t, err := j.nextTail(ctx, pair)
	if err != nil {
		return nil, err
	}
	j.newSession(pair, t.end.earlier+1, t.end.record)
	return t, j.each(ctx, func(ctx context.Context, _ int, l *Loaded) error { return j.checkTail(ctx, l, t) })
}

// fill writes what is planned, closes the session and verifies it. The tapes stand where the first planned archive
// belongs, or are to be labelled.
func (j *job) fill(ctx context.Context, t *tail, planned *event.Planned) error {
	if t.fresh() {
		if err := j.enter(ctx, ledger.Labelling); err != nil {
			return err
		}
		if err := j.label(ctx); err != nil {
			return err
		}
	}
	if err := j.enter(ctx, ledger.Writing); err != nil {
		return err
	}
	began := time.Now()
	err := j.write(ctx, planned.Records)
	if errors.Is(err, tape.ErrEarlyWarning) || errors.Is(err, tape.ErrEndOfMedium) {
		err = j.full(ctx, t, err)
	}
	if err != nil {
		return err
	}
	flushed, err := j.flushedArchives(ctx)
	if err != nil {
		return err
	}
	if j.stopped() && len(flushed) == 0 {
		return fmt.Errorf("%w before anything was flushed; `twintape resume %d` begins again on the same tapes", ErrStopped, j.row.ID)
	}
	if err := j.enter(ctx, ledger.Closing); err != nil {
		return err
	}
	if err := j.close(ctx); err != nil {
		return err
	}
	j.report.Written = time.Since(began)
	if j.stopped() {
		return fmt.Errorf("%w: what was written on %s is flushed and closed by its catalog, but not verified; `twintape resume %d` does that",
			ErrStopped, j.names(), j.row.ID)
	}
	return j.verify(ctx)
}

// full ends the writing on tapes that took less than planned: both go back behind the last archive that both hold flushed,
// where the catalog belongs; the rest waits for the next pair.
func (j *job) full(ctx context.Context, t *tail, why error) error {
	if err := j.Ledger.SetFull(ctx, j.session.Pair); err != nil {
		return err
	}
	if err := j.Ledger.DropUnflushed(ctx, j.session.ID); err != nil {
		return err
	}
	flushed, err := j.flushedArchives(ctx)
	if err != nil {
		return err
	}
	j.report.Waiting = true
	if len(flushed) == 0 && j.session.Number > 1 {
		return fmt.Errorf("%w; the pair %w", why, errNoRoom)
	}
	if len(flushed) == 0 {
		return fmt.Errorf("not even one archive fits on %s, %w: %w", j.names(), errTooSmall, why)
	}
	end := t.end.behind(flushed)
	if err := j.each(ctx, func(ctx context.Context, _ int, l *Loaded) error { return l.Drive.Locate(ctx, end.record) }); err != nil {
		return err
	}
	j.Events.Emit(event.Note{Text: fmt.Sprintf("%v; %s closed behind archive %d, and the rest waits for the next pair",
		why, j.names(), end.number-1)})
	return nil
}

// finish puts the tapes away and records how the job ended.
func (j *job) finish(ctx context.Context, err error) (*Report, error) {
	if cause := context.Cause(ctx); cause != nil && cause != context.Canceled { // the heartbeat's, or a drive's that asked for the lease
		err = cause
	}
	own := context.WithoutCancel(ctx)
	putAway := func() error { // however long the ledger was waited for
		ctx, cancel := context.WithTimeout(own, putAwayTime)
		defer cancel()
		return j.putAway(ctx)
	}
	ctx, cancel := context.WithTimeout(own, putAwayTime)
	defer cancel()
	if errors.Is(err, ledger.ErrFenced) {
		// Whatever else it met may be its successor's work, and is not judged.
		err = errors.Join(err, putAway(), j.giveUp(ctx))
		var rowErr error
		j.report.Job, rowErr = j.Ledger.Job(ctx, j.row.ID)
		return j.report, errors.Join(err, rowErr)
	}
	if err != nil {
		err = j.placed(ctx, j.foreign(ctx, j.blame(ctx, err)))
	}
	step, reason := j.outcome(err)
	if errors.Is(err, errNothingLeft) && !NeedsHuman(err) {
		err = nil
	}
	err = errors.Join(err, putAway())
	err = errors.Join(err, j.Ledger.FinishJob(own, j.row.ID, step, reason))
	if row, rowErr := j.Ledger.Job(own, j.row.ID); rowErr == nil {
		j.report.Job = row
	} else {
		err = errors.Join(err, rowErr)
	}
	return j.report, err
}

// giveUp ends a job here that another process has taken over.
func (j *job) giveUp(ctx context.Context) error {
	if err := j.Ledger.FinishJob(ctx, j.row.ID, ledger.Stopped, ""); !errors.Is(err, ledger.ErrFenced) {
		return err
	}
	return nil
}

// outcome is how a job ended, and why.
func (j *job) outcome(err error) (ledger.Step, string) {
	var mismatch *MismatchError
	var taken *TakenError
	switch {
	case err == nil && j.aborting:
		return ledger.Aborted, "by its operator"
	case err == nil:
		return ledger.Done, ""
	case errors.Is(err, ErrNothingQueued), errors.Is(err, errNoRoom), errors.Is(err, errTooSmall), errors.Is(err, errNothingLeft), errors.As(err, &taken):
		return ledger.Aborted, err.Error()
	case errors.As(err, &mismatch) && j.report.judged():
		return ledger.Mismatch, err.Error()
	}
	return ledger.Stopped, err.Error()
}

func (j *job) stopped() bool {
	select {
	case <-j.stop:
		return true
	default:
		return false
	}
}

// enter records a step before it begins.
func (j *job) enter(ctx context.Context, s ledger.Step) error {
	if err := j.Ledger.SetStep(ctx, j.row.ID, s); err != nil {
		return err
	}
	j.at = s
	j.step(s, "")
	return nil
}

func (j *job) step(step ledger.Step, detail string) {
	j.Events.Emit(event.Step{Job: j.row.ID, Step: string(step), Tapes: j.chosen, Detail: detail})
}

// names are the tapes that the job goes on with, for messages.
func (j *job) names() string {
	if lost := j.row.Lost; lost != 0 {
		return j.chosen[2-lost]
	}
	return j.chosen[0] + " and " + j.chosen[1]
}

// load brings the job's tapes into drives.
func (j *job) load(ctx context.Context) error {
	var barcodes []string
	var sides []int
	for side, b := range j.chosen {
		if j.row.Lost != side+1 {
			barcodes, sides = append(barcodes, b), append(sides, side)
		}
	}
	drives, err := j.PickDrives(ctx, barcodes)
	if err != nil {
		return err
	}
	return j.loadInto(ctx, barcodes, drives, sides)
}

func (j *job) loadInto(ctx context.Context, barcodes []string, drives, sides []int) error {
	loaded, err := Load(ctx, j.Library, barcodes, drives)
	if err != nil {
		return err
	}
	for i, side := range sides {
		loaded[i].Drive = &leasedDrive{Drive: loaded[i].Drive, ledger: j.Ledger, end: j.endJob}
		j.tapes[side] = loaded[i]
	}
	return nil
}

// putAway brings the tapes back to their slots. One that was lost may refuse: that is told, and stops nothing.
func (j *job) putAway(ctx context.Context) error {
	var err error
	if l := j.aside; l != nil {
		j.aside = nil
		if err := j.PutBack(ctx, l, j.row.ID); err != nil {
			j.Events.Emit(event.Note{Text: err.Error()})
		}
	}
	for side, l := range j.tapes {
		if l != nil {
			err = errors.Join(err, j.PutBack(ctx, l, j.row.ID))
			j.tapes[side] = nil
		}
	}
	return err
}

// fail reports an item that this job cannot archive.
func (j *job) fail(it FailedItem) {
	if j.failed == nil {
		j.failed = make(map[int64]bool)
	}
	j.failed[it.ID] = true
	j.report.Failed = append(j.report.Failed, it)
	j.Events.Emit(event.ItemFailed{Host: it.Host, Path: it.Path, Reason: it.Reason})
}

// ItemsFailedError says that items could not be archived; they stay queued.
type ItemsFailedError struct{ Items []FailedItem }

func (e *ItemsFailedError) Error() string {
	if len(e.Items) == 0 {
		return "no item is left to try"
	}
	first := e.Items[0]
	if len(e.Items) == 1 {
		return fmt.Sprintf("item %s:%s: %s", first.Host, first.Path, first.Reason)
	}
	return fmt.Sprintf("%d items failed, the first is %s:%s: %s", len(e.Items), first.Host, first.Path, first.Reason)
}
