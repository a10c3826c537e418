package fsmount_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"twintape/sources"
)

// strict ends the process if a file is closed while it is read, and its reads take longer the further on they are, to be met so.
type strict struct{ sources.Source }

func (s strict) Open(ctx context.Context, path string) (sources.File, error) {
	f, err := s.Source.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	return &strictFile{File: f}, nil
}

type strictFile struct {
	sources.File
	reads atomic.Int32
}

func (f *strictFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	f.reads.Add(1)
	defer f.reads.Add(-1)
	time.Sleep(time.Duration(off>>20) * 10 * time.Millisecond)
	return f.File.ReadAt(ctx, p, off)
}

func (f *strictFile) Close() error {
	if n := f.reads.Load(); n > 0 {
		fmt.Fprintf(os.Stderr, "the file is closed while %d reads are under way\n", n)
		os.Exit(1)
	}
	return f.File.Close()
}

// Who closes a file in the midst of reading on leaves reads under way: the host's file stays open until they are over.
func TestCloseWhileReadingAhead(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "visdata"), make([]byte, 64<<20), 0o644))
	m := mount(t, site{Hosts: []hostSpec{{Name: "pot1", Root: dir, Strict: true}}})
	for range 20 {
		f, err := os.Open(filepath.Join(m.mnt, "pot1/visdata"))
		must(t, err)
		_, err = io.CopyN(io.Discard, f, 4<<20)
		must(t, err)
		must(t, f.Close())
	}
	m.stop()
}
