package archiver_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"twintape/archiver"
	"twintape/internal/fault"
	"twintape/internal/ledger"
)

// Tapes are due in the order in which they were verified; only copies that were read whole are verified by a few items; a tape
// that is not in the library is not looked for.
func TestDue(t *testing.T) {
	s := newSite(t, 64<<20)
	s.observations(12, 100_000)
	s.queue("pot1:/obs/zen.*.uv")
	_, err := s.run()
	must(t, err)
	// As if it came from a scan: nothing is verified.
	for _, barcode := range []string{"PAPR1001", "PAPR2001"} {
		must(t, s.a.Ledger.Doubt(t.Context(), barcode, "a test"))
		must(t, s.a.Ledger.ClearTape(t.Context(), barcode))
	}
	s.a.Sample = 0.01
	due := func(most int, want ...string) {
		t.Helper()
		reports, err := s.a.VerifyDue(t.Context(), archiver.Scrub{Most: most, Limit: time.Hour})
		must(t, err)
		var got []string
		for _, r := range reports {
			got = append(got, r.Barcode)
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("read were %v, want %v", got, want)
		}
	}
	_, err = s.a.VerifyTapes(t.Context(), []string{"PAPR1001"})
	must(t, err)
	due(1, "PAPR2001")
	due(1, "PAPR1001")
	due(1, "PAPR2001")
	due(3, "PAPR1001", "PAPR2001")
	if got := s.states(); got[ledger.Written] != 12 { // bad copies are mended by a full check alone
		t.Errorf("the states are %v", got)
	}
	s.a.Sample = 1
	for _, barcode := range []string{"PAPR1001", "PAPR2001"} {
		_, err = s.a.VerifyTapes(t.Context(), []string{barcode})
		must(t, err)
	}
	s.a.Sample = 0.01
	due(1, "PAPR1001")
	if got := s.states(); got[ledger.Deletable] != 12 {
		t.Errorf("the states are %v", got)
	}
	must(t, s.a.Ledger.SetTapeState(t.Context(), "PAPR2001", ledger.TapeSuspect, "a test"))
	due(2, "PAPR1001")
}

// A tape that is read at the second attempt only is good; one that needs more and more of them is told before it is lost.
func TestWears(t *testing.T) {
	s := newSite(t, 64<<20)
	s.observations(6, 300_000)
	s.queue("pot1:/obs/zen.*.uv")
	_, err := s.run()
	must(t, err)
	must(t, s.a.Ledger.SetTapeState(t.Context(), "PAPR2001", ledger.TapeSuspect, "a test"))
	s.a.Sample = 0.9
	look := func(faults ...fault.Fault) error {
		t.Helper()
		s.a.Library = fault.New(t, faults...).Library(s.lib)
		reports, err := s.a.VerifyDue(t.Context(), archiver.Scrub{Most: 2, Limit: time.Hour})
		for _, r := range reports {
			if !r.Good {
				t.Errorf("%s is no good: %v", r.Barcode, r.Mismatches)
			}
		}
		return err
	}
	weak := func(call int) fault.Fault {
		return fault.Fault{Op: fault.ReadRecord, Drive: 0, Call: call, Err: errMedium}
	}
	var worn *archiver.WornError
	if err := look(weak(3)); !errors.As(err, &worn) || len(worn.Tapes) != 1 || !strings.Contains(err.Error(), "PAPR1001 wears out: 1 records") {
		t.Errorf("one record: %v", err)
	}
	must(t, look())
	if err := look(weak(3), weak(9)); !errors.As(err, &worn) || !strings.Contains(err.Error(), "2 records were read at the second attempt only, the time before 0") {
		t.Errorf("two records: %v", err)
	}
	history, err := s.a.Ledger.Verifications(t.Context(), "PAPR1001")
	must(t, err)
	if n := len(history); n != 4 || history[1].Retried != 1 || history[2].Retried != 0 || history[3].Retried != 2 {
		t.Errorf("the history is %+v", history)
	}
}
