package scsi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"twintape/internal/tape"
)

// ask sends a command to the drive beside st. A question may take the drive's word of a reset, which st would then never
// hear, and st would write its filemark at the beginning of the tape: so st is first made to forget that it owes one.
func (d *Drive) ask(ctx context.Context, f func(fd int) ([]byte, error)) ([]byte, error) {
	d.disarm()
	return d.dev.ask(ctx, f)
}

// disarm makes st forget the filemark that it owes behind written records, by asking it for none, immediate.
func (d *Drive) disarm() {
	if d.records && d.fd >= 0 {
		operate(d.fd, mtWEOFI, 0) //nolint:errcheck // st has forgotten before it asks the drive
		d.records = false
	}
}

// fail words an operation's failure, and finds its cause, which st does not tell: by its status, the drive's own word, and
// what alerts it raised. The drive does nothing else meanwhile.
func (d *Drive) fail(op string, err error) error {
	switch {
	case errors.Is(err, unix.ENOMEDIUM), errors.Is(err, tape.ErrNoMedium):
		return fmt.Errorf("%s: %s: %w", d.Name(), op, tape.ErrNoMedium)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EROFS):
		return fmt.Errorf("%s: %s: %w", d.Name(), op, tape.ErrWriteProtect)
	}
	d.failed = true
	if !errors.Is(err, unix.EIO) {
		return fmt.Errorf("%s: %s: %w", d.Name(), op, err)
	}
	cause := d.cause()
	d.next = -1
	if errors.Is(cause, tape.ErrNoMedium) {
		d.failed = false // there is nothing that could be overwritten
	}
	if sense := new(tape.SenseError); errors.As(cause, &sense) {
		return fmt.Errorf("%s: %s: %w: %w", d.Name(), op, err, cause)
	}
	return fmt.Errorf("%s: %s: %w: %v", d.Name(), op, err, cause)
}

var errNotAgain = errors.New("the record's place is not known")

// mostReadAgain is how often readAgain tries.
const mostReadAgain = 5

// readAgain reads the record that st failed to read once more, beside st: so the drive's own word of what is wrong comes
// through, or the record. A signal may have made the kernel send the command twice, and what came is the record behind: the
// drive stands too far then, and all is done again.
func (d *Drive) readAgain(p []byte) (n int, err error) {
	if d.next < 0 {
		return 0, errNotAgain
	}
	_, err = d.ask(context.Background(), func(fd int) ([]byte, error) {
		for tries := 1; ; tries++ {
			if err := locate10(fd, d.next); err != nil {
				return nil, err
			}
			var err error
			if n, err = read6(fd, p); err != nil {
				return nil, err
			}
			at, err := readPosition(fd)
			if err != nil || at == d.next+1 {
				return nil, err
			}
			if tries == mostReadAgain {
				return nil, fmt.Errorf("the drive stands at block %d behind block %d", at, d.next)
			}
		}
	})
	return n, err
}

// wasReset tells whether the drive stands at the beginning of a tape that it stood further on.
func (d *Drive) wasReset(ctx context.Context) bool {
	at, err := d.askPosition(ctx)
	return err == nil && at == 0 && d.next > 0
}

var errUnknownCause = errors.New("cause unknown; the kernel's log may tell")

// cause asks for the cause of an EIO.
func (d *Drive) cause() error {
	s, err := status(d.fd)
	d.cleaning = d.cleaning || err == nil && s.status&statusClean != 0
	reset := errors.Is(err, unix.EIO) // st refuses everything
	ctx := context.Background()       // the operation's may have ended, and what follows is short
	_, err = d.ask(ctx, func(fd int) ([]byte, error) { return nil, testUnitReady(fd) })
	switch {
	case err != nil:
		return err
	case reset:
		return tape.Sense(tape.UnitAttention, 0x29, 0x00)
	}
	if d.wasReset(ctx) {
		return tape.Sense(tape.UnitAttention, 0x29, 0x00) // st had the drive's word of it, and kept it
	}
	alerts := d.askAlerts(ctx)
	for _, a := range alerts {
		if a == tape.AlertMedia {
			return tape.Sense(tape.MediumError, 0, 0)
		}
	}
	if len(alerts) == 0 {
		return errUnknownCause
	}
	var texts []string
	for _, a := range alerts {
		texts = append(texts, a.String())
	}
	return errors.New(strings.Join(texts, "; "))
}

// askAlerts returns the alerts that the drive has raised since it was asked last, and keeps them for Health. A drive that
// does not answer has raised none.
func (d *Drive) askAlerts(ctx context.Context) []tape.Alert {
	b, err := d.optional(ctx, func(fd int) ([]byte, error) { return logPage(fd, pageTapeAlert) })
	if err != nil || b == nil {
		return nil
	}
	alerts, err := parseAlerts(b)
	if err != nil {
		return nil
	}
	for _, a := range alerts {
		if !slices.Contains(d.alerts, a) {
			d.alerts = append(d.alerts, a)
		}
	}
	return alerts
}

// Health tells what the drive reports of itself and its cartridge.
func (d *Drive) Health(ctx context.Context) (tape.Health, error) {
	leave, err := d.enter(ctx)
	if err != nil {
		return tape.Health{}, err
	}
	defer leave()
	d.askAlerts(ctx)
	s, err := status(d.fd)
	now := d.dev.counters()
	h := tape.Health{
		Alerts: slices.Sorted(slices.Values(d.alerts)), Cleaning: d.cleaning || err == nil && s.status&statusClean != 0,
		Read: now.read - d.since.read, Written: now.written - d.since.written,
		ReadTime: now.readTime - d.since.readTime, WriteTime: now.writeTime - d.since.writeTime,
	}
	h.Cleaning = h.Cleaning || slices.ContainsFunc(h.Alerts, tape.Alert.CleaningWanted)
	d.alerts, d.cleaning, d.since = nil, false, now
	return h, nil
}
