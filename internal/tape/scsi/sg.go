package scsi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"twintape/internal/tape"
)

// Linux's SCSI generic interface, include/scsi/sg.h.
const (
	sgIO       = 0x2285
	sgNone     = -1
	sgFromDev  = -3
	sgSenseLen = 96
)

type sgHeader struct {
	interfaceID  int32
	direction    int32
	cmdLen       uint8
	senseMax     uint8
	iovecs       uint16
	dataLen      uint32
	data         unsafe.Pointer
	cmd          unsafe.Pointer
	sense        unsafe.Pointer
	timeout      uint32 // milliseconds
	flags        uint32
	packID       int32
	usr          unsafe.Pointer
	status       uint8
	maskedStatus uint8
	msgStatus    uint8
	senseLen     uint8
	hostStatus   uint16
	driverStatus uint16
	resid        int32
	duration     uint32
	info         uint32
}

// command sends a SCSI command that returns data, or none, to a SCSI generic node and returns how many bytes came. A check
// condition is a *tape.SenseError. It blocks until the device answers or the kernel gives it up: signals do not end it, and a
// signal that comes meanwhile may repeat it, so only commands that may be repeated are sent.
func command(fd int, cdb, data []byte, timeout time.Duration) (int, error) {
	var sense [sgSenseLen]byte
	h := sgHeader{
		interfaceID: 'S', direction: sgNone, cmdLen: uint8(len(cdb)), senseMax: sgSenseLen, cmd: unsafe.Pointer(&cdb[0]),
		sense: unsafe.Pointer(&sense[0]), timeout: uint32(timeout.Milliseconds()),
	}
	if len(data) > 0 {
		h.direction, h.dataLen, h.data = sgFromDev, uint32(len(data)), unsafe.Pointer(&data[0])
	}
	err := ioctl(fd, sgIO, unsafe.Pointer(&h))
	runtime.KeepAlive(cdb)
	runtime.KeepAlive(data)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return 0, fmt.Errorf("%w: asking the device needs CAP_SYS_RAWIO, see etc/twintape.service", err)
	case err != nil:
		return 0, err
	case h.hostStatus != 0:
		return 0, fmt.Errorf("%w: the host adapter reports status %02Xh: check cables and power", unix.EIO, h.hostStatus)
	}
	if h.senseLen > 0 {
		if e := parseSense(sense[:h.senseLen]); e != nil && e.Key != tape.NoSense && e.Key != tape.RecoveredError {
			return 0, e
		}
	} else if h.status != 0 {
		return 0, fmt.Errorf("%w: the device answers with SCSI status %02Xh", unix.EIO, h.status)
	}
	return max(0, len(data)-int(h.resid)), nil
}

// parseSense decodes sense data in fixed or descriptor format (SPC-4, 4.5); nil if it is neither.
func parseSense(b []byte) *tape.SenseError {
	if len(b) == 0 {
		return nil
	}
	at := func(i int) byte {
		if i < len(b) {
			return b[i]
		}
		return 0
	}
	switch b[0] & 0x7F {
	case 0x70, 0x71: // fixed; additional sense length counts from byte 8
		var asc, ascq byte
		if at(7) >= 6 || at(7) == 0 && len(b) > 13 { // some devices leave the length out
			asc, ascq = at(12), at(13)
		}
		return tape.Sense(at(2)&0x0F, asc, ascq)
	case 0x72, 0x73:
		return tape.Sense(at(1)&0x0F, at(2), at(3))
	}
	return nil
}

// short and long are how long a device may take for what it answers from memory, and for what it looks up.
const (
	short = time.Minute
	long  = 10 * time.Minute
)

func testUnitReady(fd int) error {
	_, err := command(fd, make([]byte, 6), nil, short)
	return err
}

// inquiry asks for a page of vital product data.
func vitalData(fd int, page byte) ([]byte, error) {
	b := make([]byte, 255)
	n, err := command(fd, []byte{0x12, 1, page, 0, byte(len(b)), 0}, b, short)
	return b[:n], err
}

// logPage asks for a log page's cumulative values.
func logPage(fd int, page byte) ([]byte, error) {
	b := make([]byte, 4<<10)
	n, err := command(fd, []byte{0x4D, 0, 0x40 | page, 0, 0, 0, 0, byte(len(b) >> 8), byte(len(b)), 0}, b, short)
	return b[:n], err
}

// modePage asks for a mode page, with its header.
func modePage(fd int, page byte) ([]byte, error) {
	b := make([]byte, 255)
	n, err := command(fd, []byte{0x1A, 0, page, 0, byte(len(b)), 0}, b, short)
	return b[:n], err
}

// mediumAttributes reads the attributes of the cartridge's memory (MAM) from an identifier on.
func mediumAttributes(fd int, first uint16) ([]byte, error) {
	b := make([]byte, 4<<10)
	cdb := make([]byte, 16)
	cdb[0] = 0x8C
	binary.BigEndian.PutUint16(cdb[8:], first)
	binary.BigEndian.PutUint32(cdb[10:], uint32(len(b)))
	n, err := command(fd, cdb, b, short)
	return b[:n], err
}

// readPosition asks the drive itself where it stands.
func readPosition(fd int) (int64, error) {
	b := make([]byte, 20)
	n, err := command(fd, append([]byte{0x34}, make([]byte, 9)...), b, short)
	if err != nil {
		return 0, err
	}
	return parsePosition(b[:n])
}

// locate10 moves the drive.
func locate10(fd int, block int64) error {
	cdb := make([]byte, 10)
	cdb[0] = 0x2B
	binary.BigEndian.PutUint32(cdb[3:], uint32(block))
	_, err := command(fd, cdb, nil, time.Hour)
	return err
}

// unload ejects the cartridge.
func unload(fd int) error {
	_, err := command(fd, []byte{0x1B, 0, 0, 0, 0, 0}, nil, time.Hour)
	return err
}

// read6 reads one record of any length up to p's.
func read6(fd int, p []byte) (int, error) {
	return command(fd, []byte{0x08, 0, byte(len(p) >> 16), byte(len(p) >> 8), byte(len(p)), 0}, p, long)
}

// elementStatus asks a changer for all its data transfer elements; with identifiers, for those of the drives too.
func elementStatus(fd int, identifiers bool) ([]byte, error) {
	b := make([]byte, 64<<10)
	cdb := []byte{0xB8, 4, 0, 0, 0xFF, 0xFF, 0, byte(len(b) >> 16), byte(len(b) >> 8), byte(len(b)), 0, 0}
	if identifiers {
		cdb[6] = 1
	}
	n, err := command(fd, cdb, b, long)
	return b[:n], err
}
