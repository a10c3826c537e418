package archiver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"twintape/internal/catalog"
	"twintape/internal/digest"
	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// Unfinished returns the jobs that Resume can go on with, the oldest first: those whose process died, and with stopped
// also those that ended before both tapes were verified. Jobs of dead processes that wrote nothing are ended.
func (a *Archiver) Unfinished(ctx context.Context, stopped bool) ([]ledger.Job, error) {
	live, err := a.Ledger.LiveJobs(ctx)
	if err != nil {
		return nil, err
	}
	var out []ledger.Job
	for _, j := range live {
		switch {
		case Alive(j.Owner):
		case j.Session == "":
			if err := a.Ledger.FinishJob(ctx, j.ID, ledger.Stopped, "its process died before anything was written"); err != nil {
				return nil, err
			}
		default:
			out = append(out, j)
		}
	}
	if !stopped {
		return out, nil
	}
	all, err := a.Ledger.Jobs(ctx, 0)
	if err != nil {
		return nil, err
	}
	for _, j := range all {
		if j.Step == ledger.Stopped && j.Session != "" {
			out = append([]ledger.Job{j}, out...)
		}
	}
	return out, nil
}

// Resume goes on with a job that was cut off or stopped, as Run would have: what lies before the last good flush stays,
// what lies behind is cut off and planned anew, on both tapes alike. Before anything is written, both labels and the end
// of the last flushed archive must be what the ledger says; else the tapes are left as they are.
func (a *Archiver) Resume(ctx context.Context, was ledger.Job, owner ledger.Owner, stop <-chan struct{}) (*Report, error) {
	row, err := a.Ledger.Reopen(ctx, was.ID, was.Owner, owner)
	if err != nil {
		return nil, err
	}
	pair := *a
	j := &job{Archiver: &pair, row: row, stop: stop, report: &Report{}}
	t, err := a.Ledger.Tape(ctx, row.Tapes[0])
	if err == nil {
		pair.RecordSize = t.RecordSize // what the tapes were begun with counts, whatever is configured now
		err = j.resume(ctx)
	}
	return j.end(ctx, err)
}

func (j *job) resume(ctx context.Context) error {
	var err error
	if j.session, err = j.Ledger.Session(ctx, j.row.Session); err != nil {
		return err
	}
	j.start.PairUUID, j.start.SessionUUID = j.session.Pair, j.session.UUID
	j.Events.Emit(event.Step{Job: j.row.ID, Step: string(ledger.Planning), Tapes: j.row.Tapes, Detail: "going on where it stopped"})
	if err := j.load(ctx, []int{0, 1}, j.row.Tapes); err != nil {
		return err
	}
	if !j.session.Closed.IsZero() {
		return j.verify(ctx)
	}
	flushed, err := j.Ledger.Archives(ctx, j.session.ID)
	if err != nil {
		return err
	}
	if len(flushed) == 0 {
		return j.resumeEmpty(ctx)
	}
	var crcs []byte
	last := flushed[len(flushed)-1]
	if crcs, err = j.Ledger.CRCs(ctx, last.ID); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, l := range j.tapes {
		g.Go(func() error {
			if err := j.checkTail(gctx, l, last, crcs); err != nil {
				return fmt.Errorf("tape %s in %s cannot be gone on with, and is left as it is: %w", l.Barcode, l.Drive.Name(), err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	planned, err := j.plan(ctx, behind(flushed))
	if err != nil {
		return err
	}
	return j.finish(ctx, planned) // both drives stand where checkTail left them
}

// resumeEmpty goes on with a job of which nothing is flushed: not even the labels need be whole.
func (j *job) resumeEmpty(ctx context.Context) error {
	for _, l := range j.tapes {
		if err := j.isOurs(ctx, l, true); err != nil {
			return fmt.Errorf("tape %s in %s cannot be gone on with, and is left as it is: %w", l.Barcode, l.Drive.Name(), err)
		}
		if err := l.Drive.Rewind(ctx); err != nil {
			return err
		}
	}
	planned, err := j.plan(ctx, beginning)
	if err != nil {
		return err
	}
	if planned.Archives == 0 {
		return fmt.Errorf("nothing of job %d was flushed, and nothing waits that its tapes could take: queue items, then resume it", j.row.ID)
	}
	if err := j.enter(ctx, ledger.Labelling); err != nil {
		return err
	}
	if err := j.label(ctx); err != nil {
		return err
	}
	return j.finish(ctx, planned)
}

// isOurs makes sure that the tape has the label that the ledger says, or, if it may be, none yet.
func (j *job) isOurs(ctx context.Context, l *Loaded, orBlank bool) error {
	t, err := j.Ledger.Tape(ctx, l.Barcode)
	if err != nil {
		return err
	}
	buf := make([]byte, max(t.RecordSize, catalog.DefaultRecordSize))
	n, err := l.Drive.ReadRecord(ctx, buf)
	if orBlank && errors.Is(err, tape.ErrEndOfData) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading its label: %w", err)
	}
	label, err := catalog.ParseLabel(buf[:n])
	if err != nil {
		return fmt.Errorf("its label: %w", err)
	}
	if label.Barcode != t.Barcode || label.Tape != t.UUID || label.Pair != t.Pair {
		return fmt.Errorf("its label says %s (UUID %s, pair %s), the ledger %s (UUID %s, pair %s)",
			label.Barcode, label.Tape, label.Pair, t.Barcode, t.UUID, t.Pair)
	}
	return nil
}

// tailRecords is how many records of the last flushed archive are read before its tape is gone on with.
const tailRecords = 16

// checkTail makes sure that the tape is ours and holds the last flushed archive where the ledger says: its first record,
// which names the session and the archive, its last ones, and the filemark behind. It trusts no end of data.
func (j *job) checkTail(ctx context.Context, l *Loaded, last ledger.PlannedArchive, crcs []byte) error {
	if err := j.isOurs(ctx, l, false); err != nil {
		return err
	}
	if int64(len(crcs)) != 4*last.Records {
		return fmt.Errorf("the ledger has %d bytes of checksums for the %d records of archive %d", len(crcs), last.Records, last.Number)
	}
	buf := make([]byte, j.RecordSize)
	check := func(from, to int64) error {
		if err := l.Drive.Locate(ctx, last.Record+from); err != nil {
			return err
		}
		for i := from; i < to; i++ {
			n, err := l.Drive.ReadRecord(ctx, buf)
			if err != nil {
				return fmt.Errorf("reading record %d of archive %d, which was flushed: %w", last.Record+i, last.Number, err)
			}
			if digest.CRC32C(buf[:n]) != binary.LittleEndian.Uint32(crcs[4*i:]) {
				return fmt.Errorf("record %d of archive %d is not what was written", last.Record+i, last.Number)
			}
		}
		return nil
	}
	if err := check(0, 1); err != nil {
		return err
	}
	if err := check(max(0, last.Records-tailRecords), last.Records); err != nil {
		return err
	}
	if _, err := l.Drive.ReadRecord(ctx, buf); !errors.Is(err, tape.ErrFilemark) {
		return fmt.Errorf("no filemark follows archive %d (%v)", last.Number, err)
	}
	return standsAt(ctx, l.Drive, last.Record+last.Records+1)
}
