// Package lock gives one process at a time the use of something, by a file that the kernel locks (flock). The lock goes
// with its holder: a process that is killed holds nothing, and no stale file has to be removed. The file itself stays,
// because removing it would let two processes lock two files of one name. It names the holder, for messages only.
//
// A lock holds between processes, and between two calls of Acquire in one process. Everything here may be called
// concurrently.
package lock

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// ErrHeld is what every HeldError is.
var ErrHeld = errors.New("held by another process")

// Holder says who holds a lock. It is zero where the holder has not written it yet.
type Holder struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"` // base name of the program
	Machine string    `json:"machine"`
	Since   time.Time `json:"since"`
}

func (h Holder) String() string {
	if h.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("%s (process %d on %s, since %s)", h.Command, h.PID, h.Machine, h.Since.Format(time.RFC3339))
}

// HeldError says that somebody else holds the lock.
type HeldError struct {
	Path   string
	Holder Holder
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("%s is held by %s: wait until it ends, or stop it", e.Path, e.Holder)
}

// Is makes the error an ErrHeld.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// Lock is a held lock.
type Lock struct{ file *os.File }

// Acquire takes the lock at path, whose file is made where missing. It never waits: *HeldError if somebody has it.
func Acquire(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	l := &Lock{file: f}
	if err := l.acquire(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

func (l *Lock) acquire() error {
	path := l.file.Name()
	for {
		err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if errors.Is(err, syscall.EWOULDBLOCK) {
			held := &HeldError{Path: path}
			// The holder may be writing its name just now; then it is told without one.
			if line, err := io.ReadAll(io.LimitReader(l.file, 4096)); err == nil {
				if json.Unmarshal(line, &held.Holder) != nil {
					held.Holder = Holder{}
				}
			}
			return held
		}
		if err != nil {
			return fmt.Errorf("locking %s: %w", path, err)
		}
		break
	}
	machine, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("locking %s: %w", path, err)
	}
	line, err := json.Marshal(Holder{
		PID: os.Getpid(), Command: filepath.Base(os.Args[0]), Machine: machine, Since: time.Now().UTC().Truncate(time.Second),
	})
	if err != nil {
		return fmt.Errorf("locking %s: %w", path, err)
	}
	if err := l.file.Truncate(0); err != nil {
		return fmt.Errorf("locking: %w", err)
	}
	if _, err := l.file.WriteAt(append(line, '\n'), 0); err != nil {
		return fmt.Errorf("locking: %w", err)
	}
	return nil
}

// Close gives the lock up, and takes the holder's name out of the file.
func (l *Lock) Close() error {
	return errors.Join(l.file.Truncate(0), l.file.Close())
}
