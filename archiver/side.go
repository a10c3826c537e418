package archiver

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"twintape/archiver/stream"
	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// TapeError is what went wrong with one tape.
type TapeError struct {
	Barcode string
	Drive   string // as messages call it; empty if the tape was in none
	Serial  string // of the drive
	Err     error
}

func (e *TapeError) Error() string {
	if e.Drive == "" {
		return fmt.Sprintf("tape %s: %v", e.Barcode, e.Err)
	}
	return fmt.Sprintf("tape %s in %s: %v", e.Barcode, e.Drive, e.Err)
}

func (e *TapeError) Unwrap() error { return e.Err }

// failed says that something went wrong with the tape, unless the error says so itself.
func (l *Loaded) failed(err error) error {
	var foreign *ForeignError
	if err == nil || errors.As(err, &foreign) {
		return err
	}
	return &TapeError{Barcode: l.Barcode, Drive: l.Drive.Name(), Serial: l.Drive.Serial(), Err: err}
}

// ForeignError says that a tape does not hold what the ledger says. Nothing was written to it; a human must look.
type ForeignError struct {
	Barcode string
	Err     error
}

func (e *ForeignError) Error() string { return fmt.Sprintf("tape %s %v", e.Barcode, e.Err) }

func (e *ForeignError) Unwrap() error { return e.Err }

// SuspectError says that a tape failed in two drives, or a drive with two tapes: it is not used again by itself.
type SuspectError struct {
	What string // the tape or the drive
	Cure string // what a human does about it
	Err  error  // the last failure
}

func (e *SuspectError) Error() string {
	return fmt.Sprintf("%v; %s is not used any more: %s", e.Err, e.What, e.Cure)
}

func (e *SuspectError) Unwrap() error { return e.Err }

// NeedsHuman tells whether somebody must look at a failure before another run may start.
func NeedsHuman(err error) bool {
	var mismatch *MismatchError
	var foreign *ForeignError
	var suspect *SuspectError
	return errors.As(err, &mismatch) || errors.As(err, &foreign) || errors.As(err, &suspect)
}

// each calls f for every tape that the job goes on with, at the same time. An error names its tape; the first one ends
// the other's call.
func (j *job) each(ctx context.Context, f func(ctx context.Context, side int, l *Loaded) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for side, l := range j.tapes {
		if l == nil {
			continue
		}
		g.Go(func() error {
			return l.failed(f(ctx, side, l))
		})
	}
	return g.Wait()
}

// broken tells whether an error says that a drive, or the tape in it, does not work. What belongs to a tape's course, a
// write-protect tab, a wish for cleaning, and what the operator ended do not.
func broken(err error) bool {
	var sense *tape.SenseError
	var hung *tape.HungError
	var position *stream.PositionError
	switch {
	case errors.As(err, &sense):
		return !sense.CleaningWanted()
	case errors.As(err, &hung), errors.As(err, &position):
		return true
	}
	return errors.Is(err, unix.EIO)
}

// misplaced asks a drive that wrote, and whose job fails, where it stands. One that was reset without anybody's noticing went
// to the beginning of the tape; if it went on from there, it destroyed what the ledger counts on, and its tape is taken out of
// the count. One that still stands at the beginning wrote nothing, one that stands behind least and the last flush wrote where it
// should. An error says that the drive, or the ledger, cannot be asked.
func (j *job) misplaced(ctx context.Context, l *Loaded, why error, least int64) (bool, error) {
	archives, err := j.flushedArchives(ctx)
	if err != nil {
		return false, err
	}
	least = max(least, j.session.Record)
	if len(archives) > 0 {
		least = max(least, place{}.behind(archives).record)
	}
	at, err := l.Drive.Position(ctx)
	var position *stream.PositionError
	if barcode, _ := j.culprit(why); barcode == l.Barcode && errors.As(why, &position) {
		at.Block, least, err = position.Got, position.Want, nil
	}
	if err != nil || at.Block == 0 || at.Block >= least {
		return false, err
	}
	return true, j.Ledger.Doubt(ctx, l.Barcode, fmt.Sprintf("its drive stood at block %d after it had written up to block %d: "+
		"what the tape held may be overwritten", at.Block, least))
}

// placed makes sure, when the writing failed, that no copies count which are overwritten. Both drives are asked: what made
// one fail may have reset the other.
func (j *job) placed(ctx context.Context, err error) error {
	if j.at != ledger.Writing && j.at != ledger.Closing {
		return err
	}
	for _, l := range j.tapes {
		if l == nil {
			continue
		}
		lost, askErr := j.misplaced(ctx, l, err, 0)
		if !lost && askErr == nil {
			lost, askErr = j.unlabelled(ctx, l)
		}
		switch {
		case askErr != nil: // the job's next check of the tail tells
			err = errors.Join(err, l.failed(askErr))
		case lost:
			err = j.overwritten(l.Barcode, err)
		}
	}
	return err
}

// unlabelled looks whether a tape on which something counts has its label still: a drive that was reset and then wrote far on
// stands where it might have come to by itself. One without its label is taken out of the count.
func (j *job) unlabelled(ctx context.Context, l *Loaded) (bool, error) {
	if archives, err := j.flushedArchives(ctx); err != nil || len(archives) == 0 && j.session.Number == 1 {
		return false, err
	}
	if err := l.Drive.Rewind(ctx); err != nil {
		return false, err
	}
	err := j.isOurs(ctx, l, false)
	var f *ForeignError
	if !errors.As(err, &f) {
		return false, err
	}
	return true, j.Ledger.Doubt(ctx, l.Barcode, f.Err.Error())
}

// foreign takes a tape of a pair out of the count that turned out to be something else than the ledger says.
func (j *job) foreign(ctx context.Context, err error) error {
	var f *ForeignError
	if !errors.As(err, &f) {
		return err
	}
	t, ledgerErr := j.Ledger.Tape(ctx, f.Barcode)
	if ledgerErr != nil || t.Pair == "" {
		return errors.Join(err, ledgerErr)
	}
	return errors.Join(err, j.Ledger.Doubt(ctx, f.Barcode, f.Err.Error()))
}

// overwritten is an error about a tape that is not used any more.
func (j *job) overwritten(barcode string, err error) error {
	return &SuspectError{What: "tape " + barcode, Err: err, Cure: fmt.Sprintf(
		"what it held may be overwritten, and no copy on it counts until `twintape verify --full %s` is good; "+
			"`twintape resume %d --single` goes on with its twin alone", barcode, j.row.ID)}
}

// culprit is the tape and the drive that an error is about; empty if it is about none.
func (j *job) culprit(err error) (barcode, serial string) {
	var t *TapeError
	var side *stream.SideError
	switch {
	case errors.As(err, &t):
		return t.Barcode, t.Serial
	case errors.As(err, &side) && j.tapes[side.Side] != nil:
		return side.Barcode, j.tapes[side.Side].Drive.Serial()
	}
	return "", ""
}

// blame counts a failure against the tape and the drive that it is about. A second one with another partner makes the
// tape suspect, or the drive held, and the error a *SuspectError.
func (j *job) blame(ctx context.Context, err error) error {
	barcode, serial := j.culprit(err)
	if serial == "" || !broken(err) {
		return err
	}
	b, ledgerErr := j.Ledger.RecordFault(ctx, ledger.Fault{Job: j.row.ID, Barcode: barcode, Drive: serial, What: err.Error()})
	if ledgerErr != nil {
		return errors.Join(err, ledgerErr)
	}
	if b.TapeSuspect {
		err = &SuspectError{What: "tape " + barcode, Err: err, Cure: fmt.Sprintf(
			"it failed in two drives. `twintape resume %d --single` goes on with its twin alone; "+
				"`twintape tapes trust %s` lets it be used again", j.row.ID, barcode)}
	}
	if b.DriveHeld {
		err = &SuspectError{What: "the drive with serial number " + serial, Err: err, Cure: fmt.Sprintf(
			"it failed with two tapes. Have it cleaned or mended, then `twintape drives trust %s`", serial)}
	}
	return err
}

// lose goes on without the tape of one side. It is in the ledger before anything more is.
func (j *job) lose(ctx context.Context, side int, why error) error {
	barcode := j.barcode(side)
	if l := j.tapes[side]; l != nil && (j.at == ledger.Writing || j.at == ledger.Closing) {
		// Nobody will look at this tape again soon: if its drive does not say where it stands, or not that it is where it should
		// be, the worst is assumed.
		var failed *stream.SideError
		least := int64(0)
		if errors.As(why, &failed) {
			least = failed.Block
		}
		if _, err := j.misplaced(ctx, l, why, least); err != nil {
			if err := j.Ledger.Doubt(ctx, barcode, fmt.Sprintf("its drive failed and does not say where it stands: %v", err)); err != nil {
				return err
			}
		}
	}
	if err := j.Ledger.LoseSide(ctx, j.row.ID, side+1, why.Error()); err != nil {
		return err
	}
	j.row.Lost = side + 1
	j.aside, j.tapes[side] = j.tapes[side], nil
	j.Events.Emit(event.Note{Text: fmt.Sprintf("%v; the job goes on with %s alone: what it writes from here on needs a new twin (`twintape copies`)",
		why, j.barcode(1-side))})
	j.report.Lost = barcode
	return nil
}

func (j *job) barcode(side int) string { return j.chosen[side] }
