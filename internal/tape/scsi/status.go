package scsi

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"twintape/internal/tape"
)

// The lines of `mtx status`: a drive, a slot. Versions and their copies differ in blanks around = and padding behind tags, and very
// old ones leave the number of a single drive out.
var (
	driveLine = regexp.MustCompile(`^Data Transfer Element *([0-9]*) *: *(Full|Empty) *(?:\((?:Storage Element ([0-9]+)|Unknown Storage Element) Loaded\))?(.*)$`)
	slotLine  = regexp.MustCompile(`^Storage Element ([0-9]+)( IMPORT/EXPORT)? *: *(Full|Empty)(.*)$`)
	volumeTag = regexp.MustCompile(`: *VolumeTag *= *([^:]*?) *(?::|$)`)
)

// mostElements is how many elements SMC can tell apart.
const mostElements = 1 << 16

// parseStatus reads what `mtx status` prints: slots, import/export elements, drives, each by number. What is no element's line
// is left out.
func parseStatus(text string) ([]tape.Element, error) {
	var out []tape.Element
	for line := range strings.Lines(text) {
		e, err := parseStatusLine(strings.TrimSpace(line))
		if err != nil {
			return nil, err
		}
		if e != nil {
			out = append(out, *e)
		}
	}
	order := func(e tape.Element) int {
		return slices.Index([]tape.ElementKind{tape.Slot, tape.ImportExport, tape.Transfer}, e.Kind)
	}
	slices.SortStableFunc(out, func(a, b tape.Element) int {
		if by := order(a) - order(b); by != 0 {
			return by
		}
		return a.Number - b.Number
	})
	for i := 1; i < len(out); i++ {
		if out[i].Kind == out[i-1].Kind && out[i].Number == out[i-1].Number {
			return nil, fmt.Errorf("%s %d is listed twice", out[i].Kind, out[i].Number)
		}
	}
	if len(out) == 0 || out[len(out)-1].Kind != tape.Transfer {
		return nil, errors.New("it lists no data transfer element")
	}
	return out, nil
}

func parseStatusLine(line string) (*tape.Element, error) {
	var e tape.Element
	var number, full, rest string
	var err error
	if m := driveLine.FindStringSubmatch(line); m != nil {
		e.Kind, number, full, rest = tape.Transfer, m[1], m[2], m[4]
		if number == "" {
			number = "0"
		}
		if m[3] != "" && full == "Full" {
			if e.From, err = elementNumber(m[3]); err != nil {
				return nil, err
			}
		}
	} else if m := slotLine.FindStringSubmatch(line); m != nil {
		e.Kind, number, full, rest = tape.Slot, m[1], m[3], m[4]
		if m[2] != "" {
			e.Kind = tape.ImportExport
		}
	} else {
		return nil, nil
	}
	if e.Number, err = elementNumber(number); err != nil {
		return nil, err
	}
	if e.Full = full == "Full"; e.Full { // what was there last may still be told of an empty one
		if m := volumeTag.FindStringSubmatch(rest); m != nil {
			e.Barcode = printable([]byte(m[1]))
		}
	}
	return &e, nil
}

func elementNumber(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n >= mostElements {
		return 0, fmt.Errorf("element %s: SMC has no such number", s)
	}
	return n, nil
}
