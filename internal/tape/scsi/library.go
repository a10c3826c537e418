// Package scsi is a tape library behind Linux's drivers: drives by st, the changer by mtx, and by SCSI generic what these do
// not tell. st's ways that this package relies on, or works around, are in docs/tape-drives.md.
//
// One process at a time owns the changer, and each drive: the kernel's lock on their SCSI generic nodes. The Library may be used
// concurrently, each Drive by one goroutine. Calls of a drive block in the kernel as long as its device does not answer:
// callers wrap drives in tape.Limited.
//
// It needs CAP_SYS_ADMIN (st's options) and CAP_SYS_RAWIO (questions by SCSI generic, moves), and nodes that it may open.
package scsi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"twintape/internal/lock"
	"twintape/internal/tape"
)

// Config says which library, and how its tapes are written.
type Config struct {
	Changer string // its SCSI generic node
	// Drives are the nodes of drives (/dev/nst0). If the library tells its drives' serial numbers they are those that may be
	// used, all if there are none; else they are its data transfer elements in order.
	Drives      []string
	StripMedia  bool // barcodes lose the media identifier behind them, as L5 in PAPR1001L5
	Compression bool
}

// Library is an open library.
type Library struct {
	config  Config
	mtx     *mtx
	changer *lock.Lock
	drives  []*device // by data transfer element; nil where none may be used
	proved  []bool    // by data transfer element: the device is known to be this one

	mu      sync.Mutex
	open    map[int]*Drive
	arrived map[int]time.Time // when the changer put something into a drive
}

var (
	_ tape.Library = (*Library)(nil)
	_ tape.Changer = (*Library)(nil)
)

// Open takes the library for this process, and finds out which drive is which. The error wraps tape.ErrBusy if another process
// has it, and says who.
func Open(ctx context.Context, c Config) (*Library, error) {
	held, err := lock.Node(c.Changer)
	if errors.Is(err, lock.ErrHeld) {
		return nil, fmt.Errorf("the tape library is %w: %w", tape.ErrBusy, err)
	}
	if err != nil {
		return nil, fmt.Errorf("changer %s: %w: `lsscsi -g` lists it as mediumx", c.Changer, err)
	}
	l := &Library{config: c, changer: held, open: make(map[int]*Drive), arrived: make(map[int]time.Time)}
	if l.mtx, err = newMTX(c.Changer); err == nil {
		err = l.findDrives(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return l, nil
}

// findDrives finds the device of each data transfer element.
func (l *Library) findDrives(ctx context.Context) error {
	elements, err := l.elements(ctx)
	if err != nil {
		return fmt.Errorf("changer %s: asking for its drives: %w", l.config.Changer, err)
	}
	var devices []device
	if len(l.config.Drives) == 0 {
		if devices, err = findDevices(ctx); err != nil {
			return err
		}
	}
	for _, node := range l.config.Drives {
		d, err := findDevice(ctx, node)
		if err != nil {
			return err
		}
		devices = append(devices, d)
	}
	l.drives, l.proved, err = match(elements, devices, len(l.config.Drives) > 0)
	return err
}

// match finds the device of each data transfer element by the identifiers that the library tells; if it tells none, by the
// order of the configuration.
func match(elements []transferElement, devices []device, configured bool) (drives []*device, proved []bool, err error) {
	for i := range devices {
		for k := range devices[:i] {
			if devices[i].serial == devices[k].serial {
				return nil, nil, fmt.Errorf("drives %s and %s are the same, or have the same serial number %s", devices[k].node, devices[i].node, devices[i].serial)
			}
		}
	}
	drives, proved = make([]*device, len(elements)), make([]bool, len(elements))
	told := slices.ContainsFunc(elements, func(e transferElement) bool { return e.identifier != "" })
	if !told {
		if !configured {
			return nil, nil, errors.New("the library does not tell which drive is which: name the drives in library.drives, in the order " +
				"of its data transfer elements")
		}
		if len(devices) != len(elements) {
			return nil, nil, fmt.Errorf("the library does not tell which drive is which, and has %d data transfer elements: name as many drives in "+
				"library.drives, not %d", len(elements), len(devices))
		}
		for i := range devices {
			drives[i] = &devices[i]
		}
		return drives, proved, nil
	}
	used := make([]bool, len(devices))
	for n, e := range elements {
		for i := range devices {
			if !identifies(e.identifier, devices[i].serial, devices[i].wwid) {
				continue
			}
			if drives[n] != nil || used[i] {
				return nil, nil, fmt.Errorf("the library's word of its drives is ambiguous: %q may be %s", e.identifier, devices[i].node)
			}
			drives[n], proved[n], used[i] = &devices[i], true, true
		}
	}
	if configured {
		for i, d := range devices {
			if !used[i] {
				return nil, nil, fmt.Errorf("drive %s (serial number %s) is none of this library's: it has %s", d.node, d.serial, names(elements))
			}
		}
	}
	if !slices.Contains(used, true) {
		return nil, nil, fmt.Errorf("none of the library's drives (%s) is a tape drive of this machine: look at cables, `lsscsi -g`", names(elements))
	}
	return drives, proved, nil
}

func names(elements []transferElement) string {
	var out []string
	for _, e := range elements {
		out = append(out, fmt.Sprintf("%q", e.identifier))
	}
	return strings.Join(out, ", ")
}

// elements asks the changer for its drives.
func (l *Library) elements(ctx context.Context) ([]transferElement, error) {
	return await(ctx, "the changer", "a question", func() ([]transferElement, error) {
		fd, err := openGeneric(l.config.Changer)
		if err != nil {
			return nil, err
		}
		defer unix.Close(fd)
		identifiers := true
		for range retries {
			b, err := elementStatus(fd, identifiers)
			var sense *tape.SenseError
			switch {
			case err == nil:
				return parseElements(b)
			case errors.As(err, &sense) && sense.Key == tape.IllegalRequest && identifiers:
				identifiers = false
			case errors.As(err, &sense) && repeatable(sense):
				if err := wait(ctx, sense); err != nil {
					return nil, err
				}
			default:
				return nil, err
			}
		}
		return nil, errors.New("it does not become ready")
	}, func([]transferElement) {})
}

// Changer is the library itself.
func (l *Library) Changer() tape.Changer { return l }

// Drives returns the number of data transfer elements.
func (l *Library) Drives() int { return len(l.drives) }

// OpenDrive takes a drive.
func (l *Library) OpenDrive(ctx context.Context, number int) (tape.Drive, error) {
	if number < 0 || number >= len(l.drives) {
		return nil, fmt.Errorf("the library has no drive %d", number)
	}
	dev := l.drives[number]
	if dev == nil {
		return nil, fmt.Errorf("drive %d is %w: it is not connected to this machine, or not in library.drives", number, tape.ErrBusy)
	}
	held, err := lock.Node(dev.sg)
	if errors.Is(err, lock.ErrHeld) {
		return nil, fmt.Errorf("drive %d (%s) is %w: %w", number, dev.node, tape.ErrBusy, err)
	}
	if err != nil {
		return nil, fmt.Errorf("drive %d (%s): %w", number, dev.node, err)
	}
	d := &Drive{lib: l, number: number, dev: dev, fd: -1, next: -1, lock: held, since: dev.counters()}
	if err := d.reopen(ctx); err != nil {
		return nil, errors.Join(err, held.Close())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[number] = d
	return d, nil
}

func (l *Library) closedDrive(number int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, number)
}

// arrives tells whether the changer has put a cartridge into a drive a short time ago.
func (l *Library) arrives(number int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.arrived[number]) < arriving
}

// left says that a drive has ejected its cartridge.
func (l *Library) left(number int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.arrived, number)
}

// Close gives the library and its drives up.
func (l *Library) Close() error {
	l.mu.Lock()
	var open []*Drive
	for _, d := range l.open {
		open = append(open, d)
	}
	changer := l.changer
	l.changer = nil
	l.mu.Unlock()
	if changer == nil {
		return nil // it was closed before
	}
	var err error
	for _, d := range open {
		err = errors.Join(err, d.Close())
	}
	return errors.Join(err, changer.Close())
}
