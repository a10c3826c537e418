package bridge

import (
	"context"
	"errors"
	"fmt"

	"twintape/archiver"
	"twintape/internal/ledger"
	"twintape/internal/paperdata"
)

// Barred implements archiver.Labels: labels that table ids does not know are nobody's to begin, and those with another's status are
// taken.
func (b *Bridge) Barred(ctx context.Context, barcodes []string) (map[string]string, error) {
	db, err := b.db(ctx)
	if err != nil {
		return nil, err
	}
	labels, err := db.Labels(ctx)
	if err != nil {
		return nil, err
	}
	known := make(map[string]paperdata.Label)
	for _, l := range labels {
		known[l.Label] = l
	}
	barred := make(map[string]string)
	for _, barcode := range barcodes {
		l, ok := known[barcode]
		switch {
		case !ok:
			barred[barcode] = unknownLabel
		case l.Taken != "":
			barred[barcode] = fmt.Sprintf("paper-dump's table ids says that it is taken (status %s)", l.Taken)
		}
	}
	return barred, nil
}

const unknownLabel = "paper-dump's table ids does not know it; insert it there if it is to be used"

// Reserve implements archiver.Labels.
func (b *Bridge) Reserve(ctx context.Context, barcodes ...string) error {
	db, err := b.db(ctx)
	if err != nil {
		return err
	}
	err = db.Reserve(ctx, barcodes...)
	var taken *paperdata.TakenError
	if errors.As(err, &taken) {
		why := unknownLabel
		if taken.By != "" {
			why = taken.Error()
		}
		return &archiver.TakenError{Barcode: taken.Label, Why: why}
	}
	return err
}

// settle gives back the labels of tapes that were taken and are blank still, and that no job has, and takes those of tapes that are in
// use here. A tape that was ever written is never given back. The ledger is asked while the labels are locked: a job has its tapes
// there before it takes their labels.
func (p *pass) settle(ctx context.Context) (err error) {
	p.r.Freed, p.r.Taken, err = p.db.Settle(ctx, func(labels []paperdata.Label) (free, ours []string, err error) {
		tapes, err := p.Archiver.Ledger.Tapes(ctx)
		if err != nil {
			return nil, nil, err
		}
		for _, t := range tapes {
			switch {
			case t.State != ledger.TapeBlank:
				ours = append(ours, t.Barcode)
			case t.Job == 0 && t.Recycled == "" && t.Overwrite == "" && t.Written.IsZero():
				free = append(free, t.Barcode)
			}
		}
		return free, ours, nil
	})
	return err
}
