package scsi

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// elementPage makes READ ELEMENT STATUS data of drives; tags says which volume tags each has.
func elementPage(tags byte, binarySet bool, elements ...transferElement) []byte {
	longest := 0
	for _, e := range elements {
		longest = max(longest, len(e.identifier))
	}
	size := 12 + 4 + longest
	for _, tag := range []byte{0x80, 0x40} {
		if tags&tag != 0 {
			size += 36
		}
	}
	b := []byte{0, 0, 0, byte(len(elements)), 0, 0, 0, 0, 4, tags, byte(size >> 8), byte(size), 0, 0, 0, 0}
	n := size * len(elements)
	b[13], b[14], b[15] = byte(n>>16), byte(n>>8), byte(n)
	for _, e := range elements {
		d := make([]byte, size)
		binary.BigEndian.PutUint16(d, uint16(e.address))
		at := size - 4 - longest
		d[at], d[at+3] = 2, byte(len(e.identifier))
		if binarySet {
			d[at] = 1
		}
		copy(d[at+4:], e.identifier)
		b = append(b, d...)
	}
	return b
}

func TestElements(t *testing.T) {
	want := []transferElement{{256, "IBM     ULT3580-TD5     1068012345"}, {257, "IBM     ULT3580-TD5     1068012346"}}
	for _, tags := range []byte{0, 0x80, 0xC0} {
		got, err := parseElements(elementPage(tags, false, want[1], want[0]))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("tags %02X: %v, %v", tags, got, err)
		}
	}
	got, err := parseElements(elementPage(0x80, true, transferElement{256, "\x50\x00\xe1\x11\x60\x12\x34\x56"}))
	if err != nil || got[0].identifier != "5000e11160123456" || !identifies(got[0].identifier, "1068012345", "naa.5000e11160123456") {
		t.Errorf("%v, %v", got, err)
	}
	for _, b := range [][]byte{nil, make([]byte, 7), elementPage(0, false, want[0], want[0])} {
		if got, err := parseElements(b); err == nil {
			t.Errorf("% X is read as %v", b, got)
		}
	}
	cut := elementPage(0x80, false, want...)
	if got, err := parseElements(cut[:len(cut)-1]); err != nil || !slices.Equal(got, want[:1]) {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzElements(f *testing.F) {
	f.Add(elementPage(0x80, false, transferElement{256, "IBM     ULT3580-TD5     1068012345"}, transferElement{257, "1068012346"}))
	f.Add(elementPage(0xC0, true, transferElement{1, "\x50"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseElements(b)
		if err != nil || len(got) == 0 || len(got) > 255 || slices.ContainsFunc(got, func(e transferElement) bool { return len(e.identifier) > 255 }) {
			return
		}
		again, err := parseElements(elementPage(0x80, false, got...))
		if err != nil || !slices.Equal(again, got) {
			t.Errorf("%v, then %v, %v", got, again, err)
		}
	})
}

func TestIdentifies(t *testing.T) {
	for _, c := range []struct {
		identifier, serial, wwid string
		want                     bool
	}{
		{"1068012345", "1068012345", "", true},
		{"IBM     ULT3580-TD5     1068012345", "1068012345", "", true},
		{"HP      Ultrium 5-SCSI  HU19477N2X", "HU19477N2X", "", true},
		{"HP      Ultrium 5-SCSI  XHU19477N2X", "HU19477N2X", "", false},
		{"IBM     ULT3580-TD5     1068012345", "8012345", "", false},
		{"", "", "", false},
		{"x", "", "", false},
		{"5000e11160123456", "1068012345", "naa.5000E11160123456", true},
		{"5000e11160123457", "1068012345", "naa.5000e11160123456", false},
	} {
		if got := identifies(c.identifier, c.serial, c.wwid); got != c.want {
			t.Errorf("%q, serial %q, wwid %q: %v", c.identifier, c.serial, c.wwid, got)
		}
	}
}

func TestMatch(t *testing.T) {
	a, b := device{node: "/dev/nst0", serial: "A1"}, device{node: "/dev/nst1", serial: "B1"}
	silent := []transferElement{{256, ""}, {257, ""}}
	telling := []transferElement{{256, "IBM     ULT3580-TD5     B1"}, {257, "IBM     ULT3580-TD5     A1"}}
	three := append(slices.Clone(telling), transferElement{258, "IBM     ULT3580-TD5     C1"})
	for _, c := range []struct {
		name       string
		elements   []transferElement
		devices    []device
		configured bool
		want       string // nodes in order, * for what is proved, or the error
	}{
		{"told, found", telling, []device{a, b}, false, "/dev/nst1* /dev/nst0*"},
		{"told, configured in another order", telling, []device{a, b}, true, "/dev/nst1* /dev/nst0*"},
		{"told, one of them configured", telling, []device{a}, true, "- /dev/nst0*"},
		{"told, one belongs to another machine", three, []device{a, b}, false, "/dev/nst1* /dev/nst0* -"},
		{"told, another one found", telling, []device{a, b, {node: "/dev/nst2", serial: "Z"}}, false, "/dev/nst1* /dev/nst0*"},
		{"told, another one configured", telling, []device{a, {node: "/dev/nst2", serial: "Z"}}, true, "/dev/nst2 (serial number Z) is none of this library's"},
		{"told, none found", telling, nil, false, "none of the library's drives"},
		{"not told", silent, []device{a, b}, true, "/dev/nst0 /dev/nst1"},
		{"not told, not configured", silent, []device{a, b}, false, "name the drives in library.drives"},
		{"not told, too few", silent, []device{a}, true, "name as many drives"},
		{"twice", telling, []device{a, a}, true, "are the same"},
		{"ambiguous", []transferElement{telling[0], telling[0]}, []device{a, b}, false, "ambiguous"},
	} {
		drives, proved, err := match(c.elements, c.devices, c.configured)
		var got []string
		for i, d := range drives {
			switch {
			case d == nil:
				got = append(got, "-")
			case proved[i]:
				got = append(got, d.node+"*")
			default:
				got = append(got, d.node)
			}
		}
		text := strings.Join(got, " ")
		if err != nil {
			text = err.Error()
		}
		if !strings.Contains(text, c.want) || err == nil && text != c.want {
			t.Errorf("%s: %s, want %s", c.name, text, c.want)
		}
	}
}
