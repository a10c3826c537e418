package archiver_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"twintape/archiver"
	"twintape/internal/fault"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// put writes records onto a cartridge, nil is a filemark, behind the job's back.
func (s *site) put(barcode string, records ...[]byte) {
	s.t.Helper()
	ctx := s.t.Context()
	elements, err := s.lib.Inventory(ctx)
	must(s.t, err)
	for _, e := range elements {
		if e.Barcode != barcode {
			continue
		}
		must(s.t, s.lib.Load(ctx, e.Number, 0))
		d, err := s.lib.OpenDrive(ctx, 0)
		must(s.t, err)
		_, err = d.Load(ctx)
		must(s.t, err)
		for _, r := range records {
			if r == nil {
				must(s.t, d.WriteFilemark(ctx))
			} else {
				must(s.t, d.WriteRecord(ctx, r))
			}
		}
		must(s.t, d.Unload(ctx))
		must(s.t, d.Close())
		must(s.t, s.lib.Unload(ctx, 0, e.Number))
		return
	}
	s.t.Fatalf("no cartridge %s", barcode)
}

// ustar is the header of a tar member; v7 one without a magic number.
func ustar(name string, v7 bool) []byte {
	b := make([]byte, 10240)
	copy(b, name)
	copy(b[100:], "0000644\x000000000\x000000000\x0000000000000\x0000000000000\x00        0")
	if !v7 {
		copy(b[257:], "ustar\x0000")
	}
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// What another program wrote is named, and never overwritten by itself.
func TestForeign(t *testing.T) {
	bacula := make([]byte, 64512)
	copy(bacula[12:], "BB02")
	for want, records := range map[string][][]byte{
		`a tape with an ANSI label (VOL1), volume "ABC123"`: {[]byte(fmt.Sprintf("VOL1%-76s", "ABC123"))},
		`an LTFS volume, "PAPR01"`:                          {[]byte(fmt.Sprintf("VOL1%-6s%-14s%-13s%-43s", "PAPR01", "L", "LTFS", "")), nil},
		`a volume of paper-dump, "## Paper dump catalog:4711 (version: 3 on 20131201-0203)"`: {
			append([]byte("## Paper dump catalog:4711 (version: 3 on 20131201-0203)\n## x\n"), make([]byte, 32<<10)...)},
		`a tar archive that begins with "zen.uv/visdata"`:                 {ustar("zen.uv/visdata", false), nil},
		`a tar archive that begins with "old.uv/visdata"`:                 {ustar("old.uv/visdata", true)},
		`a volume of Bacula or Bareos`:                                    {bacula},
		`a volume of Amanda, "AMANDA: TAPESTART DATE 20131201 TAPE X-01"`: {append([]byte("AMANDA: TAPESTART DATE 20131201 TAPE X-01\n"), make([]byte, 32<<10)...)},
		`a cpio archive`:                     {append([]byte("070701"), make([]byte, 506)...)},
		`data of an unknown kind`:            {[]byte("x")},
		`a filemark`:                         {nil},
		`records of more than 1048576 bytes`: {make([]byte, 1<<20+1)},
	} {
		s := newSite(t, 16<<20)
		s.file("a/f", []byte("data"))
		s.queue("pot1:/a")
		s.put("PAPR1001", records...)
		_, err := s.run()
		var foreign *archiver.ForeignError
		if !errors.As(err, &foreign) || foreign.Barcode != "PAPR1001" || !strings.Contains(err.Error(), "but holds "+want) || !archiver.NeedsHuman(err) {
			t.Errorf("%v\nwant %s", err, want)
		}
		what, err := s.a.Contents(t.Context(), "PAPR1001", false)
		if err != nil || !strings.HasPrefix(what, want) {
			t.Errorf("it holds %s, %v; want %s", what, err, want)
		}
		if _, err := s.run(); !errors.As(err, &foreign) {
			t.Errorf("looking let it be overwritten: %v", err)
		}
		what, err = s.a.Contents(t.Context(), "PAPR1001", true)
		if err != nil || !strings.HasPrefix(what, want) {
			t.Errorf("it holds %s, %v; want %s", what, err, want)
		}
		if r, err := s.run(); err != nil || r.Job.Tapes[0] != "PAPR1001" || !r.Good() {
			t.Errorf("overwriting %s: %+v, %v", want, r, err)
		}
	}
}

// Only what its owner has named may be overwritten.
func TestForeignChanged(t *testing.T) {
	s := newSite(t, 16<<20)
	s.file("a/f", []byte("data"))
	s.queue("pot1:/a")
	s.put("PAPR1001", []byte("old"))
	_, err := s.a.Contents(t.Context(), "PAPR1001", true)
	must(t, err)
	s.put("PAPR1001", []byte("new"))
	var foreign *archiver.ForeignError
	if _, err := s.run(); !errors.As(err, &foreign) {
		t.Errorf("what came after the permission was overwritten: %v", err)
	}
	if what, err := s.a.Contents(t.Context(), "PAPR2002", true); err != nil || what != "" {
		t.Errorf("a blank tape holds %q, %v", what, err)
	}
	s.put("PAPR2002", []byte("later"))
	must(t, s.a.Ledger.SetTapeState(t.Context(), "PAPR1001", ledger.TapeRetired, "x"))
	must(t, s.a.Ledger.SetTapeState(t.Context(), "PAPR2001", ledger.TapeRetired, "x"))
	if _, err := s.run(); !errors.As(err, &foreign) || foreign.Barcode != "PAPR2002" {
		t.Errorf("permission for a blank tape held for what came later: %v", err)
	}
}

// A job that fails before it wrote the label over what may be overwritten can be gone on with; a tape of a pair never is
// overwritten.
func TestForeignResumed(t *testing.T) {
	s := newSite(t, 16<<20)
	s.file("a/f", []byte("data"))
	s.queue("pot1:/a")
	s.put("PAPR1001", []byte("old"))
	_, err := s.a.Contents(t.Context(), "PAPR1001", true)
	must(t, err)
	s.a.Library = fault.New(t, fault.Fault{Op: fault.WriteRecord, Err: tape.Sense(4, 0x44, 0)}).Library(s.lib)
	if _, err := s.run(); err == nil {
		t.Fatal("a write that fails was not told")
	}
	s.a.Library = s.lib
	jobs, err := s.a.Unfinished(t.Context())
	if err != nil || len(jobs) != 1 {
		t.Fatal(jobs, err)
	}
	owner, err := archiver.ThisProcess()
	must(t, err)
	if r, err := s.a.Resume(t.Context(), jobs[0], owner, nil, false); err != nil || !r.Good() {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := s.a.Contents(t.Context(), "PAPR1001", true); err == nil || !strings.Contains(err.Error(), "never overwritten") {
		t.Errorf("%v", err)
	}
	if what, err := s.a.Contents(t.Context(), "PAPR1001", false); err != nil || !strings.HasPrefix(what, "a twintape volume labelled PAPR1001") {
		t.Errorf("%s, %v", what, err)
	}
}
