package tcmu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"twintape/internal/tape/vtl"
)

// The ring's layout (the kernel's include/uapi/linux/target_core_user.h). Numbers are the machine's, little-endian here.
const (
	version = 2

	mailboxVersion = 0
	ringOffset     = 4
	ringSize       = 8
	headOffset     = 12 // where the kernel puts the next entry
	tailOffset     = 64 // where we take the next one

	entryLength  = 0 // the low three bits are the operation
	entryFlags   = 7
	vectorCount  = 8
	cdbOffset    = 24
	vectorOffset = 48
	vectorSize   = 16

	answerStatus = 8
	answerLength = 12
	answerSense  = 16
	senseSize    = 96
	entrySize    = answerSense + senseSize

	opMask    = 7
	opPad     = 0
	opCommand = 1
	opManage  = 2 // task management

	manageType = 8
	lunReset   = 5

	flagLength = 2 // the answer tells how much was read
	longestCDB = 16
)

// errRing says that the ring is not as the kernel lays it out.
var errRing = errors.New("the kernel's ring of commands makes no sense")

// ring is the memory that a device shares with the kernel.
type ring struct {
	mem      []byte
	at, size uint32 // of the entries
	gathered []byte // a command's data, when it lies in pieces
}

func newRing(mem []byte) (*ring, error) {
	if len(mem) < tailOffset+8 {
		return nil, errRing
	}
	if v := binary.LittleEndian.Uint16(mem[mailboxVersion:]); v != version {
		return nil, fmt.Errorf("the kernel's ring of commands has version %d, this program knows version %d", v, version)
	}
	r := &ring{mem: mem, at: binary.LittleEndian.Uint32(mem[ringOffset:]), size: binary.LittleEndian.Uint32(mem[ringSize:])}
	if r.size == 0 || r.size%8 != 0 || r.at%8 != 0 || uint64(r.at)+uint64(r.size) > uint64(len(mem)) {
		return nil, errRing
	}
	return r, nil
}

// word is a number that the kernel reads and writes at the same time.
func (r *ring) word(at int) *uint32 { return (*uint32)(unsafe.Pointer(&r.mem[at])) }

// next carries out the oldest command or reset, if there is one, and tells whether there was something.
func (r *ring) next(execute func(cdb, data []byte) vtl.Answer, reset func()) (bool, error) {
	head, tail := atomic.LoadUint32(r.word(headOffset)), atomic.LoadUint32(r.word(tailOffset))
	if head == tail {
		return false, nil
	}
	if head >= r.size || tail >= r.size || tail%8 != 0 {
		return false, errRing
	}
	entry := r.mem[r.at+tail : r.at+r.size]
	word := binary.LittleEndian.Uint32(entry[entryLength:])
	length := word &^ opMask
	if length == 0 || uint64(length) > uint64(len(entry)) {
		return false, errRing
	}
	switch op := word & opMask; {
	case op == opCommand:
		if err := r.command(entry[:length], execute); err != nil {
			return false, err
		}
	case op == opManage && length > manageType && entry[manageType] >= lunReset: // or of more than the unit
		reset()
	}
	atomic.StoreUint32(r.word(tailOffset), (tail+length)%r.size)
	return true, nil
}

// command carries out one command, and writes the answer over it.
func (r *ring) command(entry []byte, execute func(cdb, data []byte) vtl.Answer) error {
	if len(entry) < entrySize {
		return errRing
	}
	at := binary.LittleEndian.Uint64(entry[cdbOffset:])
	if at >= uint64(len(r.mem)) {
		return errRing
	}
	var cdb [longestCDB]byte
	copy(cdb[:], r.mem[at:])
	pieces, err := r.pieces(entry)
	if err != nil {
		return err
	}
	outbound := vtl.Outbound(cdb[0])
	data := r.gather(pieces, outbound)
	answer := execute(cdb[:], data)
	if !outbound {
		clear(data[answer.N:])
		if len(pieces) > 1 {
			for _, p := range pieces {
				data = data[copy(p, data):]
			}
		}
	}
	clear(entry[answerStatus:entrySize])
	entry[entryFlags] |= flagLength
	entry[answerStatus] = answer.Status
	binary.LittleEndian.PutUint32(entry[answerLength:], uint32(answer.N))
	copy(entry[answerSense:entrySize], answer.Sense)
	return nil
}

// pieces are where a command's data lies.
func (r *ring) pieces(entry []byte) ([][]byte, error) {
	n := uint64(binary.LittleEndian.Uint32(entry[vectorCount:]))
	if vectorOffset+n*vectorSize > uint64(len(entry)) {
		return nil, errRing
	}
	var pieces [][]byte
	total := uint64(0)
	for i := range n {
		v := entry[vectorOffset+i*vectorSize:]
		base, length := binary.LittleEndian.Uint64(v), binary.LittleEndian.Uint64(v[8:])
		if base > uint64(len(r.mem)) || length > uint64(len(r.mem))-base {
			return nil, errRing
		}
		if total += length; total > uint64(len(r.mem)) {
			return nil, errRing
		}
		pieces = append(pieces, r.mem[base:base+length])
	}
	return pieces, nil
}

// gather is a command's data in one piece; its contents only if they are wanted.
func (r *ring) gather(pieces [][]byte, contents bool) []byte {
	if len(pieces) == 1 {
		return pieces[0]
	}
	total := 0
	for _, p := range pieces {
		total += len(p)
	}
	if cap(r.gathered) < total {
		r.gathered = make([]byte, total)
	}
	data := r.gathered[:total]
	if contents {
		rest := data
		for _, p := range pieces {
			rest = rest[copy(rest, p):]
		}
	}
	return data
}
