package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	pathpkg "path"
	"slices"
	"strings"
)

// folders finds the folders that items lie in, and adds those that the ledger has not, in one transaction.
type folders struct {
	tx    *sql.Tx
	known map[string]int64 // by spelled path
}

func newFolders(tx *sql.Tx) *folders { return &folders{tx: tx, known: make(map[string]int64)} }

// of returns the folder that the item at a path lies in.
func (f *folders) of(ctx context.Context, host, path string) (int64, error) {
	dir := pathpkg.Dir(path)
	spelled := spell(host, dir)
	if id, ok := f.known[spelled]; ok {
		return id, nil
	}
	id, err := folder(ctx, f.tx, host, dir)
	if errors.Is(err, sql.ErrNoRows) {
		var parent int64
		if dir != "/" {
			if parent, err = f.of(ctx, host, dir); err != nil {
				return 0, err
			}
		}
		id, err = insert(ctx, f.tx, "INSERT INTO folders (host, path, path_hash, parent) VALUES (?, ?, ?, ?)", host, bytesOf(dir), pathHash(host, dir), parent)
	}
	if err == nil {
		f.known[spelled] = id
	}
	return id, err
}

// folder returns the id of a folder, or sql.ErrNoRows.
func folder(ctx context.Context, q querier, host, path string) (id int64, err error) {
	err = q.QueryRowContext(ctx, "SELECT id FROM folders WHERE path_hash = ? AND host = ? AND path = ?", pathHash(host, path), host, bytesOf(path)).Scan(&id)
	return id, err
}

// deleteItems forgets items, and the folders that nothing lies in then.
func deleteItems(ctx context.Context, tx *sql.Tx, ids []int64) error {
	var emptied []int64
	for some := range slices.Chunk(ids, idsAtOnce) {
		in, args := " IN ("+marks(len(some))+")", anys(some)
		holding, err := collect(ctx, tx, scanID, "SELECT DISTINCT folder FROM items WHERE id"+in, args...)
		if err != nil {
			return err
		}
		emptied = append(emptied, holding...)
		for _, statement := range []string{
			"UPDATE archive_items SET item = NULL WHERE item", "DELETE FROM copies WHERE item", "DELETE FROM expected_md5s WHERE item",
			"UPDATE bridged SET item = NULL WHERE item", "DELETE FROM items WHERE id",
		} {
			if _, err := exec(ctx, tx, statement+in, args...); err != nil {
				return err
			}
		}
	}
	for len(emptied) > 0 {
		slices.Sort(emptied)
		var above []int64
		for some := range slices.Chunk(slices.Compact(emptied), idsAtOnce) {
			empty, err := collect(ctx, tx, func(rows *sql.Rows) (f [2]int64, err error) {
				err = rows.Scan(&f[0], &f[1])
				return f, err
			}, "SELECT f.id, f.parent FROM folders f WHERE f.id IN ("+marks(len(some))+`) AND NOT EXISTS (SELECT 1 FROM items i WHERE i.folder = f.id)
				AND NOT EXISTS (SELECT 1 FROM folders n WHERE n.parent = f.id)`, anys(some)...)
			if err != nil {
				return err
			}
			for _, f := range empty {
				if _, err := exec(ctx, tx, "DELETE FROM folders WHERE id = ?", f[0]); err != nil {
					return err
				}
				above = append(above, f[1])
			}
		}
		emptied = above
	}
	return nil
}

// fillFolders gives the items of a ledger from before there were folders theirs.
func (l *Ledger) fillFolders(ctx context.Context) error {
	type item struct {
		id         int64
		host, path string
	}
	find := func(q querier) ([]item, error) {
		return collect(ctx, q, func(rows *sql.Rows) (it item, err error) {
			var path []byte
			err = rows.Scan(&it.id, &it.host, &path)
			it.path = string(path)
			return it, err
		}, "SELECT id, host, path FROM items WHERE folder = 0 LIMIT ?", lastPage)
	}
	for {
		if some, err := find(l.read); err != nil || len(some) == 0 {
			return err
		}
		if err := l.updateIn(ctx, queueOnly, "find the folders of its items", func(tx *sql.Tx) error {
			some, err := find(tx)
			if err != nil {
				return err
			}
			all, in := newFolders(tx), make(map[int64][]int64)
			for _, it := range some {
				id, err := all.of(ctx, it.host, it.path)
				if err != nil {
					return err
				}
				in[id] = append(in[id], it.id)
			}
			for id, items := range in {
				if err := execEach(ctx, tx, "UPDATE items SET folder = ? WHERE id", items, id); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
}

// joinedDepth is how deep below a folder one query looks.
const joinedDepth = 5

// leading returns those of some folders that lead to an item with a copy. It looks at first for items in each, then in the folders
// there, and so on, and at no more of them than the first with a copy.
func (l *Ledger) leading(ctx context.Context, all []int64) (lead map[int64]bool, err error) {
	lead = make(map[int64]bool)
	above := make(map[int64]int64) // of a folder that is yet to be looked below, which of all it is below, or is
	for _, id := range all {
		above[id] = id
	}
	for depth := 0; len(above) > 0; depth++ {
		if depth > joinedDepth {
			if above, err = l.oneDeeper(ctx, above); err != nil {
				return nil, err
			}
		}
		for some := range slices.Chunk(slices.Sorted(maps.Keys(above)), idsAtOnce) {
			found, err := collect(ctx, l.read, scanID, "SELECT t.id FROM folders t WHERE t.id IN ("+marks(len(some))+") AND "+leads(min(depth, joinedDepth)), anys(some)...)
			if err != nil {
				return nil, err
			}
			for _, id := range found {
				lead[above[id]] = true
			}
		}
		maps.DeleteFunc(above, func(_, top int64) bool { return lead[top] })
	}
	return lead, nil
}

// leads is the condition that an item with a copy lies so deep below folder t. It is not a join, which a database might begin with all
// items.
func leads(depth int) string {
	last, end := "t", ""
	var where strings.Builder
	for n := range depth {
		next := fmt.Sprintf("f%d", n)
		where.WriteString("EXISTS (SELECT 1 FROM folders " + next + " WHERE " + next + ".parent = " + last + ".id AND ")
		last, end = next, end+")"
	}
	return where.String() + "EXISTS (SELECT 1 FROM items i WHERE i.folder = " + last + ".id AND " + undamaged + ")" + end
}

func (l *Ledger) oneDeeper(ctx context.Context, above map[int64]int64) (map[int64]int64, error) {
	below := make(map[int64]int64)
	for some := range slices.Chunk(slices.Sorted(maps.Keys(above)), idsAtOnce) {
		if _, err := collect(ctx, l.read, func(rows *sql.Rows) (_ struct{}, err error) {
			var id, parent int64
			err = rows.Scan(&id, &parent)
			below[id] = above[parent]
			return struct{}{}, err
		}, "SELECT id, parent FROM folders WHERE parent IN ("+marks(len(some))+")", anys(some)...); err != nil {
			return nil, err
		}
	}
	return below, nil
}

// inFolder returns the entries of a folder that are items with a copy or lead to them: the id of the latest item that the entry is
// itself, 0 if it only leads to others.
func (l *Ledger) inFolder(ctx context.Context, host, dir string) (entries map[string]int64, err error) {
	id, err := folder(ctx, l.read, host, dir)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	paths := make(map[int64]string)
	if err := l.passItems(ctx, func(id int64, _ int, p string) bool {
		paths[id] = p
		return true
	}, "SELECT id, 0, path FROM folders WHERE parent = ?", id); err != nil {
		return nil, err
	}
	lead, err := l.leading(ctx, slices.Collect(maps.Keys(paths)))
	if err != nil {
		return nil, err
	}
	entries = make(map[string]int64)
	for id := range lead {
		entries[paths[id]] = 0
	}
	of := make(versions)
	return entries, l.passItems(ctx, func(id int64, version int, p string) bool {
		if p != dir && of.add(p, version) { // / lies in itself
			entries[p] = id
		}
		return true
	}, "SELECT i.id, i.version, i.path FROM items i WHERE i.folder = ? AND "+undamaged, id)
}
