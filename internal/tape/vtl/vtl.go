// Package vtl is a tape library's SCSI logic: tape drives (SSC-3) and a medium changer (SMC-3) that take command descriptor
// blocks and answer with data and sense, as LTO-5 drives in a library do. What lies on the cartridges, and where they lie, is
// a Library's matter; package vtl/tcmu makes the units real devices of the Linux kernel.
//
// Each unit executes one command at a time, several units at once; a unit's Execute may be called by one goroutine. Faults are
// scripted by a control file: see Control.
package vtl

import (
	"context"
	"encoding/binary"
	"fmt"

	"twintape/internal/tape"
)

// MaxTransfer is the most bytes that a command transfers: as much as the kernel's tcm_loop carries.
const MaxTransfer = 1 << 20

// Medium is the tape of a cartridge, with a place on it. Errors are tape.ErrFilemark, tape.ErrEndOfData, tape.ErrWriteProtect,
// io.EOF (the beginning, going back), a *tape.SenseError, or what kept the medium from being read or written.
type Medium interface {
	Barcode() string
	// Info tells what the cartridge is, and rewinds.
	Info() tape.Medium
	// At is the logical block number, and how many filemarks lie before.
	At() (block, marks int64)
	// Room is how many bytes lie between the place and early warning, and between the place and the physical end.
	Room() (warning, end int64)
	// Next tells what lies at the place.
	Next() (mark bool, length int, err error)
	// Read passes the record at the place, copies what p has room for, and returns the record's length.
	Read(p []byte) (int, error)
	// Write, WriteMark and Cut (the end of data) make what lay behind the place unreadable.
	Write(p []byte) error
	WriteMark() error
	Cut() error
	// Sync returns when everything written is safe. Lose takes back what was written since, and rewinds.
	Sync() error
	Lose() error
	// Locate moves to a block, or to the end of data if that comes before, with tape.ErrEndOfData.
	Locate(block int64) error
	// Back moves before the object before the place.
	Back() (mark bool, err error)
	// Close syncs, and gives the medium up.
	Close() error
}

// Library is the cartridges and their places. It must be safe for concurrent use.
type Library interface {
	tape.Changer
	Drives() int
	// Medium takes the cartridge that lies in a drive. tape.ErrNoMedium: there is none, or it was ejected.
	Medium(drive int) (Medium, error)
	// Eject makes the cartridge of a drive free for the changer, Insert pulls it in again.
	Eject(drive int) error
	Insert(drive int) error
}

// Answer is what a command came to.
type Answer struct {
	N      int    // bytes of the buffer that were filled, for commands that bring data
	Status byte   // SAM status: Good or CheckCondition
	Sense  []byte // fixed format, with CheckCondition
}

// The statuses of answers (SAM-5).
const (
	Good           = 0x00
	CheckCondition = 0x02
)

// Unit is a logical unit.
type Unit interface {
	// Name is how the control file and messages call the unit: drive0, drive1, …, changer.
	Name() string
	// Serial is the unit's serial number.
	Serial() string
	// Execute carries out a command. data is the transfer's buffer: what the command brings along, or what is to be filled.
	// A cancelled context ends commands that hang.
	Execute(ctx context.Context, cdb, data []byte) Answer
	// Reset is what the initiator's reset does, between two commands: a drive loses its buffer, and is at the tape's beginning.
	Reset()
}

// Outbound tells whether a command brings data along.
func Outbound(opcode byte) bool {
	switch opcode {
	case opWrite, opModeSelect6, opModeSelect10:
		return true
	}
	return false
}

// Units makes the units of a library, the changer first. A drive that has a cartridge in it takes it. Name tells libraries on one
// machine apart in the changer's serial number.
func Units(lib Library, name string, control *Control) ([]Unit, error) {
	c := &Changer{unit: newUnit("changer", "VTL"+name, changerType, "VTL CHANGER", control), lib: lib}
	units := []Unit{c}
	if err := c.layOut(); err != nil {
		return nil, err
	}
	for i := range lib.Drives() {
		d := &Drive{
			unit: newUnit(fmt.Sprintf("drive%d", i), fmt.Sprintf("%s%02d", name, i), driveType, "ULTRIUM-TD5", control),
			lib:  lib, number: i, compress: true,
		}
		d.take()
		c.drives, units = append(c.drives, d), append(units, d)
	}
	return units, nil
}

// Close gives the media in the drives up, when no unit executes any more.
func Close(units []Unit) (err error) {
	for _, u := range units {
		if d, ok := u.(*Drive); ok && d.medium != nil {
			if closeErr := d.medium.Close(); closeErr != nil && err == nil {
				err = closeErr
			}
			d.medium = nil
		}
	}
	return err
}

// Numbers in command descriptor blocks and parameters are big-endian.
func u16(b []byte) int { return int(binary.BigEndian.Uint16(b)) }
func u24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }
func u32(b []byte) int { return int(binary.BigEndian.Uint32(b)) }

func put16(b []byte, v int) []byte { return binary.BigEndian.AppendUint16(b, uint16(v)) }
func put24(b []byte, v int) []byte { return append(b, byte(v>>16), byte(v>>8), byte(v)) }
func put32(b []byte, v int) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }
func put64(b []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(v))
}

// padded is a string in a field of n bytes, filled with spaces.
func padded(s string, n int) string { return fmt.Sprintf("%-*.*s", n, n, s) }
