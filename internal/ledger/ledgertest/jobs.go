package ledgertest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"twintape/internal/catalog"
	"twintape/internal/ledger"
)

func testTapes(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	for _, barcode := range []string{"PAPR2001", "PAPR1001"} {
		_, err := b.AddTape(b.ctx, ledger.Tape{Barcode: barcode, Serial: "S", Capacity: 1 << 40})
		b.must(err)
	}
	if _, err := b.AddTape(b.ctx, ledger.Tape{Barcode: "PAPR1001"}); !errors.Is(err, ledger.ErrDuplicate) || !strings.Contains(err.Error(), "PAPR1001") {
		t.Errorf("the same barcode again: %v", err)
	}
	if _, err := b.AddTape(b.ctx, ledger.Tape{}); err == nil {
		t.Error("a tape without barcode was added")
	}
	tapes, err := b.Tapes(b.ctx)
	b.must(err)
	if len(tapes) != 2 || tapes[0].Barcode != "PAPR1001" || tapes[1].Barcode != "PAPR2001" {
		t.Fatalf("tapes %+v", tapes)
	}
	if x := tapes[0]; x.State != ledger.TapeBlank || x.Serial != "S" || x.Capacity != 1<<40 || x.Added.IsZero() || !x.Written.IsZero() || x.Pair != "" {
		t.Errorf("added as %+v", x)
	}
	if _, err := b.Tape(b.ctx, "NONE"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("an unknown tape: %v", err)
	}
	b.must(b.SetTapeMedium(b.ctx, "PAPR1001", "S2", 7))
	b.must(b.SetTapeState(b.ctx, "PAPR1001", ledger.TapeSuspect, "write error"))
	x, err := b.Tape(b.ctx, "PAPR1001")
	b.must(err)
	if x.Serial != "S2" || x.Capacity != 7 || x.State != ledger.TapeSuspect || x.Why != "write error" {
		t.Errorf("changed to %+v", x)
	}
	if err := b.SetTapeState(b.ctx, "PAPR1001", ledger.TapeWritten, ""); err == nil {
		t.Error("a tape without a pair became written")
	}
	if err := b.SetTapeState(b.ctx, "PAPR1001", "odd", ""); err == nil {
		t.Error("a tape got an unknown state")
	}
	b.must(b.SetTapeState(b.ctx, "PAPR1001", ledger.TapeBlank, ""))
	r := b.run()
	if err := b.SetTapeState(b.ctx, r.barcodes[0], ledger.TapeBlank, ""); err == nil {
		t.Error("a tape of a pair became blank")
	}
}

func testJobs(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	j := b.job()
	if j.Step != ledger.Planning || j.Owner != (ledger.Owner{Machine: "m", Boot: "b", PID: 7, Start: 99}) || j.Sample != 0.25 || j.Began.IsZero() || !j.Ended.IsZero() || j.UUID == "" {
		t.Errorf("began as %+v", j)
	}
	b.must(b.SetStep(b.ctx, j.ID, ledger.Writing))
	if err := b.SetStep(b.ctx, j.ID, ledger.Done); err == nil {
		t.Error("SetStep ended a job")
	}
	second := b.job()
	b.must(b.FinishJob(b.ctx, j.ID, ledger.Stopped, "drive 0 failed"))
	got, err := b.Job(b.ctx, j.ID)
	b.must(err)
	if got.Step != ledger.Stopped || got.Reached != ledger.Writing || got.Reason != "drive 0 failed" || got.Ended.IsZero() {
		t.Errorf("ended as %+v", got)
	}
	for what, err := range map[string]error{
		"step":  b.SetStep(b.ctx, j.ID, ledger.Closing),
		"end":   b.FinishJob(b.ctx, j.ID, ledger.Done, ""),
		"claim": b.ClaimPair(b.ctx, j.ID, [2]string{"A", "B"}),
	} {
		if !errors.Is(err, ledger.ErrEnded) {
			t.Errorf("%s of an ended job: %v", what, err)
		}
	}
	if err := b.SetStep(b.ctx, 99, ledger.Writing); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("an unknown job: %v", err)
	}
	all, err := b.Jobs(b.ctx, 0)
	b.must(err)
	newest, err := b.Jobs(b.ctx, 1)
	b.must(err)
	live, err := b.LiveJobs(b.ctx)
	b.must(err)
	if len(all) != 2 || len(newest) != 1 || newest[0].ID != second.ID || len(live) != 1 || live[0].ID != second.ID {
		t.Errorf("all %+v, newest %+v, live %+v", all, newest, live)
	}
}

func testClaimPair(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	for _, barcode := range []string{"A", "B", "C"} {
		_, err := b.AddTape(b.ctx, ledger.Tape{Barcode: barcode})
		b.must(err)
	}
	first, second := b.job(), b.job()
	b.must(b.ClaimPair(b.ctx, first.ID, [2]string{"A", "B"}))
	if err := b.ClaimPair(b.ctx, second.ID, [2]string{"C", "B"}); !errors.Is(err, ledger.ErrClaimed) || !strings.Contains(err.Error(), fmt.Sprint("job ", first.ID)) {
		t.Errorf("a tape of another job: %v", err)
	}
	holder := func(barcode string) int64 {
		t.Helper()
		x, err := b.Tape(b.ctx, barcode)
		b.must(err)
		return x.Job
	}
	if holder("A") != first.ID || holder("C") != 0 {
		t.Errorf("A is held by job %d, C by job %d", holder("A"), holder("C"))
	}
	if err := b.ClaimPair(b.ctx, second.ID, [2]string{"C", "C"}); err == nil {
		t.Error("one tape became a pair")
	}
	if err := b.ClaimPair(b.ctx, second.ID, [2]string{"C", "NONE"}); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("an unknown tape: %v", err)
	}
	if _, err := b.StartSession(b.ctx, second.ID, newSession()); err == nil {
		t.Error("a session began without tapes")
	}
	b.must(b.SetTapeState(b.ctx, "C", ledger.TapeRetired, "worn"))
	b.must(b.FinishJob(b.ctx, first.ID, ledger.Stopped, "x"))
	if err := b.ClaimPair(b.ctx, second.ID, [2]string{"A", "C"}); !errors.Is(err, ledger.ErrNotBlank) {
		t.Errorf("a retired tape: %v", err)
	}
	b.must(b.ClaimPair(b.ctx, second.ID, [2]string{"B", "A"}))
}

func testSession(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	r := b.run()
	for side, barcode := range r.barcodes {
		x, err := b.Tape(b.ctx, barcode)
		b.must(err)
		if x.State != ledger.TapeWritten || x.Side != side+1 || x.Pair != r.session.Pair || x.UUID == "" || x.Written.IsZero() || x.RecordSize != RecordSize || x.Job != r.job.ID || x.Used != 0 {
			t.Errorf("side %d: %+v", side, x)
		}
	}
	got, err := b.Session(b.ctx, r.session.UUID)
	b.must(err)
	if got != r.session || got.Number != 1 || got.Record != 2 || got.Job != r.job.ID || !got.Closed.IsZero() {
		t.Errorf("session %+v, began as %+v", got, r.session)
	}
	j, err := b.Job(b.ctx, r.job.ID)
	b.must(err)
	if j.Session != r.session.UUID || j.Pair != r.session.Pair || j.Tapes != r.barcodes {
		t.Errorf("job %+v", j)
	}
	items := b.queue("/a")
	id, a := b.plan(r, items...)
	place := ledger.CatalogPlace{TapeFile: 2, Record: 1051, Records: 3, MD5: catalog.MD5{9}}
	closed := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	if err := b.CloseSession(b.ctx, r.session.ID, place, [2]int64{1055, 1055}, closed); err == nil {
		t.Error("a session was closed before its archive was flushed")
	}
	b.flush(r, id, a)
	b.must(b.CloseSession(b.ctx, r.session.ID, place, [2]int64{1055, 1055}, closed))
	if err := b.CloseSession(b.ctx, r.session.ID, place, [2]int64{1055, 1055}, closed); err == nil {
		t.Error("a session was closed twice")
	}
	all, err := b.Sessions(b.ctx, r.session.Pair)
	b.must(err)
	if len(all) != 1 || all[0].Catalog != place || !all[0].Closed.Equal(closed) {
		t.Errorf("closed as %+v", all)
	}
	x, err := b.Tape(b.ctx, r.barcodes[1])
	b.must(err)
	if want := int64(50+3) * RecordSize; x.Used != want {
		t.Errorf("%d bytes are used, want %d", x.Used, want)
	}
	if err := b.FinishJob(b.ctx, r.job.ID, ledger.Done, ""); err == nil {
		t.Error("a job that verified nothing is done")
	}
	b.must(b.SetStep(b.ctx, r.job.ID, ledger.Verifying))
	b.must(b.FinishJob(b.ctx, r.job.ID, ledger.Done, ""))
	if x, err = b.Tape(b.ctx, r.barcodes[0]); err != nil || x.Job != 0 || x.State != ledger.TapeWritten {
		t.Errorf("after the job: %+v, %v", x, err)
	}
	if _, err := b.Session(b.ctx, "none"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("an unknown session: %v", err)
	}
}
