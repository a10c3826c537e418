package archiver

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
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
	for _, b := range barcodes {
		if _, err := a.expect(ctx, b); err != nil {
			return nil, err
		}
	}
	for len(barcodes) > 0 {
		batch := barcodes[:min(len(barcodes), a.Library.Drives())]
		barcodes = barcodes[len(batch):]
		drives := make([]int, len(batch))
		for i := range drives {
			drives[i] = i
		}
		loaded, err := Load(ctx, a.Library, batch, drives)
		if err != nil {
			return reports, judged(reports, err)
		}
		some, err := a.verifyLoaded(ctx, 0, loaded)
		reports = append(reports, some...)
		for _, l := range loaded {
			err = errors.Join(err, l.PutAway(context.WithoutCancel(ctx), a.Library))
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
		if r != nil && len(r.Mismatches) > 0 {
			bad = append(bad, r.Barcode)
		}
	}
	if bad == nil {
		return err
	}
	return errors.Join(err, &MismatchError{Barcodes: bad})
}

// verifyLoaded reads loaded tapes back, all at the same time, each with a seed of its own, and records what was found. What
// keeps one tape from being judged does not stop the others.
func (a *Archiver) verifyLoaded(ctx context.Context, job int64, tapes []*Loaded) ([]*verify.Report, error) {
	reports, errs := make([]*verify.Report, len(tapes)), make([]error, len(tapes))
	p := newVerifyProgress(a.Events, tapes)
	var wg sync.WaitGroup
	for i, l := range tapes {
		wg.Go(func() {
			expect, err := a.expect(ctx, l.Barcode)
			if err != nil {
				errs[i] = err
				return
			}
			reports[i], errs[i] = verify.Tape(ctx, l.Drive, expect, verify.Options{
				Sample: a.Sample, Seed: rand.Uint64(), Scratch: a.Scratch, Events: a.Events,
				Progress: func(read, toRead int64) { p.set(i, read, toRead) },
			})
			if errs[i] == nil || len(reports[i].Mismatches) > 0 { // what was found counts, even if the rest could not be read
				errs[i] = errors.Join(errs[i], a.recordVerification(context.WithoutCancel(ctx), job, reports[i]))
			}
		})
	}
	wg.Wait()
	return reports, errors.Join(errs...)
}

// expect is what the ledger says of a tape.
func (a *Archiver) expect(ctx context.Context, barcode string) (verify.Expect, error) {
	t, err := a.Ledger.Tape(ctx, barcode)
	if err != nil {
		return verify.Expect{}, err
	}
	e := verify.Expect{Barcode: t.Barcode, Tape: t.UUID, Pair: t.Pair, RecordSize: t.RecordSize}
	if t.Pair == "" {
		return e, fmt.Errorf("tape %s is blank: there is nothing on it to verify", barcode)
	}
	sessions, err := a.Ledger.Sessions(ctx, t.Pair)
	if err != nil {
		return e, err
	}
	for _, s := range sessions {
		if s.Closed.IsZero() {
			continue // its job ended before the catalog was written: nothing says yet what should be there
		}
		e.Sessions = append(e.Sessions, verify.Session{
			UUID: s.UUID, Number: s.Number, TapeFile: s.Catalog.TapeFile, Record: s.Catalog.Record, MD5: s.Catalog.MD5,
			Archives: func() iter.Seq2[*catalog.Archive, error] { return a.Ledger.Entries(ctx, s.ID) },
		})
	}
	if len(e.Sessions) == 0 {
		return e, fmt.Errorf("no session on tape %s was closed by a catalog: its job was cut off while it wrote", barcode)
	}
	return e, nil
}

func (a *Archiver) recordVerification(ctx context.Context, job int64, r *verify.Report) error {
	v := ledger.Verification{
		Barcode: r.Barcode, Job: job, Began: r.Began, Ended: r.Ended, Drive: r.Drive, Seed: r.Seed, Sample: r.Sample,
		Good: r.Good, BytesTotal: r.BytesTotal, BytesRead: r.BytesRead,
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
	return a.Ledger.RecordVerification(ctx, v)
}

// verifyProgress joins what the tapes' checks tell into one event.
type verifyProgress struct {
	events event.Sink
	mu     sync.Mutex
	now    event.Progress
}

func newVerifyProgress(events event.Sink, tapes []*Loaded) *verifyProgress {
	p := &verifyProgress{events: events, now: event.Progress{Step: string(ledger.Verifying), Began: time.Now()}}
	for i, l := range tapes[:min(len(tapes), len(p.now.Sides))] {
		p.now.Sides[i] = event.Side{Barcode: l.Barcode, Drive: l.Drive.Name()}
	}
	return p
}

func (p *verifyProgress) set(side int, read, toRead int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if side >= len(p.now.Sides) {
		return
	}
	p.now.Sides[side].Bytes, p.now.Sides[side].Total = read, toRead
	p.now.Total = max(p.now.Total, toRead)
	p.events.Emit(p.now)
}
