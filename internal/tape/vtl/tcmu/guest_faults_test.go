//go:build guest

package tcmu_test

import (
	"syscall"
	"testing"
	"time"
)

const unixTerm = syscall.SIGTERM

// What a program sees of each scripted fault, through st.
func TestFaultsThroughSt(t *testing.T) {
	r := newRig(t, "1GiB")
	r.sh(0, "mtx -f $CH load 1 0")
	const size = 64 << 10
	fresh := func() *tape { // with three records, a filemark, and one more
		r.script()
		d := r.open(0)
		d.op("", mtREW, 1)
		for i := range byte(3) {
			d.write("", record(size, i+1))
		}
		d.op("", mtWEOFI, 1)
		d.write("", record(size, 4))
		d.op("", mtWEOF, 1)
		d.op("", mtREW, 1)
		return d
	}
	for name, see := range map[string]func(d *tape){
		"write error": func(d *tape) {
			d.script("fail drive0 write 2 3/0C/00")
			d.write("", record(size, 5))
			d.write("EIO", record(size, 5))
		},
		"read error": func(d *tape) {
			d.script("fail drive0 read 1 3/11/00")
			d.read("EIO", size, 0, 0)
		},
		"unreadable record": func(d *tape) {
			d.script("unreadable PAPR1001 1")
			d.read("", size, size, 1)
			d.read("EIO", size, 0, 0)
		},
		"hardware error": func(d *tape) {
			d.script("fail drive0 write 1 4/44/00")
			d.write("EIO", record(size, 5))
		},
		"failed flush": func(d *tape) {
			d.write("", record(size, 5))
			d.script("fail drive0 filemarks 1 3/0C/00")
			d.op("EIO", mtWEOF, 0)
		},
		"bit rot": func(d *tape) {
			d.script("rot PAPR1001 0 0", "rot PAPR1001 0 65535")
			d.read("", size, size, 0)
		},
		"early warning": func(d *tape) {
			d.script("early PAPR1001 1")
			d.write("", record(size, 5))
			d.write("", record(size, 6)) // meets it, and is whole
			for range 3 {
				d.write("ENOSPC", record(size, 7))
				d.write("", record(size, 7))
			}
			d.op("", mtWEOF, 1)
			d.at(6)
			d.op("", mtREW, 1)
			d.read("", size, size, 5)
			d.read("", size, size, 6)
			d.read("", size, size, 7)
		},
		"physical end": func(d *tape) {
			d.script("early PAPR1001 1", "end PAPR1001 3")
			d.write("", record(size, 5))
			d.write("", record(size, 6))
			d.write("ENOSPC", record(size, 7))
			d.write("", record(size, 7))
			d.write("ENOSPC", record(size, 8))
			d.write("ENOSPC", record(size, 8))
			d.write("ENOSPC", record(size, 8))
			d.at(3)
		},
		"reset": func(d *tape) {
			d.read("", size, size, 1)
			d.script("reset drive0 read 1")
			d.read("EIO", size, 0, 0)
			d.read("", size, size, 1) // st goes on, where the tape stands now: at its beginning
		},
		"reset by the kernel": func(d *tape) {
			d.read("", size, size, 1)
			d.sh(0, "sg_reset -d $G0")
			d.read("EIO", size, 0, 0)
			d.write("EIO", record(size, 5)) // until it is rewound
			d.op("", mtREW, 1)
			d.read("", size, size, 1)
		},
		"silent reset": func(d *tape) {
			d.read("", size, size, 1)
			d.script("lose drive0 write 1")
			d.write("", record(size, 9)) // truncates the tape at its beginning
			d.at(1)
			d.op("", mtREW, 1)
			d.read("", size, size, 9)
			d.read("", size, 0, 0)
		},
		"cleaning wanted": func(d *tape) {
			const gmtCLN = 0x8000
			if d.status()&gmtCLN != 0 {
				d.t.Error("cleaning is wanted before")
			}
			d.script("clean drive0", "alert drive0 3")
			d.read("", size, size, 1)
			if d.status()&gmtCLN == 0 {
				d.t.Errorf("the status is %X", d.status())
			}
			d.shows(r.sh(0, "sg_logs -p 0x2e $G0"), "Cleaning required: 1", "Hard error: 1")
		},
		"locate fails": func(d *tape) {
			d.script("fail drive0 locate 1 3/15/00")
			d.op("EIO", mtSEEK, 3)
		},
		"end of data": func(d *tape) {
			d.op("", mtSEEK, 4)
			d.read("", size, size, 4)
			d.read("", size, 0, 0) // a filemark
			d.read("", size, 0, 0)
			d.read("EIO", size, 0, 0)
			d.op("", mtEOM, 1)
			d.at(6)
			d.read("EIO", size, 0, 0)
		},
		"small buffer": func(d *tape) {
			d.read("ENOMEM", size/2, 0, 0)
			d.read("", size, size, 2)
		},
		"hang": func(d *tape) {
			d.script("hang drive0 read 1")
			done := make(chan struct{})
			go func() {
				defer close(done)
				d.read("", size, size, 1)
			}()
			d.sh(0, "mt -f $T1 status; mtx -f $CH status")
			select {
			case <-done:
				d.t.Error("it did not hang")
			case <-time.After(200 * time.Millisecond):
			}
			d.script()
			<-done
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := fresh()
			defer d.close()
			inner := *d.rig
			inner.t = t
			d.rig = &inner
			see(d)
		})
	}
	r.script()
	r.sh(0, "mt -f $T0 rewind && mt -f $T0 offline && mtx -f $CH unload 1 0")
}

// A library that goes offline is told by mtx with its sense.
func TestOffline(t *testing.T) {
	r := newRig(t, "64MiB")
	r.sh(0, "mtx -f $CH status")
	r.script("offline")
	r.shows(r.sh(1, "mtx -f $CH load 1 0"), "Sense Key=Not Ready", "Additional Sense Code = 04", "Additional Sense Qualifier = 12")
	r.script("fail changer move 1 4/15/01")
	r.shows(r.sh(1, "mtx -f $CH load 1 0"), "Sense Key=Hardware Error", "Additional Sense Code = 15")
	r.sh(0, "mtx -f $CH load 1 0")
}

// A real end of a cartridge is as the scripted one.
func TestSmallCartridge(t *testing.T) {
	r := newRig(t, "64MiB")
	r.sh(0, "mtx -f $CH load 1 0 && mtx -f $CH load 5 1")
	d := r.open(0)
	const size = 1 << 20
	for i := range byte(63) {
		d.write("", record(size, i)) // the last one meets early warning
	}
	d.write("ENOSPC", record(size, 100))
	d.write("", record(1024, 101))
	d.write("ENOSPC", record(size, 102))
	d.write("ENOSPC", record(size, 102)) // the physical end
	d.op("", mtWEOF, 1)
	d.op("", mtREW, 1)
	for i := range byte(63) {
		d.read("", size, size, i)
	}
	d.read("", size, 1024, 101)
	d.read("", size, 0, 0)
	d.close()
	r.sh(0, "mt -f $T0 offline")
}
