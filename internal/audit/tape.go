package audit

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// block is one block of a cartridge: a record, or a filemark if mark.
type block struct {
	mark bool
	at   int64 // where its data lies in the file
	size int
}

// cartridge is what a .tap file holds up to its end, block by block.
type cartridge struct {
	barcode string
	file    *os.File
	blocks  []block
	torn    string // why it ends where it ends, if not at an end of data
}

// readCartridge reads a SIMH image. What is torn at its end is left out: only what lies before a flush counts.
func readCartridge(barcode, name string) (*cartridge, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	c := &cartridge{barcode: barcode, file: file}
	word := func(at int64) (uint32, bool) {
		var w [4]byte
		var n int
		if n, err = file.ReadAt(w[:], at); err == io.EOF {
			err = nil
		}
		return binary.LittleEndian.Uint32(w[:]), n == len(w)
	}
	for at := int64(0); ; {
		n, ok := word(at)
		switch {
		case err != nil:
			return c, err
		case !ok, n == 0xFFFFFFFF:
			return c, nil
		case n == 0:
			c.blocks = append(c.blocks, block{mark: true})
			at += 4
			continue
		case n > 0x00FFFFFF:
			c.torn = fmt.Sprintf("word %08x behind block %d", n, len(c.blocks))
			return c, nil
		}
		end := at + 4 + int64(n) + int64(n&1)
		if again, ok := word(end); err != nil || !ok || again != n {
			c.torn = fmt.Sprintf("block %d is not whole", len(c.blocks))
			return c, err
		}
		c.blocks = append(c.blocks, block{at: at + 4, size: int(n)})
		at = end + 4
	}
}

// record returns the data of a block; none of a filemark.
func (c *cartridge) record(i int64) ([]byte, error) {
	data := make([]byte, c.blocks[i].size)
	if len(data) == 0 {
		return nil, nil
	}
	_, err := c.file.ReadAt(data, c.blocks[i].at)
	return data, err
}

// tapeFile returns the records from a block up to the next filemark, joined.
func (c *cartridge) tapeFile(at int64) (data []byte, err error) {
	for i := at; i < int64(len(c.blocks)); i++ {
		if c.blocks[i].mark {
			return data, nil
		}
		record, err := c.record(i)
		if err != nil {
			return nil, err
		}
		data = append(data, record...)
	}
	return nil, fmt.Errorf("no filemark follows block %d", at)
}

// members are the files of a tar by name, with their content.
func members(data []byte) (map[string][]byte, error) {
	out := make(map[string][]byte)
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		if _, twice := out[h.Name]; twice {
			return nil, fmt.Errorf("%s is in it twice", h.Name)
		}
		out[h.Name] = content
	}
}
