package ledgertest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"twintape/internal/ledger"
)

// closed ends a run: its session is closed on both tapes, its job is done.
func (b *bench) closed(r *run) {
	b.Helper()
	end := int64(r.archives)*1000 + 51
	b.must(b.CloseSession(b.ctx, r.session.ID, ledger.CatalogPlace{TapeFile: r.archives + 1, Record: end, Records: 3, Bytes: 9}, [2]int64{end + 4, end + 4}, time.Now()))
	b.must(b.FinishJob(b.ctx, r.job.ID, ledger.Stopped, "x"))
	// A job goes to its end by steps; this one is ended by its operator.
	j, err := b.Job(b.ctx, r.job.ID)
	b.must(err)
	_, err = b.Reopen(b.ctx, j, j.Owner)
	b.must(err)
	b.must(b.FinishJob(b.ctx, r.job.ID, ledger.Aborted, "x"))
}

// ends is up to where a new twin of a run's tapes holds its session.
func (r *run) ends() map[int64]int64 {
	return map[int64]int64{r.session.ID: int64(r.archives)*1000 + 55}
}

func (b *bench) blank(barcode string) {
	b.Helper()
	_, err := b.AddTape(b.ctx, ledger.Tape{Barcode: barcode, Capacity: 1 << 40})
	b.must(err)
}

func testTwins(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	items := b.queue("/a", "/b")
	r := b.written(items...)
	b.blank("NEW")
	begin := ledger.NewTwin{Source: r.barcodes[0], Target: "NEW", UUID: uuid.NewString(), Why: "being made"}
	if _, err := b.BeginTwin(b.ctx, begin); !errors.Is(err, ledger.ErrClaimed) {
		t.Errorf("of a tape that a job holds: %v", err)
	}
	b.must(b.FinishJob(b.ctx, r.job.ID, ledger.Stopped, "x"))
	if _, err := b.BeginTwin(b.ctx, begin); err == nil || !strings.Contains(err.Error(), "is not finished") {
		t.Errorf("of a pair with a stopped job: %v", err)
	}
	j, err := b.Job(b.ctx, r.job.ID)
	b.must(err)
	_, err = b.Reopen(b.ctx, j, j.Owner)
	b.must(err)
	b.closed(r)
	b.verified(r, 0, 1, true, items...)
	b.verified(r, 1, 1, true, items...)

	target, err := b.BeginTwin(b.ctx, begin)
	b.must(err)
	if target.State != ledger.TapeCopying || target.UUID != begin.UUID || target.Twin != r.barcodes[0] || target.Pair != "" || !target.GivenUp(begin.UUID) {
		t.Errorf("the target is %+v", target)
	}
	// It is begun again: what was written before may be overwritten too.
	first := begin.UUID
	begin.UUID = uuid.NewString()
	target, err = b.BeginTwin(b.ctx, begin)
	b.must(err)
	if !target.GivenUp(begin.UUID) || !target.GivenUp(first) {
		t.Errorf("begun again the target is %+v", target)
	}
	bad := ledger.NewTwin{Source: r.barcodes[0], Target: r.barcodes[1], UUID: uuid.NewString()}
	if _, err := b.BeginTwin(b.ctx, bad); !errors.Is(err, ledger.ErrNotBlank) {
		t.Errorf("onto a tape in use: %v", err)
	}
	if err := b.ClearTape(b.ctx, "NEW"); err == nil {
		t.Error("half a twin is trusted")
	}
	b.states(ledger.Deletable, items...)

	v := verification(r, 0, 1, true, items...)
	v.Barcode, v.Job = "NEW", 0
	made := ledger.MadeTwin{Source: r.barcodes[0], Ends: r.ends(), Flushed: v.Began, Verification: v}
	made.Verification.Good = false
	if _, err := b.AdoptTwin(b.ctx, made); err == nil {
		t.Error("a bad twin is adopted")
	}
	made.Verification.Good = true
	replaced, err := b.AdoptTwin(b.ctx, made)
	b.must(err)
	if replaced.Barcode != r.barcodes[1] {
		t.Errorf("replaced is %+v", replaced)
	}
	b.states(ledger.Deletable, items...)
	for _, it := range items {
		if c := b.item(it.ID).Copies; len(c) != 2 || c[0].Barcode != r.barcodes[0] || c[1].Barcode != "NEW" || !c[1].Full || c[1].Record != c[0].Record {
			t.Errorf("%s has copies %+v", it.Path, c)
		}
	}
	now, err := b.Tape(b.ctx, "NEW")
	b.must(err)
	gone, err := b.Tape(b.ctx, r.barcodes[1])
	b.must(err)
	if now.State != ledger.TapeWritten || now.Side != 2 || now.Diverged || now.Used == 0 || gone.State != ledger.TapeRetired || gone.Pair != "" || gone.Used != 0 {
		t.Errorf("the tapes are %+v and %+v", now, gone)
	}
	if err := b.FailTwin(b.ctx, "NEW", "x"); err == nil {
		t.Error("a twin that was adopted failed")
	}
	if twin, err := b.Twin(b.ctx, "NEW"); err != nil || twin.Barcode != r.barcodes[0] {
		t.Errorf("its twin is %+v, %v", twin, err)
	}

	// One that fails is suspect, counts for nothing, and can be recycled.
	b.blank("FAILS")
	_, err = b.BeginTwin(b.ctx, ledger.NewTwin{Source: r.barcodes[0], Target: "FAILS", UUID: uuid.NewString()})
	b.must(err)
	b.must(b.FailTwin(b.ctx, "FAILS", "no good"))
	if tp, err := b.Tape(b.ctx, "FAILS"); err != nil || tp.State != ledger.TapeSuspect || tp.Why != "no good" {
		t.Errorf("the tape is %+v, %v", tp, err)
	}
	_, err = b.Recycle(b.ctx, "FAILS", "")
	b.must(err)
	b.states(ledger.Deletable, items...)
}

// What only the tape holds that is to be replaced is let go of by an override alone, and waits again then.
func testTwinsDiverged(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	both, one := b.queue("/both")[0], b.queue("/one")[0]
	r := b.written(both)
	id, a := b.plan(r, one)
	flush := flushOf(r, ledger.FlushedArchive{ID: id, Result: Written(a), CRCs: []byte{1, 2, 3, 4}})
	flush.Positions[0] = 0
	b.must(b.RecordFlush(b.ctx, flush))
	b.must(b.FinishJob(b.ctx, r.job.ID, ledger.Aborted, "x"))
	b.blank("NEW")
	begin := ledger.NewTwin{Source: r.barcodes[0], Target: "NEW", UUID: uuid.NewString()}
	if _, err := b.BeginTwin(b.ctx, begin); !errors.Is(err, ledger.ErrLastCopy) || !strings.Contains(err.Error(), r.barcodes[1]) {
		t.Errorf("the tape that holds more is to be replaced: %v", err)
	}
	begin.Forced = true
	_, err := b.BeginTwin(b.ctx, begin)
	b.must(err)
	v := verification(r, 0, 1, true, both)
	v.Barcode, v.Job = "NEW", 0
	made := ledger.MadeTwin{Source: r.barcodes[0], Ends: map[int64]int64{r.session.ID: 1051}, Flushed: v.Began, Verification: v}
	if _, err := b.AdoptTwin(b.ctx, made); !errors.Is(err, ledger.ErrLastCopy) {
		t.Errorf("the tape that holds more is replaced: %v", err)
	}
	made.Override = "obs"
	_, err = b.AdoptTwin(b.ctx, made)
	b.must(err)
	if it := b.item(one.ID); it.State != ledger.Failed || !strings.Contains(it.Error, r.barcodes[1]) || len(it.Copies) > 0 {
		t.Errorf("the item is %+v", it)
	}
	b.states(ledger.Written, both)
	log, err := b.Overrides(b.ctx, r.barcodes[1])
	b.must(err)
	if len(log) != 1 || log[0].Who != "obs" || !strings.Contains(log[0].What, "1 items") || log[0].At.IsZero() {
		t.Errorf("the overrides are %+v", log)
	}
}

func testRetire(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	items := b.queue("/a", "/b")
	r := b.written(items...)
	if err := b.Retire(b.ctx, r.barcodes[0], "x", ""); !errors.Is(err, ledger.ErrClaimed) {
		t.Errorf("a tape that a job holds is retired: %v", err)
	}
	b.closed(r)
	b.verified(r, 0, 1, true, items...)
	if err := b.Retire(b.ctx, r.barcodes[0], "x", ""); !errors.Is(err, ledger.ErrLastCopy) || !strings.Contains(err.Error(), "2 items") {
		t.Errorf("the only verified copies are retired: %v", err)
	}
	if err := b.Retire(b.ctx, r.barcodes[0], "x", ""); !errors.Is(err, ledger.ErrLastCopy) {
		t.Errorf("once more: %v", err)
	}
	// The other's copies were never verified, and can be done without.
	b.must(b.Retire(b.ctx, r.barcodes[1], "torn", ""))
	b.states(ledger.Written, items...)
	for _, it := range items {
		if c := b.item(it.ID).Copies[1]; !strings.Contains(c.Bad, "torn") {
			t.Errorf("the copy is %+v", c)
		}
	}
	// Found good in full they count again; the tape stays where it is.
	b.verified(r, 1, 1, true, items...)
	b.states(ledger.Deletable, items...)
	if tp, err := b.Tape(b.ctx, r.barcodes[1]); err != nil || tp.State != ledger.TapeRetired {
		t.Errorf("the tape is %+v, %v", tp, err)
	}
	for _, barcode := range r.barcodes {
		if err := b.Retire(b.ctx, barcode, "x", ""); !errors.Is(err, ledger.ErrLastCopy) {
			t.Errorf("one of two verified copies is retired: %v", err)
		}
		if _, err := b.Recycle(b.ctx, barcode, ""); !errors.Is(err, ledger.ErrLastCopy) {
			t.Errorf("one of two verified copies is recycled: %v", err)
		}
	}
	b.states(ledger.Deletable, items...)
	b.must(b.Retire(b.ctx, r.barcodes[0], "x", "obs"))
	b.states(ledger.Written, items...)
	b.blank("NEW")
	b.must(b.Retire(b.ctx, "NEW", "never", ""))
	if tp, err := b.Tape(b.ctx, "NEW"); err != nil || tp.State != ledger.TapeRetired {
		t.Errorf("the tape is %+v, %v", tp, err)
	}
	if _, err := b.Recycle(b.ctx, "NEW", ""); err == nil {
		t.Error("a tape that was never written is recycled")
	}
}

func testRecycle(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	items := b.queue("/a", "/b")
	r := b.written(items...)
	b.closed(r)
	b.verified(r, 0, 1, true, items...)
	b.verified(r, 1, 1, true, items...)
	before, err := b.Tape(b.ctx, r.barcodes[0])
	b.must(err)
	n, err := b.Recycle(b.ctx, r.barcodes[0], "obs")
	b.must(err)
	if n != 0 {
		t.Errorf("%d items are forgotten", n)
	}
	after, err := b.Tape(b.ctx, r.barcodes[0])
	b.must(err)
	if after.State != ledger.TapeBlank || after.Pair != "" || after.UUID != "" || after.Recycled != before.UUID || !after.GivenUp(before.UUID) || after.GivenUp("") || after.Used != 0 {
		t.Errorf("the tape is %+v", after)
	}
	b.states(ledger.Written, items...)
	if log, err := b.Overrides(b.ctx, r.barcodes[0]); err != nil || len(log) != 1 || log[0].Who != "obs" {
		t.Errorf("the overrides are %+v, %v", log, err)
	}
	if _, err := b.Recycle(b.ctx, r.barcodes[1], ""); !errors.Is(err, ledger.ErrLastCopy) {
		t.Errorf("the only copies are recycled: %v", err)
	}
	if n, err := b.Recycle(b.ctx, r.barcodes[1], "obs"); err != nil || n != 2 {
		t.Errorf("%d items are forgotten, %v", n, err)
	}
	if left := b.items(ledger.Filter{}); len(left) != 0 {
		t.Errorf("left are %+v", left)
	}
	// Both are written on, as a new pair.
	again := b.queue("/a")
	j := b.job()
	b.must(b.ClaimPair(b.ctx, j.ID, r.barcodes))
	s := newSession()
	if _, err := b.StartSession(b.ctx, j.ID, s); err != nil {
		t.Fatal(err)
	}
	tp, err := b.Tape(b.ctx, r.barcodes[0])
	b.must(err)
	if tp.UUID != s.TapeUUIDs[0] || !tp.GivenUp(before.UUID) || tp.GivenUp(tp.UUID) {
		t.Errorf("the tape is %+v", tp)
	}
	b.states(ledger.Queued, again...)
}
