package vtl

import (
	"errors"
	"io"

	"twintape/internal/tape"
)

// locate moves to a block. There is one partition.
func (d *Drive) locate(block int64, otherPartition bool) *sense {
	if otherPartition || block < 0 {
		return badField
	}
	err := d.medium.Locate(block)
	if errors.Is(err, tape.ErrEndOfData) {
		return &sense{key: blankCheck, ascq: 0x05}
	}
	return senseOf(err, readError)
}

// space is SPACE(6) (SSC-3, 7.9).
func (d *Drive) space(c *command) *sense {
	count := int64(int32(uint32(u24(c.cdb[2:]))<<8) >> 8)
	switch c.cdb[1] & 0x0F {
	case 0, 1:
		marks := c.cdb[1]&0x0F == 1
		if count < 0 {
			return spaceBy(d.medium.Back, -count, marks)
		}
		return spaceBy(d.pass, count, marks)
	case 3:
		err := d.medium.Locate(1 << 62)
		if errors.Is(err, tape.ErrEndOfData) {
			return nil
		}
		return senseOf(err, readError)
	}
	return badField
}

// pass moves behind the object at the place.
func (d *Drive) pass() (mark bool, err error) {
	mark, _, err = d.medium.Next()
	if err != nil {
		return false, err
	}
	block, _ := d.medium.At()
	return mark, d.medium.Locate(block + 1)
}

// spaceBy passes count blocks, or filemarks and what lies between them, step by step. What is left is told as a positive number in
// both directions.
func spaceBy(step func() (mark bool, err error), count int64, marks bool) *sense {
	for count > 0 {
		mark, err := step()
		switch {
		case errors.Is(err, tape.ErrEndOfData):
			return (&sense{key: blankCheck, ascq: 0x05}).with(count)
		case errors.Is(err, io.EOF):
			return (&sense{eom: true, ascq: 0x04}).with(count)
		case err != nil:
			return senseOf(err, readError).with(count)
		case mark && !marks:
			return (&sense{filemark: true, ascq: 0x01}).with(count)
		case mark == marks:
			count--
		}
	}
	return nil
}

// Flags of READ POSITION.
const (
	atBeginning = 0x80
	nearEnd     = 0x40
)

// readPosition is READ POSITION (SSC-3, 7.6), in the short and the long form.
func (d *Drive) readPosition(c *command) *sense {
	block, marks := d.medium.At()
	var flags byte
	if block == 0 {
		flags |= atBeginning
	}
	if warning, _ := d.medium.Room(); warning <= 0 {
		flags |= nearEnd
	}
	switch c.cdb[1] & 0x1F {
	case 0, 1:
		b := put32([]byte{flags, 0, 0, 0}, int(block))
		b = put32(b, int(block))
		c.reply(append(b, make([]byte, 8)...), 20)
	case 6:
		b := put64([]byte{flags, 0, 0, 0, 0, 0, 0, 0}, block)
		b = put64(b, marks)
		c.reply(append(b, make([]byte, 8)...), 32)
	default:
		return badField
	}
	return nil
}
