// Package lock gives a file to one owner at a time, across processes. The lock is the kernel's (flock(2)): it ends with
// its owner, however that ends. Who holds it is written into the file.
package lock

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ErrHeld says that somebody else has the lock.
var ErrHeld = errors.New("held")

// Command is what this process is called in the locks that it takes. It may be set before the first is taken.
var Command = filepath.Base(os.Args[0])

// Holder is who has a lock.
type Holder struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Machine string    `json:"machine"` // empty where it is this one
	Since   time.Time `json:"since"`   // zero where it is not known
}

// HeldError is ErrHeld with who holds it.
type HeldError struct {
	Path   string
	Holder Holder // zero if the holder has not written it yet
}

func (e *HeldError) Error() string {
	if e.Holder.PID == 0 {
		return fmt.Sprintf("%s is held by another process", e.Path)
	}
	if e.Holder.Since.IsZero() {
		return fmt.Sprintf("%s is held by process %d (%s)", e.Path, e.Holder.PID, e.Holder.Command)
	}
	return fmt.Sprintf("%s is held by process %d (%s) on %s since %s", e.Path, e.Holder.PID, e.Holder.Command,
		e.Holder.Machine, e.Holder.Since.Format(time.DateTime))
}

// Is makes errors.Is(err, ErrHeld) true.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// Lock is a lock that this process holds.
type Lock struct{ file *os.File }

// Acquire takes the lock on a file, which is made if need be. The error is a *HeldError if another process, or another
// part of this one, has it. It does not wait.
func Acquire(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		held := &HeldError{Path: path}
		if err := json.NewDecoder(f).Decode(&held.Holder); err != nil {
			held.Holder = Holder{} // not written yet: the error says so much
		}
		return nil, held
	}
	if err := write(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	return &Lock{f}, nil
}

func write(f *os.File) error {
	h := Holder{PID: os.Getpid(), Command: Command, Since: time.Now().UTC().Truncate(time.Second)}
	h.Machine, _ = os.Hostname() // for the message only
	line, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(append(line, '\n'), 0)
	return err
}

// Close gives the lock up. The file stays.
func (l *Lock) Close() error {
	// Unlocked first: a child that is being started may hold the descriptor for a moment longer.
	return errors.Join(unix.Flock(int(l.file.Fd()), unix.LOCK_UN), l.file.Close())
}
