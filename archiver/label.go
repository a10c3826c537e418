package archiver

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"twintape/internal/ledger"
)

// newPair gives the pair, the session and the tapes their UUIDs.
func (j *job) newPair() {
	j.newSession(uuid.NewString(), 1, firstRecord)
	j.start.TapeUUIDs = [2]string{uuid.NewString(), uuid.NewString()}
}

// newSession is what the job will append to a pair.
func (j *job) newSession(pair string, number int, record int64) {
	j.start = ledger.StartSession{
		PairUUID: pair, SessionUUID: uuid.NewString(), RecordSize: j.record, Number: number, Record: record,
	}
}

// label writes both volume labels, as the ledger knows the tapes.
func (j *job) label(ctx context.Context) error {
	return j.each(ctx, func(ctx context.Context, side int, l *Loaded) error {
		if err := j.labelTape(ctx, l); err != nil {
			return fmt.Errorf("writing the label: %w", err)
		}
		return nil
	})
}

func (j *job) labelTape(ctx context.Context, l *Loaded) error {
	t, err := j.Ledger.Tape(ctx, l.Barcode)
	if err != nil {
		return err
	}
	record, err := t.Label().Encode()
	if err != nil {
		return err
	}
	if err := standsAt(ctx, l.Drive, 0); err != nil {
		return err
	}
	if err := l.Drive.WriteRecord(ctx, record); err != nil {
		return err
	}
	if err := l.Drive.WriteFilemark(ctx); err != nil {
		return err
	}
	return standsAt(ctx, l.Drive, firstRecord)
}
