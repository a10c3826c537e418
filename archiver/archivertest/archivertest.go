// Package archivertest is a small observatory for tests of what reads tapes: one local host, a virtual library of two
// drives, a ledger, and the job that brings the host's data onto tapes.
package archivertest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"twintape/archiver"
	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/internal/tape/virtual"
	"twintape/sources"
	"twintape/sources/local"
)

// Site is the observatory. Its host is called pot1.
type Site struct {
	T      testing.TB
	Dir    string // of everything; also for temporary files
	Data   string // the host's /
	Tapes  string // of the cartridges
	Source sources.Source
	A      *archiver.Archiver
}

// New makes a site with blank cartridges for some pairs, PAPR1001 and PAPR2001 and so on, each of a capacity in bytes.
func New(t testing.TB, pairs int, capacity int64) *Site {
	t.Helper()
	dir := t.TempDir()
	s := &Site{T: t, Dir: dir, Data: filepath.Join(dir, "data"), Tapes: filepath.Join(dir, "tapes")}
	s.must(os.Mkdir(s.Data, 0o755))
	s.must(virtual.Create(s.Tapes, virtual.Options{Drives: 2, Slots: 2*pairs + 2}))
	lib, err := virtual.Open(s.Tapes)
	s.must(err)
	t.Cleanup(func() { lib.Close() })
	l, err := ledger.Create(t.Context(), filepath.Join(dir, "ledger.db"))
	s.must(err)
	t.Cleanup(func() { l.Close() })
	for n := range pairs {
		for side := 1; side <= 2; side++ {
			barcode := fmt.Sprintf("PAPR%d%03d", side, n+1)
			s.must(lib.AddCartridge(barcode, capacity))
			_, err := l.AddTape(t.Context(), ledger.Tape{Barcode: barcode, Capacity: capacity})
			s.must(err)
		}
	}
	s.Source, err = local.New("pot1", s.Data)
	s.must(err)
	ns, err := sources.NewNamespace([]sources.Host{{Name: "pot1", Source: s.Source}})
	s.must(err)
	s.A = &archiver.Archiver{
		Settings: archiver.Settings{
			ArchiveSize: 1 << 20, RecordSize: 64 << 10, FlushBytes: 4 << 20, Memory: 16 << 20,
			Sides: [2]string{"PAPR1*", "PAPR2*"}, Sample: 1, Scratch: dir,
		},
		Namespace: ns, Library: lib, Ledger: l, Events: event.Discard,
	}
	return s
}

func (s *Site) must(err error) {
	s.T.Helper()
	if err != nil {
		s.T.Fatal(err)
	}
}

// File writes a file of the host and returns where it is on this machine.
func (s *Site) File(name, text string) string {
	s.T.Helper()
	p := filepath.Join(s.Data, name)
	s.must(os.MkdirAll(filepath.Dir(p), 0o755))
	s.must(os.WriteFile(p, []byte(text), 0o640))
	s.must(os.Chtimes(p, time.Time{}, time.Unix(1e9, 123456789)))
	return p
}

// MkdirAll makes a folder of the host.
func (s *Site) MkdirAll(name string) {
	s.T.Helper()
	s.must(os.MkdirAll(filepath.Join(s.Data, name), 0o755))
}

// Fill makes a folder of the host with files of all kinds and hostile names.
func (s *Site) Fill(dir string) {
	s.T.Helper()
	for _, name := range []string{"a", "b c", "d\xff\xfe", "e\nf", `g\h`, "😀", "-rf", "empty file"} {
		text := ""
		for range len(name) * 50 {
			text += name
		}
		if name == "empty file" {
			text = ""
		}
		s.File(filepath.Join(dir, name), text)
	}
	at := func(name string) string { return filepath.Join(s.Data, dir, name) }
	s.must(os.MkdirAll(at("sub/none"), 0o700))
	s.must(os.Chmod(s.File(filepath.Join(dir, "sub/special"), "x"), 0o750|fs.ModeSetuid|fs.ModeSticky))
	s.must(os.Link(at("a"), at("sub/hard")))
	s.must(os.Symlink("/"+filepath.Join(dir, "a"), at("absolute")))
	s.must(os.Symlink("../a", at("sub/relative")))
	s.must(unix.Mkfifo(at("fifo"), 0o600))
	s.must(os.MkdirAll(at("read-only"), 0o755))
	s.File(filepath.Join(dir, "read-only/f"), "kept")
	s.must(os.Chmod(at("read-only"), 0o555))
	s.T.Cleanup(func() { os.Chmod(at("read-only"), 0o755) }) //nolint:errcheck // so that it can be removed
}

// Archive queues what fits the patterns and runs one job.
func (s *Site) Archive(patterns ...string) {
	s.T.Helper()
	_, err := s.A.QueueAdd(s.T.Context(), patterns, nil, archiver.QueueOptions{Again: true})
	s.must(err)
	owner, err := archiver.ThisProcess()
	s.must(err)
	if report, err := s.A.Run(s.T.Context(), owner, nil); err != nil {
		s.T.Fatalf("%+v: %v", report, err)
	}
}
