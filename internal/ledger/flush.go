package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"twintape/internal/catalog"
)

// RecordFlush records that archives are on the medium of the tapes that were flushed: their good items get a copy on each,
// their bad ones wait again with the reason. Claims on all of them are released; the copies speak now. An item with a bad member is bad.
func (l *Ledger) RecordFlush(ctx context.Context, f Flush) error {
	return l.updateIn(ctx, beside, fmt.Sprintf("record a flush of session %d", f.Session), func(tx *sql.Tx) error {
		s, err := one(ctx, tx, "s.id = ?", f.Session)
		if err != nil {
			return err
		}
		if err := l.checkLive(ctx, tx, s.Job); err != nil {
			return err
		}
		flushes, err := recordPositions(ctx, tx, f.Session, f.Positions)
		if err != nil {
			return err
		}
		r := recording{tx: tx, flushes: flushes}
		for _, a := range f.Archives {
			if err := r.archive(ctx, f.Session, a); err != nil {
				return fmt.Errorf("archive %d: %w", a.Result.Number, err)
			}
		}
		return nil
	})
}

// tapeFlush is the flush of one tape.
type tapeFlush struct{ tape, flush int64 }

// recordPositions records a flush of the tapes of a session that have a position.
func recordPositions(ctx context.Context, tx *sql.Tx, session int64, positions [2]int64) (out []tapeFlush, err error) {
	tapes, err := collect(ctx, tx, scanID,
		"SELECT t.id FROM tapes t JOIN sessions s ON s.pair = t.pair WHERE s.id = ? ORDER BY t.side", session)
	if err != nil {
		return out, err
	}
	if len(tapes) != len(positions) {
		return out, fmt.Errorf("its pair has %d tapes, not %d", len(tapes), len(positions))
	}
	now := time.Now().UnixNano()
	for side, position := range positions {
		if position == 0 {
			continue
		}
		f := tapeFlush{tape: tapes[side]}
		f.flush, err = insert(ctx, tx, "INSERT INTO flushes (session, tape, tape_position, flushed) VALUES (?, ?, ?, ?)",
			session, f.tape, position, now)
		if err != nil {
			return out, err
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		return nil, errors.New("no tape was flushed")
	}
	return out, nil
}

// recording is one call of RecordFlush.
type recording struct {
	tx      *sql.Tx
	flushes []tapeFlush
	sums    *sql.Stmt // of sumsAtOnce members; the transaction closes it
}

// archive records one flushed archive.
func (r *recording) archive(ctx context.Context, session int64, a FlushedArchive) error {
	if err := r.asPlanned(ctx, a); err != nil {
		return err
	}
	if err := r.members(ctx, a); err != nil {
		return err
	}
	copies := newInsertion(r.tx, "copies (item, tape, archive, flush, verification, read_bytes, read_full, bad)")
	var ids, good []int64
	for seq, it := range a.Result.Items {
		ids = append(ids, it.ID)
		bad := reasonOf(it)
		if bad == "" {
			good = append(good, it.ID)
			for _, f := range r.flushes {
				if err := copies.add(ctx, it.ID, f.tape, a.ID, f.flush, nil, 0, 0, ""); err != nil {
					return err
				}
			}
			continue
		}
		if _, err := exec(ctx, r.tx, "UPDATE archive_items SET bad = ? WHERE archive = ? AND seq = ?", bad, a.ID, seq); err != nil {
			return err
		}
		if _, err := exec(ctx, r.tx, "UPDATE items SET error = ? WHERE id = ?", bad, it.ID); err != nil {
			return err
		}
	}
	if err := copies.rest(ctx); err != nil {
		return err
	}
	if err := execEach(ctx, r.tx, "UPDATE items SET error = '' WHERE error <> '' AND id", good); err != nil {
		return err
	}
	if err := execEach(ctx, r.tx, "DELETE FROM claims WHERE kind = 'item' AND target", ids); err != nil {
		return err
	}
	n, err := exec(ctx, r.tx, "UPDATE archives SET flushed = (SELECT MAX(flushed) FROM flushes WHERE id = ?), good = ? WHERE id = ? AND session = ? AND flushed = 0",
		r.flushes[0].flush, len(good), a.ID, session)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("it is no archive of session %d that waits for a flush", session)
	}
	_, err = exec(ctx, r.tx, "INSERT INTO archive_crcs (archive, crcs) VALUES (?, ?)", a.ID, append([]byte{}, a.CRCs...))
	return err
}

// sumsAtOnce is how many members get their MD5 in one statement, which compares up to so many numbers for each.
const sumsAtOnce = 100

// members records what reading an archive's members told: MD5s, many at once, and what went bad.
func (r *recording) members(ctx context.Context, a FlushedArchive) error {
	var cases, seqs []any
	member := int64(0)
	for _, it := range a.Result.Items {
		for i := range it.Entries {
			e := &it.Entries[i]
			switch {
			case e.Bad != "":
				if _, err := exec(ctx, r.tx, "UPDATE members SET md5 = ?, bad = ? WHERE archive = ? AND seq = ?", e.MD5[:], text(e.Bad), a.ID, member); err != nil {
					return err
				}
			case e.MD5 != (catalog.MD5{}):
				cases, seqs = append(cases, member, e.MD5[:]), append(seqs, member)
			}
			member++
			if len(seqs) == sumsAtOnce {
				if err := r.someSums(ctx, a.ID, cases, seqs); err != nil {
					return err
				}
				cases, seqs = cases[:0], seqs[:0]
			}
		}
	}
	return r.someSums(ctx, a.ID, cases, seqs)
}

func (r *recording) someSums(ctx context.Context, archive int64, cases, seqs []any) (err error) {
	if len(seqs) == 0 {
		return nil
	}
	query := "UPDATE members SET bad = '', md5 = CASE seq" + strings.Repeat(" WHEN ? THEN ?", len(seqs)) + " END WHERE archive = ? AND seq IN (" + marks(len(seqs)) + ")"
	args := slices.Concat(cases, []any{archive}, seqs)
	if len(seqs) < sumsAtOnce {
		_, err = exec(ctx, r.tx, query, args...)
		return err
	}
	if r.sums == nil {
		if r.sums, err = r.tx.PrepareContext(ctx, query); err != nil {
			return err
		}
	}
	_, err = r.sums.ExecContext(ctx, args...)
	return err
}

// asPlanned makes sure that what was flushed is what was planned, so that results go to the members they are of.
func (r *recording) asPlanned(ctx context.Context, a FlushedArchive) error {
	type planned struct {
		item    int64
		members int
	}
	plan, err := collect(ctx, r.tx, func(rows *sql.Rows) (p planned, err error) {
		err = rows.Scan(&p.item, &p.members)
		return p, err
	}, "SELECT item, members FROM archive_items WHERE archive = ? ORDER BY seq", a.ID)
	if err != nil {
		return err
	}
	if len(plan) != len(a.Result.Items) {
		return fmt.Errorf("%d items were planned and %d were written", len(plan), len(a.Result.Items))
	}
	for i, it := range a.Result.Items {
		if it.ID != plan[i].item || len(it.Entries) != plan[i].members {
			return fmt.Errorf("item %s (%d) with %d members was written where item %d with %d members was planned",
				spell(it.Host, it.Path), it.ID, len(it.Entries), plan[i].item, plan[i].members)
		}
	}
	return nil
}

// reasonOf says why an item is bad; empty if it is good.
func reasonOf(it catalog.Item) string {
	if it.Bad != "" {
		return text(it.Bad)
	}
	for i := range it.Entries {
		if e := &it.Entries[i]; e.Bad != "" {
			return text(spell(e.Host, e.Path) + ": " + e.Bad)
		}
	}
	return ""
}
