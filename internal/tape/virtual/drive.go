package virtual

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"twintape/internal/tape"
)

// maxEarlyWarning is how far before the physical end early warning lies, at most.
const maxEarlyWarning = 64 << 20

// Drive is one virtual drive. Its buffer is the operating system's page cache: the death of the process keeps what was
// written, a power cut keeps any prefix of what was written since the last Flush. It is empty after a Load, where the library
// does not lie in memory anyway.
type Drive struct {
	lib    *Library
	number int

	mu      sync.Mutex // guards what follows against Close
	closed  bool
	medium  *image
	barcode string
	protect bool
	size    int64 // of the file when it was loaded: less than that is never cut off, so that space allocated before stays

	capacity int64
	warned   bool  // the last write met early warning
	data     bool  // a record was written and no filemark since
	end      int64 // of what was written last, in the file; 0 if nothing was since the load
}

var _ tape.Drive = (*Drive)(nil)

// Name is how messages call the drive.
func (d *Drive) Name() string { return fmt.Sprintf("drive %d", d.number) }

// Serial is the drive's serial number.
func (d *Drive) Serial() string { return fmt.Sprintf("VIRTUAL%04d", d.number) }

// LocateGap is 0: on a file nothing is faster than not reading.
func (d *Drive) LocateGap() int64 { return 0 }

// enter makes ready for an operation on the cartridge.
func (d *Drive) enter(ctx context.Context) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil, fmt.Errorf("%s: %w", d.Name(), fs.ErrClosed)
	}
	if d.medium == nil {
		d.mu.Unlock()
		return nil, fmt.Errorf("%s: %w", d.Name(), tape.ErrNoMedium)
	}
	return d.mu.Unlock, nil
}

// Load makes the cartridge ready.
func (d *Drive) Load(ctx context.Context) (tape.Medium, error) {
	if err := ctx.Err(); err != nil {
		return tape.Medium{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return tape.Medium{}, fmt.Errorf("%s: %w", d.Name(), fs.ErrClosed)
	}
	if d.medium == nil {
		if err := d.thread(); err != nil {
			return tape.Medium{}, fmt.Errorf("%s: %w", d.Name(), err)
		}
	}
	defer d.medium.rewind()
	for { // to the end of data, or to a damaged place, which whoever reads up to there will hear of
		if err := d.medium.locate(d.medium.block + indexStep); err != nil {
			break
		}
	}
	serial := fnv.New64a()
	serial.Write([]byte(d.barcode)) //nolint:errcheck // a hash never fails
	return tape.Medium{
		Serial: fmt.Sprintf("%016X", serial.Sum64()), Type: "virtual", WriteProtected: d.protect,
		Capacity: d.capacity, Remaining: max(0, d.warnAt()-d.medium.off),
	}, nil
}

// thread opens the file of the cartridge that the changer put into the drive.
func (d *Drive) thread() error {
	c, err := d.lib.inDrive(d.number)
	if err != nil {
		return err
	}
	d.barcode, d.capacity = c.Barcode, c.Capacity
	name := d.lib.imageFile(c.Barcode)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if d.protect = c.Protected || errors.Is(err, fs.ErrPermission); d.protect {
		f, err = os.Open(name)
	}
	if err != nil {
		return err
	}
	// What is read after a load comes from the disk, not from the buffer of who wrote it.
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		f.Close()
		return &os.PathError{Op: "empty the buffer of", Path: name, Err: err}
	}
	m, err := newImage(f)
	if err != nil {
		f.Close()
		return err
	}
	d.medium, d.size = m, m.size
	d.warned, d.data, d.end = false, false, 0
	return nil
}

// warnAt is the offset of early warning.
func (d *Drive) warnAt() int64 { return d.capacity - min(d.capacity/64, maxEarlyWarning) }

// WriteRecord writes one record.
func (d *Drive) WriteRecord(ctx context.Context, p []byte) error {
	leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if len(p) == 0 || len(p) > lengthBits {
		return fmt.Errorf("%s: a record of %d bytes", d.Name(), len(p))
	}
	if err := d.room(int64(len(p)) + 3*wordSize); err != nil {
		return err
	}
	if err := d.medium.writeRecord(p); err != nil {
		return d.failed(err)
	}
	d.data, d.end = true, d.medium.off+wordSize
	return nil
}

// WriteFilemark writes one filemark.
func (d *Drive) WriteFilemark(ctx context.Context) error {
	leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if d.protect {
		return d.failed(tape.ErrWriteProtect)
	}
	if d.medium.off+2*wordSize > d.capacity {
		return d.failed(tape.ErrEndOfMedium)
	}
	return d.mark()
}

func (d *Drive) mark() error {
	if err := d.medium.writeMark(); err != nil {
		return d.failed(err)
	}
	d.data, d.end = false, d.medium.off+wordSize
	return nil
}

// room tells whether a write may take place, as Linux st does near the end of the medium: one in two is refused.
func (d *Drive) room(need int64) error {
	switch {
	case d.protect:
		return d.failed(tape.ErrWriteProtect)
	case d.medium.off+need > d.capacity:
		return d.failed(tape.ErrEndOfMedium)
	case d.medium.off < d.warnAt():
		d.warned = false
	case !d.warned:
		d.warned = true
		return d.failed(tape.ErrEarlyWarning)
	default:
		d.warned = false
	}
	return nil
}

// Flush brings everything written to the disk.
func (d *Drive) Flush(ctx context.Context) error {
	leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if d.protect {
		return nil
	}
	return d.failed(d.medium.file.Sync())
}

// ReadRecord reads the next record.
func (d *Drive) ReadRecord(ctx context.Context, p []byte) (int, error) {
	leave, err := d.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	if err := d.endWriting(); err != nil {
		return 0, err
	}
	n, err := d.medium.read(p)
	return n, d.failed(err)
}

// Position tells the logical block number.
func (d *Drive) Position(ctx context.Context) (tape.Position, error) {
	leave, err := d.enter(ctx)
	if err != nil {
		return tape.Position{}, err
	}
	defer leave()
	return tape.Position{Block: d.medium.block, BOT: d.medium.block == 0}, nil
}

// Locate moves to a block.
func (d *Drive) Locate(ctx context.Context, block int64) error {
	return d.move(ctx, func() error { return d.medium.locate(block) })
}

// SpaceEOD moves to the end of data.
func (d *Drive) SpaceEOD(ctx context.Context) error {
	return d.move(ctx, func() error {
		for {
			if err := d.medium.locate(d.medium.block + indexStep); errors.Is(err, errEnd) {
				return nil
			} else if err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	})
}

// Rewind moves to the beginning.
func (d *Drive) Rewind(ctx context.Context) error {
	return d.move(ctx, func() error { d.medium.rewind(); return nil })
}

func (d *Drive) move(ctx context.Context, move func() error) error {
	leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := d.endWriting(); err != nil {
		return err
	}
	return d.failed(move())
}

// endWriting writes the filemark that Linux st writes when a program that wrote records moves or closes.
func (d *Drive) endWriting() error {
	if !d.data {
		return nil
	}
	return d.mark()
}

// Unload ejects the cartridge.
func (d *Drive) Unload(ctx context.Context) error {
	leave, err := d.enter(ctx)
	if errors.Is(err, tape.ErrNoMedium) {
		return d.lib.eject(d.number) // it was never made ready
	}
	if err != nil {
		return err
	}
	defer leave()
	if err := d.release(); err != nil {
		return err
	}
	return d.lib.eject(d.number)
}

// release ends the use of the cartridge's file.
func (d *Drive) release() error {
	if d.medium == nil {
		return nil
	}
	m := d.medium
	err := d.endWriting()
	if d.end > 0 {
		if err == nil && m.size > max(d.end, d.size) {
			err = m.file.Truncate(max(d.end, d.size))
		}
		err = errors.Join(err, m.file.Sync())
	}
	d.medium = nil
	return d.failed(errors.Join(err, m.file.Close()))
}

// Close gives the drive up; the cartridge stays in it.
func (d *Drive) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	d.lib.closedDrive(d.number)
	return d.release()
}

// failed names the drive and the tape in an error, but leaves the conditions of a tape's course alone.
func (d *Drive) failed(err error) error {
	switch {
	case err == nil, err == tape.ErrFilemark, err == tape.ErrShortBuffer:
		return err
	case errors.Is(err, errEnd):
		return tape.ErrEndOfData
	}
	return fmt.Errorf("%s, tape %s: %w", d.Name(), d.barcode, err)
}
