package virtual

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

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

	mu     sync.Mutex // guards what follows against Close
	closed bool
	medium *Medium
	warned bool // the last write met early warning
	data   bool // a record was written and no filemark since
}

var _ tape.Drive = (*Drive)(nil)

// Name is how messages call the drive.
func (d *Drive) Name() string { return fmt.Sprintf("drive %d", d.number) }

// Serial is the drive's serial number.
func (d *Drive) Serial() string { return fmt.Sprintf("VIRTUAL%04d", d.number) }

// LocateGap is 0: on a file nothing is faster than not reading.
func (d *Drive) LocateGap() int64 { return 0 }

// Health is zero: a file has none.
func (d *Drive) Health(context.Context) (tape.Health, error) { return tape.Health{}, nil }

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
		m, err := d.lib.Medium(d.number)
		if err != nil {
			return tape.Medium{}, fmt.Errorf("%s: %w", d.Name(), err)
		}
		d.medium, d.warned, d.data = m, false, false
	}
	return d.medium.Info(), nil
}

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
	if err := d.room(int64(len(p))); err != nil {
		return err
	}
	if err := d.medium.Write(p); err != nil {
		return d.failed(err)
	}
	d.data = true
	return nil
}

// WriteFilemark writes one filemark.
func (d *Drive) WriteFilemark(ctx context.Context) error {
	leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if _, end := d.medium.Room(); end+wordSize < 0 {
		return d.failed(tape.ErrEndOfMedium)
	}
	return d.mark()
}

func (d *Drive) mark() error {
	if err := d.medium.WriteMark(); err != nil {
		return d.failed(err)
	}
	d.data = false
	return nil
}

// room tells whether a write may take place, as Linux st does near the end of the medium: one in two is refused.
func (d *Drive) room(need int64) error {
	warning, end := d.medium.Room()
	switch err := d.medium.writable(); {
	case err != nil:
		return d.failed(err)
	case need > end:
		return d.failed(tape.ErrEndOfMedium)
	case warning > 0:
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
	return d.failed(d.medium.Sync())
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
	n, err := d.medium.Read(p)
	if err != nil {
		return 0, d.failed(err)
	}
	if n > len(p) {
		return 0, tape.ErrShortBuffer
	}
	return n, nil
}

// Position tells the logical block number.
func (d *Drive) Position(ctx context.Context) (tape.Position, error) {
	leave, err := d.enter(ctx)
	if err != nil {
		return tape.Position{}, err
	}
	defer leave()
	block, _ := d.medium.At()
	return tape.Position{Block: block, BOT: block == 0}, nil
}

// Locate moves to a block.
func (d *Drive) Locate(ctx context.Context, block int64) error {
	return d.move(ctx, func() error { return d.medium.Locate(block) })
}

// SpaceEOD moves to the end of data.
func (d *Drive) SpaceEOD(ctx context.Context) error {
	return d.move(ctx, func() error {
		for {
			block, _ := d.medium.At()
			if err := d.medium.Locate(block + indexStep); errors.Is(err, tape.ErrEndOfData) {
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
	return d.move(ctx, func() error { return d.medium.Locate(0) })
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
		return d.lib.Eject(d.number) // it was never made ready
	}
	if err != nil {
		return err
	}
	defer leave()
	if err := d.release(); err != nil {
		return err
	}
	return d.lib.Eject(d.number)
}

// release ends the use of the cartridge's file.
func (d *Drive) release() error {
	if d.medium == nil {
		return nil
	}
	m := d.medium
	err := d.endWriting()
	d.medium = nil
	if err = errors.Join(err, m.Close()); err != nil {
		return fmt.Errorf("%s, tape %s: %w", d.Name(), m.barcode, err)
	}
	return nil
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
	switch err {
	case nil, tape.ErrFilemark, tape.ErrEndOfData:
		return err
	}
	return fmt.Errorf("%s, tape %s: %w", d.Name(), d.medium.barcode, err)
}
