package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"twintape/archiver"
	"twintape/internal/ledger"
	"twintape/verify"
)

func sampled(barcode string) *verify.Report {
	return &verify.Report{
		Barcode: barcode, Drive: "drive 0", Began: began, Ended: began.Add(40 * time.Second), Seed: 5, Sample: 0.25, Good: true,
		ItemsTotal: 8, ItemsRead: 2, BytesTotal: 16e9, BytesRead: 4e9, MissItem: 0.75, MissRun: 0.5, RunRecords: 128,
	}
}

func TestReport(t *testing.T) {
	r := &archiver.Report{
		Job: ledger.Job{ID: 7, Step: ledger.Done, Tapes: [2]string{"PAPR1001", "PAPR2001"}}, Archived: 8, Bytes: 15e9,
		Failed:  []archiver.FailedItem{{ID: 3, Host: "pot1", Path: "/a\n\xff", Reason: "it shrank\x1b[2J"}},
		Waiting: true, Written: 100 * time.Second, Verified: 41 * time.Second,
		Tapes: []*verify.Report{sampled("PAPR1001"), sampled("PAPR2001")},
	}
	tape := func(barcode string) string {
		return barcode + ` on drive 0: GOOD
  read 2 of 8 items, 4 GB of 16 GB, in 40s (a sample of 25 %, seed 5)
  one damaged item would have been missed with a chance of 75 %, a damaged run of 128 records with 50 %
  read at 100 MB/s
`
	}
	want := `job 7: done, tapes PAPR1001 and PAPR2001
  8 items with 15 GB flushed onto both tapes, written in 1m40s (150 MB/s of data onto each)
  both tapes reloaded and read back at the same time, in 41s
` + tape("PAPR1001") + tape("PAPR2001") + `not archived, stays queued: "pot1:/a\n\xff": it shrank\x1b[2J
next: a sample was read; ` + "`twintape verify --full PAPR1001 PAPR2001`" + ` reads everything
next: mend what the failed items' reasons say, then ` + "`twintape archive` again; or `twintape queue rm`" + ` them
next: more items wait for the next pair: ` + "`twintape archive`" + ` again, or with --all
`
	var out bytes.Buffer
	if err := new(app).printReport(&out, r); err != nil || out.String() != want {
		t.Errorf("printed:\n%s\nwant:\n%s\n%v", out.String(), want, err)
	}

	// A tape that is bad, and one that could not be judged.
	r.Tapes[0].Good, r.Tapes[0].Mismatches = false, []verify.Mismatch{{Barcode: "PAPR1001", Reason: "the md5 differs"}}
	r.Tapes[1], r.Failed, r.Waiting = nil, nil, false
	out.Reset()
	if err := new(app).printReport(&out, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"PAPR1001 on drive 0: BAD", "the md5 differs", "next: keep the originals: no copy on PAPR1001 counts; look at drive and cartridge, then `twintape verify --full PAPR1001`\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "a sample was read") || strings.Contains(out.String(), "PAPR2001 on") {
		t.Errorf("too much is in:\n%s", out.String())
	}

	out.Reset()
	if err := (&app{json: true}).printReport(&out, r); err != nil || !strings.Contains(out.String(), `"good":false`) ||
		strings.Count(out.String(), "\n") != 1 {
		t.Errorf("as JSON: %s, %v", out.String(), err)
	}
}

// A report, and a tape's contents, of a job that went on with one tape say which one, and what the other does not hold.
func TestLostTape(t *testing.T) {
	r := &archiver.Report{
		Job: ledger.Job{ID: 7, Step: ledger.Done, Tapes: [2]string{"PAPR1001", "PAPR2001"}, Lost: 1}, Archived: 2, Single: 6, Bytes: 15e9,
		Lost: "PAPR1001", Verified: 41 * time.Second, Tapes: []*verify.Report{sampled("PAPR2001")},
	}
	var out bytes.Buffer
	if err := new(app).printReport(&out, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  2 items with 15 GB flushed onto both tapes\n  6 items on one tape alone: it went on without PAPR1001\n  the tape reloaded and read back, in 41s\n",
		"next: keep the originals: what has one copy needs a new twin in place of PAPR1001; `twintape copies` lists it\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}

	c := ledger.Contents{Tape: ledger.Tape{Barcode: "PAPR1001", Pair: "p", Side: 1, State: ledger.TapeSuspect, Why: "its drive failed", Diverged: true}}
	s := ledger.SessionContents{Session: ledger.Session{Number: 1, Closed: began, On: [2]bool{false, true}}}
	for n, on := range [][2]bool{{true, true}, {false, true}} {
		s.Archives = append(s.Archives, ledger.ArchiveContents{PlannedArchive: ledger.PlannedArchive{Number: n + 1, Flushed: true, On: on}})
	}
	c.Sessions = []ledger.SessionContents{s}
	out.Reset()
	printContents(&out, c, nil, false)
	for _, want := range []string{
		"because its drive failed; its twin does not hold the same\n", "its catalog is on the twin alone\n",
		"archive 1: tape file 0, records 0 to -1, 0 items, 0 B\n", "archive 2: tape file 0, records 0 to -1, 0 items, 0 B, on the twin alone\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
}
