package archiver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"twintape/archiver"
	"twintape/archiver/stream"
	"twintape/internal/event"
	"twintape/internal/fault"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

var errBroken = &tape.SenseError{Key: 4, ASC: 0x44, Text: "the drive reports a hardware fault"}

// onStep calls a function when a job enters a step, before anything of it happens.
type onStep struct {
	step ledger.Step
	do   func()
}

func (o onStep) Emit(e event.Event) {
	if s, ok := e.(event.Step); ok && s.Step == string(o.step) {
		o.do()
	}
}

// truthful makes sure that after a job went wrong the ledger claims nothing that is not so: no item is archived unless
// both of its tapes were verified good, what has no flushed copy waits again, no job and no tape is held, and no tape is
// left in a drive.
func (s *site) truthful(r *archiver.Report) {
	s.t.Helper()
	for it, err := range s.a.Ledger.Items(s.t.Context(), ledger.Filter{}) {
		must(s.t, err)
		good := 0
		for _, c := range it.Copies {
			if c.Bad == "" && !c.Verified.IsZero() {
				good++
			}
		}
		if claims := it.State == ledger.Archived || it.State == ledger.Deletable; claims && good < 2 {
			s.t.Errorf("%s is %s with %d good copies", it.Path, it.State, good)
		}
		if len(it.Copies) == 0 && it.State != ledger.Queued && it.State != ledger.Failed {
			s.t.Errorf("%s without copies is %s", it.Path, it.State)
		}
	}
	if r != nil && r.Job.Ended.IsZero() {
		s.t.Error("the job did not end")
	}
	tapes, err := s.a.Ledger.Tapes(s.t.Context())
	must(s.t, err)
	for _, tp := range tapes {
		if tp.Job != 0 {
			s.t.Errorf("tape %s is held by job %d", tp.Barcode, tp.Job)
		}
	}
}

func (s *site) drivesEmpty() {
	s.t.Helper()
	elements, err := s.lib.Inventory(s.t.Context())
	must(s.t, err)
	for _, e := range elements {
		if e.Kind == tape.Transfer && e.Full {
			s.t.Errorf("tape %s was left in drive %d", e.Barcode, e.Number)
		}
	}
}

// newFaultSite has 8 items of 1 MB in archives of 1 MiB, flushed at every second one.
func newFaultSite(t *testing.T) *site {
	s := newSite(t, 64<<20)
	s.observations(8, 1_000_000)
	s.a.ArchiveSize, s.a.FlushBytes = 1<<20, 2<<20
	s.queue("pot1:/obs/zen.*.uv")
	return s
}

// Whatever a drive or the changer does in whatever phase: the ledger stays truthful, the tapes go home where they can, and
// `resume` or, where the tape is beyond that, the next pair archives everything.
func TestDriveFaults(t *testing.T) {
	const middle = 60 // a block behind the first flush
	for name, c := range map[string]struct {
		fault   fault.Fault
		want    error // what the error wraps
		nothing bool  // no archive was flushed before
	}{
		"load":                        {fault.Fault{Op: fault.MoveLoad, Err: errBroken}, errBroken, true},
		"becoming ready":              {fault.Fault{Op: fault.Load, Err: errBroken}, errBroken, true},
		"looking for a label":         {fault.Fault{Op: fault.ReadRecord, Err: errBroken}, errBroken, true},
		"label":                       {fault.Fault{Op: fault.WriteRecord, Err: errBroken}, errBroken, true},
		"first archive":               {fault.Fault{Op: fault.WriteRecord, Block: 10, Err: errBroken}, errBroken, true},
		"record behind a flush":       {fault.Fault{Op: fault.WriteRecord, Block: middle, Err: errBroken}, errBroken, false},
		"filemark behind a flush":     {fault.Fault{Op: fault.WriteFilemark, Block: middle, Err: errBroken}, errBroken, false},
		"first flush":                 {fault.Fault{Op: fault.Flush, Err: errBroken}, errBroken, true},
		"second flush":                {fault.Fault{Op: fault.Flush, Call: 2, Err: errBroken}, errBroken, false},
		"flush of the catalog":        {fault.Fault{Op: fault.Flush, Call: 5, Err: errBroken}, errBroken, false},
		"position":                    {fault.Fault{Op: fault.Position, Block: middle, Err: errBroken}, errBroken, false},
		"unload before verification":  {fault.Fault{Op: fault.Unload, Err: errBroken}, errBroken, false},
		"reload before verification":  {fault.Fault{Op: fault.MoveLoad, Call: 2, Err: errBroken}, errBroken, false},
		"return before verification":  {fault.Fault{Op: fault.MoveUnload, Err: errBroken}, errBroken, false},
		"hardware fault in verifying": {fault.Fault{Op: fault.Locate, Err: errBroken}, errBroken, false},
	} {
		for drive := range 2 {
			t.Run(fmt.Sprintf("%s, drive %d", name, drive), func(t *testing.T) {
				s := newFaultSite(t)
				f := c.fault
				f.Drive = drive
				s.a.Library = fault.New(t, f).Library(s.lib)
				r, err := s.run()
				if !errors.Is(err, c.want) || !strings.Contains(err.Error(), fmt.Sprintf("PAPR%d001", drive+1)) {
					t.Fatalf("the error is %v", err)
				}
				if (r.Archived == 0) != c.nothing {
					t.Errorf("%d items have flushed copies", r.Archived)
				}
				s.truthful(r)
				s.a.Library = s.lib
				s.finishAll(t)
			})
		}
	}
}

// finishAll goes on until everything is archived, and checks tapes and ledger.
func (s *site) finishAll(t *testing.T) {
	t.Helper()
	owner, err := archiver.ThisProcess()
	must(t, err)
	jobs, err := s.a.Unfinished(t.Context())
	must(t, err)
	for _, j := range jobs {
		r, err := s.a.Resume(t.Context(), j, owner, nil, false)
		if err != nil {
			t.Fatalf("going on: %v", err)
		}
		s.truthful(r)
	}
	if _, err := s.run(); err != nil && !errors.Is(err, archiver.ErrNothingQueued) {
		t.Fatal(err)
	}
	s.drivesEmpty()
	s.close()
	s.checkAll()
}

// A drive that hangs ends with the context, and holds up nothing else.
func TestHang(t *testing.T) {
	for _, op := range []fault.Op{fault.WriteRecord, fault.Flush, fault.Locate} {
		t.Run(string(op), func(t *testing.T) {
			s := newFaultSite(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s.a.Library = fault.New(t, fault.Fault{Op: op, Drive: 1, Do: cancel, Hang: true}).Library(s.lib)
			owner, err := archiver.ThisProcess()
			must(t, err)
			r, err := s.a.Run(ctx, owner, nil)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the error is %v", err)
			}
			s.truthful(r)
			s.a.Library = s.lib
			s.finishAll(t)
		})
	}
}

// A drive that was reset behind everybody's back stands at the beginning, and flushes nothing with success.
func TestSilentReset(t *testing.T) {
	for drive := range 2 {
		s := newFaultSite(t)
		s.a.Library = fault.New(t, fault.Fault{Op: fault.Flush, Drive: drive, Call: 2, Reset: true}).Library(s.lib)
		r, err := s.run()
		var position *stream.PositionError
		if !errors.As(err, &position) || position.Got != 0 {
			t.Fatalf("the error is %v", err)
		}
		if r.Archived == 0 || r.Archived > 4 {
			t.Errorf("%d items have flushed copies", r.Archived)
		}
		s.truthful(r)
		s.a.Library = s.lib
		s.finishAll(t)
	}
}

// image is a cartridge's file.
func (s *site) image(barcode string) string {
	return filepath.Join(s.dir, "tapes", barcode+".tap")
}

// One byte of an item's data, changed on either tape before it is read back, is found by a full check; nothing on that
// tape counts until a later full check is good.
func TestOneByte(t *testing.T) {
	for _, barcode := range []string{"PAPR1001", "PAPR2001"} {
		t.Run(barcode, func(t *testing.T) {
			s := newFaultSite(t)
			s.a.Sample = 1
			flip := func() {
				data, err := os.ReadFile(s.image(barcode))
				must(t, err)
				what := pattern(5, 1_000_000)[5000:5020]
				at := bytes.Index(data, what)
				if at < 0 { // it was changed already: change it back
					what[0] ^= 1
					at = bytes.Index(data, what)
				}
				if at < 0 {
					t.Fatal("the byte to change is not on the tape")
				}
				data[at] ^= 1
				must(t, os.WriteFile(s.image(barcode), data, 0o644))
			}
			s.a.Events = onStep{ledger.Verifying, flip}
			r, err := s.run()
			var mismatch *archiver.MismatchError
			if !errors.As(err, &mismatch) || fmt.Sprint(mismatch.Barcodes) != "["+barcode+"]" {
				t.Fatalf("the error is %v", err)
			}
			for _, v := range r.Tapes {
				if v.Good == (v.Barcode == barcode) {
					t.Errorf("%s: good %t", v.Barcode, v.Good)
				}
				if v.Barcode == barcode && !strings.Contains(v.String(), "/obs/zen.0005.uv/visdata") {
					t.Errorf("the report does not name the member:\n%s", v)
				}
			}
			if got := s.states(); got[ledger.Written] != 8 {
				t.Errorf("the states are %v", got)
			}
			s.truthful(r)
			s.drivesEmpty()
			s.a.Events = event.Discard
			flip()
			_, err = s.a.VerifyTapes(t.Context(), []string{barcode})
			must(t, err)
			if got := s.states(); got[ledger.Deletable] != 8 {
				t.Errorf("after a good full check the states are %v", got)
			}
		})
	}
}

// Two cartridges in each other's place are named as such.
func TestSwappedTapes(t *testing.T) {
	s := newFaultSite(t)
	s.a.Events = onStep{ledger.Verifying, func() {
		one, two := s.image("PAPR1001"), s.image("PAPR2001")
		must(t, os.Rename(one, one+".x"))
		must(t, os.Rename(two, one))
		must(t, os.Rename(one+".x", two))
	}}
	r, err := s.run()
	var mismatch *archiver.MismatchError
	if !errors.As(err, &mismatch) || len(mismatch.Barcodes) != 2 {
		t.Fatalf("the error is %v", err)
	}
	for i, v := range r.Tapes {
		if text := v.String(); !strings.Contains(text, "swapped") || !strings.Contains(text, fmt.Sprintf("PAPR%d001", 2-i)) {
			t.Errorf("%s: the report says\n%s", v.Barcode, text)
		}
	}
	s.truthful(r)
	if got := s.states(); got[ledger.Written] != 8 {
		t.Errorf("the states are %v", got)
	}
}

// A bit that rots between the medium and the reader is found when what it lies in is read, and makes the check a full one.
func TestBitRot(t *testing.T) {
	s := newFaultSite(t)
	s.a.Library = fault.New(t, fault.Fault{Op: fault.ReadRecord, Drive: 0, Block: 50, Flip: 100, Always: true}).Library(s.lib)
	r, err := s.run()
	var mismatch *archiver.MismatchError
	if !errors.As(err, &mismatch) || !r.Tapes[0].Escalated || r.Tapes[0].BytesRead > r.Tapes[0].BytesTotal || !r.Tapes[1].Good {
		t.Fatalf("%v\n%v", err, r.Tapes[0])
	}
	s.truthful(r)
}

// Sources that change while they are read fail their items alone.
func TestSourceFaults(t *testing.T) {
	for name, spoil := range map[string]func(s *site, dir string){
		"vanished":    func(s *site, dir string) { must(t, os.RemoveAll(dir)) },
		"member gone": func(s *site, dir string) { must(t, os.Remove(filepath.Join(dir, "flags"))) },
		"shrank":      func(s *site, dir string) { must(t, os.Truncate(filepath.Join(dir, "visdata"), 10)) },
		"grew":        func(s *site, dir string) { must(t, os.Truncate(filepath.Join(dir, "visdata"), 2_000_000)) },
		"touched": func(s *site, dir string) {
			must(t, os.Chtimes(filepath.Join(dir, "header"), time.Time{}, time.Unix(1, 1)))
		},
		"attributes":     func(s *site, dir string) { must(t, os.Chmod(filepath.Join(dir, "header"), 0o600)) },
		"member added":   func(s *site, dir string) { must(t, os.WriteFile(filepath.Join(dir, "new"), nil, 0o644)) },
		"member renamed": func(s *site, dir string) { must(t, os.Rename(filepath.Join(dir, "flags"), filepath.Join(dir, "flag"))) },
		"empty one grew": func(s *site, dir string) { must(t, os.WriteFile(filepath.Join(dir, "flags"), []byte("x"), 0o644)) },
		"other type": func(s *site, dir string) {
			must(t, os.Remove(filepath.Join(dir, "flags")))
			must(t, os.Mkdir(filepath.Join(dir, "flags"), 0o755))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFaultSite(t)
			s.a.Events = onStep{ledger.Writing, func() { spoil(s, filepath.Join(s.data, "obs/zen.0006.uv")) }}
			r, err := s.run()
			must(t, err)
			if r.Archived != 7 || len(r.Failed) != 1 || r.Failed[0].Path != "/obs/zen.0006.uv" || !r.Good() {
				t.Fatalf("the report is %+v", r)
			}
			if got := s.states(); got[ledger.Failed] != 1 || got[ledger.Archived]+got[ledger.Deletable] != 7 {
				t.Errorf("the states are %v", got)
			}
			s.truthful(r)
		})
	}
}
