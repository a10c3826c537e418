// Package stage keeps files that were read from tape in a folder on disk, as far as they fit. It promises that a file it
// gives has the MD5 and the size that it is known by, since both were checked, and the data was on the disk, before the file
// got its name; that the files of the folder never take more than they are allowed to; and that neither a restart nor a kill
// loses one, nor leaves half of one.
//
// When room is needed, the files that were not used for longest go. One that is open then stays readable, and takes its room
// on the disk until it is closed. A folder belongs to one process at a time. A Stage may be used concurrently.
package stage

import (
	"cmp"
	"container/list"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"twintape/internal/lock"
)

// Key is what a file is known by.
type Key struct {
	MD5  [16]byte
	Size int64 // bytes
}

func (k Key) name() string { return fmt.Sprintf("%x-%d", k.MD5, k.Size) }

// cost is what a file takes on the disk, about.
func (k Key) cost() int64 { return (k.Size + block - 1) / block * block }

const (
	block    = 4096
	mostEver = 1 << 18 // files, whatever their size: what is known of each takes memory
	tempName = ".twintape-stage-"
	lockName = "lock"
)

// names are those of staged files. Others are not touched.
var names = regexp.MustCompile(`^[0-9a-f]{32}-(0|[1-9][0-9]{0,17})$`)

// Conditions that callers decide on.
var (
	// ErrAbsent says that a file is not staged.
	ErrAbsent = errors.New("is not staged")
	// ErrLarge says that a file will never fit. It is an EFBIG.
	ErrLarge = fmt.Errorf("is larger than what may be staged: %w", syscall.EFBIG)
	// ErrFull says that what is being written takes all room. It is an ENOSPC.
	ErrFull = fmt.Errorf("no room is left among what is being staged: %w", syscall.ENOSPC)
	// ErrSum says that what was written is not the file that it was to be.
	ErrSum = errors.New("it has another MD5 or size")
)

// Stage is an open folder of staged files.
type Stage struct {
	dir  string
	size int64
	lock *lock.Lock

	mu    sync.Mutex
	files map[string]*list.Element // of entry, by name
	order list.List                // the one that was used last in front
	used  int64                    // bytes of files, and of what is being written
}

type entry struct {
	name string
	cost int64
}

// Open opens a folder, which is made if need be, whose files may take size bytes. Leftovers of a process that was killed are
// removed. The error wraps lock.ErrHeld if another process has the folder.
func Open(dir string, size int64) (*Stage, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	held, err := lock.Acquire(filepath.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	s := &Stage{dir: dir, size: size, lock: held, files: make(map[string]*list.Element)}
	if err := s.load(); err != nil {
		held.Close()
		return nil, fmt.Errorf("stage: %w", err)
	}
	return s, nil
}

// load finds what is there.
func (s *Stage) load() error {
	found, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	var infos []fs.FileInfo
	for _, d := range found {
		name := d.Name()
		if !strings.HasPrefix(name, tempName) && !names.MatchString(name) {
			continue
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() || !strings.HasSuffix(name, fmt.Sprintf("-%d", info.Size())) {
			if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
				return err
			}
			continue
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), strings.Compare(a.Name(), b.Name()))
	})
	for _, info := range infos {
		s.add(info.Name(), Key{Size: info.Size()}.cost())
	}
	return s.evict(0, 0)
}

// add notes a file as the one that was used last.
func (s *Stage) add(name string, cost int64) {
	if known := s.files[name]; known != nil {
		s.forget(known)
	}
	s.files[name] = s.order.PushFront(entry{name, cost})
	s.used += cost
}

func (s *Stage) forget(e *list.Element) {
	gone := s.order.Remove(e).(entry)
	delete(s.files, gone.name)
	s.used -= gone.cost
}

// evict makes room for some files more, of a cost.
func (s *Stage) evict(files int, cost int64) error {
	for s.used+cost > s.size || len(s.files)+files > mostEver {
		last := s.order.Back()
		if last == nil {
			return ErrFull
		}
		if err := os.Remove(filepath.Join(s.dir, last.Value.(entry).name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.forget(last)
	}
	return nil
}

// Has tells whether a file is staged. It does not count as a use.
func (s *Stage) Has(k Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[k.name()] != nil
}

// Get opens a file for reading. The error is ErrAbsent if it is not staged.
func (s *Stage) Get(k Key) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.files[k.name()]
	if e == nil {
		return nil, ErrAbsent
	}
	at := filepath.Join(s.dir, k.name())
	f, err := os.Open(at)
	if errors.Is(err, fs.ErrNotExist) { // somebody cleared the folder
		s.forget(e)
		return nil, ErrAbsent
	}
	if err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	s.order.MoveToFront(e)
	os.Chtimes(at, time.Time{}, time.Now()) //nolint:errcheck // so that a restart knows too; who reads can do without
	return f, nil
}

// Close gives the folder up. Files that are open stay readable.
func (s *Stage) Close() error { return s.lock.Close() }
