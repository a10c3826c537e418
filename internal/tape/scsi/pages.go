package scsi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"twintape/internal/tape"
)

var errMalformed = errors.New("the device's answer is malformed")

// parameter is one parameter of a log page, or one attribute of a cartridge's memory.
type parameter struct {
	code  uint16
	value []byte
}

// parameters cuts a list of parameters with heads of the given length, whose first two bytes are the code and whose last
// one or two are the value's length.
func parameters(b []byte, head, lengthBytes int) iter.Seq[parameter] {
	return func(yield func(parameter) bool) {
		for len(b) >= head {
			n := int(b[head-1])
			if lengthBytes == 2 {
				n = int(binary.BigEndian.Uint16(b[head-2:]))
			}
			if head+n > len(b) {
				return
			}
			if !yield(parameter{binary.BigEndian.Uint16(b), b[head : head+n]}) {
				return
			}
			b = b[head+n:]
		}
	}
}

// parseLogPage returns the parameters of a log page (SPC-4, 7.3).
func parseLogPage(b []byte, page byte) (iter.Seq[parameter], error) {
	if len(b) < 4 || b[0]&0x3F != page {
		return nil, fmt.Errorf("log page %02Xh: %w", page, errMalformed)
	}
	n := min(int(binary.BigEndian.Uint16(b[2:])), len(b)-4)
	return parameters(b[4:4+n], 4, 1), nil
}

// Log pages.
const (
	pageTapeAlert = 0x2E
	pageCapacity  = 0x31
)

// parseAlerts returns the raised flags of the TapeAlert page, ascending.
func parseAlerts(b []byte) ([]tape.Alert, error) {
	all, err := parseLogPage(b, pageTapeAlert)
	if err != nil {
		return nil, err
	}
	var out []tape.Alert
	for p := range all {
		if p.code >= 1 && p.code <= 64 && len(p.value) > 0 && p.value[0]&1 != 0 && !slices.Contains(out, tape.Alert(p.code)) {
			out = append(out, tape.Alert(p.code))
		}
	}
	slices.Sort(out)
	return out, nil
}

const mebibyte = 1 << 20

// parseCapacity returns what the first partition of the cartridge holds and still takes, in bytes; 0 where it is not told.
func parseCapacity(b []byte) (capacity, remaining int64, err error) {
	all, err := parseLogPage(b, pageCapacity)
	if err != nil {
		return 0, 0, err
	}
	for p := range all {
		switch p.code {
		case 1:
			remaining = number(p.value) * mebibyte
		case 3:
			capacity = number(p.value) * mebibyte
		}
	}
	return capacity, remaining, nil
}

// number is an unsigned number; 0 if it is none that a tape can have.
func number(b []byte) int64 {
	if len(b) == 0 || len(b) > 8 {
		return 0
	}
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	if n > 1<<40 { // in MiB: an exbibyte
		return 0
	}
	return int64(n)
}

// memory is what a cartridge's memory (MAM, SPC-4, 7.4) tells.
type memory struct {
	serial              string
	capacity, remaining int64 // bytes; 0 where it is not told
	worm, cleaning      bool
}

// parseMemory reads what READ ATTRIBUTE returned into m; attributes that are not there leave m as it is.
func (m *memory) parse(b []byte) error {
	if len(b) < 4 {
		return fmt.Errorf("the cartridge's memory: %w", errMalformed)
	}
	n := min(int64(binary.BigEndian.Uint32(b)), int64(len(b)-4))
	for p := range parameters(b[4:4+n], 5, 2) {
		switch p.code {
		case 0x0000:
			m.remaining = number(p.value) * mebibyte
		case 0x0001:
			m.capacity = number(p.value) * mebibyte
		case 0x0401:
			m.serial = printable(p.value)
		case 0x0408:
			m.worm = len(p.value) > 0 && p.value[0] == 0x80
			m.cleaning = len(p.value) > 0 && p.value[0] == 0x01
		}
	}
	return nil
}

// printable is a text field: without padding, and without what no serial number has in it.
func printable(b []byte) string {
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(b))
	return strings.TrimSpace(s)
}

// parseSerial reads the unit serial number page (VPD page 80h).
func parseSerial(b []byte) (string, error) {
	if len(b) < 4 || b[1] != 0x80 {
		return "", fmt.Errorf("the unit serial number: %w", errMalformed)
	}
	n := min(int(binary.BigEndian.Uint16(b[2:])), len(b)-4)
	serial := printable(b[4 : 4+n])
	if serial == "" {
		return "", errors.New("the device has no serial number")
	}
	return serial, nil
}

// parsePosition reads READ POSITION's short form.
func parsePosition(b []byte) (int64, error) {
	if len(b) < 8 {
		return 0, fmt.Errorf("the position: %w", errMalformed)
	}
	if b[0]&0x04 != 0 {
		return 0, errors.New("the drive does not know where the tape stands")
	}
	return int64(binary.BigEndian.Uint32(b[4:])), nil
}

// isWORM tells from a mode page's header whether the drive takes its cartridge for a WORM one: LTO's medium types for these
// end with Ch.
func isWORM(b []byte) bool { return len(b) > 1 && b[1]&0x0F == 0x0C && b[1] >= 0x3C }
