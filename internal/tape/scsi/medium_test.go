//go:build guest

package scsi

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"twintape/internal/tape"
)

// compresses asks the drive whether it compresses: the DCE bit of the data compression page.
func compresses(t *testing.T, d *Drive) bool {
	t.Helper()
	b, err := d.ask(t.Context(), func(fd int) ([]byte, error) { return modePage(fd, 0x0F) })
	must(t, err)
	at := 4 + int(b[3])
	if len(b) < at+3 || b[at]&0x3F != 0x0F {
		t.Fatalf("the mode page is % X", b)
	}
	return b[at+2]&0x80 != 0
}

// At each load records may have any length, and compression is as configured, whatever was set before.
func TestModes(t *testing.T) {
	r := newRig(t, 2)
	ctx := t.Context()
	for _, compression := range []bool{false, true, false} {
		lib, err := Open(ctx, Config{Changer: r.changer, Compression: compression})
		must(t, err)
		d := r.loaded(lib)
		if got := compresses(t, d); got != compression {
			t.Errorf("compression is %v, want %v", got, compression)
		}
		must(t, operate(d.fd, mtSETBLK, 512))
		_, err = d.Load(ctx)
		must(t, err)
		s, err := status(d.fd)
		if err != nil || s.density&0xFFFFFF != 0 {
			t.Errorf("a block size of %d bytes, %v", s.density&0xFFFFFF, err)
		}
		must(t, d.Unload(ctx))
		must(t, lib.Unload(ctx, 0, 1))
		must(t, lib.Close())
	}
}

// What a cartridge tells of itself.
func TestMedium(t *testing.T) {
	r := newRig(t, 2)
	lib, ctx := r.open(), t.Context()
	r.loaded(lib)
	var serials []string
	for n := range 2 {
		if n == 1 {
			must(t, lib.Load(ctx, 2, 1))
		} else {
			must(t, lib.open[0].Close())
		}
		d, err := lib.OpenDrive(ctx, n)
		must(t, err)
		m, err := d.Load(ctx)
		must(t, err)
		if m.Type != "LTO-5" || !m.Backhitch || m.Serial == "" || m.Capacity <= 0 || m.Remaining <= 0 || m.Remaining > m.Capacity || d.LocateGap() < 1e9 {
			t.Errorf("%+v", m)
		}
		serials = append(serials, m.Serial)
	}
	if serials[0] == serials[1] {
		t.Errorf("both cartridges have the serial number %s", serials[0])
	}
}

// Cartridges that are write protected, or WORM, are known before anything is written.
func TestProtected(t *testing.T) {
	for flag, check := range map[string]func(m tape.Medium) bool{
		"write_protected": func(m tape.Medium) bool { return m.WriteProtected && !m.WORM },
		"worm":            func(m tape.Medium) bool { return m.WORM && !m.WriteProtected },
	} {
		r := newRig(t, 2)
		r.stop()
		file := filepath.Join(r.dir, "library.json")
		text, err := os.ReadFile(file)
		must(t, err)
		must(t, os.WriteFile(file, []byte(strings.Replace(string(text), `"barcode": "TEST01",`, `"barcode": "TEST01", "`+flag+`": true,`, 1)), 0o644))
		r.start()
		lib, ctx := r.open(), t.Context()
		must(t, lib.Load(ctx, 1, 0))
		d, err := lib.OpenDrive(ctx, 0)
		must(t, err)
		m, err := d.Load(ctx)
		must(t, err)
		if !check(m) {
			t.Errorf("%s: %+v", flag, m)
		}
		if flag == "write_protected" {
			if err := d.WriteRecord(ctx, record(1)); !errors.Is(err, tape.ErrWriteProtect) {
				t.Errorf("writing to it: %v", err)
			}
			if err := d.WriteFilemark(ctx); !errors.Is(err, tape.ErrWriteProtect) {
				t.Errorf("a filemark on it: %v", err)
			}
			must(t, d.Flush(ctx))
			if _, err := d.ReadRecord(ctx, make([]byte, 10)); !errors.Is(err, tape.ErrEndOfData) {
				t.Errorf("reading it: %v", err)
			}
		}
	}
}
