package scsi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"twintape/internal/tape"
)

// device is one tape drive as Linux knows it.
type device struct {
	node   string // /dev/nst0, or the name that the configuration gives it
	sg     string // its SCSI generic node, /dev/sg1
	sysfs  string // its folder in /sys/class/scsi_tape
	serial string
	wwid   string // as sysfs spells it, such as "naa.5000e11160123456"; empty where it has none
}

const tapeClass = "/sys/class/scsi_tape"

var tapeNode = regexp.MustCompile(`^nst[0-9]+$`)

// findDevices returns all tape drives of the machine, by their nodes' numbers.
func findDevices(ctx context.Context) ([]device, error) {
	entries, err := os.ReadDir(tapeClass)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the kernel's tape driver is not loaded: `modprobe st`", err)
	}
	if err != nil {
		return nil, err
	}
	var out []device
	for _, e := range entries {
		if !tapeNode.MatchString(e.Name()) {
			continue
		}
		d, err := describe(ctx, filepath.Join("/dev", e.Name()), filepath.Join(tapeClass, e.Name()))
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b device) int {
		if len(a.node) != len(b.node) {
			return len(a.node) - len(b.node)
		}
		return strings.Compare(a.node, b.node)
	})
	return out, nil
}

// findDevice returns the drive behind a node that the configuration names.
func findDevice(ctx context.Context, node string) (device, error) {
	var st unix.Stat_t
	if err := unix.Stat(node, &st); err != nil {
		return device{}, fmt.Errorf("drive %s: %w: is it switched on? `lsscsi -g` lists what the kernel sees", node, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return device{}, fmt.Errorf("drive %s is no device: name it as /dev/nst0 or /dev/tape/by-id/scsi-…-nst", node)
	}
	number := fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	dir, err := filepath.EvalSymlinks("/sys/dev/char/" + number)
	if err != nil {
		return device{}, fmt.Errorf("drive %s: %w", node, err)
	}
	if !strings.HasPrefix(filepath.Base(dir), "nst") {
		return device{}, fmt.Errorf("drive %s is %s: a non-rewinding tape device is needed, such as /dev/nst0", node, filepath.Base(dir))
	}
	return describe(ctx, node, dir)
}

// describe finds out what sysfs has of a drive.
func describe(ctx context.Context, node, dir string) (device, error) {
	d := device{node: node, sysfs: dir}
	generic, err := os.ReadDir(filepath.Join(dir, "device", "scsi_generic"))
	if err != nil || len(generic) != 1 {
		return d, fmt.Errorf("drive %s has no SCSI generic node: `modprobe sg`", node)
	}
	d.sg = filepath.Join("/dev", generic[0].Name())
	d.wwid = trimmed(filepath.Join(dir, "device", "wwid"))
	page, err := os.ReadFile(filepath.Join(dir, "device", "vpd_pg80"))
	if err != nil {
		page, err = d.ask(ctx, func(fd int) ([]byte, error) { return vitalData(fd, 0x80) })
	}
	if err == nil {
		d.serial, err = parseSerial(page)
	}
	if err != nil {
		return d, fmt.Errorf("drive %s: asking for its serial number: %w", node, err)
	}
	return d, nil
}

// ask sends a command to the drive's SCSI generic node.
func (d *device) ask(ctx context.Context, f func(fd int) ([]byte, error)) ([]byte, error) {
	return await(ctx, d.node, "a question", func() ([]byte, error) {
		fd, err := openGeneric(d.sg)
		if err != nil {
			return nil, err
		}
		b, err := f(fd)
		return b, errors.Join(err, unix.Close(fd))
	}, func([]byte) {})
}

func openGeneric(node string) (int, error) {
	fd, err := unix.Open(node, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EACCES) {
		return -1, fmt.Errorf("opening %s: %w: the user must be in the group that may, such as tape", node, err)
	}
	if err != nil {
		return -1, fmt.Errorf("opening %s: %w", node, err)
	}
	return fd, nil
}

// trimmed is the text of a sysfs file; empty if it cannot be read.
func trimmed(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// counters are what st counts of a drive since it was attached.
type counters struct {
	read, written       int64         // bytes
	readTime, writeTime time.Duration // of the commands
}

func (d *device) counters() (c counters) {
	n := func(name string) int64 {
		v, err := strconv.ParseInt(trimmed(filepath.Join(d.sysfs, "stats", name)), 10, 64)
		if err != nil {
			return 0 // a kernel without statistics
		}
		return v
	}
	return counters{n("read_byte_cnt"), n("write_byte_cnt"), time.Duration(n("read_ns")), time.Duration(n("write_ns"))}
}

// askTime is how long opening a node, or a question, may take.
const askTime = 15 * time.Minute

// await calls f, which cannot be interrupted, in its own goroutine, and gives it up when ctx ends or after askTime. What f
// returns after that goes to drop.
func await[T any](ctx context.Context, name, op string, f func() (T, error), drop func(T)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	type result struct {
		v   T
		err error
	}
	done := make(chan result)
	gone := make(chan struct{})
	defer close(gone)
	go func() {
		v, err := f()
		select {
		case done <- result{v, err}:
		case <-gone:
			if err == nil {
				drop(v)
			}
		}
	}()
	timer := time.NewTimer(askTime)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	case <-timer.C:
		return none, &tape.HungError{Drive: name, Op: op, After: askTime}
	}
}
