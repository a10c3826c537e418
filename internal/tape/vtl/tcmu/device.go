package tcmu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"twintape/internal/tape/vtl"
)

// device is one unit in the kernel: its folder in configfs, and the ring that brings its commands.
type device struct {
	unit   vtl.Unit
	folder string // in configfs
	name   string

	uio  *os.File
	mem  []byte
	ring *ring
}

// openDevice makes a unit known to the kernel, or takes it over from a process that died.
func openDevice(unit vtl.Unit, name string) (*device, error) {
	d := &device{unit: unit, name: name, folder: filepath.Join(coreDir, name)}
	if err := os.MkdirAll(d.folder, 0o755); err != nil {
		return nil, err
	}
	enabled, err := os.ReadFile(filepath.Join(d.folder, "enable"))
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(string(enabled)) != "1" {
		for _, line := range [][2]string{
			{"control", "dev_config=x/" + name + ",dev_size=1048576"},
			{"attrib/cmd_time_out", "0"}, // a tape may take its time
			{"enable", "1"},
			{"attrib/tmr_notification", "1"},
		} {
			if err := os.WriteFile(filepath.Join(d.folder, line[0]), []byte(line[1]), 0); err != nil {
				return nil, err
			}
		}
	}
	if err := d.open(); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// open finds the device's uio node and maps its ring.
func (d *device) open() error {
	names, err := filepath.Glob("/sys/class/uio/uio*/name")
	if err != nil {
		return err
	}
	want := "tcm-user/0/" + d.name + "/x/" + d.name
	for _, file := range names {
		text, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(text)) != want {
			continue // another's, or gone since
		}
		sys := filepath.Dir(file)
		text, err = os.ReadFile(filepath.Join(sys, "maps/map0/size"))
		if err != nil {
			return err
		}
		size, err := strconv.ParseUint(strings.TrimSpace(string(text)), 0, 40)
		if err != nil {
			return err
		}
		node := "/dev/" + filepath.Base(sys)
		if d.uio, err = os.OpenFile(node, os.O_RDWR, 0); errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("another process serves this library already: %w", err)
		} else if err != nil {
			return err
		}
		conn, err := d.uio.SyscallConn()
		if err != nil {
			return err
		}
		if err := conn.Control(func(fd uintptr) {
			d.mem, err = unix.Mmap(int(fd), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		}); err != nil {
			return err
		}
		if err != nil {
			return fmt.Errorf("mapping %s: %w", node, err)
		}
		d.ring, err = newRing(d.mem)
		return err
	}
	return fmt.Errorf("the kernel has no uio device %s", want)
}

// serve carries out commands until serving ends; from the end of executing on, none hangs any more.
func (d *device) serve(serving, executing context.Context) error {
	defer context.AfterFunc(serving, func() {
		d.uio.SetReadDeadline(time.Now()) //nolint:errcheck // it was set before
	})()
	var events [4]byte
	for {
		for {
			more, err := d.ring.next(func(cdb, data []byte) vtl.Answer { return d.unit.Execute(executing, cdb, data) }, d.unit.Reset)
			if err != nil {
				return fmt.Errorf("%s: %w", d.unit.Name(), err)
			}
			if !more {
				break
			}
			if _, err := d.uio.Write(events[:]); err != nil { // anything: it says that there are answers
				return fmt.Errorf("%s: %w", d.unit.Name(), err)
			}
			if serving.Err() != nil {
				return nil
			}
		}
		if _, err := d.uio.Read(events[:]); err != nil {
			if serving.Err() != nil {
				return nil
			}
			return fmt.Errorf("%s: %w", d.unit.Name(), err)
		}
	}
}

// close gives the ring up, and leaves the device to the kernel.
func (d *device) close() error {
	var err error
	if d.mem != nil {
		err = unix.Munmap(d.mem)
	}
	if d.uio != nil {
		err = errors.Join(err, d.uio.Close())
	}
	return err
}

// remove takes the device out of the kernel.
func (d *device) remove() error { return errors.Join(d.close(), os.Remove(d.folder)) }
