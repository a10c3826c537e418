package scsi

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"twintape/internal/tape"
)

// fixed and descriptor make sense data in the two formats.
func fixed(key, asc, ascq byte) []byte {
	b := make([]byte, 18)
	b[0], b[2], b[7], b[12], b[13] = 0x70, key, 10, asc, ascq
	return b
}

func descriptor(key, asc, ascq byte) []byte { return []byte{0x72, key, asc, ascq, 0, 0, 0, 0} }

func TestSense(t *testing.T) {
	for _, b := range [][]byte{fixed(2, 4, 0x12), descriptor(2, 4, 0x12), append([]byte{0x71}, fixed(0xE2, 4, 0x12)[1:]...), append([]byte{0xF0}, fixed(2, 4, 0x12)[1:]...)} {
		s := parseSense(b)
		if s == nil || s.Key != 2 || s.ASC != 4 || s.ASCQ != 0x12 {
			t.Errorf("% X is read as %+v", b, s)
		}
	}
	if s := parseSense(fixed(8, 0, 5)[:8]); s == nil || s.Key != 8 || s.ASC != 0 {
		t.Errorf("short sense data is read as %+v", s)
	}
	for _, b := range [][]byte{nil, {0}, {0x7F, 1, 2}} {
		if s := parseSense(b); s != nil {
			t.Errorf("% X is read as %+v", b, s)
		}
	}
}

func FuzzSense(f *testing.F) {
	f.Add(fixed(3, 0x11, 0))
	f.Add(descriptor(6, 0x29, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := parseSense(b)
		if s == nil {
			return
		}
		if s.Text == "" {
			t.Error("without a sentence")
		}
		if again := parseSense(descriptor(s.Key, s.ASC, s.ASCQ)); *again != *s {
			t.Errorf("%+v, then %+v", s, again)
		}
	})
}

// page makes a log page; list makes what READ ATTRIBUTE returns.
func page(code byte, params ...parameter) []byte {
	b := []byte{code, 0, 0, 0}
	for _, p := range params {
		b = binary.BigEndian.AppendUint16(b, p.code)
		b = append(append(b, 0x40, byte(len(p.value))), p.value...)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-4))
	return b
}

func list(params ...parameter) []byte {
	b := make([]byte, 4)
	for _, p := range params {
		b = binary.BigEndian.AppendUint16(b, p.code)
		b = binary.BigEndian.AppendUint16(append(b, 0x80), uint16(len(p.value)))
		b = append(b, p.value...)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

func TestAlerts(t *testing.T) {
	var params []parameter
	for code := range uint16(64) {
		v := byte(0)
		if code+1 == 4 || code+1 == 20 {
			v = 1
		}
		params = append(params, parameter{code + 1, []byte{v}})
	}
	got, err := parseAlerts(page(pageTapeAlert, params...))
	if err != nil || !slices.Equal(got, []tape.Alert{4, 20}) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := parseAlerts(page(pageCapacity)); err == nil {
		t.Error("another page is taken for it")
	}
}

func FuzzAlerts(f *testing.F) {
	f.Add(page(pageTapeAlert, parameter{20, []byte{1}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		alerts, err := parseAlerts(b)
		if err != nil {
			return
		}
		var params []parameter
		for _, a := range alerts {
			if a < 1 || a > 64 || a.String() == "" {
				t.Errorf("alert %d", a)
			}
			params = append(params, parameter{uint16(a), []byte{1}})
		}
		if again, err := parseAlerts(page(pageTapeAlert, params...)); err != nil || !slices.Equal(again, alerts) {
			t.Errorf("%v, then %v, %v", alerts, again, err)
		}
	})
}

func TestCapacity(t *testing.T) {
	b := page(pageCapacity, parameter{1, []byte{0, 0x15, 0xD7, 0x00}}, parameter{2, []byte{0, 0, 0, 0}}, parameter{3, []byte{0, 0x15, 0xD7, 0x01}})
	capacity, remaining, err := parseCapacity(b)
	if err != nil || capacity != 0x15D701<<20 || remaining != 0x15D700<<20 {
		t.Errorf("%d, %d, %v", capacity, remaining, err)
	}
}

func FuzzCapacity(f *testing.F) {
	f.Add(page(pageCapacity, parameter{1, []byte{0, 0, 1, 0}}, parameter{3, []byte{0, 1, 0, 0}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if capacity, remaining, err := parseCapacity(b); err == nil && (capacity < 0 || remaining < 0) {
			t.Errorf("%d, %d", capacity, remaining)
		}
	})
}

func TestMemory(t *testing.T) {
	var m memory
	b := list(parameter{0, []byte{0, 0, 0, 0, 0, 0x10, 0, 0}}, parameter{1, []byte{0, 0, 0, 0, 0, 0x20, 0, 0}},
		parameter{0x0401, []byte("A0123456                        ")}, parameter{0x0408, []byte{0x80}})
	if err := m.parse(b); err != nil || m != (memory{serial: "A0123456", capacity: 0x200000 << 20, remaining: 0x100000 << 20, worm: true}) {
		t.Errorf("%+v, %v", m, err)
	}
	if err := m.parse([]byte{1}); err == nil {
		t.Error("one byte is taken for a list")
	}
}

func FuzzMemory(f *testing.F) {
	f.Add(list(parameter{0x0401, []byte("A0123456")}, parameter{0x0408, []byte{1}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m memory
		if err := m.parse(b); err != nil {
			return
		}
		var again memory
		kind := byte(0)
		if m.worm {
			kind = 0x80
		} else if m.cleaning {
			kind = 1
		}
		err := again.parse(list(parameter{0, binary.BigEndian.AppendUint64(nil, uint64(m.remaining/mebibyte))},
			parameter{1, binary.BigEndian.AppendUint64(nil, uint64(m.capacity/mebibyte))}, parameter{0x0401, []byte(m.serial)}, parameter{0x0408, []byte{kind}}))
		if err != nil || again != m {
			t.Errorf("%+v, then %+v, %v", m, again, err)
		}
	})
}

func TestSerialAndPosition(t *testing.T) {
	if s, err := parseSerial(append([]byte{1, 0x80, 0, 12}, "1068012345  "...)); err != nil || s != "1068012345" {
		t.Errorf("%q, %v", s, err)
	}
	for _, b := range [][]byte{nil, {1, 0x83, 0, 0}, {1, 0x80, 0, 2, ' ', ' '}} {
		if s, err := parseSerial(b); err == nil {
			t.Errorf("% X is read as %q", b, s)
		}
	}
	b := make([]byte, 20)
	binary.BigEndian.PutUint32(b[4:], 4711)
	if n, err := parsePosition(b); err != nil || n != 4711 {
		t.Errorf("%d, %v", n, err)
	}
	b[0] = 4
	if _, err := parsePosition(b); err == nil {
		t.Error("an unknown position is taken for one")
	}
	if !isWORM([]byte{0x13, 0x5C}) || isWORM([]byte{0x13, 0x58}) || isWORM(nil) {
		t.Error("WORM")
	}
}

func FuzzSerial(f *testing.F) {
	f.Add(append([]byte{1, 0x80, 0, 4}, "1234"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSerial(b)
		if err != nil {
			return
		}
		if again, err := parseSerial(append([]byte{1, 0x80, byte(len(s) >> 8), byte(len(s))}, s...)); err != nil || again != s {
			t.Errorf("%q, then %q, %v", s, again, err)
		}
		if !bytes.ContainsAny([]byte(s), " ") && !identifies("VENDOR  PRODUCT         "+s, s, "") {
			t.Errorf("%q is not found behind vendor and product", s)
		}
	})
}

func FuzzModeAndPosition(f *testing.F) {
	f.Add([]byte{15, 0x3C, 0x10, 8})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		if isWORM(b) && b[1]&0x0F != 0x0C {
			t.Errorf("medium type %02X is taken for WORM", b[1])
		}
		if at, err := parsePosition(b); err == nil && (at < 0 || b[0]&4 != 0) {
			t.Errorf("block %d of % X", at, b)
		}
	})
}
