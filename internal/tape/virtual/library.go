// Package virtual is a tape library in a folder: cartridges that are SIMH magtape images, drives, and a changer. It
// behaves as a library behind the Linux st driver does, for trying twintape out, for tests, and for archives on disk.
//
// A cartridge is wholly its file, <dir>/<BARCODE>.tap. Everything else (what lies where, capacities) is in
// <dir>/library.json, which is replaced as a whole and synced at each move. One process at a time owns a library. The
// changer may be used concurrently, each drive by one goroutine.
package virtual

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"

	"twintape/internal/lock"
	"twintape/internal/tape"
)

// DefaultCapacity is what a cartridge holds unless told otherwise, in bytes.
const DefaultCapacity = 8 << 30

const stateFile = "library.json"

// cartridge is one cartridge and where it lies.
type cartridge struct {
	Barcode   string           `json:"barcode"`
	Capacity  int64            `json:"capacity"`
	Protected bool             `json:"write_protected,omitempty"`
	WORM      bool             `json:"worm,omitempty"`
	Kind      tape.ElementKind `json:"element"`
	Number    int              `json:"number"`
	From      int              `json:"from,omitempty"`    // the slot that it was loaded from
	Ejected   bool             `json:"ejected,omitempty"` // in a drive, unloaded: the changer can take it
}

// state is what library.json holds.
type state struct {
	Drives       int         `json:"drives"`
	Slots        int         `json:"slots"`
	ImportExport int         `json:"import_export"`
	Cartridges   []cartridge `json:"cartridges"`
}

// Options are the size of a new library.
type Options struct {
	Drives       int // at least 1
	Slots        int
	ImportExport int
}

// Create makes an empty library in a folder, which may exist but must hold no library.
func Create(dir string, o Options) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, stateFile)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s holds a library already", dir)
	}
	if o.Drives < 1 {
		return fmt.Errorf("a library needs a drive")
	}
	return writeState(dir, &state{Drives: o.Drives, Slots: o.Slots, ImportExport: o.ImportExport})
}

// Library is an open library.
type Library struct {
	// Timing, if set before drives are opened, makes them take the time that real ones do.
	Timing *Timing

	dir  string
	lock *lock.Lock

	mu    sync.Mutex
	state state
	open  []*Drive
}

var (
	_ tape.Library = (*Library)(nil)
	_ tape.Changer = (*Library)(nil)
)

// Open takes a library for this process. The error wraps tape.ErrBusy if another one has it, and says who.
func Open(dir string) (*Library, error) {
	if _, err := os.Stat(filepath.Join(dir, stateFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no virtual library in %s: `twintape init --dir DIR` makes one: %w", dir, err)
	}
	held, err := lock.Acquire(filepath.Join(dir, "lock"))
	if errors.Is(err, lock.ErrHeld) {
		return nil, fmt.Errorf("the tape library is %w: %w", tape.ErrBusy, err)
	}
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	l := &Library{dir: dir, lock: held}
	if err == nil {
		err = json.Unmarshal(data, &l.state)
	}
	if err == nil {
		err = l.check()
	}
	if err != nil {
		held.Close()
		return nil, fmt.Errorf("virtual library %s: %w", filepath.Join(dir, stateFile), err)
	}
	l.open = make([]*Drive, l.state.Drives)
	return l, nil
}

// mostElements is how many elements of a kind SMC can tell apart.
const mostElements = 1 << 16

var barcodes = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$`)

// ValidBarcode tells whether a virtual cartridge may be called so.
func ValidBarcode(s string) bool { return barcodes.MatchString(s) }

// check refuses what no library can be like.
func (l *Library) check() error {
	if s := &l.state; s.Drives < 1 || s.Drives > mostElements || s.Slots < 0 || s.Slots > mostElements || s.ImportExport < 0 || s.ImportExport > mostElements {
		return fmt.Errorf("%d drives, %d slots and %d import/export elements are no library", s.Drives, s.Slots, s.ImportExport)
	}
	seen, at := make(map[string]bool), make(map[tape.Element]string)
	for _, c := range l.state.Cartridges {
		place := tape.Element{Kind: c.Kind, Number: c.Number}
		switch {
		case !barcodes.MatchString(c.Barcode):
			return fmt.Errorf("%q is no barcode: letters, digits, - and _", c.Barcode)
		case seen[c.Barcode]:
			return fmt.Errorf("two cartridges have barcode %s: take one out", c.Barcode)
		case at[place] != "":
			return fmt.Errorf("cartridges %s and %s both lie in %s %d", at[place], c.Barcode, c.Kind, c.Number)
		case !slices.Contains(l.places(c.Kind), c.Number):
			return fmt.Errorf("cartridge %s lies in %s %d, which the library does not have", c.Barcode, c.Kind, c.Number)
		case c.Capacity <= 0:
			return fmt.Errorf("cartridge %s has no capacity", c.Barcode)
		}
		seen[c.Barcode], at[place] = true, c.Barcode
		if _, err := os.Stat(l.imageFile(c.Barcode)); err != nil {
			return fmt.Errorf("cartridge %s has lost its file: %w", c.Barcode, err)
		}
	}
	return nil
}

// places are the numbers of a kind of element: slots and import/export elements count from 1, drives from 0.
func (l *Library) places(kind tape.ElementKind) []int {
	first, n := 1, 0
	switch kind {
	case tape.Slot:
		n = l.state.Slots
	case tape.ImportExport:
		n = l.state.ImportExport
	case tape.Transfer:
		first, n = 0, l.state.Drives
	}
	out := make([]int, n)
	for i := range out {
		out[i] = first + i
	}
	return out
}

func (l *Library) imageFile(barcode string) string { return filepath.Join(l.dir, barcode+".tap") }

// writeState replaces library.json.
func writeState(dir string, s *state) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, stateFile+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(data, '\n'))
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, stateFile)); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// change alters the state and makes it durable; if that fails, the state stays as it was.
func (l *Library) change(alter func(s *state) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.state
	next.Cartridges = slices.Clone(next.Cartridges)
	if err := alter(&next); err != nil {
		return err
	}
	if err := writeState(l.dir, &next); err != nil {
		return err
	}
	l.state = next
	return nil
}

// AddCartridge puts a new blank cartridge into the first free slot. A file of the cartridge that is there already is
// taken as it is.
func (l *Library) AddCartridge(barcode string, capacity int64) error {
	if !barcodes.MatchString(barcode) {
		return fmt.Errorf("%q is no barcode: letters, digits, - and _", barcode)
	}
	return l.change(func(s *state) error {
		if s.find(func(c *cartridge) bool { return c.Barcode == barcode }) != nil {
			return fmt.Errorf("a cartridge %s is in the library already", barcode)
		}
		f, err := os.OpenFile(l.imageFile(barcode), os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close(), syncDir(l.dir)); err != nil {
			return err
		}
		for _, slot := range l.places(tape.Slot) {
			if s.at(tape.Slot, slot) == nil {
				s.Cartridges = append(s.Cartridges, cartridge{Barcode: barcode, Capacity: capacity, Kind: tape.Slot, Number: slot})
				return nil
			}
		}
		return fmt.Errorf("no slot is free for cartridge %s", barcode)
	})
}

// Capacity is what a cartridge of the library holds, in bytes.
func (l *Library) Capacity(barcode string) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.state.find(func(c *cartridge) bool { return c.Barcode == barcode })
	if c == nil {
		return 0, fmt.Errorf("no cartridge %s is in the library", barcode)
	}
	return c.Capacity, nil
}

func (s *state) find(is func(*cartridge) bool) *cartridge {
	for i := range s.Cartridges {
		if is(&s.Cartridges[i]) {
			return &s.Cartridges[i]
		}
	}
	return nil
}

func (s *state) at(kind tape.ElementKind, number int) *cartridge {
	return s.find(func(c *cartridge) bool { return c.Kind == kind && c.Number == number })
}

// Changer is the library itself.
func (l *Library) Changer() tape.Changer { return l }

// Drives returns the number of drives.
func (l *Library) Drives() int { return l.state.Drives }

// OpenDrive takes a drive.
func (l *Library) OpenDrive(ctx context.Context, number int) (tape.Drive, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if number < 0 || number >= len(l.open) {
		return nil, fmt.Errorf("the library has no drive %d", number)
	}
	if l.open[number] != nil {
		return nil, fmt.Errorf("drive %d is %w by this process", number, tape.ErrBusy)
	}
	d := &Drive{lib: l, number: number}
	if l.Timing != nil {
		timed, err := newTimedDrive(d, *l.Timing)
		if err != nil {
			return nil, err
		}
		l.open[number] = d
		return timed, nil
	}
	l.open[number] = d
	return d, nil
}

func (l *Library) closedDrive(number int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[number] = nil
}

// inDrive is the cartridge that lies in a drive.
func (l *Library) inDrive(number int) (cartridge, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.state.at(tape.Transfer, number)
	if c == nil || c.Ejected {
		return cartridge{}, tape.ErrNoMedium
	}
	return *c, nil
}

// Eject makes the cartridge of a drive free for the changer. Nobody may use its medium any more.
func (l *Library) Eject(drive int) error { return l.setEjected(drive, true) }

// Insert pulls an ejected cartridge in again.
func (l *Library) Insert(drive int) error { return l.setEjected(drive, false) }

func (l *Library) setEjected(drive int, ejected bool) error {
	return l.change(func(s *state) error {
		c := s.at(tape.Transfer, drive)
		if c == nil {
			return fmt.Errorf("drive %d: %w", drive, tape.ErrNoMedium)
		}
		c.Ejected = ejected
		return nil
	})
}

// Close gives the library and its drives up.
func (l *Library) Close() error {
	l.mu.Lock()
	open := slices.Clone(l.open)
	l.mu.Unlock()
	var err error
	for _, d := range open {
		if d != nil {
			err = errors.Join(err, d.Close())
		}
	}
	return errors.Join(err, l.lock.Close())
}
