//go:build guest

package scsi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"twintape/internal/tape"
)

func record(i int) []byte { return bytes.Repeat([]byte{byte(i), byte(i >> 8), 7}, 50_000) }

func wantSense(t *testing.T, what string, err error, key, asc, ascq byte) {
	t.Helper()
	var sense *tape.SenseError
	if !errors.As(err, &sense) || sense.Key != key || sense.ASC != asc || sense.ASCQ != ascq {
		t.Errorf("%s: %v, want sense %X/%02X/%02X", what, err, key, asc, ascq)
	}
}

func wantPosition(t *testing.T, d *Drive, block int64) {
	t.Helper()
	at, err := d.Position(t.Context())
	if err != nil || at.Block != block {
		t.Errorf("the drive stands at %+v, %v; want block %d", at, err, block)
	}
}

// A write that fails is not repeated: nothing is written until somebody asks where the tape stands, and st's filemark
// behind what was torn is kept back.
func TestWriteFails(t *testing.T) {
	r := newRig(t, 2)
	d, ctx := r.loaded(r.open()), t.Context()
	for i := range 5 {
		must(t, d.WriteRecord(ctx, record(i)))
	}
	r.faults("fail drive0 write 1 3/0C/00\nalert drive0 6\n")
	err := d.WriteRecord(ctx, record(5))
	if !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), "TapeAlert 6: writing failed") {
		t.Errorf("the failed write: %v", err)
	}
	for name, op := range map[string]func() error{
		"WriteRecord":   func() error { return d.WriteRecord(ctx, record(5)) },
		"WriteFilemark": func() error { return d.WriteFilemark(ctx) },
		"Flush":         func() error { return d.Flush(ctx) },
	} {
		if err := op(); err == nil || !strings.Contains(err.Error(), "nothing is written") {
			t.Errorf("%s after it: %v", name, err)
		}
	}
	wantPosition(t, d, 5)
	must(t, d.Rewind(ctx))
	must(t, d.SpaceEOD(ctx))
	wantPosition(t, d, 5) // no filemark
	must(t, d.WriteRecord(ctx, record(5)))
	must(t, d.WriteFilemark(ctx))
	must(t, d.Flush(ctx))
	h, err := d.Health(ctx)
	if err != nil || len(h.Alerts) != 1 || h.Alerts[0] != tape.AlertWriteFailure {
		t.Errorf("%+v, %v", h, err)
	}
}

// A reset is told by whichever command meets it, and the position is the drive's own.
func TestReset(t *testing.T) {
	for _, c := range []struct {
		command string
		meet    func(d *Drive) error
	}{
		{"write", func(d *Drive) error { return d.WriteRecord(context.Background(), record(9)) }},
		{"filemarks", func(d *Drive) error { return d.WriteFilemark(context.Background()) }},
		{"filemarks", func(d *Drive) error { return d.Flush(context.Background()) }},
		{"locate", func(d *Drive) error { return d.Locate(context.Background(), 3) }},
		{"read", func(d *Drive) error { _, err := d.ReadRecord(context.Background(), make([]byte, 200_000)); return err }},
	} {
		t.Run(c.command, func(t *testing.T) {
			r := newRig(t, 2)
			d, ctx := r.loaded(r.open()), t.Context()
			for i := range 5 {
				must(t, d.WriteRecord(ctx, record(i)))
			}
			must(t, d.WriteFilemark(ctx))
			must(t, d.Flush(ctx))
			if c.command == "read" {
				must(t, d.Locate(ctx, 2))
			} else {
				must(t, d.WriteRecord(ctx, record(6)))
			}
			r.faults("reset drive0 " + c.command + " 1\n")
			if err := c.meet(d); c.command == "read" {
				must(t, err) // nothing could be lost, and the record was found again
				wantPosition(t, d, 3)
				must(t, d.Rewind(ctx))
			} else {
				wantSense(t, "the command that meets it", err, 6, 0x29, 0)
				wantPosition(t, d, 0)
			}
			// What was flushed is there, and st wrote no filemark over it.
			buf := make([]byte, 200_000)
			for i := range 5 {
				n, err := d.ReadRecord(ctx, buf)
				if err != nil || !bytes.Equal(buf[:n], record(i)) {
					t.Fatalf("record %d: %d bytes, %v", i, n, err)
				}
			}
		})
	}
}

// A swallowed reset: st writes on at the beginning of the tape, which only the position tells.
func TestSilentReset(t *testing.T) {
	r := newRig(t, 2)
	d, ctx := r.loaded(r.open()), t.Context()
	for i := range 5 {
		must(t, d.WriteRecord(ctx, record(i)))
	}
	r.faults("lose drive0 write 1\n")
	must(t, d.WriteRecord(ctx, record(9)))
	must(t, d.Flush(ctx))
	wantPosition(t, d, 1)
}

func TestReadFails(t *testing.T) {
	r := newRig(t, 2)
	d, ctx := r.loaded(r.open()), t.Context()
	for i := range 5 {
		must(t, d.WriteRecord(ctx, record(i)))
	}
	must(t, d.WriteFilemark(ctx))
	must(t, d.Rewind(ctx))
	buf := make([]byte, 200_000)
	// Once: it is read again.
	r.faults("fail drive0 read 1 3/11/00\n")
	n, err := d.ReadRecord(ctx, buf)
	if err != nil || !bytes.Equal(buf[:n], record(0)) {
		t.Fatalf("a read that fails once: %d, %v", n, err)
	}
	wantPosition(t, d, 1)
	// Always: the drive's word comes through, and the next record can be read.
	r.faults("unreadable TEST01 1\n")
	_, err = d.ReadRecord(ctx, buf)
	wantSense(t, "an unreadable record", err, 3, 0x11, 0)
	must(t, d.Locate(ctx, 2))
	n, err = d.ReadRecord(ctx, buf)
	if err != nil || !bytes.Equal(buf[:n], record(2)) {
		t.Fatalf("behind it: %d, %v", n, err)
	}
	r.faults("fail drive0 locate * 4/15/01\n")
	wantSense(t, "a locate", d.Locate(ctx, 0), 4, 0x15, 1)
	r.faults("")
	must(t, d.Locate(ctx, 4))
	r.faults("fail drive0 rewind 1 4/44/00\n")
	if err := d.Rewind(ctx); !errors.Is(err, unix.EIO) {
		t.Errorf("a rewind: %v", err)
	}
	must(t, d.Rewind(ctx))
	r.faults("fail drive0 load * 4/53/00\n")
	wantSense(t, "an unload", d.Unload(ctx), 4, 0x53, 0)
	r.faults("fail drive0 load 1 4/53/00\n")
	must(t, d.Unload(ctx))
}

func TestLoading(t *testing.T) {
	r := newRig(t, 2)
	lib, ctx := r.open(), t.Context()
	// LTO-9 media are initialised at their first load: the drive is becoming ready for long.
	for _, c := range []struct {
		faults    string
		key, asc  byte
		ascq      byte
		forgiving bool
	}{
		{"fail drive0 ready 1 2/04/01\nfail drive0 ready 2 2/04/01\nfail drive0 ready 3 2/04/07\n", 0, 0, 0, true},
		{"fail drive0 ready * 2/30/03\n", 2, 0x30, 3, false},
		{"fail drive0 ready * 3/30/00\n", 3, 0x30, 0, false},
		{"fail drive0 ready * 2/04/03\n", 2, 0x04, 3, false},
	} {
		must(t, lib.Load(ctx, 1, 0))
		d, err := lib.OpenDrive(ctx, 0)
		must(t, err)
		r.faults(c.faults)
		_, err = d.Load(ctx)
		if c.forgiving {
			must(t, err)
		} else {
			wantSense(t, c.faults, err, c.key, c.asc, c.ascq)
		}
		r.faults("")
		must(t, d.Unload(ctx))
		must(t, d.Close())
		must(t, lib.Unload(ctx, 0, 1))
	}
	// A drive that never becomes ready ends with the context.
	must(t, lib.Load(ctx, 1, 0))
	d, err := lib.OpenDrive(ctx, 0)
	must(t, err)
	r.faults("fail drive0 ready * 2/04/01\n")
	short, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if _, err := d.Load(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// Waiting for a drive that hangs ends with the context; the drive is busy until it answers, its twin goes on, and Close does
// not wait.
func TestHang(t *testing.T) {
	r := newRig(t, 2)
	lib, ctx := r.open(), t.Context()
	raw := r.loaded(lib)
	d := tape.Limited(raw)
	must(t, lib.Load(ctx, 2, 1))
	twin, err := lib.OpenDrive(ctx, 1)
	must(t, err)
	_, err = twin.Load(ctx)
	must(t, err)
	r.faults("hang drive0 write 1\n")
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := d.WriteRecord(short, record(1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v", err)
	}
	if err := d.Rewind(ctx); !errors.Is(err, tape.ErrBusy) {
		t.Errorf("the drive that hangs: %v", err)
	}
	for i := range 20 {
		must(t, twin.WriteRecord(ctx, record(i)))
	}
	must(t, twin.Flush(ctx))
	must(t, d.Close())
	if _, err := lib.OpenDrive(ctx, 0); !errors.Is(err, tape.ErrBusy) {
		t.Errorf("opening the drive that hangs: %v", err)
	}
	r.faults("")
	for again, err := lib.OpenDrive(ctx, 0); ; again, err = lib.OpenDrive(ctx, 0) {
		if err == nil {
			must(t, again.Close())
			break
		}
		if !errors.Is(err, tape.ErrBusy) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestChangerFaults(t *testing.T) {
	r := newRig(t, 2)
	lib, ctx := r.open(), t.Context()
	r.faults("offline\n")
	_, err := lib.Inventory(ctx)
	wantSense(t, "an offline library", err, 2, 0x04, 0x12)
	if !strings.Contains(err.Error(), "library is offline: bring it online at its panel") {
		t.Errorf("%v", err)
	}
	wantSense(t, "loading from it", lib.Load(ctx, 1, 0), 2, 0x04, 0x12)
	r.faults("")
	must(t, lib.Load(ctx, 1, 0))
	d, err := lib.OpenDrive(ctx, 0)
	must(t, err)
	_, err = d.Load(ctx)
	must(t, err)
	must(t, d.Unload(ctx))
	// News are heard, and the move is done then; a fault is not tried again.
	r.faults("fail changer move 1 6/28/01\nfail changer move 2 6/2A/01\n")
	must(t, lib.Unload(ctx, 0, 1))
	r.faults("fail changer move 1 4/15/01\n")
	wantSense(t, "a robot that is stuck", lib.Load(ctx, 1, 0), 4, 0x15, 1)
	r.faults("")
	must(t, lib.Load(ctx, 1, 0))
	must(t, lib.Close())
	r.faults("offline\n")
	_, err = Open(ctx, Config{Changer: r.changer})
	wantSense(t, "opening an offline library", err, 2, 0x04, 0x12)
}

// Whoever has the library, or a drive, keeps others out, and is named.
func TestOwners(t *testing.T) {
	r := newRig(t, 2)
	lib, ctx := r.open(), t.Context()
	_, err := Open(ctx, Config{Changer: r.changer})
	if !errors.Is(err, tape.ErrBusy) || !strings.Contains(err.Error(), fmt.Sprintf("held by process %d (scsi.test)", os.Getpid())) {
		t.Errorf("a second owner: %v", err)
	}
	d := r.loaded(lib)
	must(t, d.WriteRecord(ctx, record(1)))
	// Another program cannot have the drive, nor take its cartridge.
	if out, err := exec.Command("mt", "-f", r.nodes[0], "rewind").CombinedOutput(); err == nil || !strings.Contains(string(out), "busy") {
		t.Errorf("mt: %v, %s", err, out)
	}
	must(t, d.Close())
	f, err := os.OpenFile(r.nodes[0], os.O_RDONLY|unix.O_NONBLOCK, 0)
	must(t, err)
	defer f.Close()
	if _, err := lib.OpenDrive(ctx, 0); !errors.Is(err, tape.ErrBusy) || !strings.Contains(err.Error(), "by another program") {
		t.Errorf("a drive that another program has: %v", err)
	}
}

// A library that does not tell its drives' serial numbers is believed only as far as cartridges arrive where they should.
func TestWrongOrder(t *testing.T) {
	r := newRig(t, 2)
	ctx := t.Context()
	silent := func(nodes ...string) *Library {
		lib := r.open()
		var devices []device
		for _, n := range nodes {
			dev, err := findDevice(ctx, n)
			must(t, err)
			devices = append(devices, dev)
		}
		var err error
		lib.drives, lib.proved, err = match([]transferElement{{address: 1}, {address: 2}}, devices, true)
		must(t, err)
		return lib
	}
	lib := silent(r.nodes[1], r.nodes[0])
	err := lib.Load(ctx, 1, 0)
	if err == nil || !strings.Contains(err.Error(), "the order of library.drives is wrong; nothing was written") {
		t.Fatalf("drives in the wrong order: %v", err)
	}
	d, err := lib.OpenDrive(ctx, 1)
	must(t, err)
	must(t, d.Unload(ctx))
	must(t, lib.Unload(ctx, 0, 1))
	must(t, lib.Close())
	lib = silent(r.nodes[0], r.nodes[1])
	r.loaded(lib)
	must(t, lib.Load(ctx, 2, 1))
	if !lib.proved[0] || !lib.proved[1] {
		t.Error("the drives are not proved")
	}
}

// What a configuration may name, and the serial numbers behind it.
func TestNodes(t *testing.T) {
	r := newRig(t, 3)
	ctx := t.Context()
	lib, err := Open(ctx, Config{Changer: r.changer, Drives: []string{r.nodes[2], r.nodes[0]}})
	must(t, err)
	for n, want := range []string{r.serials[0], "", r.serials[2]} {
		d, err := lib.OpenDrive(ctx, n)
		switch {
		case want == "" && errors.Is(err, tape.ErrBusy):
		case err != nil || d.Serial() != want:
			t.Errorf("drive %d: %v, want serial number %s", n, err, want)
		}
	}
	must(t, lib.Close())
	rewinding := strings.Replace(r.nodes[0], "nst", "st", 1)
	for node, want := range map[string]string{
		rewinding: "a non-rewinding tape device is needed", "/dev/null": "a non-rewinding tape device is needed", "/dev/nst9": "no such file",
		r.dir: "is no device",
	} {
		if _, err := Open(ctx, Config{Changer: r.changer, Drives: []string{node}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("drive %s: %v", node, err)
		}
	}
	for changer, want := range map[string]string{"/dev/sg99": "no such file", "/dev/null": "inappropriate ioctl"} {
		if _, err := Open(ctx, Config{Changer: changer}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("changer %s: %v", changer, err)
		}
	}
}
