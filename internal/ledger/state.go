package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math"
	pathpkg "path"
	"slices"
	"strings"
)

// unsettled is a condition that holds of every item i which is not archived, and of few others: by its index what waits is found
// beside millions that do not.
const unsettled = "i.unsettled = 1"

// good is the condition that a copy c counts.
const good = "c.verification IS NOT NULL AND c.bad = ''"

// verifiedTwice is the condition that item i is archived. A copy's key is item and tape, so two copies are on two tapes.
const verifiedTwice = "((SELECT COUNT(*) FROM copies c WHERE c.item = i.id AND " + good + ") >= 2)"

// readTwice is the condition that item i was read back in full from two tapes.
const readTwice = "((SELECT COUNT(*) FROM copies c WHERE c.item = i.id AND c.read_full = 1 AND " + good + ") >= 2)"

// undamaged is the condition that item i has a copy that is not damaged. One that has only damaged copies waits again.
const undamaged = "EXISTS (SELECT 1 FROM copies c WHERE c.item = i.id AND c.damaged = 0)"

// itemQuery is the query of items with their state, which has no other definition than this one. %s takes conditions on i,
// whose columns are those of table items, state and job.
func itemQuery(deletableAfter string) (string, error) {
	deletable := readTwice
	switch deletableAfter {
	case "", "full":
	case "sample":
		deletable = verifiedTwice
	default:
		return "", fmt.Errorf("deletable_after is %q: it must be \"full\" or \"sample\"", deletableAfter)
	}
	return `
SELECT i.id, i.host, i.path, i.version, i.bytes, i.members, i.fingerprint, i.queued, i.error, i.state, i.job
FROM (
  SELECT i.*, COALESCE(cl.job, 0) AS job, CASE
    WHEN ` + deletable + ` THEN '` + string(Deletable) + `'
    WHEN ` + verifiedTwice + ` THEN '` + string(Archived) + `'
    WHEN ` + undamaged + ` THEN '` + string(Written) + `'
    WHEN cl.job IS NOT NULL THEN '` + string(Claimed) + `'
    WHEN i.error <> '' THEN '` + string(Failed) + `'
    ELSE '` + string(Queued) + `' END AS state
  FROM items i LEFT JOIN claims cl ON cl.kind = 'item' AND cl.target = i.id
) i
WHERE %s AND i.id > ? ORDER BY i.id LIMIT ?`, nil
}

// copyQuery is the query of the copies of some items.
const copyQuery = `
SELECT c.item, COALESCE(t.barcode, ''), COALESCE(a.number, 0), COALESCE(a.tape_file, 0), COALESCE(ai.record, 0), COALESCE(f.flushed, 0),
  COALESCE(v.ended, 0), COALESCE(v.drive, ''), COALESCE(v.sample, 0), c.read_bytes, c.read_full, c.bad
FROM copies c
LEFT JOIN tapes t ON t.id = c.tape
LEFT JOIN archives a ON a.id = c.archive
LEFT JOIN archive_items ai ON ai.item = c.item AND ai.archive = c.archive
LEFT JOIN flushes f ON f.id = c.flush
LEFT JOIN verifications v ON v.id = c.verification
WHERE c.item IN (%s) ORDER BY c.item, c.tape`

// Items are read in pages, so that a caller who takes few pays for few; each is longer than the one before, so that a query that
// has to sort sorts seldom.
const (
	firstPage = 64
	lastPage  = 16 << 10
)

// selectItems streams the items that fit the conditions, in queue order, each with its copies.
func (l *Ledger) selectItems(ctx context.Context, q querier, where string, args ...any) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		var page []Item
		var err error
		if q == l.read {
			var tx *sql.Tx
			if tx, page, err = l.beginItems(ctx, where, args); err == nil {
				defer tx.Rollback() // nothing was written
				q = tx
			}
		} else {
			page, err = l.pageOfItems(ctx, q, math.MinInt64, firstPage, where, args)
		}
		for size := firstPage; ; {
			if err != nil {
				yield(Item{}, err)
				return
			}
			for _, it := range page {
				if !yield(it, nil) {
					return
				}
			}
			if len(page) < size {
				return
			}
			size = min(4*size, lastPage)
			page, err = l.pageOfItems(ctx, q, page[len(page)-1].ID, size, where, args)
		}
	}
}

// beginItems begins to read items, from a snapshot that the caller ends. What breaks before it has them is begun again; later pages are
// of the same snapshot, so a database that goes away between them is an error.
func (l *Ledger) beginItems(ctx context.Context, where string, args []any) (*sql.Tx, []Item, error) {
	for p := l.patience; ; {
		tx, err := l.snapshot(ctx)
		if err != nil {
			return nil, nil, err
		}
		page, err := l.pageOfItems(ctx, tx, math.MinInt64, firstPage, where, args)
		if err == nil {
			p.gone.Store(false)
			return tx, page, nil
		}
		_ = tx.Rollback() // the cause is told
		if again, _ := l.dialect.passing(err); !again || !p.wait(ctx, err) {
			return nil, nil, err
		}
	}
}

func (l *Ledger) pageOfItems(ctx context.Context, q querier, after int64, size int, where string, args []any) ([]Item, error) {
	page, err := collect(ctx, q, scanItem, fmt.Sprintf(l.items, "("+where+")"), append(slices.Clone(args), after, size)...)
	if err != nil {
		return nil, err
	}
	at := 0
	for some := range slices.Chunk(page, idsAtOnce) {
		ids := make([]any, len(some))
		for i, it := range some {
			ids[i] = it.ID
		}
		_, err := collect(ctx, q, func(rows *sql.Rows) (struct{}, error) {
			item, c, err := scanCopy(rows)
			for at < len(page)-1 && page[at].ID != item { // both come in the order of the items
				at++
			}
			if err == nil && c.Barcode != "" && page[at].ID == item {
				page[at].Copies = append(page[at].Copies, c)
			}
			return struct{}{}, err
		}, fmt.Sprintf(copyQuery, marks(len(ids))), ids...)
		if err != nil {
			return nil, err
		}
	}
	return page, nil
}

func scanItem(rows *sql.Rows) (it Item, err error) {
	var path []byte
	err = rows.Scan(&it.ID, &it.Host, &path, &it.Version, &it.Bytes, &it.Members, sum{&it.Fingerprint}, instant{&it.Queued},
		&it.Error, &it.State, &it.Job)
	it.Path = string(path)
	return it, err
}

func scanCopy(rows *sql.Rows) (item int64, c Copy, err error) {
	err = rows.Scan(&item, &c.Barcode, &c.Archive, &c.TapeFile, &c.Record, instant{&c.Flushed},
		instant{&c.Verified}, &c.Drive, &c.Sample, &c.Read, &c.Full, &c.Bad)
	return item, c, err
}

// idsAtOnce is how many ids are asked for in one query.
const idsAtOnce = 1000

// Items streams the items that fit the filter, in queue order, each with its copies.
func (l *Ledger) Items(ctx context.Context, f Filter) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		left := f.Limit
		for it, err := range l.filtered(ctx, f) {
			if err != nil {
				yield(Item{}, l.failed("list items", err))
				return
			}
			if !yield(it, nil) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// filtered is Items without the limit.
func (l *Ledger) filtered(ctx context.Context, f Filter) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		var where []string
		var args []any
		if len(f.States) > 0 {
			where = append(where, "i.state IN ("+marks(len(f.States))+")")
			if !slices.Contains(f.States, Archived) && !slices.Contains(f.States, Deletable) {
				where = append(where, unsettled)
			}
			for _, s := range f.States {
				args = append(args, string(s))
			}
		}
		if f.Host != "" {
			where, args = append(where, "i.host = ?"), append(args, f.Host)
		}
		var p pattern
		if f.Pattern != "" {
			var err error
			if p, err = parsePattern(f.Pattern); err != nil {
				yield(Item{}, err)
				return
			}
		}
		if len(where) == 0 {
			where = append(where, "1 = 1")
		}
		query := strings.Join(where, " AND ")

		pass := func(items iter.Seq2[Item, error]) bool {
			for it, err := range items {
				if err == nil && f.Pattern != "" {
					var fits bool
					if fits, err = l.fits(ctx, p, it); err == nil && !fits {
						continue
					}
				}
				if !yield(it, err) || err != nil {
					return false
				}
			}
			return true
		}
		switch {
		case len(f.IDs) > 0:
		case f.Pattern != "":
			pass(l.matchingItems(ctx, p, false, query, args...))
			return
		default:
			pass(l.selectItems(ctx, l.read, query, args...))
			return
		}
		ids := slices.Compact(slices.Sorted(slices.Values(f.IDs)))
		for some := range slices.Chunk(ids, idsAtOnce) {
			if !pass(l.selectItems(ctx, l.read, query+" AND i.id IN ("+marks(len(some))+")", append(slices.Clip(args), anys(some)...)...)) {
				return
			}
		}
	}
}

func anys(ids []int64) []any {
	out := make([]any, len(ids))
	for i, id := range ids {
		out[i] = id
	}
	return out
}

// ItemByPath returns the latest version of the item at a path, or an error that wraps ErrNotFound.
func (l *Ledger) ItemByPath(ctx context.Context, host, path string) (Item, error) {
	var latest Item
	for it, err := range l.selectItems(ctx, l.read, "i.path_hash = ? AND i.host = ? AND i.path = ?",
		pathHash(host, path), host, bytesOf(path)) {
		if err != nil {
			return Item{}, l.failed("look item "+spell(host, path)+" up", err)
		}
		if it.Version > latest.Version {
			latest = it
		}
	}
	if latest.ID == 0 {
		return Item{}, l.failed("look item "+spell(host, path)+" up", ErrNotFound)
	}
	return latest, nil
}

// ItemOver returns the latest version of the item that a path is, or is in; of several the innermost. The error wraps
// ErrNotFound if it is in none.
func (l *Ledger) ItemOver(ctx context.Context, host, path string) (Item, error) {
	for at := path; ; at = pathpkg.Dir(at) {
		it, err := l.ItemByPath(ctx, host, at)
		if !errors.Is(err, ErrNotFound) || at == "/" {
			return it, err
		}
	}
}

// NextQueued returns up to limit items behind afterID, in queue order, that wait for a job: queued or failed, claimed by
// none, and not attempted by this job before. Job 0 has attempted nothing.
func (l *Ledger) NextQueued(ctx context.Context, job, afterID int64, limit int) ([]Item, error) {
	var next []Item
	for it, err := range l.selectItems(ctx, l.read, unsettled+` AND i.id > ? AND i.state IN (?, ?) AND NOT EXISTS (
			SELECT 1 FROM archive_items x JOIN archives xa ON xa.id = x.archive JOIN sessions s ON s.id = xa.session
			WHERE x.item = i.id AND s.job = ?)`, afterID, Queued, Failed, job) {
		if err != nil {
			return nil, l.failed("read the queue", err)
		}
		next = append(next, it)
		if len(next) == limit {
			break
		}
	}
	return next, nil
}
