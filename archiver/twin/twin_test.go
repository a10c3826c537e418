package twin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"twintape/archiver"
	"twintape/archiver/archivertest"
	"twintape/archiver/scan"
	"twintape/archiver/twin"
	"twintape/internal/audit"
	"twintape/internal/fault"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pair archives two sessions on the first pair, which then counts as full.
func pair(t *testing.T) *archivertest.Site {
	s := archivertest.New(t, 3, 64<<20)
	s.A.ArchiveSize, s.A.FlushBytes, s.A.RecordSize, s.A.Memory = 32<<10, 60<<10, 4096, 1<<20
	for session := range 2 {
		for i := range 5 {
			dir := fmt.Sprintf("obs/%d/%d", session, i)
			s.Fill(dir)
			s.File(dir+"/visdata", strings.Repeat(fmt.Sprintf("%d of %d\n", i, session), 3000))
		}
		s.Archive(fmt.Sprintf("pot1:/obs/%d/*", session))
	}
	return s
}

func copyOf(t *testing.T, s *archivertest.Site, source, target string) *twin.Report {
	t.Helper()
	r, err := twin.Copy(t.Context(), s.A, source, target, twin.Options{})
	must(t, err)
	return r
}

// check wants all items to be on two tapes, read in full, and the audit to find nothing.
func check(t *testing.T, s *archivertest.Site, tapes ...string) {
	t.Helper()
	n := 0
	for it, err := range s.A.Ledger.Items(t.Context(), ledger.Filter{}) {
		must(t, err)
		n++
		var on []string
		for _, c := range it.Copies {
			on = append(on, c.Barcode)
		}
		slices.Sort(on)
		if it.State != ledger.Deletable || !slices.Equal(on, tapes) {
			t.Errorf("%s is %s, on %v", it.Path, it.State, on)
		}
	}
	if n != 10 {
		t.Errorf("%d items", n)
	}
	inspect(t, s)
}

func inspect(t *testing.T, s *archivertest.Site) {
	t.Helper()
	a := audit.Site{Tapes: s.Tapes, Ledger: filepath.Join(s.Dir, "ledger.db"), Sources: map[string]string{"pot1": s.Data}, Ended: true}
	for _, wrong := range a.Check() {
		t.Error(wrong)
	}
	elements, err := s.A.Library.Changer().Inventory(t.Context())
	must(t, err)
	for _, e := range elements {
		if e.Kind == tape.Transfer && e.Full {
			t.Errorf("%s was left in drive %d", e.Barcode, e.Number)
		}
	}
}

// damage changes a byte of a cartridge's file behind some text, and says whether the text is there.
func damage(t *testing.T, s *archivertest.Site, barcode, what string) {
	t.Helper()
	name := filepath.Join(s.Tapes, barcode+".tap")
	data, err := os.ReadFile(name)
	must(t, err)
	at := bytes.Index(data, []byte(what))
	if at < 0 {
		t.Fatalf("%q is not on %s", what, barcode)
	}
	data[at+len(what)-1] ^= 1
	must(t, os.WriteFile(name, data, 0o644))
}

func tapeOf(t *testing.T, s *archivertest.Site, barcode string) ledger.Tape {
	t.Helper()
	tp, err := s.A.Ledger.Tape(t.Context(), barcode)
	must(t, err)
	return tp
}

// A tape of either side gets a new twin, which is written on with it, and is found by a scan in its place.
func TestCopy(t *testing.T) {
	for source, names := range map[string][3]string{"PAPR1001": {"PAPR2001", "PAPR2003", "PAPR1001"}, "PAPR2001": {"PAPR1001", "PAPR1003", "PAPR2001"}} {
		t.Run(source, func(t *testing.T) {
			s := pair(t)
			lost, target := names[0], names[1]
			must(t, os.WriteFile(filepath.Join(s.Tapes, lost+".tap"), nil, 0o644))
			r := copyOf(t, s, source, target)
			if r.Replaced != lost || !r.Verified.Good || len(r.Bad) > 0 || r.Bytes == 0 {
				t.Errorf("the report is %+v", r)
			}
			both := []string{source, target}
			slices.Sort(both)
			check(t, s, both...)
			gone, now := tapeOf(t, s, lost), tapeOf(t, s, target)
			if gone.State != ledger.TapeRetired || gone.Pair != "" || !strings.Contains(gone.Why, target) || now.State != ledger.TapeWritten || now.Diverged || now.Twin != source {
				t.Errorf("the tapes are %+v and %+v", gone, now)
			}
			s.File("more/visdata", "more")
			s.Archive("pot1:/more")
			jobs, err := s.A.Ledger.Jobs(t.Context(), 1)
			if err != nil || !slices.Contains(jobs[0].Tapes[:], target) || !slices.Contains(jobs[0].Tapes[:], source) {
				t.Errorf("the next job is %+v, %v", jobs, err)
			}
			inspect(t, s)
			s.A.Ledger, err = ledger.Create(t.Context(), filepath.Join(s.Dir, "second.db"))
			must(t, err)
			t.Cleanup(func() { s.A.Ledger.Close() })
			must(t, scan.Tapes(t.Context(), s.A, []string{"PAPR*"}, scan.Options{}, func(r *scan.Report) {
				if r.Err != nil || len(r.Added.Differences) > 0 {
					t.Errorf("scanned: %+v", r)
				}
			}))
			for it, err := range s.A.Ledger.Items(t.Context(), ledger.Filter{}) {
				must(t, err)
				if len(it.Copies) != 2 {
					t.Errorf("scanned: %s has %d copies", it.Path, len(it.Copies))
				}
			}
		})
	}
}

// Whatever of two damaged tapes one of them has makes one good tape; catalogs come from the ledger.
func TestTwoDamaged(t *testing.T) {
	s := pair(t)
	for barcode, places := range map[string][]string{
		"PAPR1001": {"0 of 0\n", "4 of 1\n", `{"line":"end"`, "tape: "},
		"PAPR2001": {"2 of 0\n", "3 of 1\n", "records.crc32c"},
	} {
		for _, place := range places {
			damage(t, s, barcode, place)
		}
	}
	var mismatch *archiver.MismatchError
	if _, err := s.A.VerifyTapes(t.Context(), []string{"PAPR1001", "PAPR2001"}); !errors.As(err, &mismatch) || len(mismatch.Barcodes) != 2 {
		t.Fatalf("the pair is verified: %v", err)
	}
	r := copyOf(t, s, "PAPR1001", "PAPR2002")
	if r.Bad["PAPR1001"] != 2 || r.Bad["PAPR2001"] != 1 || r.Replaced != "PAPR2001" {
		t.Errorf("the report is %+v", r)
	}
	if gone := tapeOf(t, s, "PAPR2001"); gone.State != ledger.TapeSuspect || gone.Pair != "" {
		t.Errorf("the replaced tape is %+v", gone)
	}
	for it, err := range s.A.Ledger.Items(t.Context(), ledger.Filter{}) {
		must(t, err)
		if it.State != ledger.Written || len(it.Copies) != 2 || !it.Copies[1].Full || it.Copies[0].Bad == "" || it.Error != "" {
			t.Errorf("%s is %+v", it.Path, it)
		}
	}
	inspect(t, s)
	// The other one too.
	r = copyOf(t, s, "PAPR2002", "PAPR1002")
	if r.Replaced != "PAPR1001" || len(r.Bad) > 0 {
		t.Errorf("the report is %+v", r)
	}
	check(t, s, "PAPR1002", "PAPR2002")
}

// A record that is damaged on both tapes cannot be had; one that is not, and whose tape is away, neither. The pair stays as it
// was, and the target can be begun again or given up.
func TestLostRecord(t *testing.T) {
	s := pair(t)
	damage(t, s, "PAPR1001", "2 of 0\n")
	damage(t, s, "PAPR2001", "2 of 0\n")
	fails := func() {
		t.Helper()
		_, err := twin.Copy(t.Context(), s.A, "PAPR1001", "PAPR2002", twin.Options{})
		var lost *twin.LostError
		if !errors.As(err, &lost) || !slices.Equal(lost.Items, []string{"pot1:/obs/0/2"}) {
			t.Fatalf("the error is %v", err)
		}
		for it, err := range s.A.Ledger.Items(t.Context(), ledger.Filter{}) {
			must(t, err)
			if it.State != ledger.Deletable || len(it.Copies) != 2 || it.Copies[0].Barcode != "PAPR1001" || it.Copies[1].Barcode != "PAPR2001" {
				t.Errorf("%s is %+v", it.Path, it)
			}
		}
		if tp := tapeOf(t, s, "PAPR2002"); tp.State != ledger.TapeCopying {
			t.Errorf("the target is %+v", tp)
		}
	}
	fails()
	damage(t, s, "PAPR2001", "2 of 0\v") // mended
	lib := s.A.Library
	s.A.Library = hiding{lib, "PAPR2001"}
	fails()
	s.A.Library = lib
	// No job takes the target meanwhile.
	s.File("more/visdata", "more")
	must(t, s.A.Ledger.SetFull(t.Context(), tapeOf(t, s, "PAPR1001").Pair))
	s.Archive("pot1:/more")
	if tp := tapeOf(t, s, "PAPR2003"); tp.State != ledger.TapeWritten {
		t.Errorf("the job's tape is %+v", tp)
	}
	r := copyOf(t, s, "PAPR1001", "PAPR2002")
	if r.Bad["PAPR1001"] != 1 || r.Replaced != "PAPR2001" {
		t.Errorf("the report is %+v", r)
	}
}

// A target that was given up is blank again, and may be overwritten by a job.
func TestGivenUp(t *testing.T) {
	s := pair(t)
	lib := s.A.Library
	s.A.Library = fault.New(t, fault.Fault{Op: fault.WriteRecord, Drive: 1, Block: 30, Err: &tape.SenseError{Key: 4, Text: "broken"}}).Library(lib)
	if _, err := twin.Copy(t.Context(), s.A, "PAPR1001", "PAPR2002", twin.Options{}); err == nil {
		t.Fatal("the drive did not fail")
	}
	s.A.Library = lib
	_, err := s.A.Ledger.Recycle(t.Context(), "PAPR2002", "")
	must(t, err)
	if tp := tapeOf(t, s, "PAPR2002"); tp.State != ledger.TapeBlank {
		t.Errorf("the target is %+v", tp)
	}
	must(t, s.A.Ledger.SetFull(t.Context(), tapeOf(t, s, "PAPR1001").Pair))
	s.File("more/visdata", "more")
	s.Archive("pot1:/more")
	if tp := tapeOf(t, s, "PAPR2002"); tp.State != ledger.TapeWritten || tp.Twin != "PAPR1002" {
		t.Errorf("the job's tape is %+v", tp)
	}
	inspect(t, s)
}

// A tape that does not give back what was written onto it becomes no twin.
func TestBadTarget(t *testing.T) {
	s := pair(t)
	lib := s.A.Library
	// Drive 0 reads the source first, the target after that.
	s.A.Library = fault.New(t, fault.Fault{Op: fault.Unload, Drive: 1, Do: func() { damage(t, s, "PAPR2002", "2 of 0\n") }}).Library(lib)
	r, err := twin.Copy(t.Context(), s.A, "PAPR1001", "PAPR2002", twin.Options{})
	var mismatch *archiver.MismatchError
	if !errors.As(err, &mismatch) || !slices.Equal(mismatch.Barcodes, []string{"PAPR2002"}) || r.Verified.Good || r.Replaced != "" {
		t.Errorf("%+v, %v", r, err)
	}
	s.A.Library = lib
	if tp := tapeOf(t, s, "PAPR2002"); tp.State != ledger.TapeSuspect || tp.Pair != "" {
		t.Errorf("the target is %+v", tp)
	}
	check(t, s, "PAPR1001", "PAPR2001")
}

// What must not be written is not.
func TestRefused(t *testing.T) {
	s := pair(t)
	refused := func(source, target, why string) {
		t.Helper()
		if _, err := twin.Copy(t.Context(), s.A, source, target, twin.Options{}); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s to %s: %v, want %q", source, target, err, why)
		}
	}
	refused("PAPR1001", "PAPR1002", "belongs to side 2, whose barcodes are like PAPR2*")
	refused("PAPR1001", "PAPR2001", "not a blank tape")
	refused("PAPR1002", "PAPR2002", "belongs to no pair")
	refused("NONE", "PAPR2002", "not in the ledger")
	refused("PAPR1001", "PAPR2009", "not in the ledger")
	// Somebody else's data is on it.
	must(t, os.WriteFile(filepath.Join(s.Tapes, "PAPR2002.tap"), []byte("\x04\x00\x00\x00data\x04\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff"), 0o644))
	refused("PAPR1001", "PAPR2002", "data of an unknown kind")
	if tp := tapeOf(t, s, "PAPR2002"); tp.State != ledger.TapeBlank {
		t.Errorf("then the target is %+v", tp)
	}
	check(t, s, "PAPR1001", "PAPR2001")
}

// hiding is a library in which a cartridge is not seen.
type hiding struct {
	tape.Library
	barcode string
}

func (h hiding) Changer() tape.Changer { return hidingChanger{h.Library.Changer(), h.barcode} }

type hidingChanger struct {
	tape.Changer
	barcode string
}

func (h hidingChanger) Inventory(ctx context.Context) ([]tape.Element, error) {
	elements, err := h.Changer.Inventory(ctx)
	return slices.DeleteFunc(elements, func(e tape.Element) bool { return e.Barcode == h.barcode }), err
}
