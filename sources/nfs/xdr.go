package nfs

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// errMalformed marks what no sound server sends. The connection that brought it is not used any more.
var errMalformed = errors.New("the server sent something malformed")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errMalformed, fmt.Sprintf(format, args...))
}

// encoder writes XDR (RFC 4506): big-endian words, everything padded to four bytes.
type encoder struct{ b []byte }

func (e *encoder) uint32(v uint32) { e.b = binary.BigEndian.AppendUint32(e.b, v) }
func (e *encoder) uint64(v uint64) { e.b = binary.BigEndian.AppendUint64(e.b, v) }

func (e *encoder) string(s string) {
	e.uint32(uint32(len(s)))
	e.b = append(e.b, s...)
	e.b = append(e.b, make([]byte, padding(len(s)))...)
}

func padding(n int) int { return -n & 3 }

// decoder reads XDR. After the first fault everything it returns is zero, and err tells of the fault.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = malformed(format, args...)
	}
	d.b = nil
}

// take returns the next n bytes, which stay the decoder's; nil if there are not so many.
func (d *decoder) take(n int) []byte {
	if len(d.b) < n {
		d.fail("a reply that ends too early")
		return nil
	}
	taken := d.b[:n]
	d.b = d.b[n:]
	return taken
}

func (d *decoder) uint32() uint32 {
	if b := d.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) bool() bool {
	v := d.uint32()
	if v > 1 {
		d.fail("%d for a truth value", v)
	}
	return v == 1
}

// string reads a string or opaque data of at most max bytes.
func (d *decoder) string(max int) string {
	n := d.uint32()
	if n > uint32(max) {
		d.fail("%d bytes where at most %d are allowed", n, max)
		return ""
	}
	s := string(d.take(int(n)))
	d.take(padding(int(n)))
	return s
}

// end returns the first fault; bytes that are left are one.
func (d *decoder) end() error {
	if len(d.b) > 0 {
		d.fail("%d bytes behind a reply's end", len(d.b))
	}
	return d.err
}
