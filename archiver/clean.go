package archiver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"twintape/internal/event"
	"twintape/internal/tape"
)

// Cleaning takes minutes; a drive that has not ejected the cartridge by then does not.
const (
	cleaningTime = 30 * time.Minute
	cleaningLook = 5 * time.Second
)

// Clean cleans a drive with a cleaning cartridge of the library, and puts that back when the drive has ejected it. The error
// is an *AbsentError if there is none in a slot.
func (a *Archiver) Clean(ctx context.Context, number int) (err error) {
	if err := clearDrives(ctx, a.Library, nil, []int{number}); err != nil {
		return err
	}
	elements, err := changer(a.Library).Inventory(ctx)
	if err != nil {
		return err
	}
	cleaner := find(elements, func(e tape.Element) bool { return e.Kind == tape.Slot && tape.Cleaning(e.Barcode) })
	if cleaner == nil {
		return &AbsentError{Barcode: "CLN…", Where: "(a cleaning cartridge) is in no slot: bring one in"}
	}
	open, err := a.Library.OpenDrive(ctx, number)
	if err != nil {
		return err
	}
	drive := tape.Limited(open)
	if err := changer(a.Library).Load(ctx, cleaner.Number, number); err != nil {
		return errors.Join(fmt.Errorf("loading cleaning cartridge %s: %w", cleaner.Barcode, err), drive.Close())
	}
	a.Events.Emit(event.Note{Text: fmt.Sprintf("%s is being cleaned with %s", drive.Name(), cleaner.Barcode)})
	l := &Loaded{Barcode: cleaner.Barcode, Drive: drive, Number: number, slot: cleaner.Number}
	return errors.Join(l.awaitCleaned(ctx), l.PutAway(context.WithoutCancel(ctx), a.Library))
}

// awaitCleaned waits until the drive has ejected the cleaning cartridge.
func (l *Loaded) awaitCleaned(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleaningTime)
	defer cancel()
	for {
		_, err := l.Drive.Load(ctx)
		var sense *tape.SenseError
		switch {
		case errors.Is(err, tape.ErrNoMedium):
			return nil
		case err == nil:
			return fmt.Errorf("%s takes %s for a tape, and was not cleaned: it is no cleaning cartridge that it knows", l.Drive.Name(), l.Barcode)
		case !errors.As(err, &sense) || sense.ASC != 0x30 || sense.ASCQ != 0x03: // cleaning cartridge installed
			return fmt.Errorf("cleaning %s: %w", l.Drive.Name(), err)
		}
		select {
		case <-time.After(cleaningLook):
		case <-ctx.Done():
			return fmt.Errorf("cleaning %s: %w: it has not ejected %s", l.Drive.Name(), ctx.Err(), l.Barcode)
		}
	}
}
