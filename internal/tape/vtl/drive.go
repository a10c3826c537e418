package vtl

import (
	"context"
	"errors"

	"twintape/internal/tape"
)

// What an LTO-5 drive and its cartridges call themselves.
const (
	density       = 0x58
	dataCartridge = 0x58
	wormCartridge = 0x5C
)

// Drive is a tape drive.
type Drive struct {
	unit
	lib    Library
	number int

	medium Medium // nil: there is none, or it was ejected
	info   tape.Medium
	broken bool // the cartridge in the drive cannot be used

	blockSize int // bytes of a fixed block; 0 is variable
	compress  bool
	loads     int64

	bytesRead, bytesWritten int64
}

var _ Unit = (*Drive)(nil)

// Execute carries out a command.
func (d *Drive) Execute(ctx context.Context, cdb, data []byte) Answer {
	return d.execute(ctx, cdb, data, d.reset, d.command)
}

// Reset resets the drive, and has it say so.
func (d *Drive) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reset()
	d.attentions = []*sense{wasReset}
}

// reset is what a bus reset or a power cycle does to a drive: its buffer is lost, and the tape is at its beginning.
func (d *Drive) reset() {
	d.prevent, d.blockSize, d.compress = false, 0, true
	if d.medium == nil {
		return
	}
	if err := d.medium.Lose(); err != nil {
		d.broken = true
	}
	d.info = d.medium.Info()
}

// take makes the cartridge that lies in the drive ready, if there is one.
func (d *Drive) take() *sense {
	m, err := d.lib.Medium(d.number)
	d.broken = err != nil && !errors.Is(err, tape.ErrNoMedium)
	if err != nil {
		return d.loaded()
	}
	d.medium, d.info = m, m.Info()
	d.loads++
	return nil
}

// arrive is told by the changer that a cartridge was put into the drive.
func (d *Drive) arrive() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.take()
	d.attentions = append(d.attentions, mediumChanged)
}

// holds tells the changer whether the drive does not give its cartridge away.
func (d *Drive) holds() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.medium != nil
}

// loaded is why there is no medium to work with, if there is none.
func (d *Drive) loaded() *sense {
	switch {
	case d.broken:
		return loadFailed
	case d.medium == nil:
		return noMedium
	}
	return nil
}

// measure learns how much room is left behind what was just written.
func (d *Drive) measure() {
	warning, _ := d.medium.Room()
	d.info.Remaining = max(0, warning)
}

// command carries out a drive's own commands. Those before the medium is looked at need none.
func (d *Drive) command(c *command) *sense {
	switch c.cdb[0] {
	case opBlockLimits:
		c.reply([]byte{0, byte(MaxTransfer >> 16), byte(MaxTransfer >> 8 & 0xFF), byte(MaxTransfer & 0xFF), 0, 1}, 6)
		return nil
	case opModeSense6, opModeSense10:
		return c.modeSense(d.modeHeader(), d.pages())
	case opModeSelect6, opModeSelect10:
		return d.modeSelect(c)
	case opLogSense:
		return d.logSense(c, []byte{0x00, 0x02, 0x03, 0x0C, alertPage, 0x31}, d.logPage)
	case opReportDensity:
		return d.reportDensity(c)
	case opLoadUnload:
		return d.loadUnload(c)
	}
	if s := d.loaded(); s != nil {
		return s
	}
	switch c.cdb[0] {
	case opTestUnitReady:
		return nil
	case opRewind:
		return senseOf(d.medium.Locate(0), readError)
	case opRead:
		return d.read(c)
	case opWrite:
		return d.write(c)
	case opWriteFilemarks:
		return d.writeFilemarks(c)
	case opErase:
		return d.erase()
	case opSpace:
		return d.space(c)
	case opLocate10:
		return d.locate(int64(u32(c.cdb[3:])), c.cdb[1]&2 != 0 && c.cdb[8] != 0)
	case opLocate16:
		if c.cdb[1]>>3&7 != 0 { // to a file, or to the end of data
			return badField
		}
		block := int64(u32(c.cdb[4:]))<<32 | int64(u32(c.cdb[8:]))
		return d.locate(block, c.cdb[1]&2 != 0 && c.cdb[3] != 0)
	case opReadPosition:
		return d.readPosition(c)
	case opReadAttribute:
		return d.readAttribute(c)
	}
	return badOpcode
}

// loadUnload is LOAD UNLOAD (SSC-3, 7.3).
func (d *Drive) loadUnload(c *command) *sense {
	if c.cdb[4]&1 == 1 {
		if d.medium != nil {
			return senseOf(d.medium.Locate(0), readError)
		}
		if err := d.lib.Insert(d.number); errors.Is(err, tape.ErrNoMedium) {
			return noMedium
		} else if err != nil {
			return internalFailure
		}
		if s := d.take(); s != nil {
			return s
		}
		d.attentions = append(d.attentions, mediumChanged)
		return nil
	}
	if d.prevent {
		return prevented
	}
	if d.medium == nil && !d.broken {
		return noMedium
	}
	var closeErr error
	if d.medium != nil {
		closeErr = d.medium.Close()
	}
	d.medium, d.broken = nil, false
	if err := d.lib.Eject(d.number); err != nil {
		return internalFailure
	}
	return senseOf(closeErr, writeError)
}

// damage is what the control file says of a block of this cartridge.
func (d *Drive) damage(block int64) damage { return d.control.damage(d.medium.Barcode(), block) }
