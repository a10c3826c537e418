package archiver

import (
	"context"
	"errors"
	"fmt"

	"twintape/internal/tape"
)

// DrivesError says that fewer drives may be used than are needed.
type DrivesError struct {
	Need, Have int
	Held       []string // why others are not used
}

func (e *DrivesError) Error() string {
	text := fmt.Sprintf("%d drives are needed, %d may be used", e.Need, e.Have)
	for _, why := range e.Held {
		text += "; " + why
	}
	return text
}

// PickDrives chooses a drive for each tape, by number: none that is held, and for a tape that failed before another drive
// than that time, as far as there is one.
func (a *Archiver) PickDrives(ctx context.Context, barcodes []string) ([]int, error) {
	held, err := a.Ledger.HeldDrives(ctx)
	if err != nil {
		return nil, err
	}
	lack := &DrivesError{Need: len(barcodes)}
	var free []int
	serials := make(map[int]string)
	for n := range a.Library.Drives() {
		d, err := a.Library.OpenDrive(ctx, n)
		if errors.Is(err, tape.ErrBusy) {
			lack.Held = append(lack.Held, err.Error())
			continue
		}
		if err != nil {
			return nil, err
		}
		serials[n] = d.Serial()
		if err := d.Close(); err != nil {
			return nil, err
		}
		if why, ok := held[serials[n]]; ok {
			lack.Held = append(lack.Held, fmt.Sprintf("%s is held, since %s (`twintape drives trust %s` when it is mended)", d.Name(), why, serials[n]))
			continue
		}
		free = append(free, n)
	}
	if lack.Have = len(free); lack.Have < lack.Need {
		return nil, lack
	}
	avoid := make([]string, len(barcodes)) // the drive in which each failed last
	for i, b := range barcodes {
		if avoid[i], err = a.Ledger.LastFault(ctx, b); err != nil {
			return nil, err
		}
	}
	clash := func(i int) bool { return avoid[i] != "" && serials[free[i]] == avoid[i] }
	for i := range barcodes {
		for k := range free {
			if !clash(i) {
				break
			}
			free[i], free[k] = free[k], free[i]
			if clash(i) || k < i && clash(k) {
				free[i], free[k] = free[k], free[i]
			}
		}
	}
	return free[:len(barcodes)], nil
}
