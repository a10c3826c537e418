package archiver

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"twintape/internal/catalog"
	"twintape/internal/event"
	"twintape/internal/ledger"
	"twintape/verify"
)

// VerifyTapes reads tapes back as many at once as there are drives, each after a load, and records what was found. It
// judges only the tapes named. The error wraps a *MismatchError if one did not give back what was written.
func (a *Archiver) VerifyTapes(ctx context.Context, barcodes []string) (reports []*verify.Report, err error) {
	return a.verifyAll(ctx, barcodes, verify.Options{Sample: a.Sample})
}

func (a *Archiver) verifyAll(ctx context.Context, barcodes []string, o verify.Options) (reports []*verify.Report, err error) {
	for _, b := range barcodes {
		if _, err := a.expect(ctx, b, 0); err != nil {
			return nil, err
		}
	}
	for len(barcodes) > 0 {
		batch := barcodes[:min(len(barcodes), a.Library.Drives())]
		barcodes = barcodes[len(batch):]
		drives, err := a.PickDrives(ctx, batch)
		if err != nil {
			return reports, judged(reports, err)
		}
		loaded, err := Load(ctx, a.Library, batch, drives)
		if err != nil {
			return reports, judged(reports, err)
		}
		some, requeued, err := a.verifyLoaded(ctx, loaded, o, 0, 0)
		for _, it := range requeued {
			a.Events.Emit(event.ItemFailed{Host: it.Host, Path: it.Path, Reason: it.Error})
		}
		reports = append(reports, some...)
		for _, l := range loaded {
			err = errors.Join(err, a.PutBack(context.WithoutCancel(ctx), l, 0))
		}
		if err != nil {
			return reports, judged(reports, err)
		}
	}
	return reports, judged(reports, nil)
}

// judged adds to an error that tapes did not give back what was written, if that is so.
func judged(reports []*verify.Report, err error) error {
	var bad []string
	for _, r := range reports {
		if r != nil && len(r.Mismatches) > 0 && !slices.Contains(bad, r.Barcode) {
			bad = append(bad, r.Barcode)
		}
	}
	if bad == nil {
		return err
	}
	return errors.Join(err, &MismatchError{Barcodes: bad})
}

// verifyLoaded reads loaded tapes back, all at the same time, each with a seed of its own, and records what was found. What
// keeps one tape from being judged does not stop the others. With a session, only its archives are read. The items that
// have no undamaged copy left wait again, and are returned.
func (a *Archiver) verifyLoaded(ctx context.Context, tapes []*Loaded, o verify.Options, job, session int64) (reports []*verify.Report, requeued []ledger.Item, err error) {
	reports = make([]*verify.Report, len(tapes))
	p := NewProgress(string(ledger.Verifying), a.Events, tapes)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, l := range tapes {
		wg.Go(func() {
			o := o
			o.Progress = func(read, toRead int64) { p.Set(i, read, toRead) }
			r, items, tapeErr := a.verifyTape(ctx, l, job, session, o)
			mu.Lock()
			defer mu.Unlock()
			reports[i], requeued, err = r, append(requeued, items...), errors.Join(err, tapeErr)
		})
	}
	wg.Wait()
	return reports, requeued, err
}

// verifyTape reads one loaded tape back and records what was found.
func (a *Archiver) verifyTape(ctx context.Context, l *Loaded, job, session int64, o verify.Options) (*verify.Report, []ledger.Item, error) {
	expect, err := a.expect(ctx, l.Barcode, session)
	if err != nil {
		return nil, nil, err
	}
	o.Seed, o.Scratch, o.Events = rand.Uint64(), a.Scratch, a.Events
	r, err := verify.Tape(ctx, l.Drive, expect, o)
	if err != nil {
		err = l.failed(err)
	}
	var requeued []ledger.Item
	if err == nil || len(r.Mismatches) > 0 { // what was found counts, even if the rest could not be read
		var recordErr error
		v := Verification(job, r)
		if o.Limit > 0 { // less was read than the policy asks for: it speaks for what it read
			v.Copies = slices.DeleteFunc(v.Copies, func(c ledger.CheckedCopy) bool { return !c.Full && c.Bad == "" })
		}
		requeued, recordErr = a.Ledger.RecordVerification(context.WithoutCancel(ctx), v)
		err = errors.Join(err, recordErr)
	}
	return r, requeued, err
}

// verify reads back what the job wrote, each tape in its own drive at the same time, after a reload. What is damaged on one
// tape is read on its twin in any case.
func (j *job) verify(ctx context.Context) error {
	written := j.at != "" // since the tapes were loaded
	if err := j.enter(ctx, ledger.Verifying); err != nil {
		return err
	}
	began := time.Now()
	defer func() { j.report.Verified = time.Since(began) }()
	if written {
		if err := j.reload(ctx); err != nil {
			return err
		}
	}
	ctx, end := j.untilStopped(ctx)
	defer end()
	tapes := slices.DeleteFunc(slices.Clone(j.tapes[:]), func(l *Loaded) bool { return l == nil })
	sample := max(j.Sample, j.row.Sample) // what it began with is not taken back by who goes on with it
	reports, requeued, err := j.verifyLoaded(ctx, tapes, verify.Options{Sample: sample}, j.row.ID, j.session.ID)
	j.report.Tapes = reports
	for i, l := range tapes {
		if err != nil || len(tapes) < 2 || reports[1-i].Good || reports[i].BytesRead == reports[i].BytesTotal {
			continue // nothing to look for, or everything was read
		}
		r, more, twinErr := j.verifyTape(ctx, l, j.row.ID, j.session.ID, verify.Options{Sample: sample, Archives: reports[1-i].BadArchives()})
		j.report.Tapes = append(j.report.Tapes, r)
		requeued, err = append(requeued, more...), errors.Join(err, twinErr)
	}
	for _, it := range requeued {
		j.fail(FailedItem{ID: it.ID, Host: it.Host, Path: it.Path, Reason: it.Error})
	}
	if j.stopped() && errors.Is(err, context.Canceled) {
		err = fmt.Errorf("%w: what was written on %s is not verified; `twintape resume %d` does that", ErrStopped, j.names(), j.row.ID)
	}
	return judged(j.report.Tapes, err)
}

// untilStopped is a context that also ends when the operator stops the job: reading back can stop anywhere.
func (j *job) untilStopped(ctx context.Context) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-j.stop:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() { cancel(); watch.Wait() }
}

// reload takes the tapes out of their drives and loads them again, where it is configured and possible each in the drive
// that wrote the other.
func (j *job) reload(ctx context.Context) error {
	var barcodes []string
	var drives, sides []int
	for side, l := range j.tapes {
		if l != nil {
			barcodes, drives, sides = append(barcodes, l.Barcode), append(drives, l.Number), append(sides, side)
		}
	}
	if err := j.putAway(ctx); err != nil {
		return err
	}
	if j.SwapDrives {
		slices.Reverse(drives)
	}
	return j.loadInto(ctx, barcodes, drives, sides)
}

// expect is what the ledger says of a tape. With a session, only the archives of that one are to be read.
func (a *Archiver) expect(ctx context.Context, barcode string, session int64) (verify.Expect, error) {
	t, err := a.Ledger.Tape(ctx, barcode)
	if err != nil {
		return verify.Expect{}, err
	}
	e := verify.Expect{Barcode: t.Barcode, Tape: t.UUID, Pair: t.Pair, RecordSize: t.RecordSize, Old: t.WrittenBy != ""}
	if t.Pair == "" {
		return e, fmt.Errorf("tape %s is blank: there is nothing on it to verify", barcode)
	}
	sessions, err := a.Ledger.Sessions(ctx, t.Pair)
	if err != nil {
		return e, err
	}
	for _, s := range sessions {
		if !s.On[t.Side-1] {
			continue // its job ended before the catalog was written here: nothing on the tape says what should be there
		}
		var records map[int]int64
		if e.Old {
			if records, err = a.records(ctx, s.ID); err != nil {
				return e, err
			}
		}
		e.Sessions = append(e.Sessions, verify.Session{
			UUID: s.UUID, Number: s.Number, TapeFile: s.Catalog.TapeFile, Record: s.Catalog.Record, MD5: s.Catalog.MD5,
			Records:     records,
			CatalogOnly: session != 0 && s.ID != session,
			Archives:    func() iter.Seq2[*catalog.Archive, error] { return a.Ledger.Entries(ctx, s.ID, t.Side) },
		})
	}
	if len(e.Sessions) == 0 {
		return e, fmt.Errorf("no session on tape %s was closed by a catalog: its job was cut off while it wrote", barcode)
	}
	return e, nil
}

// records are how many each archive of a session takes, by its number.
func (a *Archiver) records(ctx context.Context, session int64) (map[int]int64, error) {
	archives, err := a.Ledger.Archives(ctx, session)
	out := make(map[int]int64, len(archives))
	for _, p := range archives {
		out[p.Number] = p.Records
	}
	return out, err
}

// Verification is what a report says to the ledger.
func Verification(job int64, r *verify.Report) ledger.Verification {
	v := ledger.Verification{
		Barcode: r.Barcode, Job: job, Began: r.Began, Ended: r.Ended, Drive: r.Drive, Seed: r.Seed, Sample: r.Sample,
		Good: r.Good, BytesTotal: r.BytesTotal, BytesRead: r.BytesRead, Retried: r.Retried,
	}
	if r.Escalated {
		v.Sample = 1
	}
	if !r.Good {
		v.Reason = r.Mismatches[0].String()
	}
	for _, it := range r.Items {
		v.Copies = append(v.Copies, ledger.CheckedCopy{Item: it.ID, Read: it.Read, Full: it.Full, Bad: it.Bad})
	}
	return v
}
