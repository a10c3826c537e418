//go:build guest

package tcmu_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tools that people use work as they do with any library.
func TestTools(t *testing.T) {
	r := newRig(t, "1GiB")
	r.shows(r.sh(0, "mtx -f $CH inquiry"), "Medium Changer", "VTL CHANGER")
	r.shows(r.sh(0, "mtx -f $CH inventory; mtx -f $CH status"), "2 Drives, 18 Slots ( 2 Import/Export )", "Storage Element 1:Full :VolumeTag=PAPR1001")
	r.shows(r.sh(0, "mt -f $T0 status"), "DR_OPEN")
	r.sh(0, "mtx -f $CH load 1 0; mtx -f $CH load 5 1; mtx -f $CH transfer 2 17")
	r.shows(r.sh(0, "mtx -f $CH status"), "Data Transfer Element 0:Full (Storage Element 1 Loaded):VolumeTag = PAPR1001",
		"Data Transfer Element 1:Full (Storage Element 5 Loaded):VolumeTag = PAPR2001", "Storage Element 17 IMPORT/EXPORT:Full :VolumeTag=PAPR1002")
	r.shows(r.sh(1, "mtx -f $CH load 3 0"), "Drive 0 Full")
	r.shows(r.sh(1, "mtx -f $CH transfer 3 4"), "Already Full")
	r.shows(r.sh(0, "mt -f $T0 status"), "BOT ONLINE", "LTO-5")
	r.shows(r.sh(0, "tapeinfo -f $G0"), "Product ID: 'ULTRIUM-TD5", "MaxBlock: 1048576", "BOP: yes", "DataCompCapable: yes")

	// tar on one drive, dd on the other; both come back.
	r.sh(0, "mt -f $T0 setblk 0 && tar -c -b 1024 -f $T0 -C / usr/bin && tar -c -b 1024 -f $T0 -C / bin && mt -f $T0 tell")
	r.sh(0, "mt -f $T0 asf 1 && tar -t -b 1024 -f $T0 | grep bin/busybox && mt -f $T0 rewind && tar -d -b 1024 -f $T0 -C /")
	r.sh(0, "mt -f $T0 compression 0 && tapeinfo -f $G0 | grep 'DataCompEnabled: no'")
	r.sh(0, "dd if=/dev/urandom of=/tmp/random bs=1M count=16 && mt -f $T1 setblk 0 && dd if=/tmp/random of=$T1 bs=1M && mt -f $T1 weof 1")
	r.sh(0, `mt -f $T1 rewind && test "$(dd if=$T1 bs=1M | md5sum)" = "$(md5sum </tmp/random)"`)
	r.shows(r.sh(0, "mt -f $T1 rewind && mt -f $T1 fsf 1 && mt -f $T1 tell && mt -f $T1 bsfm 1 && mt -f $T1 tell && mt -f $T1 eod && mt -f $T1 tell"), "At block 17.", "At block 18.")
	r.shows(r.sh(0, "mt -f $T1 seek 7 && mt -f $T1 tell"), "At block 7.")

	// Fixed blocks.
	r.sh(0, "mt -f $T1 rewind && mt -f $T1 setblk 4096 && dd if=/tmp/random of=$T1 bs=64k count=16 && mt -f $T1 rewind && dd if=$T1 bs=64k count=16 of=/tmp/back && cmp -n 1048576 /tmp/random /tmp/back")
	r.shows(r.sh(0, "mt -f $T1 status"), "Tape block size 4096 bytes")

	// The sg3-utils.
	r.shows(r.sh(0, "sg_inq $G0; sg_inq -p 0x80 $G0; sg_vpd -p di $G0; sg_turs $G0"), "Peripheral device type: tape", "Unit serial number: ", "T10 vendor identification")
	r.shows(r.sh(0, "sg_logs -p 0x2e $G0; sg_logs -p 0x31 $G0; sg_logs -p 0x02 $G0; sg_logs -p 0x0c $G0"), "Tape alert", "Main partition remaining capacity")
	r.shows(r.sh(0, "sg_read_attr $G0; sg_modes $G0; sg_requests $G0"), "Medium serial number", "Data Compression")
	r.sh(0, "sg_luns $CH")

	r.shows(r.sh(1, "mtx -f $CH unload 1 0"), "Additional Sense Code = 53") // still loaded
	r.sh(0, "mt -f $T0 offline && mtx -f $CH unload 1 0 && mt -f $T1 offline && mtx -f $CH unload 5 1 && mtx -f $CH transfer 17 2")
	r.shows(r.sh(0, "mtx -f $CH status"), "Data Transfer Element 0:Empty", "Storage Element 2:Full :VolumeTag=PAPR1002")
}

// Two libraries live side by side; one cannot be had twice.
func TestTwoLibraries(t *testing.T) {
	a := newRig(t, "64MiB")
	b := &rig{t: t, dir: a.dir + "2", control: a.control + "2"}
	b.sh(0, "cp -r %s %s", a.dir, b.dir)
	b.start()
	for _, r := range []*rig{a, b} {
		r.sh(0, "mtx -f $CH load 1 0 && echo %s | dd of=$T0 bs=1k", r.dir)
	}
	for _, r := range []*rig{a, b} {
		r.shows(r.sh(0, "mt -f $T0 rewind && dd if=$T0 bs=1k"), r.dir+"\n")
	}
	a.shows(a.sh(5, "twintape vtl --dir %s", a.dir), "is held by process")
	b.cmd.Process.Signal(unixTerm) //nolint:errcheck // Wait tells
	if err := b.cmd.Wait(); err != nil {
		t.Error(err)
	}
	a.sh(0, "mt -f $T0 status")
}

// When the process dies its devices stay, and the next one goes on with them: as drives that were switched off and on.
func TestKilled(t *testing.T) {
	r := newRig(t, "1GiB")
	before := []string{r.changer, r.drives[0], r.drives[1], r.sg[0], r.sg[1]}
	r.sh(0, "mtx -f $CH load 1 0 && mtx -f $CH load 5 1")
	d := r.open(0)
	d.write("", record(512<<10, 1))
	d.write("", record(512<<10, 2))
	d.op("", mtWEOF, 0)
	d.write("", record(512<<10, 3))
	r.kill()
	done := make(chan struct{})
	go func() { // waits in the ring for the next process
		defer close(done)
		d.write("EIO", record(512<<10, 4))
	}()
	r.start()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("a command that waited in the ring does not end")
	}
	if after := []string{r.changer, r.drives[0], r.drives[1], r.sg[0], r.sg[1]}; strings.Join(after, " ") != strings.Join(before, " ") {
		t.Errorf("the devices are %v, were %v", after, before)
	}
	// st would write its filemark where the drive stands now, at the beginning: the drive is moved behind its back.
	d.at(0)
	d.sh(0, "sg_raw $G0 11 03 00 00 00 00")
	d.op("", mtREW, 1)
	d.read("", 1<<20, 512<<10, 1)
	d.read("", 1<<20, 512<<10, 2)
	d.read("", 1<<20, 512<<10, 3) // the system's page cache is the buffer
	d.read("", 1<<20, 0, 0)
	d.close()
	r.sh(0, "mt -f $T1 status && echo x | dd of=$T1 bs=1k && mt -f $T1 rewind && mtx -f $CH status && mt -f $T1 offline && mtx -f $CH unload 5 1")

	// Killed while it stands still, and removed by the next.
	r.kill()
	r.start()
	r.sh(0, "mt -f $T0 rewind && mt -f $T0 offline && mtx -f $CH unload 1 0")
}

// Wherever in a write the process dies, the tape holds what st was told is written, and at most one record more.
func TestKilledWriter(t *testing.T) {
	r := newRig(t, "1GiB")
	r.sh(0, "mtx -f $CH load 1 0")
	const size = 256 << 10
	for round := range 4 {
		d := r.open(0)
		d.op("", mtREW, 1)
		written, died := make(chan byte), make(chan struct{})
		go func() {
			defer close(died)
			for i := byte(0); ; i++ {
				if _, err := unix.Write(d.fd, record(size, i)); err != nil {
					return
				}
				written <- i
			}
		}()
		last := byte(0)
		for range 3 + 5*round {
			last = <-written
		}
		r.kill()
		r.start()
		for going := true; going; {
			select {
			case last = <-written:
			case <-died:
				going = false
			}
		}
		r.sh(0, "sg_raw $G0 11 03 00 00 00 00") // see TestKilled
		d.op("", mtREW, 1)
		for i := range last + 1 {
			d.read("", size, size, i)
		}
		p := make([]byte, size)
		n, err := unix.Read(d.fd, p)
		if n == size && p[0] == last+1 && p[size-1] == last+1 {
			n, err = unix.Read(d.fd, p)
		}
		if n != 0 || err != nil {
			t.Errorf("round %d: behind record %d are %d bytes of %d, %v", round, last, n, p[0], err)
		}
		d.close()
	}
}

// Without root there is a clear message; root needs no capability if the modules are loaded.
func TestPrivileges(t *testing.T) {
	r := newRig(t, "64MiB")
	nobody := exec.Command("twintape", "vtl", "--dir", r.dir)
	nobody.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, _ := nobody.CombinedOutput() //nolint:errcheck // its exit code tells
	if code := nobody.ProcessState.ExitCode(); code != 6 || !strings.Contains(string(out), "only root can make devices") {
		t.Errorf("nobody gets exit code %d, %s", code, out)
	}
	r.stop()
	// A thread gives its capabilities up, and the process that it starts has none.
	started := make(chan struct{})
	go func() {
		defer close(started)
		runtime.LockOSThread() // and it ends with the goroutine
		for capability := range uintptr(64) {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil && capability == 0 {
				t.Error(err)
			}
		}
		r.start()
	}()
	<-started
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	if err != nil || !strings.Contains(string(status), "CapEff:\t0000000000000000\n") {
		t.Errorf("it runs with %s, %v", status, err)
	}
	r.sh(0, "mtx -f $CH load 1 0 && echo x | dd of=$T0 bs=1k && mt -f $T0 offline && mtx -f $CH unload 1 0")
}

// Devices that are in use, and commands that hang, do not keep vtl from its end.
func TestStoppedInUse(t *testing.T) {
	r := newRig(t, "64MiB")
	r.sh(0, "mtx -f $CH load 1 0 && mtx -f $CH load 5 1")
	d := r.open(0)
	defer d.close()
	d.write("", record(1000, 1))
	other := r.open(1)
	defer other.close()
	r.script("hang drive1 read *")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		unix.Read(other.fd, make([]byte, 1000)) //nolint:errcheck // it ends; how is the kernel's matter
	}()
	r.sh(0, "mt -f $T0 tell 2>&1 || true")
	r.stop()
	<-ended
	d.write("ENXIO", record(1000, 1))
}
