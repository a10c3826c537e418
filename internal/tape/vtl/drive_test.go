package vtl

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const rewind = opRewind

// Records come back in variable and in fixed blocks; what is left over is told as SSC wants it.
func TestReadAndWrite(t *testing.T) {
	b := newBench(t, t, t.TempDir(), "").ready(t)
	defer b.close()
	b.write(t, drive0, "good", content(1000))
	b.write(t, drive0, "good", content(501))
	b.marks(t, drive0, "good", 1, 1)
	b.write(t, drive0, "good", content(700))
	b.at(t, drive0, 4, 1)
	b.ask(t, drive0, "good", 0, rewind, 0, 0, 0, 0, 0)
	b.at(t, drive0, 0, 0)

	if p := b.read(t, drive0, "good", 0, 1000, 1000); !bytes.Equal(p, content(1000)) {
		t.Error("the first record is another")
	}
	if p := b.read(t, drive0, "0/00/00 ili left 499", 0, 1000, 1000); !bytes.Equal(p, content(501)) {
		t.Error("a shorter record is another")
	}
	b.read(t, drive0, "0/00/01 filemark left 1000", 0, 1000, 1000)
	if p := b.read(t, drive0, "0/00/00 ili left -600", 0, 100, 100); !bytes.Equal(p, content(700)[:100]) {
		t.Error("the beginning of a longer record is another")
	}
	b.read(t, drive0, "8/00/05 left 1000", 0, 1000, 1000)
	b.at(t, drive0, 4, 1)

	b.ask(t, drive0, "good", 0, rewind, 0, 0, 0, 0, 0)
	b.read(t, drive0, "good", 2, 2000, 2000) // SILI
	b.read(t, drive0, "good", 2, 100, 100)
	b.read(t, drive0, "5/24/00", 1, 1, 1000) // fixed without a block size
	b.read(t, drive0, "5/24/00", 3, 1, 1000) // fixed and SILI
	b.read(t, drive0, "good", 0, 0, 0)       // nothing
	b.at(t, drive0, 2, 0)
}

// selectBlock sets the block size.
func (b *bench) selectBlock(t *testing.T, want string, size int) {
	b.Helper()
	p := append([]byte{0, 0, 0x10, 8, density, 0, 0, 0, 0}, length24(size)...)
	if g := b.run(t, drive0, []byte{opModeSelect6, 0x10, 0, 0, byte(len(p)), 0}, p); g.String() != want {
		b.Fatalf("block size %d: %v, want %s", size, g, want)
	}
}

func TestFixedBlocks(t *testing.T) {
	b := newBench(t, t, t.TempDir(), "").ready(t)
	defer b.close()
	b.selectBlock(t, "good", 512)
	if g := b.run(t, drive0, []byte{opWrite, 1, 0, 0, 4, 0}, content(2048)); g.String() != "good" {
		t.Fatal(g)
	}
	b.marks(t, drive0, "good", 0, 1)
	b.write(t, drive0, "good", content(100)) // a variable block
	b.at(t, drive0, 6, 1)
	b.ask(t, drive0, "good", 0, rewind, 0, 0, 0, 0, 0)
	if p := b.read(t, drive0, "good", 1, 3, 3*512); !bytes.Equal(p, content(2048)[:3*512]) {
		t.Error("three blocks are others")
	}
	if p := b.read(t, drive0, "0/00/01 filemark left 7", 1, 8, 8*512); len(p) != 512 {
		t.Errorf("%d bytes before the filemark", len(p))
	}
	b.read(t, drive0, "0/00/00 ili left 2", 1, 2, 1024)
	b.read(t, drive0, "8/00/05 left 2", 1, 2, 1024)
	b.selectBlock(t, "5/26/00", MaxTransfer+1)
	sensed := b.ask(t, drive0, "good", 12, opModeSense6, 0, 0, 0, 12, 0)
	if want := []byte{11, dataCartridge, 0x10, 8, density, 0, 0, 0, 0, 0, 2, 0}; !bytes.Equal(sensed, want) {
		t.Errorf("MODE SENSE tells % X, want % X", sensed, want)
	}
}

func TestSpaceAndLocate(t *testing.T) {
	b := newBench(t, t, t.TempDir(), "").ready(t)
	defer b.close()
	for range 3 { // 0 1 M 3 4 M 6 7 M
		b.write(t, drive0, "good", content(10))
		b.write(t, drive0, "good", content(20))
		b.marks(t, drive0, "good", 1, 1)
	}
	b.at(t, drive0, 9, 3)
	b.space(t, drive0, "good", 1, -1)
	b.at(t, drive0, 8, 2)
	b.space(t, drive0, "good", 0, -2)
	b.at(t, drive0, 6, 2)
	b.space(t, drive0, "0/00/01 filemark left 3", 0, -3)
	b.at(t, drive0, 5, 1)
	b.space(t, drive0, "0/00/04 eom left 1", 1, -2)
	b.at(t, drive0, 0, 0)
	b.space(t, drive0, "good", 0, 1)
	b.space(t, drive0, "0/00/01 filemark left 4", 0, 5)
	b.at(t, drive0, 3, 1)
	b.space(t, drive0, "8/00/05 left 2", 1, 4)
	b.at(t, drive0, 9, 3)
	b.ask(t, drive0, "good", 0, rewind, 0, 0, 0, 0, 0)
	b.space(t, drive0, "good", 3, 0)
	b.at(t, drive0, 9, 3)
	b.space(t, drive0, "5/24/00", 2, 0)

	b.ask(t, drive0, "good", 0, opLocate10, 0, 0, 0, 0, 0, 4, 0, 0, 0)
	b.at(t, drive0, 4, 1)
	b.ask(t, drive0, "good", 0, opLocate16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0)
	b.at(t, drive0, 7, 2)
	b.ask(t, drive0, "8/00/05", 0, opLocate10, 0, 0, 0, 0, 0, 10, 0, 0, 0)
	b.at(t, drive0, 9, 3)
	b.ask(t, drive0, "5/24/00", 0, opLocate10, 2, 0, 0, 0, 0, 0, 0, 1, 0) // another partition

	// What lies behind a write is gone.
	b.ask(t, drive0, "good", 0, opLocate10, 0, 0, 0, 0, 0, 1, 0, 0, 0)
	b.marks(t, drive0, "good", 0, 1)
	b.read(t, drive0, "8/00/05 left 10", 0, 10, 10)
	b.ask(t, drive0, "good", 0, rewind, 0, 0, 0, 0, 0)
	b.ask(t, drive0, "good", 0, opErase, 0, 0, 0, 0, 0)
	b.read(t, drive0, "8/00/05 left 10", 0, 10, 10)
}

// The end of the medium is told with good writes, then refuses.
func TestEndOfMedium(t *testing.T) {
	b := newBench(t, t, t.TempDir(), "").ready(t)
	defer b.close()
	const size = 16<<10 - 8 // and 8 around it
	records := testCapacity/(16<<10) - 1
	for range records {
		b.write(t, drive0, "good", content(size))
	}
	b.write(t, drive0, "0/00/02 eom left 0", content(12400))
	b.marks(t, drive0, "0/00/02 eom left 0", 1, 1)
	b.write(t, drive0, fmt.Sprintf("D/00/02 eom left %d", size), content(size))
	b.write(t, drive0, "0/00/02 eom left 0", content(3000))
	capacity := b.ask(t, drive0, "good", 100, opLogSense, 0, 0x31, 0, 0, 0, 0, 0, 100, 0)
	if len(capacity) != 4+4*8 || binary.BigEndian.Uint32(capacity[8:]) != 0 {
		t.Errorf("the capacity page is % X", capacity)
	}
	b.ask(t, drive0, "good", 0, rewind, 0, 0, 0, 0, 0)
	for range records {
		b.read(t, drive0, "good", 0, size, size)
	}
}

// Cartridges come and go; drives say so.
func TestLoadAndUnload(t *testing.T) {
	b := newBench(t, t, t.TempDir(), "").ready(t)
	b.ask(t, drive1, "2/3A/00", 0, opTestUnitReady, 0, 0, 0, 0, 0)
	b.read(t, drive1, "2/3A/00", 0, 10, 10)
	b.ask(t, drive0, "good", 0, opPreventRemoval, 0, 0, 0, 1, 0)
	b.ask(t, drive0, "5/53/02", 0, opLoadUnload, 0, 0, 0, 0, 0)
	b.ask(t, drive0, "good", 0, opPreventRemoval, 0, 0, 0, 0, 0)
	b.move(t, "5/53/02", driveAddress, slotAddress) // not unloaded
	b.write(t, drive0, "good", content(10))
	b.ask(t, drive0, "good", 0, opLoadUnload, 0, 0, 0, 0, 0)
	b.ask(t, drive0, "2/3A/00", 0, opTestUnitReady, 0, 0, 0, 0, 0)
	b.ask(t, drive0, "good", 0, opLoadUnload, 0, 0, 0, 1, 0)
	b.ask(t, drive0, "6/28/00", 0, opTestUnitReady, 0, 0, 0, 0, 0)
	b.read(t, drive0, "good", 0, 10, 10)
	b.ask(t, drive0, "good", 0, opLoadUnload, 0, 0, 0, 0, 0)
	b.move(t, "good", driveAddress, driveAddress+1)
	b.ask(t, drive0, "2/3A/00", 0, opLoadUnload, 0, 0, 0, 1, 0)
	b.ask(t, drive1, "6/28/00", 0, opTestUnitReady, 0, 0, 0, 0, 0)
	b.ask(t, drive1, "good", 0, opTestUnitReady, 0, 0, 0, 0, 0)
	b.read(t, drive1, "good", 0, 10, 10)
	b.must(Close(b.units))

	// A new process finds it there.
	b.start(t, "")
	b.ready(t)
	b.read(t, drive1, "good", 0, 10, 10)
	b.close()
}

// A cartridge may be protected, or be written once only.
func TestProtection(t *testing.T) {
	dir := t.TempDir()
	b := newBench(t, t, dir, "").ready(t)
	b.write(t, drive0, "good", content(10))
	b.marks(t, drive0, "good", 0, 1)
	b.close()
	for flag, refused := range map[string]string{"write_protected": "7/27/00", "worm": "7/30/0C"} {
		name := filepath.Join(dir, "library.json")
		text, err := os.ReadFile(name)
		b.must(err)
		flagged := strings.Replace(string(text), `"barcode": "A1",`, `"barcode": "A1", "`+flag+`": true,`, 1)
		b.must(os.WriteFile(name, []byte(flagged), 0o644))
		b.lib = reopen(t, dir)
		b.start(t, "")
		b.ready(t)
		b.write(t, drive0, refused+" left 10", content(10))
		b.ask(t, drive0, refused, 0, opErase, 0, 0, 0, 0, 0)
		b.marks(t, drive0, refused+" left 1", 0, 1)
		b.marks(t, drive0, "good", 0, 0)
		head := b.ask(t, drive0, "good", 4, opModeSense6, 0, 0, 0, 4, 0)
		kind := b.ask(t, drive0, "good", 9, opReadAttribute, 0, 0, 0, 0, 0, 0, 0, 4, 8, 0, 0, 0, 9, 0, 0)
		b.space(t, drive0, "good", 3, 0)
		if flag == "worm" {
			if head[1] != wormCartridge || head[2] != 0x10 {
				t.Errorf("MODE SENSE tells % X of a WORM cartridge", head)
			}
			b.write(t, drive0, "good", content(20))
		} else {
			if head[1] != dataCartridge || head[2] != 0x90 {
				t.Errorf("MODE SENSE tells % X of a protected cartridge", head)
			}
			b.write(t, drive0, "7/27/00 left 20", content(20))
		}
		if len(kind) != 9 || u16(kind[4:]) != 0x0408 {
			t.Errorf("the medium's type is % X", kind)
		}
		b.close()
		b.must(os.WriteFile(name, text, 0o644))
	}
}

// What drives tell of themselves and of the medium.
func TestIdentity(t *testing.T) {
	b := newBench(t, t, t.TempDir(), "").ready(t)
	defer b.close()
	text := func(want string, got []byte) {
		t.Helper()
		if !strings.Contains(string(got), want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	text("TWINTAPEULTRIUM-TD5     0001", b.ask(t, drive0, "good", 96, opInquiry, 0, 0, 0, 96, 0))
	text("T01", b.ask(t, drive1, "good", 96, opInquiry, 1, 0x80, 0, 96, 0))
	text("TWINTAPEULTRIUM-TD5     T01", b.ask(t, drive1, "good", 96, opInquiry, 1, 0x83, 0, 96, 0))
	if p := b.ask(t, drive0, "good", 96, opInquiry, 1, 0, 0, 96, 0); !bytes.Equal(p, []byte{1, 0, 0, 4, 0, 0x80, 0x83, 0xB0}) {
		t.Errorf("the pages are % X", p)
	}
	b.ask(t, drive0, "5/24/00", 96, opInquiry, 1, 0xC0, 0, 96, 0)
	b.ask(t, drive0, "5/24/00", 96, opInquiry, 0, 0x80, 0, 96, 0)
	if p := b.ask(t, drive0, "good", 3, opInquiry, 0, 0, 0, 3, 0); len(p) != 3 {
		t.Errorf("%d bytes, where 3 have room", len(p))
	}
	if p := b.ask(t, drive0, "good", 6, opBlockLimits, 0, 0, 0, 0, 0); !bytes.Equal(p, []byte{0, 0x10, 0, 0, 0, 1}) {
		t.Errorf("the block limits are % X", p)
	}
	attributes := b.ask(t, drive0, "good", 1000, opReadAttribute, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0xE8, 0, 0)
	text(fmt.Sprintf("%-32s", "A1"), attributes)
	if u32(attributes) != len(attributes)-4 {
		t.Errorf("%d bytes of attributes say that they are %d", len(attributes)-4, u32(attributes))
	}
	text("Ultrium 5/16T", b.ask(t, drive0, "good", 100, opReportDensity, 0, 0, 0, 0, 0, 0, 0, 100, 0))
	for _, page := range b.ask(t, drive0, "good", 100, opLogSense, 0, 0, 0, 0, 0, 0, 0, 100, 0)[4:] {
		p := b.ask(t, drive0, "good", 1000, opLogSense, 0, page, 0, 0, 0, 0, 3, 0xE8, 0)
		if p[0] != page || u16(p[2:]) != len(p)-4 {
			t.Errorf("log page %02X begins with % X and has %d bytes", page, p[:4], len(p))
		}
	}
	b.ask(t, drive0, "5/24/00", 100, opLogSense, 0, 0x3E, 0, 0, 0, 0, 0, 100, 0)
	all := b.ask(t, drive0, "good", 200, opModeSense10, 0, 0x3F, 0, 0, 0, 0, 0, 200, 0)
	if u16(all) != len(all)-2 || u16(all[6:]) != 8 {
		t.Errorf("all mode pages are % X", all)
	}
	for rest := all[16:]; len(rest) > 0; rest = rest[2+rest[1]:] {
		one := b.ask(t, drive0, "good", 200, opModeSense6, 8, rest[0], 0, 200, 0)
		if !bytes.Equal(one[4:], rest[:2+rest[1]]) {
			t.Errorf("mode page %02X is % X alone and % X among all", rest[0], one[4:], rest[:2+rest[1]])
		}
	}
	b.ask(t, drive0, "5/39/00", 200, opModeSense6, 0, 0xCF, 0, 200, 0)
	b.ask(t, drive0, "5/24/00", 200, opModeSense6, 0, 0x3E, 0, 200, 0)
	b.ask(t, drive0, "5/20/00", 0, 0xFF, 0, 0, 0, 0, 0)
}

// Compression is what was selected last; a wrong selection changes nothing.
func TestModeSelect(t *testing.T) {
	b := newBench(t, t, t.TempDir(), "").ready(t)
	defer b.close()
	compressed := func(want bool) {
		t.Helper()
		p := b.ask(t, drive0, "good", 200, opModeSense6, 8, pageCompression, 0, 200, 0)
		device := b.ask(t, drive0, "good", 200, opModeSense6, 8, pageDevice, 0, 200, 0)
		if (p[6]&compressBit != 0) != want || (device[18] != 0) != want {
			t.Errorf("compression is % X, % X, want %v", p, device, want)
		}
	}
	off := append([]byte{0, 0, 0x10, 0}, page(pageCompression, 16, nil)...)
	for want, p := range map[string][]byte{
		"5/1A/00": off[:len(off)-1],
		"5/26/00": append([]byte{0, 0, 0x10, 0}, 0x3E, 1, 0),
	} {
		if g := b.run(t, drive0, []byte{opModeSelect6, 0x10, 0, 0, byte(len(p)), 0}, p); g.String() != want {
			t.Errorf("selecting % X: %v, want %s", p, g, want)
		}
	}
	if g := b.run(t, drive0, []byte{opModeSelect6, 0x10, 0, 0, 8, 0}, []byte{0, 0, 0x10, 8, density}); g.String() != "5/1A/00" {
		t.Errorf("a command that brings less than it says: %v", g)
	}
	compressed(true)
	if g := b.run(t, drive0, []byte{opModeSelect6, 0x10, 0, 0, byte(len(off)), 0}, off); g.String() != "good" {
		t.Error(g)
	}
	compressed(false)
	on := append([]byte{0, 0, 0, 0x10, 0, 0, 0, 0}, page(pageDevice, 16, map[int]byte{14: 1})...)
	if g := b.run(t, drive0, []byte{opModeSelect10, 0x10, 0, 0, 0, 0, 0, 0, byte(len(on)), 0}, on); g.String() != "good" {
		t.Error(g)
	}
	compressed(true)
}
