package virtual

import (
	"context"
	"fmt"

	"twintape/internal/tape"
)

// Inventory returns all elements.
func (l *Library) Inventory(ctx context.Context) ([]tape.Element, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []tape.Element
	for _, kind := range []tape.ElementKind{tape.Slot, tape.ImportExport, tape.Transfer} {
		for _, number := range l.places(kind) {
			e := tape.Element{Kind: kind, Number: number}
			if c := l.state.at(kind, number); c != nil {
				e.Full, e.Barcode, e.From = true, c.Barcode, c.From
			}
			out = append(out, e)
		}
	}
	return out, nil
}

// Load moves the cartridge of a slot to a drive.
func (l *Library) Load(ctx context.Context, slot, drive int) error {
	return l.move(ctx, tape.Element{Kind: tape.Slot, Number: slot}, tape.Element{Kind: tape.Transfer, Number: drive})
}

// Unload moves the cartridge of a drive to a slot.
func (l *Library) Unload(ctx context.Context, drive, slot int) error {
	return l.move(ctx, tape.Element{Kind: tape.Transfer, Number: drive}, tape.Element{Kind: tape.Slot, Number: slot})
}

// Transfer moves a cartridge from element to element.
func (l *Library) Transfer(ctx context.Context, from, to tape.Element) error {
	return l.move(ctx, from, to)
}

func (l *Library) move(ctx context.Context, from, to tape.Element) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.change(func(s *state) error {
		c := s.at(from.Kind, from.Number)
		if c == nil {
			return fmt.Errorf("%s %d is empty", from.Kind, from.Number)
		}
		there := false
		for _, n := range l.places(to.Kind) {
			there = there || n == to.Number
		}
		if !there {
			return fmt.Errorf("the library has no %s %d", to.Kind, to.Number)
		}
		if other := s.at(to.Kind, to.Number); other != nil {
			return fmt.Errorf("%s %d is full: cartridge %s lies in it", to.Kind, to.Number, other.Barcode)
		}
		if from.Kind == tape.Transfer && !c.Ejected {
			return fmt.Errorf("cartridge %s is still loaded in drive %d: unload the drive first", c.Barcode, from.Number)
		}
		c.From = 0
		if to.Kind == tape.Transfer && from.Kind == tape.Slot {
			c.From = from.Number
		}
		c.Kind, c.Number, c.Ejected = to.Kind, to.Number, false
		return nil
	})
}
