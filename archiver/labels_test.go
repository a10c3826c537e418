package archiver_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"twintape/archiver"
	"twintape/internal/ledger"
)

// contested is a list of labels of which others take some when they are reserved for the nth time.
type contested struct {
	barred map[string]string
	takes  map[int]string // by the number of the call of Reserve: what another has taken just before
	calls  int
	away   error
}

func (c *contested) Barred(context.Context, []string) (map[string]string, error) {
	return c.barred, c.away
}

func (c *contested) Reserve(_ context.Context, barcodes ...string) error {
	c.calls++
	if lost := c.takes[c.calls]; lost != "" {
		c.barred[lost] = "somebody took it"
	}
	for _, b := range barcodes {
		if why := c.barred[b]; why != "" {
			return &archiver.TakenError{Barcode: b, Why: why}
		}
	}
	return c.away
}

// TestLabels loses labels to others before and after the tapes are loaded: each time the next tape of that side is begun.
func TestLabels(t *testing.T) {
	s := newSite(t, 64<<20)
	list := &contested{barred: map[string]string{"PAPR1001": "unknown"}, takes: map[int]string{1: "PAPR2001", 3: "PAPR1002"}}
	s.a.Labels = list
	s.observations(2, 1000)
	s.queue("pot1:/**/*.uv")
	plan, err := s.a.DryRun(t.Context())
	if err != nil || plan.Tapes != [2]string{"PAPR1002", "PAPR2001"} || list.calls != 0 {
		t.Fatalf("the plan is for %v, %v", plan.Tapes, err)
	}
	r, err := s.run()
	if err != nil || r.Archived != 2 || r.Job.Tapes != [2]string{"PAPR1003", "PAPR2002"} || list.calls != 5 {
		t.Fatalf("%+v after %d reservations, %v", r, list.calls, err)
	}
	jobs, err := s.a.Ledger.Jobs(t.Context(), 0)
	must(t, err)
	if len(jobs) != 3 || jobs[2].Step != ledger.Aborted || !strings.Contains(jobs[2].Reason, "tape PAPR2001 must not be begun: somebody took it") ||
		jobs[1].Step != ledger.Aborted || !strings.Contains(jobs[1].Reason, "PAPR1002") {
		t.Errorf("the jobs are %+v", jobs)
	}
	for barcode, want := range map[string]ledger.TapeState{"PAPR1001": ledger.TapeBlank, "PAPR1002": ledger.TapeBlank, "PAPR2001": ledger.TapeBlank, "PAPR1003": ledger.TapeWritten} {
		tape, err := s.a.Ledger.Tape(t.Context(), barcode)
		must(t, err)
		if tape.State != want || tape.Job != 0 {
			t.Errorf("%s is %s, held by job %d", barcode, tape.State, tape.Job)
		}
	}
	s.truthful(r)

	// A pair with room needs no list; a new one does.
	list.away = errors.New("the list is away")
	s.file("more.uv/visdata", []byte("x"))
	s.queue("pot1:/more.uv")
	if r, err := s.run(); err != nil || r.Archived != 1 {
		t.Errorf("onto the same pair: %+v, %v", r, err)
	}
	must(t, s.a.Ledger.SetFull(t.Context(), r.Job.Pair))
	s.file("again.uv/visdata", []byte("x"))
	s.queue("pot1:/again.uv")
	if _, err := s.run(); !errors.Is(err, list.away) {
		t.Errorf("without the list: %v", err)
	}
	list.away = nil
	var none *archiver.NoTapeError
	if _, err := s.run(); !errors.As(err, &none) || !strings.Contains(err.Error(), "2 blank tapes are in the library, but none of them may be begun; of the last: somebody took it") {
		t.Errorf("all are taken: %v", err)
	}
}
