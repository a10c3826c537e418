package ledgertest

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"twintape/internal/catalog"
	"twintape/internal/ledger"
)

// close closes a run's session behind its archives, on the sides whose position is not 0, and ends its job.
func (b *bench) close(r *run, sides [2]bool) {
	b.Helper()
	record := int64(r.archives)*1000 + 51
	var positions [2]int64
	for side, on := range sides {
		if on {
			positions[side] = record + 4
		}
	}
	place := ledger.CatalogPlace{TapeFile: r.archives + 1, Record: record, Records: 3, MD5: catalog.MD5{9}}
	b.must(b.CloseSession(b.ctx, r.session.ID, place, positions, time.Now()))
	b.must(b.SetStep(b.ctx, r.job.ID, ledger.Verifying))
	b.must(b.FinishJob(b.ctx, r.job.ID, ledger.Done, ""))
}

// next begins a job that appends a session to a run's pair.
func (b *bench) next(r *run) *run {
	b.Helper()
	n := &run{job: b.job(), barcodes: r.barcodes, archives: r.archives}
	b.must(b.ClaimPair(b.ctx, n.job.ID, n.barcodes))
	s := newSession()
	s.PairUUID, s.Number, s.Record = r.session.Pair, r.session.Number+1, int64(r.archives)*1000+55
	var err error
	n.session, err = b.StartSession(b.ctx, n.job.ID, s)
	b.must(err)
	return n
}

func (b *bench) open() (out [][2]string) {
	b.Helper()
	pairs, err := b.OpenPairs(b.ctx)
	b.must(err)
	for _, p := range pairs {
		out = append(out, [2]string{p[0].Barcode, p[1].Barcode})
	}
	return out
}

func (b *bench) tape(barcode string) ledger.Tape {
	b.Helper()
	t, err := b.Tape(b.ctx, barcode)
	b.must(err)
	return t
}

// A pair takes further sessions while both tapes hold the same, are closed, in order and not full.
func testOpenPairs(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	items := b.queue("/a", "/b", "/c", "/d")
	r := b.written(items[0])
	if open := b.open(); open != nil {
		t.Errorf("open while a job holds it: %v", open)
	}
	b.must(b.FinishJob(b.ctx, r.job.ID, ledger.Stopped, "x"))
	if open := b.open(); open != nil {
		t.Errorf("open with a session that is not closed: %v", open)
	}
	row, err := b.Reopen(b.ctx, r.job, r.job.Owner)
	b.must(err)
	r.job = row
	b.close(r, [2]bool{true, true})
	if open := b.open(); !reflect.DeepEqual(open, [][2]string{r.barcodes}) {
		t.Fatalf("open are %v", open)
	}

	n := b.next(r)
	if n.session.Number != 2 || n.session.Pair != r.session.Pair || b.tape(r.barcodes[0]).UUID == "" {
		t.Errorf("appended %+v", n.session)
	}
	if err := b.ClaimPair(b.ctx, b.job().ID, n.barcodes); !errors.Is(err, ledger.ErrClaimed) {
		t.Errorf("claimed twice: %v", err)
	}
	id, a := b.plan(n, items[1])
	b.flush(n, id, a)
	b.close(n, [2]bool{true, true})
	used := b.tape(n.barcodes[0]).Used
	if want := int64(2*50+2*3) * RecordSize; used != want {
		t.Errorf("%d bytes are used, want %d", used, want)
	}

	other := b.run() // tapes of two pairs are none
	b.must(b.FinishJob(b.ctx, other.job.ID, ledger.Aborted, "x"))
	if err := b.ClaimPair(b.ctx, b.job().ID, [2]string{n.barcodes[0], other.barcodes[1]}); !errors.Is(err, ledger.ErrNotBlank) {
		t.Errorf("tapes of two pairs: %v", err)
	}
	if open := b.open(); !reflect.DeepEqual(open, [][2]string{r.barcodes, other.barcodes}) {
		t.Errorf("an aborted job that flushed nothing: open are %v", open)
	}
	if sessions, err := b.Sessions(b.ctx, other.session.Pair); err != nil || len(sessions) != 0 {
		t.Errorf("its sessions: %v, %v", sessions, err)
	}
	b.must(b.SetFull(b.ctx, other.session.Pair))
	if open := b.open(); len(open) != 1 || !b.tape(other.barcodes[1]).Full {
		t.Errorf("full: open are %v", open)
	}
	b.must(b.SetTapeState(b.ctx, r.barcodes[1], ledger.TapeSuspect, "x"))
	if open := b.open(); open != nil {
		t.Errorf("suspect: open are %v", open)
	}
	if err := b.ClaimPair(b.ctx, b.job().ID, r.barcodes); !errors.Is(err, ledger.ErrNotOpen) {
		t.Errorf("a suspect tape: %v", err)
	}
	b.must(b.ClearTape(b.ctx, r.barcodes[1]))
	if open := b.open(); len(open) != 1 {
		t.Errorf("trusted again: open are %v", open)
	}
	if err := b.SetFull(b.ctx, "none"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("an unknown pair: %v", err)
	}
}

// What a tape holds follows from its own flushes: the side that is lost gets no copies, no catalog and no use any more.
func testLostSide(t *testing.T, fresh Fresh) {
	for lost := range 2 {
		b := newBench(t, fresh)
		items := b.queue("/a", "/b", "/c")
		r := b.run()
		id1, a1 := b.plan(r, items[0])
		id2, a2 := b.plan(r, items[1])
		b.flush(r, id1, a1)
		b.must(b.LoseSide(b.ctx, r.job.ID, lost+1, "the drive broke"))
		if err := b.LoseSide(b.ctx, r.job.ID, 2-lost, "the other too"); err == nil {
			t.Error("both sides were lost")
		}
		f := flushOf(r, ledger.FlushedArchive{ID: id2, Result: Written(a2), CRCs: []byte{1, 2, 3, 4}})
		f.Positions[lost] = 0
		b.must(b.RecordFlush(b.ctx, f))
		if j, err := b.Job(b.ctx, r.job.ID); err != nil || j.Lost != lost+1 {
			t.Errorf("job %+v, %v", j, err)
		}
		one, two := b.item(items[0].ID), b.item(items[1].ID)
		if len(one.Copies) != 2 || len(two.Copies) != 1 || two.Copies[0].Barcode != r.barcodes[1-lost] {
			t.Errorf("copies %+v and %+v", one.Copies, two.Copies)
		}
		archives, err := b.Archives(b.ctx, r.session.ID)
		b.must(err)
		want := [2]bool{true, true}
		if archives[0].On != want || !archives[1].Flushed || archives[1].On[lost] || !archives[1].On[1-lost] {
			t.Errorf("archives %+v", archives)
		}
		// Its process dies, and another goes on with the one tape.
		now := ledger.Owner{Machine: "m", Boot: "b", PID: 8, Start: 1}
		r.job, err = b.Reopen(b.ctx, r.job, now)
		b.must(err)
		if b.tape(r.barcodes[lost]).Job != 0 || b.tape(r.barcodes[1-lost]).Job != r.job.ID {
			t.Error("the lost tape was claimed, or the other one was not")
		}
		on := want
		on[lost] = false
		b.close(r, on)
		s, err := b.Session(b.ctx, r.session.UUID)
		b.must(err)
		if s.On != on || s.Closed.IsZero() {
			t.Errorf("closed as %+v", s)
		}
		good, bad := b.tape(r.barcodes[1-lost]), b.tape(r.barcodes[lost])
		if !good.Diverged || !bad.Diverged || bad.State != ledger.TapeSuspect || bad.Used != 50*RecordSize || good.Used != (50+50+3)*RecordSize {
			t.Errorf("tapes %+v and %+v", good, bad)
		}
		for side := range 2 {
			n := 0
			for _, err := range b.Entries(b.ctx, r.session.ID, side+1) {
				b.must(err)
				n++
			}
			if want := map[bool]int{true: 1, false: 2}[side == lost]; n != want {
				t.Errorf("%d archives are on side %d, want %d", n, side+1, want)
			}
		}
		b.verified(r, 1-lost, 1, true, one, two)
		b.states(ledger.Written, items[0], items[1])
		b.must(b.ClearTape(b.ctx, r.barcodes[lost]))
		if open := b.open(); open != nil {
			t.Errorf("tapes that differ are open: %v", open)
		}
		// A flush of nobody is none.
		if err := b.RecordFlush(b.ctx, ledger.Flush{Session: r.session.ID}); err == nil {
			t.Error("no tape was flushed, and it was recorded")
		}
	}
}

// Failures count against the drive and the tape until they are forgiven.
func testFaults(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	r := b.run()
	fault := func(side int, drive string, want ledger.Blame) {
		t.Helper()
		got, err := b.RecordFault(b.ctx, ledger.Fault{Job: r.job.ID, Barcode: r.barcodes[side], Drive: drive, What: "broke"})
		b.must(err)
		if got != want {
			t.Errorf("%s in drive %s: %+v, want %+v", r.barcodes[side], drive, got, want)
		}
	}
	fault(0, "D0", ledger.Blame{})
	fault(0, "D0", ledger.Blame{}) // the same two again prove nothing
	if last, err := b.LastFault(b.ctx, r.barcodes[0]); err != nil || last != "D0" {
		t.Errorf("the last fault was in %q, %v", last, err)
	}
	fault(1, "D0", ledger.Blame{DriveHeld: true})
	held, err := b.HeldDrives(b.ctx)
	b.must(err)
	if len(held) != 1 || held["D0"] == "" {
		t.Errorf("held are %v", held)
	}
	fault(1, "D1", ledger.Blame{TapeSuspect: true})
	if x := b.tape(r.barcodes[1]); x.State != ledger.TapeSuspect || x.Why == "" {
		t.Errorf("the tape is %+v", x)
	}
	b.must(b.ClearDrive(b.ctx, "D0"))
	if held, err := b.HeldDrives(b.ctx); err != nil || len(held) != 0 {
		t.Errorf("held are %v, %v", held, err)
	}
	b.must(b.ClearTape(b.ctx, r.barcodes[1]))
	if x := b.tape(r.barcodes[1]); x.State != ledger.TapeWritten || x.Why != "" {
		t.Errorf("the tape is %+v", x)
	}
	if last, err := b.LastFault(b.ctx, r.barcodes[1]); err != nil || last != "" {
		t.Errorf("a forgiven tape failed last in %q, %v", last, err)
	}
	fault(1, "D2", ledger.Blame{}) // from the beginning again
	faults, err := b.Faults(b.ctx)
	b.must(err)
	if len(faults) != 5 || faults[0].Drive != "D2" || !faults[0].OpenTape || faults[4].OpenDrive || !faults[4].OpenTape {
		t.Errorf("faults %+v", faults)
	}
	if err := b.ClearDrive(b.ctx, "D9"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("an unknown drive: %v", err)
	}
	if err := b.ClearTape(b.ctx, "none"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("an unknown tape: %v", err)
	}
}

// Items that no tape has undamaged wait again, until a tape reads well after all or they are planned anew.
func testDamaged(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	items := b.queue("/a", "/b", "/c")
	r := b.written(items...)
	check := func(side int, bad ...int) []ledger.Item {
		t.Helper()
		v := verification(r, side, 1, true, items...)
		if len(bad) > 0 {
			v.Good, v.Reason = false, "differs"
		}
		for _, i := range bad {
			v.Copies[i].Bad, v.Copies[i].Full = "its md5 differs", false
		}
		again, err := b.RecordVerification(b.ctx, v)
		b.must(err)
		return again
	}
	if again := check(0, 0, 1); len(again) != 0 {
		t.Errorf("waiting again with a good twin: %+v", again)
	}
	b.states(ledger.Written, items...)
	again := check(1, 1, 2)
	if len(again) != 1 || again[0].ID != items[1].ID {
		t.Fatalf("waiting again are %+v", again)
	}
	b.states(ledger.Failed, items[1])
	b.states(ledger.Written, items[0], items[2])
	for _, barcode := range r.barcodes {
		if b.tape(barcode).State != ledger.TapeSuspect {
			t.Errorf("tape %s is trusted", barcode)
		}
	}
	check(0)
	b.states(ledger.Written, items...)
	check(1)
	b.states(ledger.Deletable, items...)
	if b.tape(r.barcodes[0]).State != ledger.TapeWritten {
		t.Error("a tape that reads well is not trusted")
	}
	// Damaged for good: what is planned anew has no old copies, whatever is found of them later.
	check(0, 1)
	check(1, 1)
	n := b.run()
	id, a := b.plan(n, b.item(items[1].ID))
	if it := b.item(items[1].ID); it.State != ledger.Claimed || len(it.Copies) != 0 {
		t.Errorf("planned anew: %+v", it)
	}
	check(0)
	b.states(ledger.Claimed, items[1])
	b.flush(n, id, a)
	if it := b.item(items[1].ID); len(it.Copies) != 2 || it.Copies[0].Barcode != n.barcodes[0] {
		t.Errorf("archived anew: %+v", it)
	}
	// Doubt takes everything on a tape out of the count, and a full check brings it back.
	check(1)
	b.states(ledger.Deletable, items[0], items[2])
	b.must(b.Doubt(b.ctx, r.barcodes[0], "it was overwritten"))
	b.states(ledger.Written, items[0], items[2])
	b.verified(r, 0, 0.5, true, items[0], items[2])
	b.states(ledger.Written, items[0], items[2])
	check(0)
	b.states(ledger.Deletable, items[0], items[2])
}

// The last archive may be given up for the room that it takes.
func testGiveUp(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	items := b.queue("/a", "/b")
	r := b.run()
	id1, a1 := b.plan(r, items[0])
	id2, a2 := b.plan(r, items[1])
	if err := b.GiveUp(b.ctx, id2); err == nil {
		t.Error("gave up what was not flushed")
	}
	b.must(b.RecordFlush(b.ctx, flushOf(r, ledger.FlushedArchive{ID: id1, Result: Written(a1)}, ledger.FlushedArchive{ID: id2, Result: Written(a2)})))
	if err := b.GiveUp(b.ctx, id1); err == nil {
		t.Error("gave up an archive with another behind it")
	}
	b.must(b.GiveUp(b.ctx, id2))
	b.states(ledger.Written, items[0])
	b.states(ledger.Queued, items[1])
	archives, err := b.Archives(b.ctx, r.session.ID)
	b.must(err)
	if len(archives) != 1 || archives[0].On != [2]bool{true, true} || b.tape(r.barcodes[0]).Used != 50*RecordSize {
		t.Errorf("archives %+v, %d bytes used", archives, b.tape(r.barcodes[0]).Used)
	}
	r.archives = 1
	b.close(r, [2]bool{true, true})
	if err := b.GiveUp(b.ctx, id1); err == nil {
		t.Error("gave up an archive of a closed session")
	}
}

// The steps follow each other by one table, whoever asks.
func testSteps(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	steps := []ledger.Step{
		ledger.Planning, ledger.Labelling, ledger.Writing, ledger.Closing, ledger.Verifying,
		ledger.Done, ledger.Stopped, ledger.Aborted, ledger.Mismatch,
	}
	enter := func(job int64, s ledger.Step) error {
		if s.Ends() {
			return b.FinishJob(b.ctx, job, s, "x")
		}
		return b.SetStep(b.ctx, job, s)
	}
	// The shortest way to each step that a job can be in while it runs.
	for from, way := range map[ledger.Step][]ledger.Step{
		ledger.Planning: nil, ledger.Labelling: {ledger.Labelling}, ledger.Writing: {ledger.Writing},
		ledger.Closing: {ledger.Closing}, ledger.Verifying: {ledger.Verifying},
	} {
		for _, to := range steps {
			j := b.job()
			for _, s := range way {
				b.must(enter(j.ID, s))
			}
			if err := enter(j.ID, to); (err == nil) != to.MayFollow(from) {
				t.Errorf("from %s to %s: %v", from, to, err)
			}
		}
	}
	for _, end := range steps[5:] {
		r := b.run()
		b.must(b.SetStep(b.ctx, r.job.ID, ledger.Verifying))
		b.must(b.FinishJob(b.ctx, r.job.ID, end, "x"))
		for _, to := range steps {
			if err := enter(r.job.ID, to); !errors.Is(err, ledger.ErrEnded) {
				t.Errorf("%s after %s: %v", to, end, err)
			}
		}
		_, err := b.Reopen(b.ctx, r.job, r.job.Owner)
		if (err == nil) != ledger.Planning.MayFollow(end) {
			t.Errorf("begun again after %s: %v", end, err)
		}
	}
}
