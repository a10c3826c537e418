package archiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"twintape/archiver/plan"
	"twintape/archiver/stream"
	"twintape/internal/catalog"
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
	tapes   [2]*Loaded
	start   ledger.StartSession
	session ledger.Session // as the ledger has it; its ID is 0 until the first archive is planned
	report  *Report
	stop    <-chan struct{}
}

// Run archives what is queued onto one pair of blank tapes and verifies both. The report tells what was done even if
// there is an error. A close of stop ends the job at the next archive border: the session is closed with its catalog, and
// the error is ErrStopped. Other errors that callers decide on: ErrNothingQueued, *NoTapeError, *MismatchError.
func (a *Archiver) Run(ctx context.Context, owner ledger.Owner, stop <-chan struct{}) (*Report, error) {
	waiting, err := a.waiting(ctx, 0)
	if err != nil {
		return nil, err
	}
	if len(waiting) == 0 {
		return nil, ErrNothingQueued
	}
	chosen, err := a.choose(ctx)
	if err != nil {
		return nil, err
	}
	j := &job{Archiver: a, stop: stop, report: &Report{}}
	if j.row, err = a.Ledger.BeginJob(ctx, owner, a.Sample); err != nil {
		return nil, err
	}
	err = a.Ledger.ClaimPair(ctx, j.row.ID, [2]string{chosen[0].Barcode, chosen[1].Barcode})
	if err == nil {
		err = j.run(ctx, chosen)
	}
	return j.end(ctx, err)
}

// end puts the tapes away and records how the job ended.
func (j *job) end(ctx context.Context, err error) (*Report, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putAwayTime)
	defer cancel()
	err = errors.Join(err, j.putAway(ctx))
	step, reason := ledger.Done, ""
	if err != nil {
		step, reason = ledger.Stopped, err.Error()
	}
	err = errors.Join(err, j.Ledger.FinishJob(ctx, j.row.ID, step, reason))
	if row, rowErr := j.Ledger.Job(ctx, j.row.ID); rowErr == nil {
		j.report.Job = row
	} else {
		err = errors.Join(err, rowErr)
	}
	return j.report, err
}

func (j *job) run(ctx context.Context, chosen [2]ledger.Tape) error {
	j.step(string(ledger.Planning), chosen, "loading both tapes")
	if err := j.load(ctx, []int{0, 1}, [2]string{chosen[0].Barcode, chosen[1].Barcode}); err != nil {
		return err
	}
	for side, l := range j.tapes {
		if err := l.checkBlank(ctx, j.RecordSize); err != nil {
			return err
		}
		if err := j.Ledger.SetTapeMedium(ctx, chosen[side].Barcode, l.Medium.Serial, l.Medium.Capacity); err != nil {
			return err
		}
	}
	j.newSession()
	planned, err := j.plan(ctx, beginning)
	if err != nil {
		return err
	}
	if planned.Archives == 0 {
		return fmt.Errorf("none of the queued items could be planned: %w", &ItemsFailedError{Items: j.report.Failed})
	}
	if err := j.enter(ctx, ledger.Labelling); err != nil {
		return err
	}
	if err := j.label(ctx); err != nil {
		return err
	}
	return j.finish(ctx, planned)
}

// finish writes what is planned, closes the session and verifies both tapes, which stand where the first planned archive
// belongs.
func (j *job) finish(ctx context.Context, planned *event.Planned) error {
	if err := j.enter(ctx, ledger.Writing); err != nil {
		return err
	}
	began := time.Now()
	err := j.write(ctx, planned.Records)
	if errors.Is(err, tape.ErrEarlyWarning) || errors.Is(err, tape.ErrEndOfMedium) {
		err = j.full(ctx, err)
	}
	if err != nil {
		return err
	}
	if j.stopped() && j.report.Archived == 0 && j.row.Archived == 0 {
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
		return fmt.Errorf("%w: what was written on %s and %s is flushed and closed by its catalog, but not verified; `twintape resume %d` does that",
			ErrStopped, j.tapes[0].Barcode, j.tapes[1].Barcode, j.row.ID)
	}
	return j.verify(ctx)
}

// full ends the writing on tapes that took less than planned: both go back behind the last archive that both hold flushed,
// where the catalog belongs; the rest waits for the next pair.
func (j *job) full(ctx context.Context, why error) error {
	if err := j.Ledger.DropUnflushed(ctx, j.session.ID); err != nil {
		return err
	}
	flushed, err := j.Ledger.Archives(ctx, j.session.ID)
	if err != nil {
		return err
	}
	if len(flushed) == 0 {
		return fmt.Errorf("not even one archive fits, so nothing is archived: make archive.flush_bytes smaller, or use larger tapes: %w", why)
	}
	end := behind(flushed)
	for _, l := range j.tapes {
		if err := l.Drive.Locate(ctx, end.record); err != nil {
			return fmt.Errorf("tape %s in %s: %w", l.Barcode, l.Drive.Name(), err)
		}
	}
	j.report.Waiting = true
	j.Events.Emit(event.Note{Text: fmt.Sprintf("%v; both tapes are closed behind archive %d, and the rest waits for the next pair",
		why, flushed[len(flushed)-1].Number)})
	return nil
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
	j.Events.Emit(event.Step{Job: j.row.ID, Step: string(s), Tapes: [2]string{j.tapes[0].Barcode, j.tapes[1].Barcode}})
	return nil
}

func (j *job) step(step string, tapes [2]ledger.Tape, detail string) {
	j.Events.Emit(event.Step{Job: j.row.ID, Step: step, Tapes: [2]string{tapes[0].Barcode, tapes[1].Barcode}, Detail: detail})
}

func (j *job) load(ctx context.Context, drives []int, barcodes [2]string) error {
	loaded, err := Load(ctx, j.Library, barcodes[:], drives)
	if err != nil {
		return err
	}
	copy(j.tapes[:], loaded)
	return nil
}

func (j *job) putAway(ctx context.Context) error {
	var err error
	for side, l := range j.tapes {
		if l != nil {
			err = errors.Join(err, l.PutAway(ctx, j.Library))
			j.tapes[side] = nil
		}
	}
	return err
}

// label writes both volume labels, as the ledger knows the tapes.
func (j *job) label(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for side, l := range j.tapes {
		g.Go(func() error {
			if err := j.labelTape(ctx, l, j.tapes[1-side].Barcode); err != nil {
				return fmt.Errorf("tape %s in %s: writing the label: %w", l.Barcode, l.Drive.Name(), err)
			}
			return nil
		})
	}
	return g.Wait()
}

func (j *job) labelTape(ctx context.Context, l *Loaded, twin string) error {
	t, err := j.Ledger.Tape(ctx, l.Barcode)
	if err != nil {
		return err
	}
	record, err := catalog.Label{
		Tape: t.UUID, Pair: t.Pair, Barcode: t.Barcode, Twin: twin, RecordSize: t.RecordSize, Created: t.Written.Truncate(time.Second),
	}.Encode()
	if err != nil {
		return err
	}
	if err := standsAt(ctx, l.Drive, 0); err != nil {
		return err
	}
	if err := l.Drive.WriteRecord(ctx, record); err != nil {
		return err
	}
	if err := l.Drive.WriteFilemark(ctx); err != nil {
		return err
	}
	return standsAt(ctx, l.Drive, firstRecord)
}

// firstRecord is the block behind the label and its filemark.
const firstRecord = 2

// place is where the next archive belongs.
type place struct {
	number   int // of the archive
	tapeFile int
	record   int64
}

// beginning is the place of a pair's first archive.
var beginning = place{number: 1, tapeFile: 1, record: firstRecord}

// behind is the place behind all archives of a session, which are in tape order.
func behind(archives []ledger.PlannedArchive) place {
	if len(archives) == 0 {
		return beginning
	}
	last := archives[len(archives)-1]
	return place{number: last.Number + 1, tapeFile: last.TapeFile + 1, record: last.Record + last.Records + 1}
}

// newSession gives the pair, the session and the tapes their UUIDs.
func (j *job) newSession() {
	j.start = ledger.StartSession{
		PairUUID: uuid.NewString(), SessionUUID: uuid.NewString(), TapeUUIDs: [2]string{uuid.NewString(), uuid.NewString()},
		RecordSize: j.RecordSize, Number: 1, Record: firstRecord,
	}
}

// write streams all planned archives to both tapes.
func (j *job) write(ctx context.Context, records int64) error {
	archives, err := j.Ledger.Archives(ctx, j.session.ID)
	if err != nil {
		return err
	}
	archives = slices.DeleteFunc(archives, func(p ledger.PlannedArchive) bool { return p.Flushed })
	cfg := stream.Config{
		RecordSize: j.RecordSize, Memory: j.Memory, FlushBytes: j.FlushBytes, Total: records * int64(j.RecordSize),
		Namespace: j.Namespace, Events: j.Events, Unchanged: Unchanged, Stop: j.stop,
		Next: func(ctx context.Context) (stream.Archive, error) {
			if len(archives) == 0 {
				return stream.Archive{}, io.EOF
			}
			next := archives[0]
			archives = archives[1:]
			return j.loadArchive(ctx, next)
		},
		Flushed: j.flushed,
	}
	var pair stream.Pair
	for side, l := range j.tapes {
		pair[side] = stream.Side{Barcode: l.Barcode, Drive: l.Drive, Backhitch: l.Medium.Backhitch}
	}
	return stream.Run(ctx, cfg, pair)
}

func (j *job) loadArchive(ctx context.Context, p ledger.PlannedArchive) (stream.Archive, error) {
	a, err := j.Ledger.LoadArchive(ctx, p.ID)
	if err != nil {
		return stream.Archive{}, err
	}
	out := stream.Archive{Archive: a, ID: p.ID, Expected: make(map[string]catalog.MD5)}
	for _, it := range a.Items {
		expected, err := j.Ledger.Expected(ctx, it.ID)
		if err != nil {
			return stream.Archive{}, err
		}
		for below, sum := range expected {
			out.Expected[it.Host+":"+path.Join(it.Path, below)] = sum
		}
	}
	return out, nil
}

// flushed records what both tapes hold now.
func (j *job) flushed(ctx context.Context, archives []stream.Written, positions [2]int64) error {
	flush := ledger.Flush{Session: j.session.ID, Positions: positions}
	for _, w := range archives {
		flush.Archives = append(flush.Archives, ledger.FlushedArchive{ID: w.ID, Result: w.Archive.Archive, CRCs: w.CRCs})
	}
	if err := j.Ledger.RecordFlush(ctx, flush); err != nil {
		return err
	}
	for _, w := range archives {
		for _, it := range w.Items {
			if it.Bad != "" {
				j.fail(FailedItem{ID: it.ID, Host: it.Host, Path: it.Path, Reason: it.Bad})
				continue
			}
			j.report.Archived++
			for i := range it.Entries {
				j.report.Bytes += it.Entries[i].Size
			}
		}
	}
	return nil
}

// close drops what a stopped run did not write, and writes the session's catalog behind the last flushed archive.
func (j *job) close(ctx context.Context) error {
	if err := j.Ledger.DropUnflushed(ctx, j.session.ID); err != nil {
		return err
	}
	archives, err := j.Ledger.Archives(ctx, j.session.ID)
	if err != nil {
		return err
	}
	end := behind(archives)
	return j.closeSession(ctx, j.session, j.row.UUID, j.tapes, end.tapeFile, end.record)
}

// verify reloads both tapes and reads them back, each on its own drive at the same time.
func (j *job) verify(ctx context.Context) error {
	if err := j.enter(ctx, ledger.Verifying); err != nil {
		return err
	}
	began := time.Now()
	defer func() { j.report.Verified = time.Since(began) }()
	barcodes := [2]string{j.tapes[0].Barcode, j.tapes[1].Barcode}
	if err := j.putAway(ctx); err != nil {
		return err
	}
	drives := []int{0, 1}
	if j.SwapDrives {
		drives = []int{1, 0}
	}
	if err := j.load(ctx, drives, barcodes); err != nil {
		return err
	}
	var err error
	j.report.Tapes, err = j.verifyLoaded(ctx, j.row.ID, j.tapes[:])
	return judged(j.report.Tapes, err)
}

// plan packs queued items onto the pair from a place on, recording each archive, until the pair or the queue is exhausted.
func (j *job) plan(ctx context.Context, from place) (*event.Planned, error) {
	remaining := int64(0)
	for side, l := range j.tapes {
		if r := l.Medium.Remaining; side == 0 || r < remaining {
			remaining = r
		}
	}
	if remaining == 0 {
		return nil, fmt.Errorf("neither %s nor %s tells how much it takes", j.tapes[0].Drive.Name(), j.tapes[1].Drive.Name())
	}
	remaining -= int64(j.RecordSize) // the label
	out := &event.Planned{}
	f := filling{
		Archiver: j.Archiver,
		planner: plan.New(
			plan.Limits{ArchiveSize: j.ArchiveSize, RecordSize: j.RecordSize, Remaining: remaining, Empty: remaining},
			plan.Start{
				Pair: j.start.PairUUID, Session: j.start.SessionUUID, Job: j.row.UUID,
				Number: from.number, TapeFile: from.tapeFile, Record: from.record,
			}),
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
			return j.Ledger.FailItem(ctx, it.ID, reason)
		},
	}
	err := f.fill(ctx)
	j.report.Waiting = f.left
	if err == nil && out.Archives > 0 {
		j.Events.Emit(*out)
	}
	return out, err
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
	first := e.Items[0]
	if len(e.Items) == 1 {
		return fmt.Sprintf("item %s:%s: %s", first.Host, first.Path, first.Reason)
	}
	return fmt.Sprintf("%d items failed, the first is %s:%s: %s", len(e.Items), first.Host, first.Path, first.Reason)
}
