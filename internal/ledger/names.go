package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"twintape/internal/digest"
)

// names are those that the paths of an archive's members consist of, each with the runs of items that it occurs in. Most occur in many
// members, so they are few: a name is found by them at a fraction of what an index of the members would cost.
type names struct {
	last map[string]run
	done []namedRun
}

// run is from one item of an archive, by its place there, up to another, inclusively.
type run struct{ first, last int64 }

type namedRun struct {
	name int64 // nameHash
	run
}

// runGap is how many items without a name a run goes on over: those are looked at in vain, and the table is the smaller.
const runGap = 8

func newNames() *names { return &names{last: make(map[string]run)} }

// add takes the names of a path in, which an item at a place in the archive has. Items come in their order.
func (n *names) add(item int64, path string) {
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		r, ok := n.last[name]
		switch {
		case ok && r.last == item:
			continue
		case ok && item-r.last > runGap:
			n.done = append(n.done, namedRun{nameHash(name), r})
			fallthrough
		case !ok:
			r.first = item
		}
		r.last = item
		n.last[name] = r
	}
}

// runs returns what was taken in, in the order of the table's key.
func (n *names) runs() []namedRun {
	all := n.done
	for name, r := range n.last {
		all = append(all, namedRun{nameHash(name), r})
	}
	slices.SortFunc(all, func(a, b namedRun) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.first, b.first)) })
	merged := all[:0]
	for _, r := range all {
		if k := len(merged) - 1; k >= 0 && merged[k].name == r.name && merged[k].first == r.first { // of two names with one hash
			merged[k].last = max(merged[k].last, r.last)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// nameHash is what stands for a name in table names. That two have the same only costs looking in vain.
func nameHash(name string) int64 {
	h := digest.MD5([]byte(name))
	return int64(binary.BigEndian.Uint64(h[:]))
}

func (n *names) insert(ctx context.Context, tx *sql.Tx, archive int64) error {
	rows := newInsertion(tx, "names (name, archive, first_item, last_item)")
	for _, r := range n.runs() {
		if err := rows.add(ctx, r.name, archive, r.first, r.last); err != nil {
			return err
		}
	}
	return rows.rest(ctx)
}

// namesOf reads the names of an archive from its items and members, and tells how many those are.
func namesOf(ctx context.Context, q querier, archive int64) (n *names, members int64, err error) {
	type item struct {
		seq, members int64
		path         []byte
	}
	items, err := collect(ctx, q, func(rows *sql.Rows) (it item, err error) {
		err = rows.Scan(&it.seq, &it.members, &it.path)
		return it, err
	}, "SELECT seq, members, path FROM archive_items WHERE archive = ? ORDER BY seq", archive)
	if err != nil {
		return nil, 0, err
	}
	rows, err := q.QueryContext(ctx, "SELECT name FROM members WHERE archive = ? ORDER BY seq", archive)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	n = newNames()
	for _, it := range items {
		n.add(it.seq, string(it.path))
		var name []byte
		for left := it.members; left > 0 && rows.Next(); left-- {
			if err := rows.Scan(&name); err != nil {
				return nil, 0, err
			}
			n.add(it.seq, string(name))
			members++
		}
	}
	return n, members, rows.Err()
}

// deleteNames forgets the names of an archive, whose members are still there.
func deleteNames(ctx context.Context, tx *sql.Tx, archive int64) error {
	n, _, err := namesOf(ctx, tx, archive)
	if err != nil {
		return err
	}
	var all []int64
	for _, r := range n.runs() {
		all = append(all, r.name)
	}
	return execEach(ctx, tx, "DELETE FROM names WHERE archive = ? AND name", slices.Compact(all), archive)
}

// namedAtOnce is how many members are gone through in one transaction to find their names.
const namedAtOnce = 200_000

// fillNames gives the archives of a ledger from before there were names theirs.
func (l *Ledger) fillNames(ctx context.Context) error {
	for {
		if all, err := namesComplete(ctx, l.read); err != nil || all {
			return err
		}
		if err := l.update(ctx, "find the names of its members", func(tx *sql.Tx) error {
			archives, err := collect(ctx, tx, scanID, "SELECT id FROM archives WHERE named = 0 ORDER BY id LIMIT ?", idsAtOnce)
			if err != nil {
				return err
			}
			members := int64(0)
			for _, id := range archives {
				n, count, err := namesOf(ctx, tx, id)
				if err != nil {
					return err
				}
				if err := n.insert(ctx, tx, id); err != nil {
					return err
				}
				if _, err := exec(ctx, tx, "UPDATE archives SET named = 1 WHERE id = ?", id); err != nil {
					return err
				}
				if members += count; members >= namedAtOnce {
					break
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
}

// namesComplete tells whether all archives have their names: an older twintape may plan one while this one runs.
func namesComplete(ctx context.Context, q querier) (bool, error) {
	var one int
	err := q.QueryRowContext(ctx, "SELECT 1 FROM archives WHERE named = 0 LIMIT 1").Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return true, nil
	}
	return false, err
}

// names are those that every path has which matches.
func (p pattern) names() (all []string) {
	before, behind := p.path, ""
	if n := strings.IndexAny(p.path, `[{\`); n >= 0 {
		before = p.path[:n]
		before = before[:strings.LastIndexByte(before, '/')+1]
		_, behind, _ = strings.Cut(p.path[strings.LastIndexAny(p.path, `[]{}\`)+1:], "/")
	}
	for name := range strings.SplitSeq(before+"/"+behind, "/") {
		// To a pattern all bytes that are not UTF-8 are the same.
		if name != "" && !strings.ContainsAny(name, meta) && !strings.ContainsRune(name, utf8.RuneError) && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

const (
	mostRuns  = 200 // A name in more is too frequent to look for its items first.
	mostNames = 5   // of a pattern are looked for, the rarest
	runsAsked = 50  // in one query
)

// byName returns, in their order, the items whose members may match a pattern as far as names tell, if they are few.
func (l *Ledger) byName(ctx context.Context, q querier, p pattern) (ids []int64, few bool, err error) {
	if all, err := namesComplete(ctx, q); err != nil || !all {
		return nil, false, err
	}
	type place struct {
		archive int64
		run
	}
	type sought struct{ name, items int64 }
	var all []sought
	var rarest []place
	fewest := int64(mostMatching + 1)
	for _, name := range p.names() {
		s := sought{name: nameHash(name)}
		places, err := collect(ctx, q, func(rows *sql.Rows) (in place, err error) {
			err = rows.Scan(&in.archive, &in.first, &in.last)
			s.items += in.last - in.first + 1
			return in, err
		}, "SELECT archive, first_item, last_item FROM names WHERE name = ? ORDER BY archive, first_item LIMIT ?", s.name, mostRuns+1)
		if err != nil || len(places) == 0 {
			return nil, true, err
		}
		if len(places) > mostRuns {
			s.items = math.MaxInt64
		}
		if s.items < fewest {
			rarest, fewest = places, s.items
		}
		all = append(all, s)
	}
	if rarest == nil {
		return nil, false, nil
	}
	slices.SortStableFunc(all, func(a, b sought) int { return cmp.Compare(a.items, b.items) })
	all = all[:min(len(all), mostNames)]
	arm := " UNION ALL SELECT ai.item FROM archive_items ai WHERE ai.archive = ? AND ai.seq >= ? AND ai.seq <= ? AND ai.item IS NOT NULL" + strings.Repeat(
		" AND EXISTS (SELECT 1 FROM names n WHERE n.name = ? AND n.archive = ai.archive AND n.first_item <= ai.seq AND n.last_item >= ai.seq)", len(all)-1)
	for some := range slices.Chunk(rarest, runsAsked) {
		var args []any
		for _, in := range some {
			args = append(args, in.archive, in.first, in.last)
			for _, other := range all[1:] {
				args = append(args, other.name)
			}
		}
		found, err := collect(ctx, q, scanID, strings.Repeat(arm, len(some))[len(" UNION ALL "):], args...)
		if err != nil {
			return nil, false, err
		}
		ids = append(ids, found...)
	}
	slices.Sort(ids)
	return slices.Compact(ids), true, nil
}
