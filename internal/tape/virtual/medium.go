package virtual

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"twintape/internal/tape"
)

// Medium is the tape of the cartridge that lies in a drive, with a place on it, for whoever plays the drive. It knows nothing of
// what Linux st adds. Errors are tape.ErrFilemark, tape.ErrEndOfData, io.EOF (the beginning, going back), a *tape.SenseError,
// or the file's. One goroutine at a time may use it. It keeps what was written as Drive does: see there.
type Medium struct {
	image   *image
	barcode string

	protect, worm bool
	capacity      int64

	size  int64 // of the file when it was loaded: less than that is never cut off, so that space allocated before stays
	end   int64 // of what was written last, in the file; 0 if nothing was
	dirty bool  // something was written since the last Sync
	clean place // where that began
}

// Medium opens the cartridge in a drive. tape.ErrNoMedium: there is none, or it was ejected.
func (l *Library) Medium(drive int) (*Medium, error) {
	c, err := l.inDrive(drive)
	if err != nil {
		return nil, err
	}
	name := l.imageFile(c.Barcode)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	protect := c.Protected || errors.Is(err, fs.ErrPermission)
	if protect {
		f, err = os.Open(name)
	}
	if err != nil {
		return nil, err
	}
	// What is read after a load comes from the disk, not from the buffer of who wrote it.
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		f.Close()
		return nil, &os.PathError{Op: "empty the buffer of", Path: name, Err: err}
	}
	m, err := newImage(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Medium{image: m, barcode: c.Barcode, protect: protect, worm: c.WORM, capacity: c.Capacity, size: m.size}, nil
}

// Barcode is the cartridge's.
func (m *Medium) Barcode() string { return m.barcode }

// Info tells what the cartridge is. It leaves the place at the beginning.
func (m *Medium) Info() tape.Medium {
	m.image.rewind()
	for { // to the end of data, or to a damaged place, which whoever reads up to there will hear of
		if err := m.image.locate(m.image.block + indexStep); err != nil {
			break
		}
	}
	end := m.image.off
	m.image.rewind()
	serial := fnv.New64a()
	serial.Write([]byte(m.barcode)) //nolint:errcheck // a hash never fails
	return tape.Medium{
		Serial: fmt.Sprintf("%016X", serial.Sum64()), Type: "virtual", WriteProtected: m.protect, WORM: m.worm,
		Capacity: m.capacity, Remaining: max(0, m.warnAt()-end),
	}
}

// warnAt is the offset of early warning.
func (m *Medium) warnAt() int64 { return m.capacity - min(m.capacity/64, maxEarlyWarning) }

// Room is how many bytes, with what the image adds to a record, lie between the place and early warning, and between the place and
// the physical end. Behind either it is negative.
func (m *Medium) Room() (warning, end int64) {
	return m.warnAt() - m.image.off, m.capacity - m.image.off - 3*wordSize
}

// At is the logical block number, and how many filemarks lie before.
func (m *Medium) At() (block, marks int64) { return m.image.block, m.image.marks }

// Next tells what lies at the place: a filemark, or a record and its length.
func (m *Medium) Next() (mark bool, length int, err error) {
	o, err := m.image.peek()
	return o.mark, o.length, ended(err)
}

// Read passes the record at the place, whose length it returns, and copies what p has room for.
func (m *Medium) Read(p []byte) (int, error) {
	n, err := m.image.read(p)
	return n, ended(err)
}

// ended has the image's word for end of data in everybody's.
func ended(err error) error {
	if err == errEnd {
		return tape.ErrEndOfData
	}
	return err
}

// Write writes a record at the place. What lay behind is lost.
func (m *Medium) Write(p []byte) error {
	return m.write(func() error { return m.image.writeRecord(p) })
}

// WriteMark writes a filemark at the place. What lay behind is lost.
func (m *Medium) WriteMark() error { return m.write(m.image.writeMark) }

// Cut ends the data at the place.
func (m *Medium) Cut() error { return m.write(m.image.writeEnd) }

func (m *Medium) write(write func() error) error {
	if err := m.writable(); err != nil {
		return err
	}
	if !m.dirty {
		m.dirty, m.clean = true, m.image.place
	}
	if err := write(); err != nil {
		return err
	}
	m.end = m.image.off + wordSize
	return nil
}

// writable tells whether the cartridge may be written at the place.
func (m *Medium) writable() error {
	if m.protect {
		return tape.ErrWriteProtect
	}
	if m.worm && m.image.off != m.image.end {
		if _, err := m.image.peek(); err != errEnd {
			return &tape.SenseError{Key: tape.DataProtect, ASC: 0x30, ASCQ: 0x0C, Text: "a WORM cartridge cannot be overwritten"}
		}
	}
	return nil
}

// Sync brings everything written to the disk.
func (m *Medium) Sync() error {
	if m.protect {
		return nil
	}
	if err := m.image.file.Sync(); err != nil {
		return err
	}
	m.dirty = false
	return nil
}

// Lose takes back what was written since the last Sync, as a drive that is reset loses its buffer, and rewinds.
func (m *Medium) Lose() error {
	defer m.image.rewind()
	if !m.dirty {
		return nil
	}
	m.image.place = m.clean
	return m.image.writeEnd()
}

// Locate moves to a block, or to the end of data if that comes before, with tape.ErrEndOfData.
func (m *Medium) Locate(block int64) error { return ended(m.image.locate(block)) }

// Back moves before the object before the place.
func (m *Medium) Back() (mark bool, err error) {
	if m.image.block == 0 {
		return false, io.EOF
	}
	return m.image.back()
}

// Close ends the use of the cartridge's file. What was written is on the disk then.
func (m *Medium) Close() error {
	var err error
	if m.end > 0 {
		if end := max(m.end, m.size); m.image.size > end {
			err = m.image.file.Truncate(end)
		}
		err = errors.Join(err, m.image.file.Sync())
	}
	return errors.Join(err, m.image.file.Close())
}
