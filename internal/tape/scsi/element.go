package scsi

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// transferElement is one data transfer element as READ ELEMENT STATUS reports it.
type transferElement struct {
	address    int
	identifier string // of the drive, as the library knows it; empty where it does not tell
}

// parseElements reads the data transfer elements (SMC-3, 6.11), in the order of their addresses, which is the one that mtx
// counts them in.
func parseElements(b []byte) ([]transferElement, error) {
	if len(b) < 8 {
		return nil, fmt.Errorf("the element status: %w", errMalformed)
	}
	var out []transferElement
	for b = b[8:]; len(b) >= 8; {
		kind, flags := b[0], b[1]
		size := int(binary.BigEndian.Uint16(b[2:]))
		length := int(b[5])<<16 | int(b[6])<<8 | int(b[7])
		b = b[8:]
		length = min(length, len(b))
		page := b[:length]
		b = b[length:]
		if kind != 4 {
			continue
		}
		if size < 12 {
			return nil, fmt.Errorf("the element status: %w", errMalformed)
		}
		for ; len(page) >= size; page = page[size:] {
			out = append(out, parseElement(page[:size], flags))
		}
	}
	slices.SortFunc(out, func(a, b transferElement) int { return a.address - b.address })
	for i := 1; i < len(out); i++ {
		if out[i].address == out[i-1].address {
			return nil, fmt.Errorf("the element status has element %d twice: %w", out[i].address, errMalformed)
		}
	}
	return out, nil
}

// parseElement reads one descriptor: 12 bytes, the volume tags that the page's flags announce, 36 bytes each, then the
// drive's identifier: code set, type, a reserved byte, length, text.
func parseElement(d []byte, flags byte) transferElement {
	e := transferElement{address: int(binary.BigEndian.Uint16(d))}
	at := 12
	for _, tag := range []byte{0x80, 0x40} {
		if flags&tag != 0 {
			at += 36
		}
	}
	if at+4 > len(d) {
		return e
	}
	set, length := d[at]&0x0F, int(d[at+3])
	if at += 4; length == 0 || at+length > len(d) {
		return e
	}
	switch id := d[at : at+length]; set {
	case 1: // binary, such as an NAA name
		e.identifier = hex.EncodeToString(id)
	default:
		e.identifier = printable(id)
	}
	return e
}

// identifies tells whether a library's identifier means the drive with a serial number and a world-wide name.
func identifies(identifier, serial, wwid string) bool {
	if identifier == "" {
		return false
	}
	name := strings.TrimPrefix(wwid, "naa.")
	return serial != "" && (identifier == serial || strings.HasSuffix(identifier, " "+serial) || // "IBM     ULT3580-TD5     1068012345"
		len(identifier) > 24 && identifier[24:] == serial) || // T10: vendor, product, serial number
		name != wwid && strings.EqualFold(identifier, name)
}
