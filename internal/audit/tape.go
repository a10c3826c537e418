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
	data []byte
}

// cartridge is what a .tap file holds up to its end, block by block.
type cartridge struct {
	barcode string
	blocks  []block
	torn    string // why it ends where it ends, if not at an end of data
}

// readCartridge reads a SIMH image. What is torn at its end is left out: only what lies before a flush counts.
func readCartridge(barcode, file string) (*cartridge, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c := &cartridge{barcode: barcode}
	for {
		if len(data) < 4 {
			return c, nil
		}
		n := binary.LittleEndian.Uint32(data)
		switch {
		case n == 0xFFFFFFFF:
			return c, nil
		case n == 0:
			c.blocks = append(c.blocks, block{mark: true})
			data = data[4:]
			continue
		case n > 0x00FFFFFF:
			c.torn = fmt.Sprintf("word %08x behind block %d", n, len(c.blocks))
			return c, nil
		}
		whole := 4 + int(n) + int(n&1) + 4
		if len(data) < whole || binary.LittleEndian.Uint32(data[whole-4:]) != n {
			c.torn = fmt.Sprintf("block %d is not whole", len(c.blocks))
			return c, nil
		}
		c.blocks = append(c.blocks, block{data: data[4 : 4+n]})
		data = data[whole:]
	}
}

// file returns the records from a block up to the next filemark, joined, and the number of that filemark.
func (c *cartridge) file(at int64) (data []byte, mark int64, err error) {
	for i := at; i < int64(len(c.blocks)); i++ {
		if c.blocks[i].mark {
			return data, i, nil
		}
		data = append(data, c.blocks[i].data...)
	}
	return nil, 0, fmt.Errorf("no filemark follows block %d", at)
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
