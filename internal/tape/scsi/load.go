package scsi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"twintape/internal/tape"
)

// Load waits until the cartridge is ready, makes st and the drive behave, and reads what the cartridge tells of itself.
func (d *Drive) Load(ctx context.Context) (tape.Medium, error) {
	leave, err := d.enter(ctx)
	if err != nil {
		return tape.Medium{}, err
	}
	defer leave()
	d.failed, d.written, d.next, d.medium = false, false, -1, tape.Medium{}
	err = d.awaitReady(ctx, true)
	if err == nil {
		err = setModes(d.fd, d.lib.config.Compression)
	}
	if err == nil {
		d.medium, err = d.askMedium(ctx)
	}
	if err == nil {
		// Also makes st forget what it knew of a tape before: a question of ours may have taken the drive's word of a change.
		err = operate(d.fd, mtREW, 1)
	}
	if err != nil {
		if errors.Is(err, unix.EIO) {
			return tape.Medium{}, d.fail("loading", err)
		}
		return tape.Medium{}, fmt.Errorf("%s: loading: %w", d.Name(), err)
	}
	d.next = 0
	return d.medium, nil
}

// arriving is how long a drive may say that it is empty after the changer put a cartridge into it.
const arriving = 3 * time.Minute

// awaitReady waits until the drive is ready. A cartridge that lies in it unloaded is loaded if load is set. ErrNoMedium: there
// is none.
func (d *Drive) awaitReady(ctx context.Context, load bool) error {
	for {
		if err := d.reopen(ctx); err != nil {
			return err
		}
		s, err := status(d.fd)
		if err == nil && s.status&statusOnline != 0 {
			return nil
		}
		_, err = d.ask(ctx, func(fd int) ([]byte, error) { return nil, testUnitReady(fd) })
		var sense *tape.SenseError
		switch {
		case err == nil: // by now
		case !errors.As(err, &sense):
			return err
		case errors.Is(err, tape.ErrNoMedium):
			if !d.lib.arrives(d.number) {
				return tape.ErrNoMedium
			}
		case sense.Key == tape.NotReady && sense.ASC == 0x04 && sense.ASCQ == 0x02:
			if !load {
				return nil // it can be ejected
			}
			if err := operate(d.fd, mtLOAD, 1); err != nil && !errors.Is(err, unix.EIO) {
				return err
			}
		case sense.BecomingReady(), sense.Key == tape.UnitAttention:
		default:
			return err
		}
		select {
		case <-time.After(settle):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// densities are the cartridges' kinds by density code.
var densities = map[int64]string{
	0x40: "LTO-1", 0x42: "LTO-2", 0x44: "LTO-3", 0x46: "LTO-4", 0x58: "LTO-5", 0x5A: "LTO-6", 0x5C: "LTO-7", 0x5D: "LTO-7 type M", 0x5E: "LTO-8",
	0x60: "LTO-9",
}

// askMedium asks the loaded drive what it holds. What a device does not know of is left out.
func (d *Drive) askMedium(ctx context.Context) (tape.Medium, error) {
	s, err := status(d.fd)
	if err != nil {
		return tape.Medium{}, err
	}
	m := tape.Medium{Backhitch: true, WriteProtected: s.status&statusWrProt != 0}
	density := s.density >> densityShift & 0xFF
	if m.Type = densities[density]; m.Type == "" {
		m.Type = fmt.Sprintf("density %02Xh", density)
	}
	var mem memory
	for _, first := range []uint16{0x0000, 0x0400} {
		b, err := d.optional(ctx, func(fd int) ([]byte, error) { return mediumAttributes(fd, first) })
		if err != nil {
			return m, err
		}
		if b != nil {
			if err := mem.parse(b); err != nil {
				return m, err
			}
		}
	}
	if mem.cleaning {
		return m, tape.Sense(tape.NotReady, 0x30, 0x03)
	}
	m.Serial, m.Capacity, m.Remaining, m.WORM = mem.serial, mem.capacity, mem.remaining, mem.worm
	b, err := d.optional(ctx, func(fd int) ([]byte, error) { return logPage(fd, pageCapacity) })
	if err != nil {
		return m, err
	}
	if b != nil {
		capacity, remaining, err := parseCapacity(b)
		if err != nil {
			return m, err
		}
		if capacity > 0 {
			m.Capacity, m.Remaining = capacity, remaining
		}
	}
	b, err = d.optional(ctx, func(fd int) ([]byte, error) { return modePage(fd, 0) })
	m.WORM = m.WORM || isWORM(b)
	return m, err
}

// optional asks what not every drive knows; nil if this one does not.
func (d *Drive) optional(ctx context.Context, f func(fd int) ([]byte, error)) ([]byte, error) {
	for {
		b, err := d.ask(ctx, f)
		var sense *tape.SenseError
		switch {
		case errors.As(err, &sense) && sense.Key == tape.IllegalRequest:
			return nil, nil
		case errors.As(err, &sense) && sense.Key == tape.UnitAttention:
			continue // the command was not done
		}
		return b, err
	}
}
