package virtual

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"twintape/internal/tape"
)

// The words of a SIMH magtape image ("SIMH Magtape Representation and Handling", R. Supnik): a record is its length, its
// data padded to even, and the length again, all 32-bit little-endian. The top four bits of a length are its class.
const (
	markWord     = 0          // filemark
	endWord      = 0xFFFFFFFF // end of medium
	gapWord      = 0xFFFFFFFE // erase gap
	reservedWord = 0xFF000000 // from here to gapWord nothing is defined
	lengthBits   = 0x0FFFFFFF
	badClass     = 8
	wordSize     = 4
)

// indexStep is every how many blocks the image remembers an offset.
const indexStep = 256

// object is what lies at one place of an image.
type object struct {
	mark   bool  // a filemark; otherwise a record
	bad    bool  // a record of class "bad data"
	length int   // of the record's data
	size   int64 // in the image
}

// errEnd says that nothing more was written. It is the image's own word for end of data.
var errEnd = errors.New("end of data")

// place is a place of an image.
type place struct {
	off   int64 // in the file
	block int64
	marks int64 // filemarks before it
}

// image is a cartridge's file with a place in it. What was written last is followed by the end-of-medium word; what may
// lie behind it in the file means nothing, so that a file that was allocated before stays allocated while it is written.
type image struct {
	file *os.File
	size int64 // of the file
	place
	end   int64   // where the last write left the end of data; -1 before the first
	index []place // of blocks 0, indexStep, 2 × indexStep, …, as far as the image was passed
}

func newImage(f *os.File) (*image, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &image{file: f, size: fi.Size(), end: -1, index: []place{{}}}, nil
}

func (m *image) rewind() { m.place = place{} }

// peek tells what lies at the place, passing gaps. A file that ends within an object was cut there: the object does not
// exist.
func (m *image) peek() (object, error) {
	for {
		word, err := m.word(m.off)
		if err == errEnd && m.off == 0 && m.size > 0 {
			err = m.noImage()
		}
		switch {
		case err != nil:
			return object{}, err
		case word == endWord:
			return object{}, errEnd
		case word == gapWord:
			m.off += wordSize
			continue
		case word >= reservedWord:
			return object{}, m.meaningless(word)
		case word == markWord:
			return object{mark: true, size: wordSize}, nil
		}
		o := object{length: int(word & lengthBits), bad: word>>28 == badClass}
		o.size = 2*wordSize + int64(o.length+o.length&1)
		trailer, err := m.word(m.off + o.size - wordSize)
		if err == nil && trailer != word {
			err = errEnd
		}
		if err == errEnd && m.off == 0 {
			return o, m.noImage()
		}
		return o, err
	}
}

// meaningless says that there is something at the place, or before it, that no image has.
func (m *image) meaningless(word uint32) error {
	return &tape.SenseError{Key: tape.MediumError, ASC: 0x11, Text: fmt.Sprintf(
		"medium error: the word %08X at byte %d of %s has no meaning in a SIMH magtape image", word, m.off, m.file.Name())}
}

// noImage says that the file begins with something else than a whole object: it may be anything, so it is not taken for a
// blank tape.
func (m *image) noImage() error {
	return &tape.SenseError{Key: 3, ASC: 0x11, Text: fmt.Sprintf(
		"medium error: %s begins neither with a record nor with a filemark of a SIMH magtape image, and is not empty", m.file.Name())}
}

func (m *image) word(off int64) (uint32, error) {
	if off+wordSize > m.size {
		return 0, errEnd
	}
	var b [wordSize]byte
	if _, err := m.file.ReadAt(b[:], off); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b[:]), nil
}

// pass moves behind the object at the place.
func (m *image) pass(o object) {
	m.off += o.size
	m.block++
	if o.mark {
		m.marks++
	}
	if m.block%indexStep == 0 && int(m.block/indexStep) == len(m.index) {
		m.index = append(m.index, m.place)
	}
}

// back moves before the object before the place, which is not the beginning.
func (m *image) back() (mark bool, err error) {
	at := m.off - wordSize
	word, err := m.word(at)
	for err == nil && word == gapWord && at > 0 {
		at -= wordSize
		word, err = m.word(at)
	}
	if err != nil {
		return false, err
	}
	if mark = word == markWord; mark {
		m.marks--
	} else {
		at -= wordSize + int64(word&lengthBits) + int64(word&1)
		if at < 0 {
			return false, m.meaningless(word)
		}
		if head, err := m.word(at); err != nil || head != word {
			return false, m.meaningless(word)
		}
	}
	m.off = at
	m.block--
	return mark, nil
}

// locate moves to a block, or to the end of data if that comes before, with errEnd.
func (m *image) locate(block int64) error {
	if known := min(block/indexStep, int64(len(m.index)-1)); block < m.block || known*indexStep > m.block {
		m.place = m.index[known]
	}
	for m.block < block {
		o, err := m.peek()
		if err != nil {
			return err
		}
		m.pass(o)
	}
	return nil
}

// read passes the record or the filemark at the place. It returns the record's length, and copies what p has room for.
func (m *image) read(p []byte) (int, error) {
	o, err := m.peek()
	if err != nil {
		return 0, err
	}
	at := m.off + wordSize
	m.pass(o)
	switch {
	case o.mark:
		return 0, tape.ErrFilemark
	case o.bad:
		return 0, &tape.SenseError{Key: 3, ASC: 0x11, Text: "medium error: the record cannot be read"}
	}
	p = p[:min(o.length, len(p))]
	n, err := m.file.ReadAt(p, at)
	if err == io.EOF && n == len(p) {
		err = nil
	}
	return o.length, err
}

// writeRecord writes a record and the end behind it.
func (m *image) writeRecord(p []byte) error {
	head := binary.LittleEndian.AppendUint32(make([]byte, 0, wordSize), uint32(len(p)))
	rest := make([]byte, 0, 1+2*wordSize)
	if len(p)&1 == 1 {
		rest = append(rest, 0)
	}
	rest = binary.LittleEndian.AppendUint32(append(rest, head...), endWord)
	return m.write(object{length: len(p), size: int64(len(p) + len(rest))}, head, p, rest)
}

// writeMark writes a filemark and the end behind it.
func (m *image) writeMark() error {
	return m.write(object{mark: true, size: wordSize}, make([]byte, wordSize), binary.LittleEndian.AppendUint32(nil, endWord))
}

// write puts an object at the place: its first word last, over the end of data that stands there until then. A process
// that is killed in between leaves a tape that ends before the object, whatever lay there in the file.
func (m *image) write(o object, first []byte, rest ...[]byte) error {
	if m.off != m.end {
		if err := m.writeEnd(); err != nil {
			return err
		}
	}
	if err := m.put(m.off+wordSize, rest...); err != nil {
		return err
	}
	if err := m.put(m.off, first); err != nil {
		return err
	}
	m.size = max(m.size, m.off+o.size+wordSize)
	m.pass(o)
	m.end = m.off
	return nil
}

// writeEnd ends the data at the place.
func (m *image) writeEnd() error {
	m.index = m.index[:min(int64(len(m.index)), m.block/indexStep+1)]
	if err := m.put(m.off, binary.LittleEndian.AppendUint32(nil, endWord)); err != nil {
		return err
	}
	m.size = max(m.size, m.off+wordSize)
	m.end = m.off
	return nil
}

// put writes parts behind each other into the file, without copying them together.
func (m *image) put(at int64, parts ...[]byte) error {
	for len(parts) > 0 {
		n, err := unix.Pwritev(int(m.file.Fd()), parts, at)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "write", Path: m.file.Name(), Err: err}
		}
		at += int64(n)
		for len(parts) > 0 && n >= len(parts[0]) {
			n -= len(parts[0])
			parts = parts[1:]
		}
		if n > 0 {
			parts[0] = parts[0][n:]
		}
	}
	return nil
}
