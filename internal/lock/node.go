package lock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Node takes the lock on a device node, which says who holds it only as far as the kernel does. The error is a *HeldError if
// another process, or another part of this one, has it. It does not wait, and does nothing with the device.
func Node(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		return nil, &HeldError{Path: path, Holder: nodeHolder(f)}
	}
	return &Lock{f}, nil
}

// nodeHolder finds who has the lock on an open file (proc_locks(5)); zero if that is not told.
func nodeHolder(f *os.File) (h Holder) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return h
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return h
	}
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for line := range strings.Lines(string(locks)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[5] != file {
			continue
		}
		if h.PID, err = strconv.Atoi(fields[4]); err != nil || h.PID <= 0 {
			return Holder{}
		}
		command, err := os.ReadFile(filepath.Join("/proc", fields[4], "comm"))
		if h.Command = strings.TrimSpace(string(command)); err != nil {
			h.Command = "its name is hidden"
		}
	}
	return h
}
