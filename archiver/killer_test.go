package archiver_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// killer counts operations, or only the steps of jobs, and ends the process at one of them as kill -9 does.
type killer struct {
	at    int64 // 0 is never
	steps bool
	seen  atomic.Int64
}

func (k *killer) tick() {
	if k.seen.Add(1) == k.at {
		syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // nothing comes after it
		select {}
	}
}

func (k *killer) Emit(e event.Event) {
	_, progress := e.(event.Progress) // how often that comes is up to the clock
	if _, step := e.(event.Step); step || !k.steps && !progress {
		k.tick()
	}
}

// killingDrive counts before and after each operation that changes something.
type killingDrive struct {
	tape.Drive
	k *killer
}

func (d killingDrive) around(f func() error) error {
	if d.k.steps {
		return f()
	}
	d.k.tick()
	err := f()
	d.k.tick()
	return err
}

func (d killingDrive) WriteRecord(ctx context.Context, p []byte) error {
	return d.around(func() error { return d.Drive.WriteRecord(ctx, p) })
}

func (d killingDrive) WriteFilemark(ctx context.Context) error {
	return d.around(func() error { return d.Drive.WriteFilemark(ctx) })
}

func (d killingDrive) Flush(ctx context.Context) error {
	return d.around(func() error { return d.Drive.Flush(ctx) })
}

func (d killingDrive) Unload(ctx context.Context) error {
	return d.around(func() error { return d.Drive.Unload(ctx) })
}

func (d killingDrive) Locate(ctx context.Context, block int64) error {
	return d.around(func() error { return d.Drive.Locate(ctx, block) })
}

// checkAll compares both cartridges of every pair with the sources and the ledger: nothing lost, nothing doubled, nothing
// untrue.
func (s *site) checkAll() {
	s.t.Helper()
	r := openSite(s.t, s.dir)
	defer r.close()
	ctx := s.t.Context()
	tapes, err := r.a.Ledger.Tapes(ctx)
	must(s.t, err)
	found := make(map[string]int) // members by barcode and path
	for _, tp := range tapes {
		if tp.Pair == "" {
			continue
		}
		files := tapeFiles(s.t, filepath.Join(s.dir, "tapes", tp.Barcode+".tap"))
		for _, f := range files[1 : len(files)-1] {
			tr := tar.NewReader(bytes.NewReader(f))
			for {
				h, err := tr.Next()
				if err == io.EOF {
					break
				}
				must(s.t, err)
				rest, ours := strings.CutPrefix(h.Name, "pot1/")
				if !ours || h.Typeflag != tar.TypeReg {
					continue
				}
				got, err := io.ReadAll(tr)
				must(s.t, err)
				want, err := os.ReadFile(filepath.Join(s.data, rest))
				must(s.t, err)
				if !bytes.Equal(got, want) {
					s.t.Errorf("%s on %s is not what the source has", h.Name, tp.Barcode)
				}
				found[tp.Barcode+" /"+rest]++
			}
		}
	}
	items, copies := 0, 0
	for it, err := range r.a.Ledger.Items(ctx, ledger.Filter{}) {
		must(s.t, err)
		items++
		if it.State != ledger.Archived && it.State != ledger.Deletable {
			s.t.Errorf("%s is %s", it.Path, it.State)
		}
		if len(it.Copies) != 2 || it.Copies[0].Barcode == it.Copies[1].Barcode {
			s.t.Errorf("%s has copies %+v", it.Path, it.Copies)
		}
		for _, c := range it.Copies {
			for _, member := range []string{"visdata", "header", "flags"} {
				key := c.Barcode + " " + it.Path + "/" + member
				if found[key] != 1 {
					s.t.Errorf("%s is on tape %d times", key, found[key])
				}
				delete(found, key)
				copies++
			}
		}
	}
	if items != 8 || copies != 8*2*3 {
		s.t.Errorf("%d items with %d members' copies are in the ledger", items, copies)
	}
	for key := range found {
		s.t.Errorf("%s is on tape, but the ledger does not know it", key)
	}
	jobs, err := r.a.Ledger.LiveJobs(ctx)
	must(s.t, err)
	if len(jobs) != 0 {
		s.t.Errorf("%d jobs are live", len(jobs))
	}
	elements, err := r.lib.Inventory(ctx)
	must(s.t, err)
	for _, e := range elements {
		if e.Kind == tape.Transfer && e.Full {
			s.t.Errorf("tape %s was left in drive %d", e.Barcode, e.Number)
		}
	}
}
