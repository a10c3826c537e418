package vtl

// logPage is a log page's parameters (SSC-3, 8.2), or nil.
func (d *Drive) logPage(code byte) []byte {
	switch code {
	case 0x02: // write errors
		return errorCounters(d.bytesWritten)
	case 0x03: // read errors
		return errorCounters(d.bytesRead)
	case 0x0C: // sequential access: bytes from the initiator and to the medium, bytes from the medium and to the initiator
		var b []byte
		for i, n := range []int64{d.bytesWritten, d.bytesWritten, d.bytesRead, d.bytesRead} {
			b = append(b, parameter8(i, n)...)
		}
		return b
	case 0x31: // tape capacity: remaining and most, of the main partition and of the other, in MiB
		var b []byte
		for i, n := range []int64{d.remaining() >> 20, 0, d.info.Capacity >> 20, 0} {
			b = append(b, parameter4(i+1, n)...)
		}
		return b
	}
	return nil
}

// remaining is the room behind the end of data, in bytes.
func (d *Drive) remaining() int64 {
	if d.medium == nil {
		return 0
	}
	return d.info.Remaining
}

// errorCounters are a page of counters (SPC-4, 7.3.6) on which only the bytes ever are more than 0.
func errorCounters(bytes int64) []byte {
	var b []byte
	for code := range 7 {
		n := int64(0)
		if code == 5 {
			n = bytes
		}
		b = append(b, parameter8(code, n)...)
	}
	return b
}

// binaryValue says that a parameter's value is no text.
const binaryValue = 0x03

func parameter4(code int, v int64) []byte {
	return put32(append(put16(nil, code), binaryValue, 4), int(min(v, 1<<32-1)))
}

func parameter8(code int, v int64) []byte {
	return put64(append(put16(nil, code), binaryValue, 8), v)
}

// reportDensity is REPORT DENSITY SUPPORT (SSC-3, 7.8): the drive's only density is also each medium's.
func (d *Drive) reportDensity(c *command) *sense {
	if c.cdb[1]&2 != 0 { // by medium type
		return badField
	}
	if c.cdb[1]&1 != 0 && d.medium == nil {
		return noMedium
	}
	const bitsPerMM, width, tracks, megabytes = 15142, 127, 1280, 1500000
	b := []byte{density, density, 0xA0, 0, 0} // writable, the default
	b = put24(b, bitsPerMM)
	b = put16(b, width)
	b = put16(b, tracks)
	b = put32(b, megabytes)
	b = append(b, padded("LTO-CVE", 8)+padded("U-516", 8)+padded("Ultrium 5/16T", 20)...)
	c.reply(append(put16(nil, len(b)+2), append([]byte{0, 0}, b...)...), u16(c.cdb[7:]))
	return nil
}

// attribute is one of the medium's memory (SPC-4, 7.4).
type attribute struct {
	id     int
	format byte // 0 binary, 1 ASCII; 0x80 is added if it cannot be written
	value  []byte
}

func (d *Drive) attributes() []attribute {
	const readOnly, ascii = 0x80, 0x81
	kind := byte(0x00)
	if d.info.WORM {
		kind = 0x80
	}
	return []attribute{
		{0x0000, readOnly, put64(nil, d.remaining()>>20)},
		{0x0001, readOnly, put64(nil, d.info.Capacity>>20)},
		{0x0003, readOnly, put64(nil, d.loads)},
		{0x0400, ascii, []byte(padded(vendor, 8))},
		{0x0401, ascii, []byte(padded(d.info.Serial, 32))},
		{0x0405, readOnly, []byte{density}},
		{0x0408, readOnly, []byte{kind}},
		{0x0806, 0x01, []byte(padded(d.medium.Barcode(), 32))},
	}
}

// readAttribute is READ ATTRIBUTE (SPC-4, 6.17): the values, and the list of what there is.
func (d *Drive) readAttribute(c *command) *sense {
	first, allocated := u16(c.cdb[8:]), u32(c.cdb[10:])
	var b []byte
	for _, a := range d.attributes() {
		if a.id < first {
			continue
		}
		b = put16(b, a.id)
		if c.cdb[1]&0x1F == 0 {
			b = append(put16(append(b, a.format), len(a.value)), a.value...)
		}
	}
	if c.cdb[1]&0x1F > 1 || len(b) == 0 {
		return badField
	}
	c.reply(append(put32(nil, len(b)), b...), allocated)
	return nil
}
