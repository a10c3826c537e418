package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	pathpkg "path"
	"slices"
	"time"

	"twintape/internal/catalog"
)

// known is what the queue knows of a path: its latest version, id 0 if there is none.
type known struct {
	id          int64
	version     int
	fingerprint catalog.MD5
	archived    bool
}

// queueing is one call of Enqueue.
type queueing struct {
	again    bool
	latest   *sql.Stmt
	inside   *sql.Stmt
	item     *sql.Stmt
	expected *sql.Stmt
	within   *folders
	missing  *sql.Stmt         // adds an expected MD5 where there is none
	row      *sql.Stmt         // see bridge
	forget   *sql.Stmt         // a row
	removed  *sql.Stmt         // forgets rows that were taken out of the queue
	folders  map[string]known  // what is known of the folders that hold items
	taken    map[string]string // the paths of this call that are items
}

func newQueueing(ctx context.Context, tx *sql.Tx, again bool) (*queueing, error) {
	q := &queueing{again: again, within: newFolders(tx), folders: make(map[string]known), taken: make(map[string]string)}
	// The transaction closes its statements.
	for _, s := range []struct {
		stmt  **sql.Stmt
		query string
	}{
		{&q.latest, "SELECT i.id, i.version, i.fingerprint, " + verifiedTwice + ` FROM items i
			WHERE i.path_hash = ? AND i.host = ? AND i.path = ? ORDER BY i.version DESC LIMIT 1`},
		{&q.inside, `SELECT i.path FROM items i WHERE i.host = ? AND i.path >= ? AND i.path < ? AND NOT ` + verifiedTwice + `
			AND NOT EXISTS (SELECT 1 FROM items n WHERE n.path_hash = i.path_hash AND n.version > i.version)
			ORDER BY i.path LIMIT 1`},
		{&q.item, `INSERT INTO items (host, path, path_hash, folder, version, bytes, members, fingerprint, queued, error)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '')`},
		{&q.expected, "INSERT INTO expected_md5s (item, name, md5) VALUES (?, ?, ?)"},
		{&q.missing, "INSERT INTO expected_md5s (item, name, md5) SELECT i.id, ?, ? FROM items i WHERE i.id = ? AND NOT EXISTS (" +
			"SELECT 1 FROM expected_md5s x WHERE x.item = i.id AND x.name = ?)"},
		{&q.row, "INSERT INTO bridged (source_hash, source, path_hash, item) VALUES (?, ?, ?, ?)"},
		{&q.forget, "DELETE FROM bridged WHERE source_hash = ?"},
		{&q.removed, "DELETE FROM bridged WHERE path_hash = ? AND item IS NULL"},
	} {
		var err error
		if *s.stmt, err = tx.PrepareContext(ctx, s.query); err != nil {
			return nil, err
		}
	}
	return q, nil
}

func (q *queueing) add(ctx context.Context, items []NewItem) ([]Enqueued, error) {
	out := make([]Enqueued, len(items))
	order := make([]int, len(items))
	for i, it := range items {
		if it.Host == "" || !pathpkg.IsAbs(it.Path) || pathpkg.Clean(it.Path) != it.Path {
			return nil, fmt.Errorf("%q is not host:/absolute/path, cleaned", spell(it.Host, it.Path))
		}
		out[i].NewItem = it
		order[i] = i
	}
	// In this order a folder comes before all that it holds.
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(items[a].Host, items[b].Host), cmp.Compare(items[a].Path, items[b].Path))
	})
	versions := make([]int, len(items)) // of those to add
	twins := make(map[int]int)          // of an item that was given twice, where it was first
	for n, i := range order {
		if n > 0 {
			if p := order[n-1]; items[p].Host == items[i].Host && items[p].Path == items[i].Path {
				if first, ok := twins[p]; ok {
					p = first
				}
				twins[i] = p
				continue
			}
		}
		var err error
		if versions[i], err = q.judge(ctx, &out[i]); err != nil {
			return nil, err
		}
	}
	now := time.Now().UnixNano()
	for i := range out {
		if versions[i] > 0 {
			if err := q.insert(ctx, &out[i], versions[i], now); err != nil {
				return nil, err
			}
		}
	}
	for i, first := range twins {
		out[i].Outcome, out[i].ID, out[i].Other = out[first].Outcome, out[first].ID, out[first].Other
		if versions[first] > 0 {
			out[i].Outcome = Waiting
		}
	}
	for i := range out {
		if err := q.bridge(ctx, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// judge decides what becomes of an item; if it is to be added, it returns the version to give it.
func (q *queueing) judge(ctx context.Context, e *Enqueued) (version int, err error) {
	k, err := q.lookUp(ctx, e.Host, e.Path)
	if err != nil {
		return 0, err
	}
	e.ID = k.id
	changed := k.id != 0 && k.fingerprint != e.Fingerprint
	switch {
	case k.id != 0 && !k.archived:
		e.Outcome = Waiting
	case k.id != 0 && !changed:
		e.Outcome = Kept
	case changed && !q.again:
		e.Outcome = Changed
	default:
		if e.Other, err = q.encloses(ctx, e.Host, e.Path); err != nil {
			return 0, err
		}
		if e.Other != "" {
			e.Outcome, e.ID = Enclosed, 0
			return 0, nil
		}
		e.Outcome = Added
		if changed {
			e.Outcome = Renewed
		}
		version = k.version + 1
	}
	q.taken[spell(e.Host, e.Path)] = e.Path
	return version, nil
}

func (q *queueing) lookUp(ctx context.Context, host, path string) (k known, err error) {
	err = q.latest.QueryRowContext(ctx, pathHash(host, path), host, bytesOf(path)).
		Scan(&k.id, &k.version, sum{&k.fingerprint}, &k.archived)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return k, err
}

// encloses returns the item that path lies in, or that lies in path; "" if there is none.
func (q *queueing) encloses(ctx context.Context, host, path string) (string, error) {
	for folder := path; folder != "/"; {
		folder = pathpkg.Dir(folder)
		spelled := spell(host, folder)
		if other, ok := q.taken[spelled]; ok {
			return other, nil
		}
		k, ok := q.folders[spelled]
		if !ok {
			var err error
			if k, err = q.lookUp(ctx, host, folder); err != nil {
				return "", err
			}
			q.folders[spelled] = k
		}
		if k.id != 0 && !k.archived {
			return folder, nil
		}
	}
	below := below(path)
	var other []byte
	err := q.inside.QueryRowContext(ctx, host, bytesOf(below), bytesOf(after(below))).Scan(&other)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return string(other), err
}

func (q *queueing) insert(ctx context.Context, e *Enqueued, version int, now int64) error {
	folder, err := q.within.of(ctx, e.Host, e.Path)
	if err != nil {
		return err
	}
	res, err := q.item.ExecContext(ctx, e.Host, bytesOf(e.Path), pathHash(e.Host, e.Path), folder, version, e.Bytes, e.Members,
		e.Fingerprint[:], now)
	if err != nil {
		return err
	}
	if e.ID, err = res.LastInsertId(); err != nil {
		return err
	}
	for name, md5 := range e.Expected {
		if _, err := q.expected.ExecContext(ctx, e.ID, bytesOf(name), md5[:]); err != nil {
			return err
		}
	}
	return nil
}

// below is what the path of everything inside a folder begins with.
func below(folder string) string {
	if folder == "/" {
		return "/"
	}
	return folder + "/"
}

// after is the first path behind all that begin with prefix, which must not end in a byte 0xFF.
func after(prefix string) string {
	last := len(prefix) - 1
	return prefix[:last] + string([]byte{prefix[last] + 1})
}
