package archiver

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"golang.org/x/sync/errgroup"

	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// choose returns the pair to write on: the first one that took something before, has room for one of the next items, and
// lies in the library; else the blank tape with the lowest barcode of each side.
func (a *Archiver) choose(ctx context.Context, waiting []ledger.Item) ([2]ledger.Tape, error) {
	var none [2]ledger.Tape
	inside, err := a.inside(ctx)
	if err != nil {
		return none, err
	}
	open, err := a.Ledger.OpenPairs(ctx)
	if err != nil {
		return none, err
	}
	for _, pair := range open {
		if inside[pair[0].Barcode] && inside[pair[1].Barcode] && a.mayFit(pair, waiting) {
			return pair, nil
		}
	}
	return a.chooseBlank(ctx, inside)
}

// inside tells of the cartridges in the library, by barcode, whether they can be used.
func (a *Archiver) inside(ctx context.Context) (map[string]bool, error) {
	elements, err := changer(a.Library).Inventory(ctx)
	if err != nil {
		return nil, err
	}
	inside := make(map[string]bool)
	for _, e := range elements {
		if e.Barcode == "" {
			continue
		}
		if inside[e.Barcode] {
			return nil, fmt.Errorf("the library reports two cartridges with barcode %s: take one out", e.Barcode)
		}
		inside[e.Barcode] = e.Kind != tape.ImportExport
	}
	return inside, nil
}

// mayFit tells whether one of some items may find room on a pair.
func (a *Archiver) mayFit(pair [2]ledger.Tape, items []ledger.Item) bool {
	for _, t := range pair {
		if ok, err := path.Match(a.Sides[t.Side-1], t.Barcode); err != nil || !ok {
			return false // the sides were configured anew
		}
	}
	return slices.ContainsFunc(items, func(it ledger.Item) bool {
		return !slices.ContainsFunc(pair[:], func(t ledger.Tape) bool {
			return t.Capacity > 0 && it.Bytes > usable(t.Capacity)-t.Used
		})
	})
}

func (a *Archiver) chooseBlank(ctx context.Context, inside map[string]bool) ([2]ledger.Tape, error) {
	var pair [2]ledger.Tape
	tapes, err := a.Ledger.Tapes(ctx) // by barcode
	if err != nil {
		return pair, err
	}
	tapes = slices.DeleteFunc(tapes, func(t ledger.Tape) bool { return t.State != ledger.TapeBlank || t.Job != 0 || tape.Cleaning(t.Barcode) })
	barred, err := a.barred(ctx, tapes)
	if err != nil {
		return pair, err
	}
	for side, pattern := range a.Sides {
		var blank, outside int
		why := ""
		for _, t := range tapes {
			if ok, err := path.Match(pattern, t.Barcode); err != nil || !ok {
				continue
			}
			blank++
			if !inside[t.Barcode] {
				outside++
				continue
			}
			if why = barred[t.Barcode]; why != "" {
				a.Events.Emit(event.Note{Text: fmt.Sprintf("tape %s is blank, but passed over: %s", t.Barcode, why)})
				continue
			}
			pair[side] = t
			break
		}
		if pair[side].Barcode != "" {
			continue
		}
		switch {
		case blank == 0:
			why = "the ledger knows none; bring cartridges in and register them with `twintape tapes add BARCODE`"
		case blank == outside:
			why = fmt.Sprintf("%d blank tapes are known, but none of them is in the library", outside)
		default:
			why = fmt.Sprintf("%d blank tapes are in the library, but none of them may be begun; of the last: %s", blank-outside, why)
		}
		return pair, &NoTapeError{Side: side, Pattern: pattern, Why: why}
	}
	return pair, nil
}

// barred tells which of some blank tapes the list of labels bars, and why.
func (a *Archiver) barred(ctx context.Context, tapes []ledger.Tape) (map[string]string, error) {
	if a.Labels == nil {
		return nil, nil
	}
	var barcodes []string
	for _, t := range tapes {
		barcodes = append(barcodes, t.Barcode)
	}
	return a.Labels.Barred(ctx, barcodes)
}

// changer is a library's changer, which hangs nobody.
func changer(lib tape.Library) tape.Changer { return tape.LimitedChanger(lib.Changer()) }

// Loaded is a cartridge in a drive of ours.
type Loaded struct {
	Barcode string
	Drive   tape.Drive
	Number  int // of the drive
	Medium  tape.Medium
	slot    int  // where it came from
	over    bool // what it holds may be overwritten: its Remaining does not count
}

// Load brings cartridges into drives, the first into drives[0] and so on, and waits until all are ready. What lies in one
// of the drives, or is wanted and lies in another, is put into a slot first.
func Load(ctx context.Context, lib tape.Library, barcodes []string, drives []int) ([]*Loaded, error) {
	if need := len(drives); lib.Drives() < need {
		return nil, fmt.Errorf("the library has %d drives, %d are needed", lib.Drives(), need)
	}
	if err := clearDrives(ctx, lib, barcodes, drives); err != nil {
		return nil, err
	}
	out := make([]*Loaded, len(barcodes))
	giveUp := func(err error) ([]*Loaded, error) {
		for _, l := range out {
			if l != nil {
				err = errors.Join(err, l.PutAway(context.WithoutCancel(ctx), lib))
			}
		}
		return nil, err
	}
	for i, barcode := range barcodes {
		l, err := load(ctx, lib, barcode, drives[i])
		if err != nil {
			return giveUp(err)
		}
		out[i] = l
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, l := range out {
		g.Go(func() (err error) {
			l.Medium, err = l.Drive.Load(gctx)
			return l.failed(err)
		})
	}
	if err := g.Wait(); err != nil {
		return giveUp(err)
	}
	return out, nil
}

// clearDrives puts away what an earlier run, or somebody else, left in the drives.
func clearDrives(ctx context.Context, lib tape.Library, barcodes []string, drives []int) error {
	elements, err := changer(lib).Inventory(ctx)
	if err != nil {
		return err
	}
	for _, e := range elements {
		if e.Kind != tape.Transfer || !e.Full || !slices.Contains(drives, e.Number) && !slices.Contains(barcodes, e.Barcode) {
			continue
		}
		d, err := lib.OpenDrive(ctx, e.Number)
		if err != nil {
			return err
		}
		left := &Loaded{Barcode: e.Barcode, Drive: tape.Limited(d), Number: e.Number, slot: e.From}
		if err := left.PutAway(ctx, lib); err != nil {
			return err
		}
	}
	return nil
}

func load(ctx context.Context, lib tape.Library, barcode string, number int) (*Loaded, error) {
	elements, err := changer(lib).Inventory(ctx)
	if err != nil {
		return nil, err
	}
	at := find(elements, func(e tape.Element) bool { return e.Barcode == barcode })
	if at == nil {
		return nil, &AbsentError{Barcode: barcode, Where: "is not in the library: bring it in"}
	}
	if at.Kind != tape.Slot {
		return nil, &AbsentError{Barcode: barcode, Where: fmt.Sprintf("lies in %s element %d: move it to a slot", at.Kind, at.Number)}
	}
	open, err := lib.OpenDrive(ctx, number)
	if err != nil {
		return nil, err
	}
	drive := tape.Limited(open)
	if err := changer(lib).Load(ctx, at.Number, number); err != nil {
		err = &TapeError{Barcode: barcode, Drive: drive.Name(), Err: fmt.Errorf("loading it: %w", err)}
		return nil, errors.Join(err, drive.Close())
	}
	return &Loaded{Barcode: barcode, Drive: drive, Number: number, slot: at.Number}, nil
}

// PutAway unloads the cartridge, brings it back to its slot, and gives the drive up.
func (l *Loaded) PutAway(ctx context.Context, lib tape.Library) error {
	err := l.unload(ctx, lib)
	if err != nil {
		err = l.failed(fmt.Errorf("putting it back into a slot: %w", err))
	}
	return errors.Join(err, l.Drive.Close())
}

func (l *Loaded) unload(ctx context.Context, lib tape.Library) error {
	if err := l.Drive.Unload(ctx); err != nil {
		return err
	}
	slot := l.slot
	elements, err := changer(lib).Inventory(ctx)
	if err != nil {
		return err
	}
	home := find(elements, func(e tape.Element) bool { return e.Kind == tape.Slot && e.Number == slot && !e.Full })
	if home == nil {
		if home = find(elements, func(e tape.Element) bool { return e.Kind == tape.Slot && !e.Full }); home == nil {
			return errors.New("no slot is free: take a cartridge out")
		}
	}
	return changer(lib).Unload(ctx, l.Number, home.Number)
}

func find(elements []tape.Element, is func(tape.Element) bool) *tape.Element {
	for i := range elements {
		if is(elements[i]) {
			return &elements[i]
		}
	}
	return nil
}

// AbsentError says that a tape is not where a drive can have it.
type AbsentError struct{ Barcode, Where string }

func (e *AbsentError) Error() string {
	return fmt.Sprintf("tape %s %s, then start again", e.Barcode, e.Where)
}

// writable makes sure that the cartridge can be written at all.
func (l *Loaded) writable() error {
	switch {
	case l.Medium.WORM:
		return &ForeignError{Barcode: l.Barcode, Err: fmt.Errorf(
			"is a WORM cartridge, which cannot be used again: take it out and `twintape tapes retire %s`", l.Barcode)}
	case l.Medium.WriteProtected:
		return fmt.Errorf("%w: flip its tab, then start again", tape.ErrWriteProtect)
	}
	return nil
}

// CheckBlank makes sure that nothing is on a loaded tape that the ledger calls blank: a tape that holds anything is never
// overwritten, but for what its owner has named, and for a volume that the ledger says was given up. The drive stands at the
// beginning then. The error is a *ForeignError if the tape holds something.
func (a *Archiver) CheckBlank(ctx context.Context, l *Loaded) error {
	if err := l.writable(); err != nil {
		return err
	}
	t, err := a.Ledger.Tape(ctx, l.Barcode)
	if err != nil {
		return err
	}
	begins, err := Begins(ctx, l.Drive)
	what, volume := begins.What, ""
	if begins.Label != nil {
		volume = begins.Label.Tape
	}
	var sense *tape.SenseError
	switch {
	case errors.As(err, &sense) && sense.Key == tape.MediumError:
		return &ForeignError{Barcode: l.Barcode, Err: fmt.Errorf("is blank according to the ledger, but not empty, and cannot be read: %w: "+
			"nothing was written to it; `twintape tapes retire %s` lets the next run choose another", err, l.Barcode)}
	case err != nil:
		return fmt.Errorf("looking for a label: %w", err)
	case what != "" && what != t.Overwrite && !t.GivenUp(volume):
		return &ForeignError{Barcode: l.Barcode, Err: fmt.Errorf("is blank according to the ledger, but holds %s: nothing was written to it; "+
			"take it out and find out where it belongs, or `twintape tapes retire %s`; `twintape tapes label --overwrite %s` if nobody needs what it holds",
			what, l.Barcode, l.Barcode)}
	}
	l.over = what != ""
	return l.Drive.Rewind(ctx)
}
