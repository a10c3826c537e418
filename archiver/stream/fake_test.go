package stream

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"path"
	"sync"
	"sync/atomic"

	"twintape/internal/tape"
	"twintape/sources"
)

// memoryDrive keeps what is written: nil for a filemark. With discard it only counts.
type memoryDrive struct {
	tape.Drive
	name    string
	discard bool
	blocks  [][]byte
	count   int64
	flushed int64
	reset   bool // goes to the beginning after the next block, and tells nobody
	// before is asked before each record, filemark and flush.
	before func(op string, block int64) error
}

func (d *memoryDrive) Name() string { return d.name }

func (d *memoryDrive) do(op string, block []byte) error {
	if d.before != nil {
		if err := d.before(op, d.count); err != nil {
			return err
		}
	}
	if op == "flush" {
		d.flushed = d.count
		return nil
	}
	d.count++
	if d.reset {
		d.reset, d.count = false, 0
	}
	if !d.discard {
		d.blocks = append(d.blocks, append([]byte(nil), block...))
	}
	return nil
}

func (d *memoryDrive) WriteRecord(_ context.Context, p []byte) error { return d.do("record", p) }
func (d *memoryDrive) WriteFilemark(context.Context) error           { return d.do("filemark", nil) }
func (d *memoryDrive) Flush(context.Context) error                   { return d.do("flush", nil) }
func (d *memoryDrive) Position(context.Context) (tape.Position, error) {
	return tape.Position{Block: d.count}, nil
}

// memorySource holds files; its content may be made to misbehave.
type memorySource struct {
	sources.Source
	files map[string][]byte
	// fault is asked before each read.
	fault func(path string, off int64) error
	opens atomic.Int64
	mu    sync.Mutex
	open  int
}

func (s *memorySource) Open(_ context.Context, p string) (sources.File, error) {
	data, ok := s.files[p]
	if !ok {
		return nil, &sources.Error{Op: "open", Host: "mem", Path: p, Err: fs.ErrNotExist}
	}
	s.opens.Add(1)
	s.mu.Lock()
	s.open++
	s.mu.Unlock()
	return &memoryFile{source: s, path: p, data: data}, nil
}

func (s *memorySource) Close() error { return nil }

type memoryFile struct {
	sources.File
	source *memorySource
	path   string
	data   []byte
}

func (f *memoryFile) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	if f.source.fault != nil {
		if err := f.source.fault(f.path, off); err != nil {
			return 0, err
		}
	}
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memoryFile) Close() error {
	f.source.mu.Lock()
	defer f.source.mu.Unlock()
	f.source.open--
	return nil
}

// content is a file's deterministic content.
func content(name string, size int) []byte {
	h := fnv.New64a()
	fmt.Fprint(h, name)
	x := h.Sum64() | 1
	out := make([]byte, size)
	for i := range out {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		out[i] = byte(x)
	}
	return out
}

var errTest = errors.New("made to fail")

func itemPath(i int) string             { return fmt.Sprintf("/data/zen.%04d.uv", i) }
func memberPath(i int, n string) string { return path.Join(itemPath(i), n) }
