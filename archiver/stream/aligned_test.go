package stream

import (
	"os"
	"testing"
	"unsafe"
)

// Records begin at pages, so that st hands them to the drive as they are: one of 1 MiB that does not has more pages than st has
// segments, and is copied.
func TestAligned(t *testing.T) {
	for _, size := range []int{4 << 10, 64 << 10, 512 << 10, 1 << 20} {
		g := newRing(minRecords, size)
		for _, rec := range g.free {
			if at := uintptr(unsafe.Pointer(&rec.buf[0])); at%uintptr(min(size, os.Getpagesize())) != 0 {
				t.Errorf("a record of %d bytes begins at %#x", size, at)
			}
		}
	}
}
