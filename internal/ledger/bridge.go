package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"twintape/internal/catalog"
	"twintape/internal/digest"
)

// Identity tells this ledger from all others: eight hexadecimal digits, which never change.
func (l *Ledger) Identity(ctx context.Context) (id string, err error) {
	err = l.read.QueryRowContext(ctx, "SELECT id FROM identity").Scan(&id)
	return id, l.failed("read what it is told by", err)
}

func sourceHash(source string) []byte {
	h := digest.MD5([]byte(source))
	return h[:]
}

// BridgedRows returns those of some rows of paper-dump's File that this ledger has taken, as File spells them, with the item of
// each; 0 for one that was taken out of the queue since.
func (l *Ledger) BridgedRows(ctx context.Context, sources []string) (map[string]int64, error) {
	known := make(map[string]int64)
	for some := range slices.Chunk(sources, idsAtOnce) {
		var hashes []any
		for _, s := range some {
			hashes = append(hashes, sourceHash(s))
		}
		_, err := collect(ctx, l.read, func(rows *sql.Rows) (struct{}, error) {
			row, err := scanBridged(rows)
			known[row.Source] = row.Item
			return struct{}{}, err
		}, "SELECT source, COALESCE(item, 0) FROM bridged WHERE source_hash IN ("+marks(len(hashes))+")", hashes...)
		if err != nil {
			return nil, l.failed("look for rows that were taken", err)
		}
	}
	return known, nil
}

// Bridged is a row of File that this ledger has taken.
type Bridged struct {
	Source string // as File spells it
	Item   int64
}

func scanBridged(rows *sql.Rows) (b Bridged, err error) {
	var source []byte
	err = rows.Scan(&source, &b.Item)
	b.Source = string(source)
	return b, err
}

// WaitingRows returns the rows of the next items behind afterItem, up to limit of them, that wait, and that no job has.
func (l *Ledger) WaitingRows(ctx context.Context, afterItem int64, limit int) ([]Bridged, error) {
	const what = "look for rows that wait"
	ids, err := collect(ctx, l.read, scanID, "SELECT i.id FROM items i WHERE "+unsettled+" AND i.id > ? AND "+free+
		" AND EXISTS (SELECT 1 FROM bridged b WHERE b.item = i.id) ORDER BY i.id LIMIT ?", afterItem, limit)
	if err != nil || len(ids) == 0 {
		return nil, l.failed(what, err)
	}
	rows, err := collect(ctx, l.read, scanBridged, "SELECT source, item FROM bridged WHERE item IN ("+marks(len(ids))+") ORDER BY item, source_hash", anys(ids)...)
	return rows, l.failed(what, err)
}

// Forsake takes an item out of the queue because its row is no longer this ledger's, and forgets the row. The error wraps
// ErrClaimed or ErrOnTape if it is too late for that.
func (l *Ledger) Forsake(ctx context.Context, b Bridged) error {
	return l.update(ctx, "give up "+b.Source, func(tx *sql.Tx) error {
		if _, err := l.dequeue(ctx, tx, []int64{b.Item}); err != nil {
			return err
		}
		_, err := exec(ctx, tx, "DELETE FROM bridged WHERE source_hash = ?", sourceHash(b.Source))
		return err
	})
}

// LatestItems returns the latest version of the items at some paths, by host and path; those that are not in the ledger are left
// out.
func (l *Ledger) LatestItems(ctx context.Context, paths [][2]string) (map[[2]string]Item, error) {
	latest := make(map[[2]string]Item)
	for some := range slices.Chunk(paths, idsAtOnce) {
		var hashes []any
		for _, p := range some {
			hashes = append(hashes, pathHash(p[0], p[1]))
		}
		for it, err := range l.selectItems(ctx, l.read, "i.path_hash IN ("+marks(len(hashes))+")", hashes...) {
			if err != nil {
				return nil, l.failed(fmt.Sprintf("look %d items up", len(paths)), err)
			}
			if at := [2]string{it.Host, it.Path}; it.Version > latest[at].Version {
				latest[at] = it
			}
		}
	}
	return latest, nil
}

// Laid is where an item lies on its tapes, and what the tapes hold of one of its members.
type Laid struct {
	Archive int         // its number
	Item    int         // within the archive, from 1
	MD5     catalog.MD5 // of the member; zero if there is no such file
}

// Laid tells where items lie that have copies, by their ids, and the MD5 of the member of that name directly in each.
func (l *Ledger) Laid(ctx context.Context, items []int64, member string) (map[int64]Laid, error) {
	laid := make(map[int64]Laid)
	for some := range slices.Chunk(items, idsAtOnce) {
		_, err := collect(ctx, l.read, func(rows *sql.Rows) (struct{}, error) {
			var item int64
			var at Laid
			err := rows.Scan(&item, &at.Archive, &at.Item, sum{&at.MD5})
			laid[item] = at
			return struct{}{}, err
		}, `SELECT ai.item, a.number, ai.seq + 1, m.md5 FROM archive_items ai JOIN archives a ON a.id = ai.archive
			LEFT JOIN members m ON m.archive = ai.archive AND m.parent = ai.first_member AND m.name = ? AND m.bad = ''
			WHERE EXISTS (SELECT 1 FROM copies c WHERE c.item = ai.item AND c.archive = ai.archive) AND ai.item IN (`+marks(len(some))+`)`,
			append([]any{bytesOf(member)}, anys(some)...)...)
		if err != nil {
			return nil, l.failed("look for the places of items", err)
		}
	}
	return laid, nil
}

// bridge notes what is known of an item's row: that it was taken for the item, or, if it was queued without a row, that it may be
// taken again.
func (q *queueing) bridge(ctx context.Context, e *Enqueued) error {
	if e.Row == "" {
		_, err := q.removed.ExecContext(ctx, pathHash(e.Host, e.Path))
		return err
	}
	if e.ID == 0 {
		return nil
	}
	if _, err := q.forget.ExecContext(ctx, sourceHash(e.Row)); err != nil {
		return err
	}
	if _, err := q.row.ExecContext(ctx, sourceHash(e.Row), bytesOf(e.Row), pathHash(e.Host, e.Path), e.ID); err != nil {
		return err
	}
	if e.Outcome != Waiting {
		return nil
	}
	for name, md5 := range e.Expected {
		if _, err := q.missing.ExecContext(ctx, bytesOf(name), md5[:], e.ID, bytesOf(name)); err != nil {
			return err
		}
	}
	return nil
}

// forgetRows forgets which rows some items are: they may be taken again.
func forgetRows(ctx context.Context, tx *sql.Tx, items []int64) error {
	for some := range slices.Chunk(items, idsAtOnce) {
		if _, err := exec(ctx, tx, "DELETE FROM bridged WHERE item IN ("+marks(len(some))+")", anys(some)...); err != nil {
			return err
		}
	}
	return nil
}
