package vtl

import (
	"context"
	"hash/fnv"
	"sync"
)

// Operation codes (SPC-4, SSC-3, SMC-3).
const (
	opTestUnitReady  = 0x00
	opRewind         = 0x01
	opRequestSense   = 0x03
	opBlockLimits    = 0x05
	opInitElements   = 0x07
	opRead           = 0x08
	opWrite          = 0x0A
	opWriteFilemarks = 0x10
	opSpace          = 0x11
	opInquiry        = 0x12
	opModeSelect6    = 0x15
	opErase          = 0x19
	opModeSense6     = 0x1A
	opLoadUnload     = 0x1B
	opPreventRemoval = 0x1E
	opLocate10       = 0x2B // POSITION TO ELEMENT, for a changer
	opReadPosition   = 0x34
	opInitRange      = 0x37
	opReportDensity  = 0x44
	opLogSense       = 0x4D
	opModeSelect10   = 0x55
	opModeSense10    = 0x5A
	opReadAttribute  = 0x8C
	opLocate16       = 0x92
	opMoveMedium     = 0xA5
	opReadElements   = 0xB8
)

const (
	longestCDB       = 16
	vendor           = "TWINTAPE"
	revision         = "0001"
	driveType        = 0x01 // peripheral device types
	changerType      = 0x08
	tapeAlertFlags   = 64
	cleanNow         = 20   // a TapeAlert flag
	alertPage        = 0x2E // a log page
	designatorVendor = 1
	designatorNAA    = 3
	codeSetBinary    = 1
	codeSetASCII     = 2
)

// unit is what drives and the changer have in common. mu guards it and what embeds it: the changer's goroutine puts cartridges
// into drives.
type unit struct {
	name, serial, product string
	kind                  byte // peripheral device type
	control               *Control

	mu         sync.Mutex
	attentions []*sense // unit attention conditions, the oldest first
	alerts     [tapeAlertFlags + 1]bool
	prevent    bool
}

func newUnit(name, serial string, kind byte, product string, control *Control) unit {
	return unit{name: name, serial: serial, kind: kind, product: product, control: control, attentions: []*sense{wasReset}}
}

// Name is the unit's name.
func (u *unit) Name() string { return u.name }

// Serial is the unit's serial number.
func (u *unit) Serial() string { return u.serial }

// attend takes the oldest unit attention condition.
func (u *unit) attend() *sense {
	if len(u.attentions) == 0 {
		return nil
	}
	s := u.attentions[0]
	u.attentions = u.attentions[1:]
	return s
}

// command is one command under way.
type command struct {
	cdb  []byte // of the longest size, whatever the command's
	data []byte
	n    int // bytes of data that were filled
}

// reply fills the buffer as far as the command allows.
func (c *command) reply(b []byte, allocated int) {
	c.n = copy(c.data[:min(allocated, len(c.data))], b)
}

// execute runs what the control file scripts around a command, the commands that all units have, and the unit's own.
func (u *unit) execute(ctx context.Context, cdb, data []byte, reset func(), own func(c *command) *sense) Answer {
	c := &command{cdb: make([]byte, longestCDB), data: data}
	copy(c.cdb, cdb)
	act := u.control.act(ctx, u.name, c.cdb[0])
	u.mu.Lock()
	defer u.mu.Unlock()
	if act.reset || act.lose {
		reset()
	}
	if act.reset {
		u.attentions = []*sense{wasReset}
	}
	for _, flag := range act.alerts {
		u.alerts[flag] = true
	}
	s := act.sense
	if s == nil {
		s = u.shared(c, own)
	}
	if s == nil && act.clean {
		s = cleanWanted
	}
	if s == nil {
		return Answer{N: c.n}
	}
	return Answer{N: c.n, Status: CheckCondition, Sense: s.fixed()}
}

func (u *unit) shared(c *command, own func(c *command) *sense) *sense {
	switch c.cdb[0] {
	case opInquiry:
		return u.inquiry(c)
	case opRequestSense:
		s := u.attend()
		if s == nil {
			s = &sense{}
		}
		c.reply(s.fixed(), int(c.cdb[4]))
		return nil
	}
	if s := u.attend(); s != nil {
		return s
	}
	switch c.cdb[0] {
	case opPreventRemoval:
		u.prevent = c.cdb[4]&3 != 0
		return nil
	}
	return own(c)
}

// inquiry answers INQUIRY (SPC-4, 6.4 and 7.8).
func (u *unit) inquiry(c *command) *sense {
	page, allocated := c.cdb[2], u16(c.cdb[3:])
	if c.cdb[1]&1 == 0 {
		if page != 0 {
			return badField
		}
		b := append([]byte{u.kind, 0x80, 0x05, 0x02, 31, 0, 0, 0}, padded(vendor, 8)+padded(u.product, 16)+revision...)
		c.reply(b, allocated)
		return nil
	}
	var body []byte
	switch {
	case page == 0x00:
		body = []byte{0x00, 0x80, 0x83}
		if u.kind == driveType {
			body = append(body, 0xB0)
		}
	case page == 0x80:
		body = []byte(u.serial)
	case page == 0x83:
		body = append(u.designator(), codeSetBinary, designatorNAA, 0, 8)
		h := fnv.New64a()
		h.Write([]byte(u.serial)) //nolint:errcheck // a hash never fails
		body = put64(body, int64(h.Sum64()>>4|3<<60))
	case page == 0xB0 && u.kind == driveType:
		body = []byte{1, 0} // WORM cartridges are told apart
	default:
		return badField
	}
	c.reply(append(put16([]byte{u.kind, page}, len(body)), body...), allocated)
	return nil
}

// designator names the unit by vendor, product and serial number.
func (u *unit) designator() []byte {
	id := padded(vendor, 8) + padded(u.product, 16) + u.serial
	return append([]byte{codeSetASCII, designatorVendor, 0, byte(len(id))}, id...)
}

// tapeAlerts is log page 2Eh.
func (u *unit) tapeAlerts() []byte {
	var b []byte
	for flag := 1; flag <= tapeAlertFlags; flag++ {
		set := byte(0)
		if u.alerts[flag] {
			set = 1
		}
		b = append(put16(b, flag), 0, 1, set)
	}
	return b
}

// logSense answers LOG SENSE (SPC-4, 6.6) from a unit's pages. Reading the TapeAlert flags clears them, but not a look at the
// page's length.
func (u *unit) logSense(c *command, pages []byte, page func(code byte) []byte) *sense {
	code := c.cdb[2] & 0x3F
	body := pages
	switch code {
	case 0:
	case alertPage:
		body = u.tapeAlerts()
	default:
		body = page(code)
	}
	if body == nil {
		return badField
	}
	if c.cdb[3] != 0 { // subpages
		return badField
	}
	b := append(put16([]byte{code, 0}, len(body)), body...)
	c.reply(b, u16(c.cdb[7:]))
	if code == alertPage && c.n == len(b) {
		u.alerts = [tapeAlertFlags + 1]bool{}
	}
	return nil
}
