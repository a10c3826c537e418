package stage

import (
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"time"

	"twintape/internal/digest"
)

// Writer writes a file that is to be staged. It ends with Commit or Abandon. One goroutine uses it.
type Writer struct {
	stage *Stage
	key   Key
	file  *os.File
	sum   hash.Hash
	n     int64
}

// Create begins a file, for which room is made. The error wraps ErrLarge or ErrFull if it does not fit.
func (s *Stage) Create(k Key) (*Writer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.cost() > s.size {
		return nil, fmt.Errorf("a file of %d bytes %w (%d bytes)", k.Size, ErrLarge, s.size)
	}
	if err := s.evict(1, k.cost()); err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	f, err := os.CreateTemp(s.dir, tempName)
	if err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	s.used += k.cost()
	return &Writer{stage: s, key: k, file: f, sum: digest.NewMD5()}, nil
}

func (w *Writer) Write(p []byte) (int, error) {
	if w.n+int64(len(p)) > w.key.Size {
		return 0, ErrSum
	}
	w.sum.Write(p)
	n, err := w.file.Write(p)
	w.n += int64(n)
	return n, err
}

// Commit stages the file and opens it for reading, if it is what it was to be; else the error is ErrSum. After an error
// nothing of it is left.
func (w *Writer) Commit() (*os.File, error) {
	if w.n != w.key.Size || [16]byte(w.sum.Sum(nil)) != w.key.MD5 {
		w.Abandon()
		return nil, ErrSum
	}
	now := time.Now()
	err := errors.Join(w.file.Sync(), os.Chtimes(w.file.Name(), now, now))
	var f *os.File
	if err == nil {
		f, err = os.Open(w.file.Name())
	}
	s := w.stage
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		err = os.Rename(w.file.Name(), filepath.Join(s.dir, w.key.name()))
	}
	s.used -= w.key.cost()
	if err != nil {
		if f != nil {
			f.Close()
		}
		w.remove()
		return nil, fmt.Errorf("stage: %w", err)
	}
	s.add(w.key.name(), w.key.cost())
	w.file.Close() // it is synced
	return f, nil
}

// Abandon takes the file away.
func (w *Writer) Abandon() {
	w.stage.mu.Lock()
	defer w.stage.mu.Unlock()
	w.stage.used -= w.key.cost()
	w.remove()
}

func (w *Writer) remove() {
	w.file.Close()
	os.Remove(w.file.Name()) //nolint:errcheck // the next start does it
}
