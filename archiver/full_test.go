package archiver_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"twintape/archiver"
	"twintape/internal/event"
	"twintape/internal/fault"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// shortLibrary has a tape that takes less than its drive says: early warning comes at a block, the physical end later.
type shortLibrary struct {
	tape.Library
	drive              int
	warning, end       int64
	warnings, refusals *int
}

func (l shortLibrary) OpenDrive(ctx context.Context, number int) (tape.Drive, error) {
	d, err := l.Library.OpenDrive(ctx, number)
	if number != l.drive {
		return d, err
	}
	return &shortDrive{Drive: d, l: l}, err
}

type shortDrive struct {
	tape.Drive
	l      shortLibrary
	warned bool
}

func (d *shortDrive) WriteRecord(ctx context.Context, p []byte) error {
	at, err := d.Position(ctx)
	if err != nil {
		return err
	}
	switch {
	case at.Block >= d.l.end:
		*d.l.refusals++
		return tape.ErrEndOfMedium
	case at.Block >= d.l.warning && !d.warned:
		*d.l.warnings++
		d.warned = true
		return tape.ErrEarlyWarning
	}
	d.warned = false
	return d.Drive.WriteRecord(ctx, p)
}

// A tape that is full before its time closes the session on both behind the last archive that both hold; the rest goes to
// the next pair, and everything is archived once.
func TestFullTape(t *testing.T) {
	for name, c := range map[string]struct {
		drive        int
		warning, end int64
	}{
		"early warning on the first tape":  {0, 70, 200},
		"early warning on the second tape": {1, 70, 200},
		"hard end without a warning":       {1, 80, 80},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, 64<<20)
			s.observations(8, 1_000_000)
			s.a.ArchiveSize, s.a.FlushBytes = 1<<20, 2<<20
			s.queue("pot1:/obs/zen.*.uv")
			var warnings, refusals int
			s.a.Library = shortLibrary{s.lib, c.drive, c.warning, c.end, &warnings, &refusals}
			r, err := s.run()
			must(t, err)
			if r.Archived == 0 || r.Archived == 8 || !r.Waiting || !r.Good() || r.Job.Step != ledger.Done {
				t.Fatalf("the report is %+v", r)
			}
			if warnings+refusals == 0 {
				t.Error("the tape was never full")
			}
			first := r.Archived
			s.a.Library = s.lib
			if r, err = s.run(); err != nil || r.Archived != 8-first {
				t.Fatalf("the next pair took %d of %d items: %v", r.Archived, 8-first, err)
			}
			s.close()
			s.checkAll()
		})
	}
}

// A tape that takes not even what lies between two flushes archives nothing, and says what to do.
func TestTooShortTape(t *testing.T) {
	s := newSite(t, 64<<20)
	s.observations(4, 1_000_000)
	s.queue("pot1:/obs/zen.*.uv")
	var warnings, refusals int
	s.a.Library = shortLibrary{s.lib, 0, 20, 30, &warnings, &refusals}
	if r, err := s.run(); err == nil || r.Archived != 0 || r.Job.Step != ledger.Aborted {
		t.Fatalf("%+v: %v", r, err)
	}
	if got := s.states(); got[ledger.Queued] != 4 {
		t.Errorf("the states are %v", got)
	}
	s.a.Library = s.lib
	if r, err := s.run(); err != nil || r.Archived != 4 || r.Job.Tapes[0] != "PAPR1002" {
		t.Fatalf("the next pair: %+v: %v", r, err)
	}
}

// stopper closes a channel at the first flush, as an operator's Ctrl-C would.
type stopper struct {
	stop chan struct{}
	once sync.Once
}

func (s *stopper) Emit(e event.Event) {
	if _, ok := e.(event.Flushed); ok {
		s.once.Do(func() { close(s.stop) })
	}
}

// A job that the operator stopped is closed properly at a border, or not begun; resume does what is left of it.
func TestResumeStopped(t *testing.T) {
	for name, early := range map[string]bool{"before anything was flushed": true, "in the middle": false} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, 64<<20)
			s.observations(8, 2_000_000)
			s.a.ArchiveSize, s.a.FlushBytes, s.a.Memory = 1<<20, 1<<20, 1<<20
			s.queue("pot1:/obs/zen.*.uv")
			stop := make(chan struct{})
			if early {
				close(stop)
			} else {
				s.a.Events = &stopper{stop: stop}
			}
			owner, err := archiver.ThisProcess()
			must(t, err)
			r, err := s.a.Run(t.Context(), owner, stop)
			if !errors.Is(err, archiver.ErrStopped) || r.Job.Step != ledger.Stopped || early != (r.Archived == 0) || r.Archived == 8 {
				t.Fatalf("%+v: %v", r, err)
			}
			s.a.Events = event.Discard
			jobs, err := s.a.Unfinished(t.Context())
			must(t, err)
			if len(jobs) != 1 {
				t.Fatalf("%d jobs are unfinished", len(jobs))
			}
			r, err = s.a.Resume(t.Context(), jobs[0], owner, nil, false)
			must(t, err)
			if r.Job.Step != ledger.Done || !r.Good() {
				t.Errorf("%+v", r)
			}
			if !early { // its session was closed: the rest is for the next pair
				_, err = s.run()
				must(t, err)
			}
			s.close()
			s.checkAll()
		})
	}
}

// A job that is stopped while its tapes are read back ends there; what it wrote is verified when it is gone on with.
func TestStopVerification(t *testing.T) {
	s := newFaultSite(t)
	stop := make(chan struct{})
	s.a.Library = fault.New(t, fault.Fault{Op: fault.ReadRecord, Drive: 1, Call: 8, Do: func() { close(stop) }, Hang: true}).Library(s.lib)
	owner, err := archiver.ThisProcess()
	must(t, err)
	r, err := s.a.Run(t.Context(), owner, stop)
	if !errors.Is(err, archiver.ErrStopped) || r.Job.Step != ledger.Stopped || r.Archived != 8 {
		t.Fatalf("%+v: %v", r, err)
	}
	s.truthful(r)
	s.drivesEmpty()
	s.a.Library, s.a.Events = s.lib, event.Discard
	s.finishAll(t)
}

// A pair that turns out to have no room for one more session is left, by a job that goes on as by a new one; the next pair
// takes what waits.
func TestResumeOntoFull(t *testing.T) {
	s := newMatrixSite(t, true)
	s.a.Library = fault.New(t, fault.Fault{Op: fault.Flush, Drive: 0, Err: errBroken}).Library(s.lib)
	r, err := s.run()
	if !errors.Is(err, errBroken) || r.Job.Step != ledger.Stopped {
		t.Fatalf("%+v: %v", r, err)
	}
	s.a.Library = fault.New(t, fault.Fault{Op: fault.WriteRecord, Drive: 0, Err: tape.ErrEarlyWarning}).Library(s.lib)
	owner, err := archiver.ThisProcess()
	must(t, err)
	r, err = s.a.Resume(t.Context(), r.Job, owner, nil, false)
	if err != nil || r.Job.Step != ledger.Aborted {
		t.Fatalf("%+v: %v", r, err)
	}
	s.truthful(r)
	s.a.Library = s.lib
	if r, err := s.run(); err != nil || r.Archived != matrixItems || r.Job.Tapes[0] != "PAPR1002" {
		t.Fatalf("the next pair: %+v: %v", r, err)
	}
	s.close()
	s.audit(true)
}

// A tape that was overwritten at its beginning is told, also if its twin was full just then.
func TestFullAndOverwritten(t *testing.T) {
	s := newMatrixSite(t, true)
	overwritten := make(chan struct{})
	s.a.Library = fault.New(t,
		fault.Fault{Op: fault.WriteRecord, Drive: 1, Reset: true},
		fault.Fault{Op: fault.WriteRecord, Drive: 1, Do: func() { close(overwritten) }, Hang: true},
		fault.Fault{Op: fault.WriteRecord, Drive: 0, Do: func() { <-overwritten }, Err: tape.ErrEarlyWarning},
	).Library(s.lib)
	r, err := s.run()
	if !archiver.NeedsHuman(err) {
		t.Errorf("the error is %v", err)
	}
	s.truthful(r)
	if tp, err := s.a.Ledger.Tape(t.Context(), "PAPR2001"); err != nil || tp.State != ledger.TapeSuspect {
		t.Errorf("the tape is %s, %v", tp.State, err)
	}
}

// A job that was to read everything back does so, whoever goes on with it.
func TestResumeFull(t *testing.T) {
	s := newFaultSite(t)
	s.a.Sample = 1
	s.a.Library = fault.New(t, fault.Fault{Op: fault.ReadRecord, Drive: 1, Call: 8, Err: errBroken}).Library(s.lib)
	r, err := s.run()
	if !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	s.a.Library, s.a.Sample = s.lib, 0.25
	owner, err := archiver.ThisProcess()
	must(t, err)
	if r, err = s.a.Resume(t.Context(), r.Job, owner, nil, false); err != nil || r.Tapes[0].Sample != 1 || r.Tapes[1].Sample != 1 {
		t.Fatalf("%+v: %v", r, err)
	}
	if got := s.states(); got[ledger.Deletable] != 8 {
		t.Errorf("the states are %v", got)
	}
}

// A further session whose catalog finds no room at all leaves the pair as it was; the next pair takes what waits, in the same run.
func TestNoRoomForCatalog(t *testing.T) {
	records := func(s *site, job ledger.Job) (n int) {
		session, err := s.a.Ledger.Session(t.Context(), job.Session)
		must(t, err)
		archives, err := s.a.Ledger.Archives(t.Context(), session.ID)
		must(t, err)
		for _, a := range archives {
			n += int(a.Records)
		}
		return n
	}
	plain := newMatrixSite(t, true)
	r, err := plain.run()
	must(t, err)
	s := newMatrixSite(t, true)
	s.a.Library = fault.New(t, fault.Fault{
		Op: fault.WriteRecord, Drive: 0, Call: records(plain, r.Job) + 1, Always: true, Err: tape.ErrEndOfMedium,
	}).Library(s.lib)
	// The drive takes nothing any more, so the next pair has no luck either; but it is tried.
	if r, err = s.run(); err == nil || r.Job.Tapes[0] != "PAPR1002" || r.Archived != 0 {
		t.Fatalf("%+v: %v", r, err)
	}
	s.truthful(r)
	s.a.Library = s.lib
	if r, err := s.again(); err != nil || r.Archived != matrixItems {
		t.Fatalf("%+v: %v", r, err)
	}
	s.close()
	s.audit(false)
}
