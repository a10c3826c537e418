package vtl

// The fields of mode parameters (SPC-4, 7.5; SSC-3, 8.3).
const (
	pageDisconnect  = 0x02
	pageCompression = 0x0F
	pageDevice      = 0x10
	pagePartitions  = 0x11
	pageAllPages    = 0x3F

	writeProtectBit = 0x80
	bufferedMode    = 0x10
	compressBit     = 0x80
	keepDensity     = 0x7F
	blockDescriptor = 8
)

// modeHeader is what stands before the pages.
type modeHeader struct {
	medium, specific byte
	descriptor       []byte // nil: the unit has none
}

// modePage is a mode page, its code and length included.
type modePage []byte

// page makes a page of a length with some of its bytes set.
func page(code byte, length int, set map[int]byte) modePage {
	p := make(modePage, length)
	p[0], p[1] = code, byte(length-2)
	for at, v := range set {
		p[at] = v
	}
	return p
}

// modeSense answers MODE SENSE(6) and (10).
func (c *command) modeSense(h modeHeader, pages []modePage) *sense {
	control, code := c.cdb[2]>>6, c.cdb[2]&0x3F
	if c.cdb[3] != 0 { // subpages
		return badField
	}
	if control == 3 {
		return notSaved
	}
	if c.cdb[1]&8 != 0 {
		h.descriptor = nil
	}
	var body []byte
	for _, p := range pages {
		if code != p[0] && code != pageAllPages {
			continue
		}
		if control == 1 { // which bits can be changed
			changeable := page(p[0], len(p), nil)
			if p[0] == pageCompression {
				changeable[2] = compressBit
			}
			p = changeable
		}
		body = append(body, p...)
	}
	if body == nil && code != 0 {
		return badField
	}
	body = append(h.descriptor[:len(h.descriptor):len(h.descriptor)], body...)
	if c.cdb[0] == opModeSense6 {
		b := []byte{byte(len(body) + 3), h.medium, h.specific, byte(len(h.descriptor))}
		c.reply(append(b, body...), int(c.cdb[4]))
		return nil
	}
	b := append(put16(nil, len(body)+6), h.medium, h.specific, 0, 0)
	c.reply(append(put16(b, len(h.descriptor)), body...), u16(c.cdb[7:]))
	return nil
}

func (d *Drive) modeHeader() modeHeader {
	h := modeHeader{specific: bufferedMode, descriptor: put24([]byte{density, 0, 0, 0, 0}, d.blockSize)}
	if d.medium != nil {
		h.medium = dataCartridge
		if d.info.WORM {
			h.medium = wormCartridge
		}
		if d.info.WriteProtected {
			h.specific |= writeProtectBit
		}
	}
	return h
}

func (d *Drive) pages() []modePage {
	const lzs = 0x01 // compression algorithm
	var compress byte
	if d.compress {
		compress = 1
	}
	return []modePage{
		page(pageDisconnect, 16, nil),
		page(pageCompression, 16, map[int]byte{2: 0x40 | compress*compressBit, 3: 0x80, 7: lzs * compress, 11: lzs}),
		page(pageDevice, 16, map[int]byte{14: compress}),
		page(pagePartitions, 8, nil),
	}
}

// modeSelect is MODE SELECT(6) and (10): the block size, compression, and nothing else can be changed.
func (d *Drive) modeSelect(c *command) *sense {
	header, length := 4, int(c.cdb[4])
	if c.cdb[0] == opModeSelect10 {
		header, length = 8, u16(c.cdb[7:])
	}
	if c.cdb[1]&1 != 0 { // save
		return badField
	}
	if length == 0 {
		return nil
	}
	if length > len(c.data) || length < header {
		return badLength
	}
	b := c.data[:length]
	descriptor := int(b[3])
	if header == 8 {
		descriptor = u16(b[6:])
	}
	if b = b[header:]; descriptor != 0 && descriptor != blockDescriptor || descriptor > len(b) {
		return badLength
	}
	blockSize, compress := d.blockSize, d.compress
	if descriptor != 0 {
		if code := b[0]; code != 0 && code != density && code != keepDensity {
			return badParameter
		}
		if blockSize = u24(b[5:]); blockSize > MaxTransfer {
			return badParameter
		}
		b = b[descriptor:]
	}
	for len(b) > 0 {
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return badLength
		}
		p := b[:2+int(b[1])]
		switch p[0] & 0x3F {
		case pageCompression:
			if len(p) != 16 {
				return badLength
			}
			compress = p[2]&compressBit != 0
		case pageDevice:
			if len(p) != 16 {
				return badLength
			}
			compress = p[14] != 0
		case pageDisconnect, pagePartitions:
		default:
			return badParameter
		}
		b = b[len(p):]
	}
	d.blockSize, d.compress = blockSize, compress
	return nil
}
