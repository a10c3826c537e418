//go:build guest

package scsi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"twintape/internal/tape"
	"twintape/internal/tape/tapetest"
	"twintape/internal/tape/virtual"
)

// rig is a virtual library whose drives and changer are devices of the kernel.
type rig struct {
	t       *testing.T
	dir     string
	control string
	changer string
	nodes   []string // of the drives, in the library's order
	serials []string
	vtl     *exec.Cmd
	log     bytes.Buffer
}

func newRig(t *testing.T, drives int) *rig {
	t.Helper()
	return newRigOf(t, drives, tapetest.Capacity, tapetest.Cartridges[:]...)
}

func newRigOf(t *testing.T, drives int, capacity int64, barcodes ...string) *rig {
	t.Helper()
	r := &rig{t: t, dir: filepath.Join(t.TempDir(), "library")}
	r.control = filepath.Join(filepath.Dir(r.dir), "faults")
	must(t, virtual.Create(r.dir, virtual.Options{Drives: drives, Slots: 6, ImportExport: 2}))
	lib, err := virtual.Open(r.dir)
	must(t, err)
	for _, barcode := range barcodes {
		must(t, lib.AddCartridge(barcode, capacity))
	}
	must(t, lib.Close())
	r.start()
	t.Cleanup(r.stop)
	return r
}

// start starts vtl and reads which nodes there are.
func (r *rig) start() {
	r.t.Helper()
	r.nodes, r.serials = nil, nil
	r.vtl = exec.Command("twintape", "vtl", "--dir", r.dir, "--control", r.control, "--json")
	r.vtl.Stderr = &r.log
	out, err := r.vtl.StdoutPipe()
	must(r.t, err)
	must(r.t, r.vtl.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var n struct {
			Unit, Serial string
			Devices      []string
		}
		must(r.t, json.Unmarshal(lines.Bytes(), &n))
		for _, d := range n.Devices {
			switch {
			case n.Unit == "changer" && filepath.Base(d)[:2] == "sg":
				r.changer = d
			case n.Unit != "changer" && filepath.Base(d)[:3] == "nst":
				r.nodes, r.serials = append(r.nodes, d), append(r.serials, n.Serial)
			}
		}
		if n.Unit != "changer" && len(r.nodes) == r.drives() {
			return
		}
	}
	r.t.Fatalf("vtl ended: %v: %s", r.vtl.Wait(), r.log.String())
}

func (r *rig) drives() int {
	var s struct{ Drives int }
	b, err := os.ReadFile(filepath.Join(r.dir, "library.json"))
	must(r.t, err)
	must(r.t, json.Unmarshal(b, &s))
	return s.Drives
}

func (r *rig) stop() {
	r.faults("")
	must(r.t, r.vtl.Process.Signal(syscall.SIGTERM))
	ended := make(chan error, 1)
	go func() { ended <- r.vtl.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			r.t.Errorf("vtl ended with %v: %s", err, r.log.String())
		}
	case <-time.After(time.Minute):
		r.t.Fatalf("vtl does not end: %s", r.log.String())
	}
	if r.t.Failed() {
		r.t.Log(r.log.String())
	}
}

// faults scripts what is to go wrong from now on.
func (r *rig) faults(script string) {
	r.t.Helper()
	next := r.control + ".next"
	must(r.t, os.WriteFile(next, []byte(script), 0o644))
	must(r.t, os.Rename(next, r.control))
}

// open opens the library as a configuration without drives does.
func (r *rig) open() *Library {
	r.t.Helper()
	lib, err := Open(r.t.Context(), Config{Changer: r.changer})
	must(r.t, err)
	r.t.Cleanup(func() {
		if err := lib.Close(); err != nil {
			r.t.Errorf("closing the library: %v", err)
		}
	})
	return lib
}

// loaded brings the cartridge of slot 1 into drive 0.
func (r *rig) loaded(lib *Library) *Drive {
	r.t.Helper()
	ctx := r.t.Context()
	must(r.t, lib.Load(ctx, 1, 0))
	d, err := lib.OpenDrive(ctx, 0)
	must(r.t, err)
	_, err = d.Load(ctx)
	must(r.t, err)
	return d.(*Drive)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	tapetest.Run(t, func(t *testing.T) tape.Library { return newRig(t, 2).open() })
}
