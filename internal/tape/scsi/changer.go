package scsi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"twintape/internal/tape"
)

// mtx runs the program that moves cartridges.
type mtx struct {
	program string
	changer string
}

func newMTX(changer string) (*mtx, error) {
	for _, name := range []string{"mtx", "/usr/sbin/mtx", "/sbin/mtx"} {
		program, err := exec.LookPath(name)
		if err == nil {
			return &mtx{program, changer}, nil
		}
		if !errors.Is(err, exec.ErrNotFound) && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, errors.New("the program mtx is missing: `apt-get install mtx`")
}

// A changer that is busy, or has news to tell, is asked again; it has not done then what it was asked for.
const (
	retries = 60
	pause   = 5 * time.Second
	// linger is how long a killed mtx may take to end, which the kernel may hold on to.
	linger = 5 * time.Second
)

// repeatable tells whether a command was not done, and may be done if it is sent again.
func repeatable(s *tape.SenseError) bool {
	return s.Key == tape.UnitAttention || s.BecomingReady() || s.Key == tape.AbortedCommand && s.ASC == 0
}

// wait waits until asking again may help.
func wait(ctx context.Context, s *tape.SenseError) error {
	if s.Key == tape.UnitAttention {
		return ctx.Err() // it is told once
	}
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run runs mtx, again as long as its error is one that passes, and returns what it prints.
func (m *mtx) run(ctx context.Context, args ...string) (string, error) {
	for attempt := 1; ; attempt++ {
		cmd := exec.CommandContext(ctx, m.program, append([]string{"-f", m.changer}, args...)...)
		var out, complaint bytes.Buffer
		cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &complaint, linger
		err := cmd.Run()
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err == nil {
			return out.String(), nil
		}
		sense := parseComplaint(complaint.String())
		switch {
		case sense == nil:
			return "", fmt.Errorf("mtx %s: %w: %s", strings.Join(args, " "), err, lastLine(complaint.String()+out.String()))
		case !repeatable(sense) || attempt == retries:
			return "", fmt.Errorf("mtx %s: %w", strings.Join(args, " "), sense)
		}
		if err := wait(ctx, sense); err != nil {
			return "", err
		}
	}
}

// lastLine is what a program said last.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return printable([]byte(s[strings.LastIndexByte(s, '\n')+1:]))
}

var complaintLine = regexp.MustCompile(`(?m)(Sense Key|Additional Sense Code|Additional Sense Qualifier) *= *(.*?)\s*$`)

// senseKeys are mtx's words for sense keys.
var senseKeys = []string{"No Sense", "Recovered Error", "Not Ready", "Medium Error", "Hardware Error", "Illegal Request", "Unit Attention",
	"Data Protect", "Blank Check", "Vendor Specific", "Copy Aborted", "Aborted Command", "Equal", "Volume Overflow", "Miscompare", "Reserved"}

// parseComplaint reads the sense data out of what mtx prints when a command failed; nil if there is none. The last counts.
func parseComplaint(text string) *tape.SenseError {
	var key, asc, ascq int
	found := false
	for _, m := range complaintLine.FindAllStringSubmatch(text, -1) {
		switch m[1] {
		case "Sense Key":
			if key = slices.IndexFunc(senseKeys, func(k string) bool { return strings.EqualFold(k, m[2]) }); key < 0 {
				key = hexNumber(m[2]) & 0x0F
			}
			asc, ascq, found = 0, 0, true
		case "Additional Sense Code":
			asc = hexNumber(m[2])
		default:
			ascq = hexNumber(m[2])
		}
	}
	if !found || key == int(tape.NoSense) {
		return nil
	}
	return tape.Sense(byte(key), byte(asc), byte(ascq))
}

func hexNumber(s string) int {
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(s), "0x"), 16, 8)
	if err != nil {
		return 0
	}
	return int(n)
}

// Inventory returns all elements. Import/export elements are numbered with the slots, as mtx numbers them.
func (l *Library) Inventory(ctx context.Context) ([]tape.Element, error) {
	out, err := l.mtx.run(ctx, "status")
	if err != nil {
		return nil, err
	}
	elements, err := parseStatus(out)
	if err != nil {
		return nil, fmt.Errorf("mtx status: %w", err)
	}
	for i := range elements {
		if l.config.StripMedia {
			elements[i].Barcode = stripMedia(elements[i].Barcode)
		}
	}
	return elements, nil
}

// mediaIdentifier is what stands behind the six characters of a volume on labels of LTO cartridges: L and the generation,
// M8 for one of LTO-7 type M, the letters from T on for WORM, U for cleaning.
var mediaIdentifier = regexp.MustCompile(`^(.+)(L[1-9A]|M8|L[T-Z]|CU|UC)$`)

func stripMedia(barcode string) string {
	if m := mediaIdentifier.FindStringSubmatch(barcode); m != nil {
		return m[1]
	}
	return barcode
}

// Load moves the cartridge of a slot to a drive.
func (l *Library) Load(ctx context.Context, slot, drive int) error {
	return l.load(ctx, drive, func() error { return l.move(ctx, "load", slot, drive) })
}

// load moves something into a drive. If the library does not tell which drive is which, it is made sure that it arrives there.
func (l *Library) load(ctx context.Context, drive int, move func() error) error {
	if drive < 0 || drive >= len(l.drives) {
		return fmt.Errorf("the library has no drive %d", drive)
	}
	var empty []int
	if !l.proved[drive] {
		var err error
		if empty, err = l.empty(ctx); err != nil {
			return err
		}
	}
	if err := move(); err != nil {
		return err
	}
	l.mu.Lock()
	l.arrived[drive] = time.Now()
	l.mu.Unlock()
	if l.proved[drive] {
		return nil
	}
	return l.prove(ctx, drive, empty)
}

// empty returns the drives that say that they hold no cartridge. Those that do hold one are left in peace.
func (l *Library) empty(ctx context.Context) ([]int, error) {
	var out []int
	for n, d := range l.drives {
		holds, err := d.holds(ctx)
		if err != nil {
			return nil, fmt.Errorf("drive %d (%s): %w", n, d.node, err)
		}
		if !holds {
			out = append(out, n)
		}
	}
	return out, nil
}

// holds asks a drive whether there is a cartridge in it.
func (d *device) holds(ctx context.Context) (bool, error) {
	for range retries {
		_, err := d.ask(ctx, func(fd int) ([]byte, error) { return nil, testUnitReady(fd) })
		var sense *tape.SenseError
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, tape.ErrNoMedium):
			return false, nil
		case !errors.As(err, &sense):
			return false, err
		case sense.Key != tape.UnitAttention:
			return true, nil
		}
	}
	return false, errors.New("it has always something new to tell")
}

// prove makes sure that what the changer put into a data transfer element arrives in the device that is configured for it. Only
// drives that were empty are asked: none of them can be writing.
func (l *Library) prove(ctx context.Context, drive int, empty []int) error {
	until := time.Now().Add(arriving)
	for time.Now().Before(until) {
		for _, n := range empty {
			holds, err := l.drives[n].holds(ctx)
			switch {
			case err != nil:
				return fmt.Errorf("drive %d (%s): %w", n, l.drives[n].node, err)
			case holds && n == drive:
				l.proved[drive] = true
				return nil
			case holds:
				return fmt.Errorf("what the library put into drive %d arrived in %s, which is configured as drive %d: the order of library.drives "+
					"is wrong; nothing was written", drive, l.drives[n].node, n)
			}
		}
		select {
		case <-time.After(settle):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("what the library put into drive %d arrived in none of the configured drives: library.drives is wrong; nothing was written", drive)
}

// Unload moves the cartridge of a drive to a slot.
func (l *Library) Unload(ctx context.Context, drive, slot int) error {
	return l.move(ctx, "unload", slot, drive)
}

// Transfer moves a cartridge from element to element.
func (l *Library) Transfer(ctx context.Context, from, to tape.Element) error {
	switch {
	case from.Kind == tape.Transfer && to.Kind == tape.Transfer:
		return errors.New("mtx cannot move a cartridge from drive to drive: use a slot between")
	case from.Kind == tape.Transfer:
		return l.Unload(ctx, from.Number, to.Number)
	case to.Kind == tape.Transfer:
		return l.Load(ctx, from.Number, to.Number)
	}
	return l.move(ctx, "transfer", from.Number, to.Number)
}

func (l *Library) move(ctx context.Context, verb string, a, b int) error {
	_, err := l.mtx.run(ctx, verb, strconv.Itoa(a), strconv.Itoa(b))
	return err
}
