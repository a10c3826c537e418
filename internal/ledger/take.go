package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
)

// inPlan is the condition that item i is in an archive that is planned and not flushed.
const inPlan = "EXISTS (SELECT 1 FROM archive_items x JOIN archives xa ON xa.id = x.archive WHERE x.item = i.id AND xa.flushed = 0)"

// free is the condition that item i waits and no job has it.
const free = "NOT EXISTS (SELECT 1 FROM claims cl WHERE cl.kind = 'item' AND cl.target = i.id) AND NOT " + undamaged

// TakeQueued claims up to limit items behind afterID for a live job, in queue order, of those that NextQueued returns, and returns
// them. However many jobs take at once, each item goes to one. None is left for it if none is returned; what another job is just
// taking is passed over. What the job does not plan it gives back with Release.
func (l *Ledger) TakeQueued(ctx context.Context, job, afterID int64, limit int) (taken []Item, err error) {
	err = l.updateIn(ctx, beside, fmt.Sprintf("take items for job %d", job), func(tx *sql.Tx) error {
		if err := l.checkLive(ctx, tx, job); err != nil {
			return err
		}
		taken = nil
		for after := afterID; len(taken) == 0; {
			ids, err := collect(ctx, tx, scanID, "SELECT i.id FROM items i WHERE "+unsettled+" AND i.id > ? AND "+free+` AND NOT EXISTS (
				SELECT 1 FROM archive_items x JOIN archives xa ON xa.id = x.archive JOIN sessions s ON s.id = xa.session
				WHERE x.item = i.id AND s.job = ?) ORDER BY i.id LIMIT ?`+l.dialect.skipLocked(), after, job, limit)
			if err != nil || len(ids) == 0 {
				return err
			}
			after = ids[len(ids)-1]
			if ids, err = claimItems(ctx, tx, job, ids); err != nil {
				return err
			}
			if len(ids) == 0 {
				continue
			}
			for it, err := range l.selectItems(ctx, tx, "i.id IN ("+marks(len(ids))+")", anys(ids)...) {
				if err != nil {
					return err
				}
				it.State = Queued // as it was
				if it.Error != "" {
					it.State = Failed
				}
				taken = append(taken, it)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return taken, nil
}

// claimItems claims those of some locked items that are still free, and returns them: the query that found them may have looked
// before it had the lock.
func claimItems(ctx context.Context, tx *sql.Tx, job int64, ids []int64) ([]int64, error) {
	var claimed []int64
	for _, id := range ids {
		n, err := exec(ctx, tx, "INSERT INTO claims (kind, target, job) SELECT 'item', i.id, ? FROM items i WHERE i.id = ? AND "+free, job, id)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			claimed = append(claimed, id)
		}
	}
	return claimed, nil
}

// Release gives items back that a job took and did not plan.
func (l *Ledger) Release(ctx context.Context, job int64, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	return l.updateIn(ctx, beside, fmt.Sprintf("give back %d items of job %d", len(ids), job), func(tx *sql.Tx) error {
		if err := l.checkLive(ctx, tx, job); err != nil {
			return err
		}
		for some := range slices.Chunk(ids, idsAtOnce) {
			if _, err := exec(ctx, tx, `DELETE FROM claims WHERE kind = 'item' AND job = ? AND target IN (`+marks(len(some))+`) AND NOT EXISTS (
				SELECT 1 FROM archive_items x JOIN archives xa ON xa.id = x.archive WHERE x.item = claims.target AND xa.flushed = 0)`,
				append([]any{job}, anys(some)...)...); err != nil {
				return err
			}
		}
		return nil
	})
}
