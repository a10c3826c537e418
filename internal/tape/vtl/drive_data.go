package vtl

import (
	"errors"

	"twintape/internal/tape"
)

// read is READ(6) (SSC-3, 5.2).
func (d *Drive) read(c *command) *sense {
	fixed, sili, count := c.cdb[1]&1 != 0, c.cdb[1]&2 != 0, u24(c.cdb[2:])
	if fixed && (sili || d.blockSize == 0) {
		return badField
	}
	if count == 0 {
		return nil
	}
	if !fixed {
		length, s := d.readRecord(c.data[:min(count, len(c.data))], int64(count))
		if s != nil {
			return s
		}
		c.n = min(length, count, len(c.data))
		if length < count && !sili || length > count && !(sili && d.blockSize == 0) {
			return (&sense{ili: true}).with(int64(count - length))
		}
		return nil
	}
	for left := int64(count); left > 0; left-- {
		if len(c.data)-c.n < d.blockSize {
			return badField
		}
		length, s := d.readRecord(c.data[c.n:c.n+d.blockSize], left)
		if s != nil {
			return s
		}
		if length != d.blockSize {
			c.n += min(length, d.blockSize)
			return (&sense{ili: true}).with(left)
		}
		c.n += length
	}
	return nil
}

// readRecord passes one record, with left of the command's length before it.
func (d *Drive) readRecord(p []byte, left int64) (length int, s *sense) {
	block, _ := d.medium.At()
	hurt := d.damage(block)
	length, err := d.medium.Read(p)
	switch {
	case errors.Is(err, tape.ErrFilemark):
		return 0, (&sense{filemark: true, ascq: 0x01}).with(left)
	case errors.Is(err, tape.ErrEndOfData):
		return 0, (&sense{key: blankCheck, ascq: 0x05}).with(left)
	case err != nil:
		return 0, senseOf(err, readError).with(left)
	case hurt.unreadable:
		return 0, readError.with(left)
	}
	for _, at := range hurt.rotten {
		if at < int64(min(length, len(p))) {
			p[at] ^= 1
		}
	}
	d.bytesRead += int64(length)
	return length, nil
}

// write is WRITE(6) (SSC-3, 5.6).
func (d *Drive) write(c *command) *sense {
	fixed, count := c.cdb[1]&1 != 0, u24(c.cdb[2:])
	if fixed && d.blockSize == 0 {
		return badField
	}
	if count == 0 {
		return nil
	}
	size, records := count, 1
	if fixed {
		size, records = d.blockSize, count
	}
	if size > MaxTransfer || len(c.data) < size*records {
		return badField
	}
	for i := range records {
		left := int64(records - i)
		if !fixed {
			left = int64(count)
		}
		if s := d.room(size); s != nil {
			return s.with(left)
		}
		if err := d.medium.Write(c.data[i*size : (i+1)*size]); err != nil {
			return senseOf(err, writeError).with(left)
		}
		d.bytesWritten += int64(size)
	}
	d.measure()
	return d.warning()
}

// room refuses what does not fit onto the medium.
func (d *Drive) room(size int) *sense {
	block, _ := d.medium.At()
	if _, end := d.medium.Room(); int64(size) > end || d.damage(block).end {
		return &sense{key: volumeOverflow, ascq: 0x02, eom: true}
	}
	return nil
}

// warning tells with a good write that the end of the medium is near.
func (d *Drive) warning() *sense {
	block, _ := d.medium.At()
	if warning, _ := d.medium.Room(); warning <= 0 || d.damage(block-1).early {
		return (&sense{ascq: 0x02, eom: true}).with(0)
	}
	return nil
}

// writeFilemarks is WRITE FILEMARKS(6) (SSC-3, 5.8). Without IMMED it returns when the medium has everything, even if it
// writes none.
func (d *Drive) writeFilemarks(c *command) *sense {
	immediate, count := c.cdb[1]&1 != 0, u24(c.cdb[2:])
	if c.cdb[1]&2 != 0 { // setmarks
		return badField
	}
	for i := range count {
		if s := d.room(0); s != nil {
			return s.with(int64(count - i))
		}
		if err := d.medium.WriteMark(); err != nil {
			return senseOf(err, writeError).with(int64(count - i))
		}
	}
	if !immediate {
		if err := d.medium.Sync(); err != nil {
			return senseOf(err, writeError).with(int64(count))
		}
	}
	if count == 0 {
		return nil
	}
	d.measure()
	return d.warning()
}

// erase is ERASE (SSC-3, 5.1): behind the place there is nothing any more.
func (d *Drive) erase() *sense {
	err := d.medium.Cut()
	if err == nil {
		err = d.medium.Sync()
	}
	d.measure()
	return senseOf(err, writeError)
}
