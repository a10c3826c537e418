package archiver

import (
	"context"
	"fmt"
	"slices"
	"time"

	"twintape/internal/ledger"
	"twintape/internal/tape"
	"twintape/verify"
)

// Scrub says how VerifyDue reads.
type Scrub struct {
	Most  int           // tapes
	Limit time.Duration // for each; see verify.Options
}

// WornError says of tapes that they need second attempts more and more: their copies are good still.
type WornError struct{ Tapes []string }

func (e *WornError) Error() string {
	text := ""
	for _, t := range e.Tapes {
		text += t + "; "
	}
	return text + "what was read is good, but make new twins (`twintape copy`) before it is not"
}

// VerifyDue reads a sample of the tapes that were verified longest ago, those that never were first: of the tapes in use that
// lie in the library, as many as asked for. Only copies that were read whole are verified by it. The error wraps a
// *MismatchError if a tape did not give back what was written, and a *WornError if one gives it back worse than before. It
// returns no reports if no tape is there to be read.
func (a *Archiver) VerifyDue(ctx context.Context, s Scrub) ([]*verify.Report, error) {
	due, err := a.Ledger.DueTapes(ctx)
	if err != nil {
		return nil, err
	}
	elements, err := changer(a.Library).Inventory(ctx)
	if err != nil {
		return nil, err
	}
	due = slices.DeleteFunc(due, func(barcode string) bool {
		return !slices.ContainsFunc(elements, func(e tape.Element) bool { return e.Barcode == barcode && e.Kind != tape.ImportExport })
	})
	due = due[:min(len(due), s.Most)]
	reports, err := a.verifyAll(ctx, due, verify.Options{Sample: a.Sample, Limit: s.Limit})
	if err != nil {
		return reports, err
	}
	worn := &WornError{}
	for _, barcode := range due {
		history, err := a.Ledger.Verifications(ctx, barcode)
		if err != nil {
			return reports, err
		}
		if text := wears(history); text != "" {
			worn.Tapes = append(worn.Tapes, barcode+" "+text)
		}
	}
	if len(worn.Tapes) > 0 {
		return reports, worn
	}
	return reports, nil
}

// wears compares the last verification of a tape with the one before: empty unless it took more second attempts for what it
// read.
func wears(history []ledger.Verification) string {
	n := len(history)
	if n == 0 || history[n-1].Retried == 0 {
		return ""
	}
	now, before := history[n-1], ledger.Verification{}
	if n > 1 {
		before = history[n-2]
	}
	// Now.Retried / now.BytesRead <= before.Retried / before.BytesRead, without the divisions.
	if before.BytesRead > 0 && float64(now.Retried)*float64(before.BytesRead) <= float64(before.Retried)*float64(now.BytesRead) {
		return ""
	}
	return fmt.Sprintf("wears out: %d records were read at the second attempt only, the time before %d", now.Retried, before.Retried)
}
