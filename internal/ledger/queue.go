package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"twintape/internal/catalog"
	"twintape/internal/digest"
)

// spell is how a remote path is spelled everywhere.
func spell(host, path string) string { return host + ":" + path }

func pathHash(host, path string) []byte {
	h := digest.MD5([]byte(spell(host, path)))
	return h[:]
}

// Enqueue adds items to the queue, all in one transaction, and returns what became of each, in the given order, in which
// the added ones also wait. With again an item that changed since it was archived is added as its next version. Within
// one call the outermost path wins, whatever the order. What waits already keeps its expected MD5s.
func (l *Ledger) Enqueue(ctx context.Context, items []NewItem, again bool) ([]Enqueued, error) {
	var out []Enqueued
	err := l.updateIn(ctx, queueOnly, fmt.Sprintf("queue %d items", len(items)), func(tx *sql.Tx) error {
		q, err := newQueueing(ctx, tx, again)
		if err != nil {
			return err
		}
		out, err = q.add(ctx, items)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Dequeue removes waiting items from the queue and returns them as they were. If one of them is claimed or on tape, none
// is removed, and the error names it and wraps ErrClaimed or ErrOnTape; for an unknown id it wraps ErrNotFound. Their rows of File
// stay known, as taken out of the queue.
func (l *Ledger) Dequeue(ctx context.Context, ids []int64) (removed []Item, err error) {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	err = l.update(ctx, fmt.Sprintf("remove %d items from the queue", len(ids)), func(tx *sql.Tx) error {
		removed, err = l.dequeue(ctx, tx, ids)
		return err
	})
	if err != nil {
		return nil, err
	}
	return removed, nil
}

// dequeue is Dequeue of different items.
func (l *Ledger) dequeue(ctx context.Context, tx *sql.Tx, ids []int64) (removed []Item, err error) {
	for some := range slices.Chunk(ids, idsAtOnce) {
		for it, err := range l.selectItems(ctx, tx, "i.id IN ("+marks(len(some))+")", anys(some)...) {
			switch {
			case err != nil:
				return nil, err
			case it.State == Claimed:
				return nil, fmt.Errorf("%s is %w (job %d)", spell(it.Host, it.Path), ErrClaimed, it.Job)
			case it.State != Queued && it.State != Failed:
				return nil, fmt.Errorf("%s is %w", spell(it.Host, it.Path), ErrOnTape)
			}
			removed = append(removed, it)
		}
	}
	if len(removed) < len(ids) {
		found := make(map[int64]bool)
		for _, it := range removed {
			found[it.ID] = true
		}
		missing := slices.IndexFunc(ids, func(id int64) bool { return !found[id] })
		return nil, fmt.Errorf("item %d is %w", ids[missing], ErrNotFound)
	}
	return removed, deleteItems(ctx, tx, ids)
}

// Expected returns the MD5s that an item's members must have, by the member's path below the item; "" is the item itself.
func (l *Ledger) Expected(ctx context.Context, itemID int64) (map[string]catalog.MD5, error) {
	expected := make(map[string]catalog.MD5)
	_, err := collect(ctx, l.read, func(rows *sql.Rows) (struct{}, error) {
		var name []byte
		var md5 catalog.MD5
		err := rows.Scan(&name, sum{&md5})
		expected[string(name)] = md5
		return struct{}{}, err
	}, "SELECT name, md5 FROM expected_md5s WHERE item = ?", itemID)
	return expected, l.failed(fmt.Sprintf("read the expected MD5s of item %d", itemID), err)
}

// FailItem records why an attempt to archive a waiting item failed; it goes on waiting. It changes nothing about an item
// that is on tape, or gone.
func (l *Ledger) FailItem(ctx context.Context, id int64, reason string) error {
	return l.update(ctx, fmt.Sprintf("record the failure of item %d", id), func(tx *sql.Tx) error {
		if reason == "" {
			return errors.New("a failure needs a reason")
		}
		n, err := exec(ctx, tx, "UPDATE items SET error = ? WHERE id = ? AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.item = ? AND c.damaged = 0)",
			text(reason), id, id)
		if err == nil && n == 0 {
			err = fmt.Errorf("it is %w, waiting", ErrNotFound)
		}
		return err
	})
}
