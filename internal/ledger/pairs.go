package ledger

import (
	"context"
	"database/sql"
	"fmt"
)

// OpenPairs returns the pairs that take a further session, by side, ordered by the barcode of the first: both tapes hold the
// same, every session is closed on both, neither failed, neither is full, twintape wrote them, and no job holds them. A pair without any session
// is to be begun anew.
func (l *Ledger) OpenPairs(ctx context.Context) ([][2]Tape, error) {
	tapes, err := l.Tapes(ctx)
	if err != nil {
		return nil, err
	}
	twins := make(map[string]Tape) // of the second side, by pair
	for _, t := range tapes {
		if t.Side == 2 {
			twins[t.Pair] = t
		}
	}
	var open [][2]Tape
	for _, t := range tapes {
		pair := [2]Tape{t, twins[t.Pair]}
		if t.Side != 1 || t.Job != 0 || pair[1].Job != 0 {
			continue
		}
		why, err := closed(ctx, l.read, pair)
		if err != nil {
			return nil, l.failed("look for pairs that take a further session", err)
		}
		if why == "" {
			open = append(open, pair)
		}
	}
	return open, nil
}

// mayBeWritten refuses tapes that are neither blank nor an open pair.
func mayBeWritten(ctx context.Context, tx *sql.Tx, pair [2]Tape) error {
	if pair[0].Pair == "" || pair[0].Pair != pair[1].Pair {
		for _, t := range pair {
			if t.State != TapeBlank {
				return fmt.Errorf("tape %s is %w: it is %s", t.Barcode, ErrNotBlank, t.State)
			}
		}
		return nil
	}
	why, err := closed(ctx, tx, pair)
	if err == nil && why != "" {
		err = fmt.Errorf("the pair %s and %s is %w: %s", pair[0].Barcode, pair[1].Barcode, ErrNotOpen, why)
	}
	return err
}

// closed says why a pair takes no further session; empty if it does.
func closed(ctx context.Context, q querier, pair [2]Tape) (string, error) {
	for side, t := range pair {
		switch {
		case t.State != TapeWritten:
			return fmt.Sprintf("%s is %s", t.Barcode, t.State), nil
		case t.Side != side+1:
			return fmt.Sprintf("%s is the tape of side %d", t.Barcode, t.Side), nil
		case t.WrittenBy != "":
			return t.WrittenBy + " wrote it", nil
		case t.Full:
			return "it is full", nil
		case t.Diverged:
			return "its tapes do not hold the same", nil
		}
	}
	sessions, err := collect(ctx, q, scanSession, sessionQuery+"p.uuid = ? ORDER BY s.number", pair[0].Pair)
	if err != nil {
		return "", err
	}
	for _, s := range sessions {
		if !s.On[0] || !s.On[1] {
			return fmt.Sprintf("session %d is not closed on both tapes", s.Number), nil
		}
	}
	return "", nil
}

// SetFull records that a pair takes no further session for want of room.
func (l *Ledger) SetFull(ctx context.Context, pair string) error {
	return l.update(ctx, "mark pair "+pair+" as full", func(tx *sql.Tx) error {
		n, err := exec(ctx, tx, "UPDATE pairs SET full = 1 WHERE uuid = ?", pair)
		if err == nil && n == 0 {
			err = fmt.Errorf("the pair is %w", ErrNotFound)
		}
		return err
	})
}
