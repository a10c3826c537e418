package sshdtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// signalTree signals a process and all its descendants: sshd's connections are sessions of their own, so there is no
// process group to signal. It looks again until it finds no new ones.
func signalTree(pid int, sig unix.Signal) error {
	signalled := map[int]bool{}
	for {
		below, err := descendants(pid)
		if err != nil {
			return err
		}
		fresh := false
		for _, p := range append([]int{pid}, below...) {
			if signalled[p] {
				continue
			}
			signalled[p], fresh = true, true
			if sig == unix.SIGKILL && p == pid {
				continue // last: its orphans would no longer be found
			}
			if err := unix.Kill(p, sig); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("signal %d: %w", p, err)
			}
		}
		if !fresh {
			break
		}
	}
	if sig != unix.SIGKILL {
		return nil
	}
	return unix.Kill(pid, sig)
}

// descendants returns the processes that a process and its children started.
func descendants(pid int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	parents := map[int]int{}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // gone meanwhile
		}
		// pid (name) state ppid …; the name may hold anything, a parenthesis too.
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		child, err1 := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parent, err2 := strconv.Atoi(string(fields[1]))
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		parents[child] = parent
	}
	found := []int{pid}
	for i := 0; i < len(found); i++ {
		for child, parent := range parents {
			if parent == found[i] && !slices.Contains(found, child) {
				found = append(found, child)
			}
		}
	}
	return found[1:], nil
}
