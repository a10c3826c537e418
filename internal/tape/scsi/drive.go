package scsi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"twintape/internal/lock"
	"twintape/internal/tape"
)

// Drive is one drive behind st. Its calls block in the kernel, which does not let go of a command that a device has not
// answered: tape.Limited gives them up. A drive that is closed meanwhile is given up when the call has ended.
type Drive struct {
	lib    *Library
	number int
	dev    *device

	mu     sync.Mutex
	fd     int // of the st node; -1 while it is not open
	busy   bool
	closed bool
	lock   *lock.Lock // of the SCSI generic node, from OpenDrive to Close

	// Only the operation under way uses these.
	failed   bool  // an operation failed: where the tape stands must be asked before anything is written
	records  bool  // records were written since the last filemark
	written  bool  // something was written since the last flush
	warned   bool  // the last write met early warning
	next     int64 // the block where the tape stands; -1 where that is not known
	medium   tape.Medium
	alerts   []tape.Alert // that were raised since the last Health
	cleaning bool
	since    counters // at the last Health
}

var _ tape.Drive = (*Drive)(nil)

// Name is how messages call the drive.
func (d *Drive) Name() string { return fmt.Sprintf("drive %d (%s)", d.number, d.dev.node) }

// Serial is the drive's serial number.
func (d *Drive) Serial() string { return d.dev.serial }

// enter begins an operation: nobody else uses the drive until leave.
func (d *Drive) enter(ctx context.Context) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return nil, fmt.Errorf("%s: %w", d.Name(), fs.ErrClosed)
	case d.busy:
		return nil, fmt.Errorf("%s: %w: another operation is under way", d.Name(), tape.ErrBusy)
	}
	d.busy = true
	return d.leave, nil
}

func (d *Drive) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy = false; d.closed {
		d.release() //nolint:errcheck // nobody is left to tell: Close has returned
	}
}

// release ends the use of the drive; d.mu is held.
func (d *Drive) release() error {
	err := errors.Join(d.closeNode(), d.lock.Close())
	d.lib.closedDrive(d.number)
	return err
}

// closeNode closes the st node. Behind records st writes a filemark first.
func (d *Drive) closeNode() error {
	if d.fd < 0 {
		return nil
	}
	fd := d.fd
	d.fd, d.records = -1, false
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("%s: closing it: %w", d.Name(), err)
	}
	return nil
}

// Close gives the drive up; the cartridge stays in it. If an operation is under way the drive is given up when that ends.
func (d *Drive) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	if d.closed = true; d.busy {
		return nil
	}
	return d.release()
}

// openNode opens the st node without waiting for a cartridge.
func openNode(node string) (int, error) {
	for {
		fd, err := unix.Open(node, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EBUSY:
			return -1, fmt.Errorf("%s is %w by another program: %s", node, tape.ErrBusy, "`fuser -v "+node+"` tells which")
		case err == unix.ENXIO:
			return -1, fmt.Errorf("%s: %w: the drive is gone: look at its cable and power", node, err)
		case err != nil:
			return -1, fmt.Errorf("opening %s: %w", node, err)
		}
		return fd, nil
	}
}

// ready makes sure, after a failure, that st does not refuse to move for what was before: it opens the node anew and sets all
// modes.
func (d *Drive) ready(ctx context.Context) error {
	if !d.failed {
		return nil
	}
	if err := d.reopen(ctx); err != nil {
		return err
	}
	s, err := status(d.fd)
	if err != nil || s.status&statusOnline == 0 {
		return nil // the operation itself will tell
	}
	return setModes(d.fd, d.lib.config.Compression)
}

func (d *Drive) reopen(ctx context.Context) error {
	d.mu.Lock()
	err := d.closeNode()
	d.mu.Unlock()
	if err != nil && !errors.Is(err, unix.EIO) { // EIO: of what was before
		return err
	}
	fd, err := await(ctx, d.Name(), "opening", func() (int, error) { return openNode(d.dev.node) }, func(fd int) { unix.Close(fd) })
	if err != nil {
		return fmt.Errorf("%s: %w", d.Name(), err)
	}
	d.mu.Lock()
	d.fd = fd
	d.mu.Unlock()
	return nil
}

// WriteRecord writes one record by one write(2), which the drive takes from p itself where p begins at a page's border.
func (d *Drive) WriteRecord(ctx context.Context, p []byte) error {
	leave, err := d.enterWriting(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if len(p) == 0 {
		return fmt.Errorf("%s: a record of 0 bytes", d.Name())
	}
	n, err := retry(func() (int, error) { return unix.Write(d.fd, p) })
	switch {
	case err == nil && n == len(p):
		d.records, d.written, d.warned = true, true, false
		d.passed()
		return nil
	case err == nil:
		d.failed = true
		return fmt.Errorf("%s: %d of a record's %d bytes were written", d.Name(), n, len(p))
	case errors.Is(err, unix.ENOSPC) && !d.warned:
		// st tells of early warning once before it lets the next write through; after that one it tells of the end.
		d.warned = true
		return fmt.Errorf("%s: %w", d.Name(), tape.ErrEarlyWarning)
	case errors.Is(err, unix.ENOSPC):
		d.records = true
		return fmt.Errorf("%s: %w", d.Name(), tape.ErrEndOfMedium)
	}
	d.records = errors.Is(err, unix.EIO) // st thinks so
	return d.fail("writing", err)
}

// retry repeats a call that a signal kept from beginning.
func retry(f func() (int, error)) (int, error) {
	for {
		if n, err := f(); err != unix.EINTR {
			return n, err
		}
	}
}

// enterWriting is enter for what would destroy data at a wrong place.
func (d *Drive) enterWriting(ctx context.Context) (leave func(), err error) {
	leave, err = d.enter(ctx)
	if err == nil && d.failed {
		leave()
		return nil, fmt.Errorf("%s: an operation failed, and where the tape stands was not asked since: nothing is written", d.Name())
	}
	return leave, err
}

// WriteFilemark writes one filemark, immediate.
func (d *Drive) WriteFilemark(ctx context.Context) error {
	leave, err := d.enterWriting(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := operate(d.fd, mtWEOFI, 1); err != nil {
		return d.failMark("writing a filemark", err)
	}
	d.records, d.written, d.warned = false, true, false
	d.passed()
	return nil
}

// Flush waits until everything that was written is on the medium.
func (d *Drive) Flush(ctx context.Context) error {
	leave, err := d.enterWriting(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := operate(d.fd, mtWEOF, 0); err != nil && !(errors.Is(err, unix.EACCES) && d.medium.WriteProtected) {
		return d.failMark("flushing", err)
	}
	d.written = false
	return nil
}

// failMark is fail, but tells the end of the medium, which st hides behind EIO for filemarks.
func (d *Drive) failMark(op string, err error) error {
	if s, then := status(d.fd); errors.Is(err, unix.EIO) && then == nil && s.status&statusEOT != 0 {
		d.failed = true
		return fmt.Errorf("%s: %s: %w", d.Name(), op, tape.ErrEndOfMedium)
	}
	return d.fail(op, err)
}

// ReadRecord reads the next record.
func (d *Drive) ReadRecord(ctx context.Context, p []byte) (int, error) {
	leave, err := d.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	if err := d.ready(ctx); err != nil {
		return 0, err
	}
	if err := d.markRecords(); err != nil {
		return 0, err
	}
	if d.next < 0 {
		if d.next, err = position(d.fd); err != nil {
			d.next = -1 // the read will tell
		}
	}
	n, err := retry(func() (int, error) { return unix.Read(d.fd, p) })
	switch {
	case n > 0:
		d.passed()
		return n, nil
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EOVERFLOW):
		d.passed()
		return 0, tape.ErrShortBuffer
	case err == nil:
		if s, err := status(d.fd); err != nil {
			return 0, d.fail("reading", err)
		} else if s.status&statusEOD != 0 {
			return 0, tape.ErrEndOfData // the first time behind a filemark; else st has EIO for it
		}
		d.passed()
		return 0, tape.ErrFilemark
	case !errors.Is(err, unix.EIO):
		return 0, d.fail("reading", err)
	}
	n, again := d.readAgain(p)
	var sense *tape.SenseError
	switch {
	case again == nil && !d.written:
		d.passed()
		return n, nil
	case errors.Is(again, tape.ErrEndOfData):
		return 0, tape.ErrEndOfData
	case errors.As(again, &sense):
		d.failed, d.next = true, -1
		d.askAlerts(context.Background())
		return 0, fmt.Errorf("%s: reading: %w: %w", d.Name(), err, again)
	}
	return 0, d.fail("reading", err)
}

// passed says that the next block was passed.
func (d *Drive) passed() {
	if d.next >= 0 {
		d.next++
	}
}

// markRecords writes the filemark that ends what was written before the drive moves or reads, as st does itself before most
// moves.
func (d *Drive) markRecords() error {
	if !d.records {
		return nil
	}
	if err := operate(d.fd, mtWEOFI, 1); err != nil {
		return d.failMark("ending what was written", err)
	}
	d.records = false
	d.passed()
	return nil
}

// Position asks the drive where it stands: through st, or itself where st does not know it since a reset.
func (d *Drive) Position(ctx context.Context) (tape.Position, error) {
	leave, err := d.enter(ctx)
	if err != nil {
		return tape.Position{}, err
	}
	defer leave()
	if err := d.ready(ctx); err != nil {
		return tape.Position{}, err
	}
	block, err := position(d.fd)
	if errors.Is(err, unix.EIO) {
		if block, err = d.askPosition(ctx); err != nil {
			err = fmt.Errorf("%s: asking for its position: %w", d.Name(), err)
		}
	} else if err != nil {
		err = d.fail("asking for its position", err)
	}
	if err != nil {
		return tape.Position{}, err
	}
	d.failed, d.next = false, block
	return tape.Position{Block: block, BOT: block == 0}, nil
}

func (d *Drive) askPosition(ctx context.Context) (block int64, err error) {
	for range 2 { // the first answer may be that the drive was reset
		_, err = d.ask(ctx, func(fd int) (_ []byte, err error) {
			block, err = readPosition(fd)
			return nil, err
		})
		var sense *tape.SenseError
		if !errors.As(err, &sense) || sense.Key != tape.UnitAttention {
			break
		}
	}
	return block, err
}

// Locate moves to a block, and makes sure that the drive is there.
func (d *Drive) Locate(ctx context.Context, block int64) error {
	leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if block < 0 || block > 1<<31-1 {
		return fmt.Errorf("%s: st cannot locate block %d", d.Name(), block)
	}
	op := fmt.Sprintf("locating block %d", block)
	if err = d.move(ctx, mtSEEK, int(block)); errors.Is(err, unix.EIO) {
		if d.written && d.wasReset(ctx) {
			return d.fail(op, err) // it has lost what it was given
		}
		// Once more beside st, so that the drive's own word of what is wrong comes through.
		_, again := d.ask(context.Background(), func(fd int) ([]byte, error) { return nil, locate10(fd, block) })
		if again != nil || !d.written {
			err = again
		}
	}
	at, then := position(d.fd)
	switch {
	case errors.Is(err, tape.ErrEndOfData) && then == nil && at < block:
		d.failed, d.next = false, at
		return tape.ErrEndOfData
	case err == nil && then == nil && at == block:
		d.failed, d.next = false, block
		return nil
	case err == nil && then == nil:
		d.failed = true
		return fmt.Errorf("%s: %s: it stands at block %d", d.Name(), op, at)
	case err == nil:
		err = then
	}
	if sense := new(tape.SenseError); errors.As(err, &sense) && !errors.Is(err, tape.ErrNoMedium) {
		d.failed = true
		d.askAlerts(context.Background())
		return fmt.Errorf("%s: %s: %w: %w", d.Name(), op, unix.EIO, err)
	}
	return d.fail(op, err)
}

// move does a motion after what must come before it.
func (d *Drive) move(ctx context.Context, op int16, count int) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	if err := d.markRecords(); err != nil {
		return err
	}
	d.warned = false
	if err := operate(d.fd, op, count); err != nil {
		return err
	}
	d.written, d.next = false, -1 // a drive empties its buffer before it moves
	return nil
}

// SpaceEOD moves to the end of the data.
func (d *Drive) SpaceEOD(ctx context.Context) error {
	leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := d.move(ctx, mtEOM, 1); err != nil {
		return d.fail("spacing to the end of data", err)
	}
	if d.next, err = position(d.fd); err != nil {
		d.next = -1
	}
	return nil
}

// Rewind moves to the beginning.
func (d *Drive) Rewind(ctx context.Context) error {
	leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := d.move(ctx, mtREW, 1); err != nil {
		return d.fail("rewinding", err)
	}
	d.failed, d.next = false, 0
	return nil
}

// Unload ejects the cartridge. A drive that holds none, or an ejected one, is content.
func (d *Drive) Unload(ctx context.Context) error {
	leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := d.ready(ctx); err != nil {
		return err
	}
	if s, err := status(d.fd); err == nil && s.status&statusOnline == 0 {
		// It was never made ready: one that is still loading must come to an end first.
		if err := d.awaitReady(ctx, false); errors.Is(err, tape.ErrNoMedium) {
			return nil
		} else if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	err = d.move(ctx, mtOFFL, 1)
	if errors.Is(err, unix.EIO) && !(d.written && d.wasReset(ctx)) {
		// Once more beside st, for the drive's own word.
		_, err = d.ask(context.Background(), func(fd int) ([]byte, error) { return nil, unload(fd) })
	}
	if sense := new(tape.SenseError); errors.As(err, &sense) {
		d.failed = true
		return fmt.Errorf("%s: unloading: %w: %w", d.Name(), unix.EIO, err)
	}
	if err != nil {
		return d.fail("unloading", err)
	}
	d.failed, d.written, d.medium = false, false, tape.Medium{}
	d.lib.left(d.number)
	return nil
}

// LocateGap is where locating along a serpentine tape begins to be faster than reading on: 3 s to find a wrap, and 10 m/s
// against the speed of reading. Computed from IBM's figures of wraps, length and rate.
func (d *Drive) LocateGap() int64 {
	switch d.medium.Type {
	case "LTO-6":
		return 1_800e6
	case "LTO-7":
		return 1_900e6
	case "LTO-8":
		return 2_700e6
	case "LTO-9":
		return 3_400e6
	}
	return 1_150e6
}

// settle is the pause between two questions whether a drive is ready.
const settle = time.Second
