package archiver_test

import (
	"errors"
	"testing"

	"twintape/archiver"
	"twintape/internal/fault"
	"twintape/internal/ledger"
)

// Recycled tapes are written over from their beginning, whatever they held, also when the first attempt to label them fails.
func TestRecycled(t *testing.T) {
	s := newSite(t, 4<<20)
	s.a.RecordSize, s.a.ArchiveSize, s.a.FlushBytes, s.a.Memory = 4096, 1<<20, 1<<20, 1<<20
	s.observations(6, 500_000)
	s.queue("pot1:/obs/zen.*.uv")
	first, err := s.run()
	must(t, err)
	for _, barcode := range first.Job.Tapes {
		if _, err := s.a.Ledger.Recycle(t.Context(), barcode, ""); !errors.Is(err, ledger.ErrLastCopy) {
			t.Errorf("%s: %v", barcode, err)
		}
		_, err := s.a.Ledger.Recycle(t.Context(), barcode, "a test")
		must(t, err)
	}
	s.queue("pot1:/obs/zen.*.uv")
	s.a.Library = fault.New(t, fault.Fault{Op: fault.WriteRecord, Drive: 1, Err: errBroken}).Library(s.lib)
	if _, err := s.run(); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	s.a.Library = s.lib
	owner, err := archiver.ThisProcess()
	must(t, err)
	jobs, err := s.a.Unfinished(t.Context())
	must(t, err)
	r, err := s.a.Resume(t.Context(), jobs[0], owner, nil, false)
	must(t, err)
	if r.Archived != 6 || !r.Good() || r.Job.Tapes != first.Job.Tapes {
		t.Errorf("the report is %+v", r)
	}
	s.truthful(r)
	s.close()
	s.audit(true)
}
