package archiver_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"twintape/archiver"
	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// The crash matrix kills a process that archives at each of its operations in turn, has others go on until the queue is
// done, and then looks at the cartridges and the ledger with nothing of the archiver's code.

const (
	crashDir = "TWINTAPE_TEST_CRASH_DIR" // the site a child works on
	crashAt  = "TWINTAPE_TEST_CRASH_AT"  // the operation that kills it; 0 is none
)

// killer counts operations and ends the process at one of them as kill -9 does.
type killer struct {
	at   int64
	seen atomic.Int64
}

func (k *killer) tick() {
	if k.seen.Add(1) == k.at {
		syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // nothing comes after it
		select {}
	}
}

func (k *killer) Emit(e event.Event) {
	if _, ok := e.(event.Progress); !ok { // how often that comes is up to the clock
		k.tick()
	}
}

type killingLibrary struct {
	tape.Library
	k *killer
}

func (l killingLibrary) OpenDrive(ctx context.Context, number int) (tape.Drive, error) {
	d, err := l.Library.OpenDrive(ctx, number)
	return killingDrive{d, l.k}, err
}

// killingDrive counts before and after each operation that changes something.
type killingDrive struct {
	tape.Drive
	k *killer
}

func (d killingDrive) around(f func() error) error {
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

// TestCrashChild is what the children of TestCrashMatrix run: archive all that is queued, going on with what was cut off.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		return // not a child
	}
	s := openSite(t, dir)
	k := &killer{}
	k.at, _ = strconv.ParseInt(os.Getenv(crashAt), 10, 64)
	s.a.ArchiveSize, s.a.FlushBytes = 256<<10, 512<<10
	s.a.Library, s.a.Events = killingLibrary{s.lib, k}, k
	owner, err := archiver.ThisProcess()
	must(t, err)
	unfinished, err := s.a.Unfinished(t.Context())
	must(t, err)
	for _, j := range unfinished {
		_, err := s.a.Resume(t.Context(), j, owner, nil, false)
		must(t, err)
	}
	if _, err := s.a.Run(t.Context(), owner, nil); err != nil && !errors.Is(err, archiver.ErrNothingQueued) {
		t.Fatal(err)
	}
	fmt.Printf("operations: %d\n", k.seen.Load())
}

// child runs TestCrashChild in a process of its own; it tells whether that came to its end, and after how many operations.
func (s *site) child(at int64) (operations int64, finished bool) {
	s.t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
	cmd.Env = append(os.Environ(), crashDir+"="+s.dir, crashAt+"="+strconv.FormatInt(at, 10))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return 0, false
	}
	if err != nil {
		s.t.Fatalf("killed at operation %d before: %v\n%s", at, err, out)
	}
	for _, line := range strings.Split(string(out), "\n") {
		if n, ok := strings.CutPrefix(line, "operations: "); ok {
			operations, err = strconv.ParseInt(n, 10, 64)
			must(s.t, err)
		}
	}
	return operations, true
}

func crashSite(t *testing.T) *site {
	s := newSite(t, 64<<20)
	s.observations(8, 100_000)
	s.queue("pot1:/obs/zen.*.uv")
	s.close()
	return s
}

func TestCrashMatrix(t *testing.T) {
	total, _ := crashSite(t).child(0)
	if total < 50 {
		t.Fatalf("a whole run has only %d operations", total)
	}
	step := max(1, total/crashes)
	for at := int64(1); at <= total; at += step {
		t.Run(fmt.Sprintf("killed at %d", at), func(t *testing.T) {
			t.Parallel()
			s := crashSite(t)
			if _, finished := s.child(at); finished {
				// The two writers' order is not fixed: this run had fewer operations before its end.
				s.checkAll()
				return
			}
			for again := at / 2; ; again = 0 { // once more soon after, then to the end
				if _, finished := s.child(again); finished && again == 0 {
					break
				}
			}
			s.checkAll()
		})
	}
}

// crashes is about how many places of a run TestCrashMatrix kills at.
const crashes = 40

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
