package archiver_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"twintape/archiver"
	"twintape/internal/event"
	"twintape/internal/fault"
	"twintape/internal/ledger"
	"twintape/internal/tape"
)

// A night's data goes behind the last night's, as long as there is room; each session is closed by its own catalog, and only
// what is new is read back.
func TestAppend(t *testing.T) {
	s := newMatrixSite(t, true)
	for night := range 3 {
		s.file(fmt.Sprintf("night%d/visdata", night), pattern(night, 30_000))
		s.queue(fmt.Sprintf("pot1:/night%d", night))
		r, err := s.run()
		must(t, err)
		if r.Job.Tapes != [2]string{"PAPR1001", "PAPR2001"} || !r.Good() {
			t.Fatalf("night %d: %+v", night, r)
		}
		if night == 0 && r.Archived != matrixItems+1 || night > 0 && (r.Archived != 1 || r.Tapes[0].ItemsTotal != 1) {
			t.Errorf("night %d: %d items archived, %d to read back", night, r.Archived, r.Tapes[0].ItemsTotal)
		}
	}
	contents, err := s.a.Ledger.Contents(t.Context(), "PAPR2001")
	must(t, err)
	if len(contents.Sessions) != 4 {
		t.Errorf("%d sessions are on the tape", len(contents.Sessions))
	}
	s.a.Sample = 1
	reports, err := s.a.VerifyTapes(t.Context(), []string{"PAPR1001", "PAPR2001"})
	must(t, err)
	for _, v := range reports {
		if v.ItemsRead != matrixItems+4 {
			t.Errorf("%s: %d items read", v.Barcode, v.ItemsRead)
		}
	}
	s.close()
	s.audit(true)
}

// What is not what the ledger says at the end of either tape is not written to: both cartridges stay as they are.
func TestAppendToDamaged(t *testing.T) {
	for name, damage := range map[string]func(data []byte) []byte{
		"another label": func(data []byte) []byte {
			return bytes.Replace(data, []byte("\nbarcode: PAPR"), []byte("\nbarcode: QAPR"), 1)
		},
		"a flipped bit in the last catalog": func(data []byte) []byte {
			data[bytes.LastIndex(data, []byte(`"line":"end"`))] ^= 1
			return data
		},
		"the last session is missing": func(data []byte) []byte {
			at := bytes.LastIndex(data, []byte("catalog.jsonl"))
			return data[:at-4000]
		},
		"nothing is on it": func([]byte) []byte { return nil },
		"something else is on it": func([]byte) []byte {
			return []byte("\x04\x00\x00\x00data\x04\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff")
		},
	} {
		for _, barcode := range []string{"PAPR1001", "PAPR2001"} {
			t.Run(name+", "+barcode, func(t *testing.T) {
				s := newMatrixSite(t, true)
				data, err := os.ReadFile(s.image(barcode))
				must(t, err)
				must(t, os.WriteFile(s.image(barcode), damage(data), 0o644))
				images := func() string {
					one, err := os.ReadFile(s.image("PAPR1001"))
					must(t, err)
					two, err := os.ReadFile(s.image("PAPR2001"))
					must(t, err)
					return md5Of(one) + md5Of(two)
				}
				before := images()
				r, err := s.run()
				var foreign *archiver.ForeignError
				if !errors.As(err, &foreign) || foreign.Barcode != barcode || !archiver.NeedsHuman(err) {
					t.Fatalf("the error is %v", err)
				}
				if images() != before {
					t.Error("a tape was written to")
				}
				s.truthful(r)
				s.drivesEmpty()
			})
		}
	}
}

// flip changes a byte of an item's data on a cartridge, or changes it back.
func (s *site) flip(barcode string, item int) {
	s.t.Helper()
	data, err := os.ReadFile(s.image(barcode))
	must(s.t, err)
	what := pattern(item, 40_000)[5000:5020]
	at := bytes.Index(data, what)
	if at < 0 { // it was changed already
		what[0] ^= 1
		at = bytes.Index(data, what)
	}
	if at < 0 {
		s.t.Fatalf("item %d is not on %s", item, barcode)
	}
	data[at] ^= 1
	must(s.t, os.WriteFile(s.image(barcode), data, 0o644))
}

// What is damaged on one tape is read on its twin, whatever the sample; items that are damaged on both wait again, and only
// those; nothing on a damaged tape counts, and neither tape is written to again by itself.
func TestDamagedTwins(t *testing.T) {
	for name, c := range map[string]struct {
		one, two []int // the items that are damaged on each tape
		again    []int
	}{
		"one tape":                   {one: []int{2}},
		"both, in different items":   {one: []int{2}, two: []int{4}},
		"both, in one item":          {one: []int{1, 3}, two: []int{3, 5}, again: []int{3}},
		"both, in everything":        {one: []int{0, 1, 2, 3, 4, 5}, two: []int{0, 1, 2, 3, 4, 5}, again: []int{0, 1, 2, 3, 4, 5}},
		"the second tape, two items": {two: []int{0, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newMatrixSite(t, false)
			s.a.Sample = 0.01 // one item of each archive, which is all of it here; so only one archive's worth is a sample
			s.a.Events = onStep{ledger.Verifying, func() {
				for _, i := range c.one {
					s.flip("PAPR1001", i)
				}
				for _, i := range c.two {
					s.flip("PAPR2001", i)
				}
			}}
			r, err := s.run()
			var mismatch *archiver.MismatchError
			if !errors.As(err, &mismatch) || r.Job.Step != ledger.Mismatch {
				t.Fatalf("%v: %+v", err, r)
			}
			if wrong := len(c.one) > 0 != slices.Contains(mismatch.Barcodes, "PAPR1001") || len(c.two) > 0 != slices.Contains(mismatch.Barcodes, "PAPR2001"); wrong {
				t.Errorf("damaged are %v", mismatch.Barcodes)
			}
			states := s.states()
			if states[ledger.Failed] != len(c.again) || states[ledger.Written] != matrixItems-len(c.again) {
				t.Errorf("the states are %v", states)
			}
			for _, i := range c.again {
				it, err := s.a.Ledger.ItemByPath(t.Context(), "pot1", fmt.Sprintf("/obs/zen.%04d.uv", i))
				must(t, err)
				if !strings.Contains(it.Error, "no copy of it is good") || !strings.Contains(it.Error, "PAPR1001") || !strings.Contains(it.Error, "PAPR2001") {
					t.Errorf("item %d waits because %q", i, it.Error)
				}
			}
			s.truthful(r)
			s.a.Events = event.Discard
			jobs, err := s.a.Unfinished(t.Context())
			must(t, err)
			if len(jobs) != 0 {
				t.Errorf("%d jobs are to be gone on with", len(jobs))
			}
			// What waits again goes onto other tapes.
			if len(c.again) > 0 {
				r, err := s.again()
				must(t, err)
				if r.Archived != len(c.again) || r.Job.Tapes[0] == "PAPR1001" {
					t.Errorf("then: %+v", r)
				}
			}
			// A tape that reads well again is trusted again.
			for _, i := range c.one {
				s.flip("PAPR1001", i)
			}
			s.a.Sample = 1
			_, err = s.a.VerifyTapes(t.Context(), []string{"PAPR1001"})
			must(t, err)
			if tp, err := s.a.Ledger.Tape(t.Context(), "PAPR1001"); err != nil || tp.State != ledger.TapeWritten {
				t.Errorf("the tape is %s, %v", tp.State, err)
			}
			s.close()
			s.audit(true)
		})
	}
}

// An item that was damaged on both tapes and written once more onto the same ones, because their owner trusted them, has the
// later copies: what is found of the earlier ones says nothing of them.
func TestWrittenOnceMore(t *testing.T) {
	s := newMatrixSite(t, false)
	s.a.Sample = 1
	spoil := func() {
		s.flip("PAPR1001", 3)
		s.flip("PAPR2001", 3)
	}
	s.a.Events = onStep{ledger.Verifying, spoil}
	_, err := s.run()
	var mismatch *archiver.MismatchError
	if !errors.As(err, &mismatch) {
		t.Fatal(err)
	}
	s.a.Events = event.Discard
	for _, barcode := range mismatch.Barcodes {
		must(t, s.a.Ledger.ClearTape(t.Context(), barcode))
	}
	if r, err := s.again(); err != nil || r.Archived != 1 || r.Job.Tapes[0] != "PAPR1001" {
		t.Fatalf("%+v: %v", r, err)
	}
	state := func(want ledger.ItemState) {
		t.Helper()
		it, err := s.a.Ledger.ItemByPath(t.Context(), "pot1", "/obs/zen.0003.uv")
		if err != nil || it.State != want {
			t.Errorf("the item is %s (%s), %v", it.State, it.Error, err)
		}
	}
	state(ledger.Deletable)
	if _, err := s.a.VerifyTapes(t.Context(), mismatch.Barcodes); !errors.As(err, &mismatch) {
		t.Fatalf("verified again: %v", err)
	}
	state(ledger.Written)
	s.close()
	s.audit(true)
}

// again runs as another process would, which tries failed items anew.
func (s *site) again() (*archiver.Report, error) {
	s.a = &archiver.Archiver{Settings: s.a.Settings, Namespace: s.a.Namespace, Library: s.a.Library, Ledger: s.a.Ledger, Events: s.a.Events}
	return s.run()
}

// A job goes on without a tape that was taken away, if its operator says so; without that it says what is missing.
func TestResumeSingle(t *testing.T) {
	for side, barcode := range []string{"PAPR1001", "PAPR2001"} {
		s := newFaultSite(t)
		s.a.Library = fault.New(t, fault.Fault{Op: fault.Flush, Drive: side, Call: 2, Err: errBroken}).Library(s.lib)
		if _, err := s.run(); !errors.Is(err, errBroken) {
			t.Fatal(err)
		}
		s.a.Library = s.lib
		must(t, s.lib.Transfer(t.Context(), s.element(barcode), tape.Element{Kind: tape.ImportExport, Number: 1}))
		owner, err := archiver.ThisProcess()
		must(t, err)
		jobs, err := s.a.Unfinished(t.Context())
		must(t, err)
		_, err = s.a.Resume(t.Context(), jobs[0], owner, nil, false)
		var absent *archiver.AbsentError
		if !errors.As(err, &absent) || absent.Barcode != barcode {
			t.Fatalf("the error is %v", err)
		}
		r, err := s.a.Resume(t.Context(), jobs[0], owner, nil, true)
		must(t, err)
		if r.Lost != barcode || r.Single == 0 || r.Job.Lost != side+1 || r.Good() || len(r.Tapes) != 1 || !r.Tapes[0].Good {
			t.Errorf("the report is %+v", r)
		}
		if got := s.states(); got[ledger.Written] != 8 {
			t.Errorf("the states are %v", got)
		}
		s.truthful(r)
		// The pair is not written to any more.
		s.file("later/visdata", pattern(1, 1000))
		s.queue("pot1:/later")
		if r, err := s.run(); err != nil || r.Job.Tapes[0] != "PAPR1002" {
			t.Errorf("the next night: %+v, %v", r, err)
		}
		s.close()
		s.audit(true)
	}
}

// A drive that was reset silently and wrote far on from the tape's beginning before it failed has destroyed what earlier
// sessions hold there, however far it came.
func TestFailedAndOverwritten(t *testing.T) {
	for _, single := range []bool{false, true} {
		t.Run(policy(single), func(t *testing.T) {
			s := newSite(t, 4<<20)
			s.a.RecordSize, s.a.ArchiveSize, s.a.FlushBytes, s.a.Memory, s.a.Single = 4096, 1<<20, 1<<20, 1<<20, single
			s.file("old/visdata", pattern(77, 10_000))
			s.queue("pot1:/old")
			_, err := s.run()
			must(t, err)
			s.file("new/visdata", pattern(78, 400_000))
			s.queue("pot1:/new")
			s.a.Library = fault.New(t,
				fault.Fault{Op: fault.WriteRecord, Drive: 1, Reset: true},
				fault.Fault{Op: fault.WriteRecord, Drive: 1, Call: 50, Err: errBroken},
			).Library(s.lib)
			r, err := s.run()
			if single && (err != nil || r.Lost != "PAPR2001") || !single && !archiver.NeedsHuman(err) {
				t.Fatalf("%+v: %v", r, err)
			}
			if it, err := s.a.Ledger.ItemByPath(t.Context(), "pot1", "/old"); err != nil || it.State != ledger.Written {
				t.Errorf("the earlier item is %s, %v", it.State, err)
			}
			s.truthful(r)
			s.close()
			s.audit(single)
		})
	}
}

// A job that has only its verification left uses no suspect tape either; its operator may let it go on without one that is
// suspect or missing.
func TestResumeVerification(t *testing.T) {
	for name, away := range map[string]bool{"suspect": false, "taken away": true} {
		t.Run(name, func(t *testing.T) {
			s := newFaultSite(t)
			s.a.Library = fault.New(t, fault.Fault{Op: fault.ReadRecord, Drive: 0, Call: 5, Err: errBroken}).Library(s.lib)
			r, err := s.run()
			if !errors.Is(err, errBroken) || r.Job.Reached != ledger.Verifying {
				t.Fatalf("%+v: %v", r, err)
			}
			owner, err := archiver.ThisProcess()
			must(t, err)
			s.a.Library = s.lib
			if away {
				must(t, s.lib.Transfer(t.Context(), s.element("PAPR1001"), tape.Element{Kind: tape.ImportExport, Number: 1}))
			} else {
				b, err := s.a.Ledger.RecordFault(t.Context(), ledger.Fault{Job: r.Job.ID, Barcode: "PAPR1001", Drive: "VIRTUAL0001", What: "again"})
				if err != nil || !b.TapeSuspect {
					t.Fatalf("%+v, %v", b, err)
				}
			}
			r, err = s.a.Resume(t.Context(), r.Job, owner, nil, false)
			var suspect *archiver.SuspectError
			var absent *archiver.AbsentError
			if away && !errors.As(err, &absent) || !away && !errors.As(err, &suspect) {
				t.Fatalf("gone on with it: %v", err)
			}
			if got := s.states(); got[ledger.Written] != 8 {
				t.Errorf("the states are %v", got)
			}
			r, err = s.a.Resume(t.Context(), r.Job, owner, nil, true)
			must(t, err)
			if r.Lost != "PAPR1001" || len(r.Tapes) != 1 || r.Tapes[0].Barcode != "PAPR2001" || !r.Tapes[0].Good || r.Job.Step != ledger.Done {
				t.Errorf("the report is %+v", r)
			}
			if got := s.states(); got[ledger.Written] != 8 {
				t.Errorf("the states are %v", got)
			}
			s.truthful(r)
			s.drivesEmpty()
			s.close()
			s.audit(true)
		})
	}
}

// element is where a cartridge lies.
func (s *site) element(barcode string) tape.Element {
	s.t.Helper()
	elements, err := s.lib.Inventory(s.t.Context())
	must(s.t, err)
	i := slices.IndexFunc(elements, func(e tape.Element) bool { return e.Barcode == barcode })
	if i < 0 {
		s.t.Fatalf("%s is not in the library", barcode)
	}
	return elements[i]
}

// A tape that fails is tried in another drive; in two drives it is suspect. A drive that fails with two tapes is held.
func TestBlame(t *testing.T) {
	t.Run("a tape", func(t *testing.T) {
		s := newFaultSite(t)
		// Wherever PAPR1001 lies, it fails: in drive 0 first, then in drive 1.
		s.a.Library = fault.New(t, fault.Fault{Op: fault.WriteRecord, Drive: 0, Block: 10, Err: errBroken}).Library(s.lib)
		_, err := s.run()
		if archiver.NeedsHuman(err) || !errors.Is(err, errBroken) {
			t.Fatalf("the first failure: %v", err)
		}
		s.a.Library = fault.New(t, fault.Fault{Op: fault.WriteRecord, Drive: 1, Block: 10, Err: errBroken}).Library(s.lib)
		owner, err := archiver.ThisProcess()
		must(t, err)
		jobs, err := s.a.Unfinished(t.Context())
		must(t, err)
		r, err := s.a.Resume(t.Context(), jobs[0], owner, nil, false)
		var suspect *archiver.SuspectError
		if !errors.As(err, &suspect) || suspect.What != "tape PAPR1001" {
			t.Fatalf("the second failure: %v", err)
		}
		s.truthful(r)
		s.a.Library = s.lib
		if _, err := s.a.Resume(t.Context(), r.Job, owner, nil, false); !errors.As(err, &suspect) {
			t.Errorf("gone on with a suspect tape: %v", err)
		}
		must(t, s.a.Ledger.ClearTape(t.Context(), "PAPR1001"))
		s.finishAll(t)
	})
	t.Run("a drive", func(t *testing.T) {
		s := newFaultSite(t)
		s.a.Library = fault.New(t, fault.Fault{Op: fault.WriteRecord, Drive: 1, Block: 10, Err: errBroken, Always: true}).Library(s.lib)
		_, err := s.run()
		if archiver.NeedsHuman(err) || !errors.Is(err, errBroken) {
			t.Fatalf("the first failure: %v", err)
		}
		owner, err := archiver.ThisProcess()
		must(t, err)
		jobs, err := s.a.Unfinished(t.Context())
		must(t, err)
		r, err := s.a.Resume(t.Context(), jobs[0], owner, nil, false) // the tapes are in each other's drive now
		var suspect *archiver.SuspectError
		if !errors.As(err, &suspect) || !strings.Contains(suspect.What, "drive") {
			t.Fatalf("the second failure: %v", err)
		}
		s.a.Library = s.lib
		var drives *archiver.DrivesError
		if _, err := s.a.Resume(t.Context(), r.Job, owner, nil, false); !errors.As(err, &drives) || drives.Have != 1 {
			t.Errorf("gone on with a held drive: %v", err)
		}
		must(t, s.a.Ledger.ClearDrive(t.Context(), "VIRTUAL0001"))
		s.finishAll(t)
	})
}
