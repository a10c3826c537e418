package vtl

import (
	"context"

	"twintape/internal/tape"
)

// Flags of element descriptors (SMC-3, 6.11.3).
const (
	elementFull       = 0x01
	elementAccess     = 0x08
	elementImportable = 0x30 // import and export are enabled
	sourceValid       = 0x80
	volumeTag         = 0x80
	tagSize           = 36
)

// kindTypes are the element types, in the order that they are reported in.
var kindTypes = []struct {
	kind tape.ElementKind
	code byte
}{{"", armType}, {tape.Slot, slotType}, {tape.ImportExport, portType}, {tape.Transfer, dataTransferType}}

// readElements is READ ELEMENT STATUS (SMC-3, 6.11).
func (m *Changer) readElements(ctx context.Context, c *command) *sense {
	elements, err := m.lib.Inventory(ctx)
	if err != nil {
		return internalFailure
	}
	tags, only := c.cdb[1]&0x10 != 0, c.cdb[1]&0x0F
	first, most, identify := u16(c.cdb[2:]), u16(c.cdb[4:]), c.cdb[6]&1 != 0
	if only > dataTransferType {
		return badField
	}
	var body []byte
	reported, lowest := 0, lastAddress
	for _, t := range kindTypes {
		if only != 0 && only != t.code {
			continue
		}
		var page []byte
		size := 0
		add := func(address int, e *tape.Element) {
			if address < first || reported >= most {
				return
			}
			d := m.descriptor(address, e, tags, identify)
			page, size = append(page, d...), len(d)
			reported++
			lowest = min(lowest, address)
		}
		if t.code == armType {
			add(armAddress, &tape.Element{})
		}
		for i, e := range elements {
			if e.Kind == t.kind {
				add(addressOf(e), &elements[i])
			}
		}
		if len(page) == 0 {
			continue
		}
		flags := byte(0)
		if tags {
			flags = volumeTag
		}
		body = append(put16(append(body, t.code, flags), size), 0)
		body = append(put24(body, len(page)), page...)
	}
	if reported == 0 {
		lowest = 0
	}
	head := append(put16(put16(nil, lowest), reported), 0)
	c.reply(append(put24(head, len(body)), body...), u24(c.cdb[7:]))
	return nil
}

// descriptor tells of one element.
func (m *Changer) descriptor(address int, e *tape.Element, tags, identify bool) []byte {
	var flags byte
	if e.Full {
		flags |= elementFull
	}
	switch e.Kind {
	case tape.ImportExport:
		flags |= elementAccess | elementImportable
	case tape.Slot:
		flags |= elementAccess
	case tape.Transfer:
		if !m.drives[e.Number].holds() {
			flags |= elementAccess
		}
	}
	b := append(put16(nil, address), flags, 0, 0, 0, 0, 0, 0)
	if e.Full && e.From > 0 {
		b = put16(append(b, sourceValid), slotAddress+e.From-1)
	} else {
		b = append(b, 0, 0, 0)
	}
	if tags {
		tag := ""
		if e.Full {
			tag = e.Barcode
		}
		b = append(b, padded(tag, tagSize-4)...)
		b = append(b, 0, 0, 0, 0)
	}
	if identify {
		if e.Kind == tape.Transfer {
			return append(b, m.drives[e.Number].designator()...)
		}
		b = append(b, 0, 0, 0, 0)
	}
	return b
}
