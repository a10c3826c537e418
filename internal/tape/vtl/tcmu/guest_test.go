//go:build guest

package tcmu_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rig is `twintape vtl` on a library of its own: two drives, eight cartridges PAPR1001 to 1004 and PAPR2001 to 2004.
type rig struct {
	t       *testing.T
	dir     string
	control string
	cmd     *exec.Cmd
	changer string    // /dev/sg…
	drives  [2]string // /dev/nst…
	sg      [2]string
}

func newRig(t *testing.T, capacity string) *rig {
	t.Helper()
	base := t.TempDir()
	r := &rig{t: t, dir: filepath.Join(base, "library"), control: filepath.Join(base, "control")}
	r.sh(0, "twintape init --capacity %s --dir %s", capacity, base)
	r.start()
	t.Cleanup(func() {
		if r.cmd != nil {
			r.stop()
		}
	})
	return r
}

// start runs vtl, and returns when it tells that the devices are there.
func (r *rig) start() {
	r.t.Helper()
	r.cmd = exec.Command("twintape", "--json", "vtl", "--dir", r.dir, "--control", r.control)
	r.cmd.Stderr = os.Stderr
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range 3 {
		if !lines.Scan() {
			r.t.Fatalf("vtl ended: %v", r.cmd.Wait())
		}
		var unit struct {
			Unit, Serial string
			Devices      []string
		}
		if err := json.Unmarshal(lines.Bytes(), &unit); err != nil {
			r.t.Fatal(err)
		}
		if unit.Unit == "changer" {
			r.changer = unit.Devices[0]
			continue
		}
		n := unit.Unit[len("drive")] - '0'
		r.drives[n], r.sg[n] = unit.Devices[0], unit.Devices[1]
	}
}

// stop ends vtl as systemd does, and looks that nothing of it is left.
func (r *rig) stop() {
	r.t.Helper()
	r.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // Wait tells
	if err := r.cmd.Wait(); err != nil {
		r.t.Errorf("vtl ended with %v", err)
	}
	r.cmd = nil
	for _, pattern := range []string{
		"/sys/kernel/config/target/core/user_*", "/sys/kernel/config/target/loopback/naa*", "/sys/class/scsi_tape/*", "/sys/class/uio/*",
	} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			r.t.Errorf("left are %v", left)
		}
	}
}

// kill is the process's sudden death.
func (r *rig) kill() {
	r.cmd.Process.Kill() //nolint:errcheck // Wait tells
	r.cmd.Wait()         //nolint:errcheck // it was killed
	r.cmd = nil
}

// script replaces the control file.
func (r *rig) script(lines ...string) {
	r.t.Helper()
	if err := os.WriteFile(r.control+".new", []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(r.control+".new", r.control); err != nil {
		r.t.Fatal(err)
	}
}

// sh runs a shell command, which must end with a code, and returns what it printed. CH, T0, T1, G0, G1 are the devices.
func (r *rig) sh(code int, format string, args ...any) string {
	r.t.Helper()
	cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf(format, args...))
	cmd.Env = append(os.Environ(), "CH="+r.changer, "T0="+r.drives[0], "T1="+r.drives[1], "G0="+r.sg[0], "G1="+r.sg[1])
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code {
		r.t.Fatalf("%s: exit code %d (%v), want %d:\n%s", cmd.Args[2], got, err, code, out)
	}
	return string(out)
}

// shows fails unless text has all the parts.
func (r *rig) shows(text string, parts ...string) {
	r.t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			r.t.Errorf("%q is not in:\n%s", p, text)
		}
	}
}

// tape is an open drive, as a program uses it.
type tape struct {
	*rig
	fd int
}

// Operations of MTIOCTOP (linux/mtio.h).
const (
	mtFSF    = 1
	mtWEOF   = 5
	mtREW    = 6
	mtEOM    = 12
	mtSETBLK = 20
	mtSEEK   = 22
	mtWEOFI  = 35
)

func (r *rig) open(drive int) *tape {
	r.t.Helper()
	fd, err := unix.Open(r.drives[drive], unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		r.t.Fatalf("opening %s: %v", r.drives[drive], err)
	}
	d := &tape{r, fd}
	d.op("", mtSETBLK, 0)
	return d
}

func (d *tape) close() { unix.Close(d.fd) }

// is fails unless err is what is called want: such as EIO, or nothing.
func (d *tape) is(want string, err error, what string) {
	d.t.Helper()
	got := ""
	if errno, ok := err.(syscall.Errno); ok {
		got = unix.ErrnoName(errno)
	} else if err != nil {
		got = err.Error()
	}
	if got != want {
		d.t.Fatalf("%s: %q, want %q", what, got, want)
	}
}

func (d *tape) op(want string, op int16, count int32) {
	d.t.Helper()
	d.is(want, d.ioctl(0x40086d01, unsafe.Pointer(&struct {
		op    int16
		count int32
	}{op, count})), fmt.Sprintf("operation %d %d", op, count))
}

func (d *tape) ioctl(request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

func (d *tape) write(want string, p []byte) {
	d.t.Helper()
	n, err := unix.Write(d.fd, p)
	if want == "" && n != len(p) && err == nil {
		d.t.Fatalf("%d of %d bytes were written", n, len(p))
	}
	d.is(want, err, "write")
}

// read wants a record of so many bytes of b.
func (d *tape) read(want string, room, length int, b byte) {
	d.t.Helper()
	p := make([]byte, room)
	n, err := unix.Read(d.fd, p)
	d.is(want, err, "read")
	if want != "" {
		return
	}
	if n != length || n > 0 && (p[0] != b || p[n-1] != b) {
		d.t.Fatalf("read %d bytes of %d, want %d of %d", n, p[0], length, b)
	}
}

func (d *tape) at(want int64) {
	d.t.Helper()
	var block int64
	d.is("", d.ioctl(0x80086d03, unsafe.Pointer(&block)), "MTIOCPOS")
	if block != want {
		d.t.Fatalf("at block %d, want %d", block, want)
	}
}

// status is MTIOCGET's generic status.
func (d *tape) status() int64 {
	d.t.Helper()
	var get struct {
		kind, residual, drive, general, errors int64
		file, block                            int32
	}
	d.is("", d.ioctl(0x80306d02, unsafe.Pointer(&get)), "MTIOCGET")
	return get.general
}

func record(n int, b byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = b
	}
	return p
}
