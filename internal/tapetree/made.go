package tapetree

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"twintape/internal/ledger"
	"twintape/sources"
)

// The files that tell of a tape.
const (
	labelName   = ".label"
	catalogName = ".catalog.jsonl"
	sumsName    = ".MD5SUMS"
)

var madeNames = []string{labelName, catalogName, sumsName}

// made is a file that is made from the ledger when it is opened.
type made struct {
	name  string
	size  int64
	mtime time.Time
	write func(ctx context.Context, w io.Writer) error
}

func (m made) info() sources.Info {
	return sources.Info{Name: m.name, Mode: 0o444, Size: m.size, MTime: m.mtime}
}

// made looks a file of a tape up. A tape that was never written has none: the error wraps fs.ErrNotExist.
func (t *Tree) made(ctx context.Context, barcode, name string) (made, error) {
	m := made{name: name}
	tape, err := t.Ledger.Tape(ctx, barcode)
	if err != nil {
		return m, err
	}
	if tape.Pair == "" {
		return m, fs.ErrNotExist
	}
	if tape.WrittenBy != "" && name != sumsName { // neither is on it
		return m, fs.ErrNotExist
	}
	m.mtime = tape.Written
	if name == labelName {
		record, err := tape.Label().Encode()
		text := append(bytes.TrimRight(record, "\n"), '\n')
		m.size = int64(len(text))
		m.write = func(_ context.Context, w io.Writer) error {
			_, err := w.Write(text)
			return err
		}
		return m, err
	}
	sessions, err := t.Ledger.Sessions(ctx, tape.Pair)
	if err != nil {
		return m, err
	}
	var parts []func(ctx context.Context, w io.Writer) error
	for _, s := range sessions {
		switch name {
		case catalogName:
			if !s.On[tape.Side-1] {
				continue
			}
			m.size += s.Catalog.Bytes
			parts = append(parts, func(ctx context.Context, w io.Writer) error {
				_, _, sum, err := t.Ledger.WriteCatalog(ctx, w, s, s.Closed)
				if err == nil && sum != s.Catalog.MD5 {
					err = fmt.Errorf("the catalog of session %s made from the ledger has MD5 %s, and on tape %s has %s", s.UUID, sum, barcode, s.Catalog.MD5)
				}
				return err
			})
			m.mtime = s.Closed
		case sumsName:
			archives, err := t.Ledger.Archives(ctx, s.ID)
			if err != nil {
				return m, err
			}
			for _, a := range archives {
				if a.On[tape.Side-1] {
					m.size += a.Sums
					parts = append(parts, t.sums(a))
					m.mtime = s.Closed
				}
			}
		default:
			return m, fs.ErrNotExist
		}
	}
	if m.mtime.IsZero() { // its session is still open
		m.mtime = tape.Written
	}
	m.write = func(ctx context.Context, w io.Writer) error {
		for _, part := range parts {
			if err := part(ctx, w); err != nil {
				return err
			}
		}
		return nil
	}
	return m, nil
}

// sums writes the MD5SUMS of an archive.
func (t *Tree) sums(a ledger.PlannedArchive) func(ctx context.Context, w io.Writer) error {
	return func(ctx context.Context, w io.Writer) error {
		loaded, err := t.Ledger.LoadArchive(ctx, a.ID)
		if err != nil {
			return err
		}
		_, err = w.Write(loaded.SumsText())
		return err
	}
}

// file is an open file with its content on disk.
type file struct {
	path string
	info sources.Info
	temp *os.File
}

func (t *Tree) openMade(ctx context.Context, barcode, name string) (_ *file, err error) {
	m, err := t.made(ctx, barcode, name)
	if err != nil {
		return nil, err
	}
	temp, err := os.CreateTemp(t.Scratch, "browse-*")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			temp.Close()
		}
	}()
	if err := os.Remove(temp.Name()); err != nil {
		return nil, err
	}
	out := bufio.NewWriterSize(temp, 1<<20)
	if err := m.write(ctx, out); err != nil {
		return nil, err
	}
	if err := out.Flush(); err != nil {
		return nil, err
	}
	written, err := temp.Stat()
	if err != nil {
		return nil, err
	}
	if written.Size() != m.size {
		return nil, fmt.Errorf("%d bytes were made from the ledger, which says that it has %d", written.Size(), m.size)
	}
	return &file{path: "/" + barcode + "/" + name, info: m.info(), temp: temp}, nil
}

func (f *file) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, failed("read", f.path, err)
	}
	n, err := f.temp.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = failed("read", f.path, err)
	}
	return n, err
}

func (f *file) Stat(context.Context) (sources.Info, error) { return f.info, nil }

func (f *file) Close() error { return f.temp.Close() }
