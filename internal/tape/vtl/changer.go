package vtl

import (
	"context"
	"fmt"

	"twintape/internal/tape"
)

// The addresses of elements (SMC-3, 5.2): where each kind begins.
const (
	armAddress   = 1
	portAddress  = 16
	driveAddress = 256
	slotAddress  = 1024
	lastAddress  = 1<<16 - 1
)

// Element types.
const (
	armType = 1 + iota
	slotType
	portType
	dataTransferType
)

// Changer is a medium changer.
type Changer struct {
	unit
	lib    Library
	drives []*Drive
}

var _ Unit = (*Changer)(nil)

// layOut checks that every element has an address.
func (m *Changer) layOut() error {
	elements, err := m.lib.Inventory(context.Background())
	if err != nil {
		return err
	}
	for _, e := range elements {
		if address := addressOf(e); address >= driveAddress && e.Kind == tape.ImportExport || address >= slotAddress && e.Kind == tape.Transfer || address > lastAddress {
			return fmt.Errorf("the library has more than a changer can address: %d import/export elements, %d drives and %d slots are the most",
				driveAddress-portAddress, slotAddress-driveAddress, lastAddress-slotAddress+1)
		}
	}
	return nil
}

// addressOf is an element's address.
func addressOf(e tape.Element) int {
	switch e.Kind {
	case tape.ImportExport:
		return portAddress + e.Number - 1
	case tape.Transfer:
		return driveAddress + e.Number
	}
	return slotAddress + e.Number - 1
}

// Execute carries out a command. A library that is offline says so to everything but questions of who it is.
func (m *Changer) Execute(ctx context.Context, cdb, data []byte) Answer {
	return m.execute(ctx, cdb, data, func() { m.prevent = false }, func(c *command) *sense {
		if m.control.offline() {
			return offline
		}
		return m.command(ctx, c)
	})
}

// Reset resets the changer, and has it say so.
func (m *Changer) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.prevent = false
	m.attentions = []*sense{wasReset}
}

func (m *Changer) command(ctx context.Context, c *command) *sense {
	switch c.cdb[0] {
	case opTestUnitReady, opInitElements, opInitRange, opLocate10:
		return nil
	case opModeSense6, opModeSense10:
		pages, s := m.pages(ctx)
		if s != nil {
			return s
		}
		return c.modeSense(modeHeader{}, pages)
	case opLogSense:
		return m.logSense(c, []byte{0x00, alertPage}, func(byte) []byte { return nil })
	case opReadElements:
		return m.readElements(ctx, c)
	case opMoveMedium:
		return m.move(ctx, c)
	}
	return badOpcode
}

// move is MOVE MEDIUM (SMC-3, 6.6).
func (m *Changer) move(ctx context.Context, c *command) *sense {
	elements, err := m.lib.Inventory(ctx)
	if err != nil {
		return internalFailure
	}
	var from, to *tape.Element
	for i, e := range elements {
		switch addressOf(e) {
		case u16(c.cdb[4:]):
			from = &elements[i]
		case u16(c.cdb[6:]):
			to = &elements[i]
		}
	}
	if arm := u16(c.cdb[2:]); arm != 0 && arm != armAddress {
		return badElement
	}
	switch {
	case u16(c.cdb[4:]) == u16(c.cdb[6:]):
		to = from
	case from == nil || to == nil:
		return badElement
	}
	switch {
	case from == nil:
		return badElement
	case !from.Full:
		return sourceEmpty
	case from == to:
		return nil
	case to.Full:
		return destinationFull
	case from.Kind == tape.Transfer && m.drives[from.Number].holds():
		return prevented
	}
	if err := m.lib.Transfer(ctx, *from, *to); err != nil {
		return internalFailure
	}
	if to.Kind == tape.Transfer {
		m.drives[to.Number].arrive()
	}
	return nil
}

// pages are the changer's mode pages (SMC-3, 7.3).
func (m *Changer) pages(ctx context.Context) ([]modePage, *sense) {
	elements, err := m.lib.Inventory(ctx)
	if err != nil {
		return nil, internalFailure
	}
	count := make(map[tape.ElementKind]int)
	for _, e := range elements {
		count[e.Kind]++
	}
	addresses := modePage{0x1D, 18}
	for _, v := range []int{
		armAddress, 1, slotAddress, count[tape.Slot], portAddress, count[tape.ImportExport], driveAddress, count[tape.Transfer], 0,
	} {
		addresses = put16(addresses, v)
	}
	const holds, anywhere = 0x0E, 0x0E // drives, ports, slots
	return []modePage{
		addresses,
		{0x1E, 2, 0, 0}, // geometry: one arm that cannot turn a cartridge over
		page(0x1F, 20, map[int]byte{2: holds, 5: anywhere, 6: anywhere, 7: anywhere}),
	}, nil
}
