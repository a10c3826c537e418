package ledgertest

import (
	"cmp"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/bmatcuk/doublestar/v4"

	"twintape/internal/catalog"
	"twintape/internal/ledger"
)

// shelved is an item, and what a walk through it finds.
type shelved struct {
	id         int64
	host, path string
	members    []catalog.Entry // as they were planned last
	onTape     bool            // undamaged
}

// testFindModel compares what is found with what a walk through all members finds, in their order, while items get copies and lose them.
func testFindModel(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	r := rand.New(rand.NewPCG(6, 6))
	names := []string{"d", "D", "d*", "[d]", "d%", "_", "d\\", "d\xff", "\xff", "f", "F", "{f", "h", "]"}
	hosts := []string{"h", "H", "h2"}
	var items []*shelved // by id
	renewed, again := 0, 0
	for n := range 4 {
		var wanted []ledger.NewItem
		for range 30 {
			top := "/"
			for range 1 + r.IntN(4) {
				top = path.Join(top, names[r.IntN(len(names))])
			}
			wanted = append(wanted, ledger.NewItem{Host: hosts[r.IntN(len(hosts))], Path: top, Fingerprint: catalog.MD5{byte(n)}})
		}
		for _, it := range items {
			if it.onTape && r.IntN(5) == 0 {
				wanted = append(wanted, ledger.NewItem{Host: it.host, Path: it.path, Fingerprint: catalog.MD5{byte(n)}})
			}
		}
		added, err := b.Enqueue(b.ctx, wanted, true)
		b.must(err)
		for _, e := range added {
			if e.Outcome == ledger.Renewed {
				renewed++
			}
			if e.Outcome == ledger.Added || e.Outcome == ledger.Renewed {
				items = append(items, &shelved{id: e.ID, host: e.Host, path: e.Path})
			}
		}
		slices.SortFunc(items, func(a, b *shelved) int { return cmp.Compare(a.id, b.id) })
		again += shelve(b, r, items, names)
		compareFound(b, r, items, hosts)
	}
	if renewed == 0 || again == 0 {
		t.Errorf("%d items changed, %d were damaged and planned again", renewed, again)
	}
}

// shelve brings items that wait onto a new pair: some stay there, others are taken back, damaged, only planned, or go on waiting. It
// returns how many were damaged before.
func shelve(b *bench, r *rand.Rand, items []*shelved, names []string) (again int) {
	run := b.run()
	var parts [5][]*shelved
	for _, it := range items {
		if !it.onTape {
			n := []int{0, 0, 0, 1, 2, 3, 4}[r.IntN(7)]
			parts[n] = append(parts[n], it)
		}
	}
	var flushed []ledger.FlushedArchive
	for number, part := range parts[:4] {
		a := Archive(run.job, run.session, number+1, nil, 0)
		for _, it := range part {
			if it.members != nil {
				again++
			}
			it.members = someMembers(r, it, names)
			a.Items = append(a.Items, catalog.Item{ID: it.id, Host: it.host, Path: it.path, Entries: it.members})
		}
		id, err := b.PlanArchive(b.ctx, run.job.ID, run.session.ID, a, 50, nil)
		b.must(err)
		if number < 3 {
			flushed = append(flushed, ledger.FlushedArchive{ID: id, Result: Written(a)})
		}
	}
	b.must(b.RecordFlush(b.ctx, flushOf(run, flushed...)))
	b.must(b.DropUnflushed(b.ctx, run.session.ID))
	b.must(b.GiveUp(b.ctx, flushed[2].ID))
	for _, it := range append(parts[2], parts[3]...) {
		it.members = nil
	}
	for side := range 2 {
		bad, good := verification(run, side, 1, true), verification(run, side, 1, true)
		bad.Good, bad.Reason = false, "differs"
		for _, it := range parts[0] {
			it.onTape = true
			c := ledger.CheckedCopy{Item: it.id, Read: 2000, Full: true}
			bad.Copies, good.Copies = append(bad.Copies, c), append(good.Copies, c)
		}
		for _, it := range parts[1] {
			bad.Copies = append(bad.Copies, ledger.CheckedCopy{Item: it.id, Read: 2000, Bad: "its md5 differs"})
		}
		for _, v := range []ledger.Verification{bad, good} {
			_, err := b.RecordVerification(b.ctx, v)
			b.must(err)
		}
	}
	return again
}

// someMembers makes the members of an item: a file, or a directory with files and another.
func someMembers(r *rand.Rand, it *shelved, names []string) []catalog.Entry {
	if r.IntN(4) == 0 {
		return []catalog.Entry{{Host: it.host, Path: it.path, Type: catalog.File}}
	}
	all := []catalog.Entry{{Host: it.host, Path: it.path, Type: catalog.Dir}}
	for _, dir := range []string{it.path, path.Join(it.path, "deep")} {
		if dir != it.path {
			all = append(all, catalog.Entry{Host: it.host, Path: dir, Type: catalog.Dir})
		}
		for _, name := range names {
			if r.IntN(4) == 0 {
				all = append(all, catalog.Entry{Host: it.host, Path: path.Join(dir, name), Type: catalog.File})
			}
		}
	}
	return all
}

func compareFound(b *bench, r *rand.Rand, items []*shelved, hosts []string) {
	type found struct {
		item int64
		at   string
	}
	var members []catalog.Entry
	for _, it := range items {
		members = append(append(members, catalog.Entry{Host: it.host, Path: it.path}), it.members...)
	}
	hits, filtered := 0, 0
	for range 200 {
		pattern := somePattern(r, members[r.IntN(len(members))], hosts)
		host, glob, ok := strings.Cut(pattern, ":")
		if !ok {
			if host, glob = "*", pattern; !strings.HasPrefix(glob, "/") {
				glob = "/**/" + glob
			}
		}
		fits := func(e catalog.Entry) bool {
			return doublestar.MatchUnvalidated(host, e.Host) && doublestar.MatchUnvalidated(glob, e.Path)
		}
		var want, got []found
		var ids, wantIDs []int64
		for _, it := range items {
			for _, e := range it.members {
				if it.onTape && fits(e) {
					want = append(want, found{it.id, e.Host + ":" + e.Path})
				}
			}
			if slices.ContainsFunc(it.members, fits) || fits(catalog.Entry{Host: it.host, Path: it.path}) {
				wantIDs = append(wantIDs, it.id)
			}
		}
		limit := r.IntN(3) * r.IntN(4)
		if limit > 0 {
			want = want[:min(limit, len(want))]
		}
		for f, err := range b.Find(b.ctx, ledger.Wanted{Pattern: pattern, Limit: limit}) {
			b.must(err)
			got = append(got, found{f.Item.ID, f.Entry.Host + ":" + f.Entry.Path})
		}
		if !slices.Equal(got, want) {
			b.Fatalf("%q, at most %d: found %+v, want %+v", pattern, limit, got, want)
		}
		hits += len(got)
		for it, err := range b.Items(b.ctx, ledger.Filter{Pattern: pattern}) {
			b.must(err)
			ids = append(ids, it.ID)
		}
		if !slices.Equal(ids, wantIDs) {
			b.Fatalf("%q: items %d, want %d", pattern, ids, wantIDs)
		}
		filtered += len(ids)
	}
	if hits < 200 || filtered < 200 {
		b.Errorf("only %d members and %d items were found", hits, filtered)
	}
}

// somePattern makes a pattern of a member's path: parts of it become wildcards, and what its names have of those stands for itself.
func somePattern(r *rand.Rand, e catalog.Entry, hosts []string) string {
	parts := strings.Split(e.Path[1:], "/")
	for i, p := range parts {
		switch r.IntN(9) {
		case 0:
			parts[i] = "*"
		case 1:
			parts[i] = "**"
		case 2:
			parts[i] = "{no/where,*}"
		default:
			parts[i] = strings.NewReplacer(`\`, `\\`, "*", `\*`, "[", `\[`, "{", `\{`).Replace(p)
		}
	}
	switch r.IntN(5) {
	case 0:
		parts = parts[:1+r.IntN(len(parts))]
	case 1:
		parts = append(parts, "**")
	case 2:
		return strings.Join(parts[r.IntN(len(parts)):], "/") // at the end of any path
	}
	host := []string{"", "*:", "h*:", hosts[r.IntN(len(hosts))] + ":", e.Host + ":", e.Host + ":"}[r.IntN(6)]
	return host + "/" + strings.Join(parts, "/")
}
