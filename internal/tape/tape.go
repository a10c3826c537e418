// Package tape defines what a tape drive and a changer do, in the terms of SCSI stream commands (SSC) and media changer
// commands (SMC), for the implementations tape/virtual (a library in a folder) and tape/scsi (Linux st and mtx).
//
// A Drive is used by one goroutine at a time, except that Close may be called at any time. A Changer is safe for
// concurrent use. Every call takes a context and returns soon after it is cancelled, even if the device hangs; a device
// whose call was abandoned in this way answers ErrBusy until the operation has ended.
package tape

import (
	"context"
	"errors"
	"strings"
)

// Position is where a drive stands, as READ POSITION (SSC-3, long form) reports it.
type Position struct {
	// Block is the logical block number: records and filemarks both count, the first is 0.
	Block int64
	// BOT is the beginning of the tape.
	BOT bool
}

// Medium is what a drive tells of the cartridge in it.
type Medium struct {
	Serial         string // medium serial number (MAM); empty where not readable
	Type           string // such as "LTO-5" or "virtual"
	WriteProtected bool
	WORM           bool
	Capacity       int64 // bytes the whole cartridge holds, native; 0 where unknown
	Remaining      int64 // bytes from the end of data to early warning, as the drive reports it; 0 where unknown
	// Backhitch tells that the drive loses time when it runs out of data and must stop, back up and start again
	// (shoe-shining), so that a writer should start with a well-filled buffer.
	Backhitch bool
}

// Drive is one tape drive. Positions are logical block numbers. After an error other than ErrFilemark, ErrEndOfData,
// ErrEarlyWarning and ErrShortBuffer the position must be asked for before anything is written.
type Drive interface {
	// Name is how messages call the drive, such as "drive 0 (/dev/nst0)".
	Name() string
	// Serial is the drive's serial number.
	Serial() string
	// Load waits until the cartridge that lies in the drive is ready and at its beginning, and tells what it is.
	// ErrNoMedium: there is none.
	Load(ctx context.Context) (Medium, error)

	// WriteRecord writes p as one record. ErrEarlyWarning: nothing was written and the physical end is near; the same call
	// again writes (as Linux st alternates). ErrEndOfMedium: nothing was written and nothing more can be. The drive does not
	// keep or change p. Success means that the drive's buffer has it, not the medium: see Flush. What lay
	// behind the position is lost.
	WriteRecord(ctx context.Context, p []byte) error
	// WriteFilemark writes one filemark without waiting for the medium (immediate).
	WriteFilemark(ctx context.Context) error
	// Flush returns nil only when everything written is on the medium (a synchronous filemark of count 0). Its error
	// concerns everything written since the last good Flush. The caller must check Position afterwards: a drive that was
	// reset stands at the beginning and flushes nothing, successfully.
	Flush(ctx context.Context) error

	// ReadRecord reads the next record into p and returns its length. ErrFilemark: a filemark was passed. ErrEndOfData:
	// nothing more was written. ErrShortBuffer: the record is longer than p and was passed.
	ReadRecord(ctx context.Context, p []byte) (int, error)

	// Position asks the drive where it stands.
	Position(ctx context.Context) (Position, error)
	// Locate moves to a logical block. ErrEndOfData: the tape ends before it, and the drive stands at the end of data.
	Locate(ctx context.Context, block int64) error
	// SpaceEOD moves behind the last record or filemark.
	SpaceEOD(ctx context.Context) error
	// Rewind moves to the beginning.
	Rewind(ctx context.Context) error
	// Unload rewinds and ejects, so that the changer can take the cartridge. Written data is flushed first.
	Unload(ctx context.Context) error

	// Health tells what the drive reports of itself and its cartridge, and forgets its alerts: it is asked once after each
	// tape, before Unload. A drive that reports nothing returns the zero Health.
	Health(ctx context.Context) (Health, error)

	// LocateGap is the distance in bytes below which reading on is faster than Locate, on this drive's kind of medium.
	LocateGap() int64
	// Close gives the drive up. The cartridge stays in it. An operation under way fails.
	Close() error
}

// ElementKind is the kind of a changer's element, after SMC.
type ElementKind string

// The element kinds that hold cartridges.
const (
	Slot         ElementKind = "slot"          // storage element
	ImportExport ElementKind = "import/export" // import/export element
	Transfer     ElementKind = "drive"         // data transfer element
)

// Element is one place of the library. Number tells it from others of its kind: slots count from 1, drives from 0, as mtx
// numbers them.
type Element struct {
	Kind    ElementKind
	Number  int
	Barcode string // of the cartridge in it; empty if there is none or its tag is not readable
	Full    bool
	// From is the slot that a drive's cartridge came from, 0 where unknown.
	From int
}

// Cleaning tells whether a barcode is a cleaning cartridge's: nothing is ever written to these.
func Cleaning(barcode string) bool { return strings.HasPrefix(barcode, "CLN") }

// Changer moves cartridges.
type Changer interface {
	// Inventory returns all elements: slots, import/export elements, drives, each kind by number.
	Inventory(ctx context.Context) ([]Element, error)
	// Load moves the cartridge of a slot to a drive.
	Load(ctx context.Context, slot, drive int) error
	// Unload moves the cartridge of a drive, which must be unloaded, to a slot.
	Unload(ctx context.Context, drive, slot int) error
	// Transfer moves a cartridge from element to element, for import and export.
	Transfer(ctx context.Context, from, to Element) error
}

// Library is a changer with its drives, owned by one process at a time.
type Library interface {
	Changer() Changer
	// Drives returns the number of data transfer elements.
	Drives() int
	// OpenDrive takes a drive for this process. ErrBusy wrapped with who holds it if another process does.
	OpenDrive(ctx context.Context, number int) (Drive, error)
	// Close gives up the library and every drive opened from it.
	Close() error
}

// Conditions that callers decide on.
var (
	ErrFilemark     = errors.New("filemark")
	ErrEndOfData    = errors.New("end of data")
	ErrEarlyWarning = errors.New("early warning: the end of the medium is near")
	ErrEndOfMedium  = errors.New("end of medium: the cartridge is full")
	ErrShortBuffer  = errors.New("record is longer than the buffer")
	ErrNoMedium     = errors.New("no cartridge in the drive")
	ErrWriteProtect = errors.New("cartridge is write protected")
	ErrBusy         = errors.New("in use")
)
