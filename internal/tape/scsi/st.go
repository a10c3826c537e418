package scsi

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The st driver's interface, include/uapi/linux/mtio.h.
const (
	mtioctop = 0x40086D01
	mtiocget = 0x80306D02
	mtiocpos = 0x80086D03

	mtWEOF         = 5
	mtREW          = 6
	mtOFFL         = 7
	mtEOM          = 12
	mtSETBLK       = 20
	mtSEEK         = 22
	mtSETDRVBUFFER = 24
	mtLOAD         = 30
	mtCOMPRESSION  = 32
	mtWEOFI        = 35

	statusEOT    = 0x20000000 // early warning or the end of the medium was met
	statusEOD    = 0x08000000
	statusWrProt = 0x04000000
	statusOnline = 0x01000000
	statusEmpty  = 0x00040000
	statusBuffer = 0x00010000 // the drive buffers what it is given
	statusClean  = 0x00008000

	densityShift = 24
)

// Options of MTSETDRVBUFFER.
const (
	optSet         = 0x30000000
	optClear       = 0x40000000
	optTimeout     = 0x70000000
	optLongTimeout = 0x70100000

	optBufferWrites = 0x1
	optAsyncWrites  = 0x2
	optReadAhead    = 0x4
	optTwoFilemarks = 0x10
	optFastEOM      = 0x20
	optAutoLock     = 0x40
	optDefWrites    = 0x80
	optLogical      = 0x800
	optSysV         = 0x1000
	optNoWait       = 0x2000
	optSILI         = 0x4000
	optNoWaitEOF    = 0x8000
)

type mtop struct {
	op    int16
	count int32
}

type mtget struct {
	kind, resid, density, status, errors int64
	file, block                          int32
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		}
		return errno
	}
}

func operate(fd int, op int16, count int) error {
	return ioctl(fd, mtioctop, unsafe.Pointer(&mtop{op: op, count: int32(count)}))
}

func status(fd int) (mtget, error) {
	var s mtget
	err := ioctl(fd, mtiocget, unsafe.Pointer(&s))
	return s, err
}

// position asks through st, which has the logical block number since optLogical is set.
func position(fd int) (int64, error) {
	var block int64
	err := ioctl(fd, mtiocpos, unsafe.Pointer(&block))
	return block, err
}

// The kernel gives a command up only after these times, in seconds, and then resets the drive, its target, and its host, which
// the twin may hang on. So they are longer than what internal/tape allows.
const (
	kernelTimeout     = 65 * 60
	kernelLongTimeout = 4 * 60 * 60
)

// setModes makes st and the drive behave as this package needs it; st forgets some of it when the drive is reset, or opened
// with another tape.
func setModes(fd int, compression bool) error {
	// The bits that are cleared: driver buffering, so that an error belongs to the write that met it; two filemarks at a close;
	// the door's lock, which would outlive a killed process; immediate rewinds and filemarks, since a flush must wait; SILI, which
	// lets drives shorten records that are longer than the buffer; the fast way to the end of data, which would stay set and make
	// the label's own commands fail, since mt then does not know the file's number.
	for _, option := range []int{
		optSet | optLogical,
		optClear | optFastEOM | optBufferWrites | optAsyncWrites | optReadAhead | optTwoFilemarks | optAutoLock | optDefWrites | optSysV | optNoWait | optSILI | optNoWaitEOF,
		optTimeout | kernelTimeout, optLongTimeout | kernelLongTimeout,
	} {
		if err := operate(fd, mtSETDRVBUFFER, option); errors.Is(err, unix.EPERM) {
			return fmt.Errorf("setting the st driver's options: %w: it needs CAP_SYS_ADMIN, see etc/twintape.service", err)
		} else if err != nil {
			return fmt.Errorf("setting the st driver's options: %w", err)
		}
	}
	if err := operate(fd, mtSETBLK, 0); err != nil {
		return fmt.Errorf("setting variable record lengths: %w", err)
	}
	s, err := status(fd)
	if err != nil {
		return err
	}
	if s.status&statusBuffer == 0 {
		if err := operate(fd, mtSETDRVBUFFER, 1); err != nil {
			return fmt.Errorf("switching the drive's buffer on: %w", err)
		}
	}
	want := 0
	if compression {
		want = 1
	}
	if err := operate(fd, mtCOMPRESSION, want); err != nil && compression { // a drive that cannot compress is content
		return fmt.Errorf("switching compression on: %w", err)
	}
	return nil
}
