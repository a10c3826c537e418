package ledgertest

import (
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/bmatcuk/doublestar/v4"

	"twintape/internal/catalog"
	"twintape/internal/ledger"
)

// testFindModel compares what is found with what a walk through all members finds, in their order.
func testFindModel(t *testing.T, fresh Fresh) {
	b := newBench(t, fresh)
	r := rand.New(rand.NewPCG(6, 6))
	names := []string{"d", "D", "d*", "[d]", "d%", "_", "d\\", "d\xff", "\xff", "f", "F", "{f"}
	hosts := []string{"h", "H", "h2"}
	run := b.run()
	var wanted []ledger.NewItem
	for range 60 {
		top := "/"
		for range 1 + r.IntN(4) {
			top = path.Join(top, names[r.IntN(len(names))])
		}
		wanted = append(wanted, ledger.NewItem{Host: hosts[r.IntN(len(hosts))], Path: top})
	}
	added, err := b.Enqueue(b.ctx, wanted, false)
	b.must(err)
	a := Archive(run.job, run.session, 1, nil, 0)
	type found struct {
		item int64
		at   string
	}
	var members []catalog.Entry // of all items, in the order of the queue
	var items []ledger.Enqueued
	of := make(map[string][]catalog.Entry)
	for _, e := range added {
		if e.Outcome != ledger.Added {
			continue
		}
		items = append(items, e)
		entries := []catalog.Entry{{Host: e.Host, Path: e.Path, Type: catalog.Dir}}
		for _, name := range names {
			if r.IntN(3) == 0 {
				entries = append(entries, catalog.Entry{Host: e.Host, Path: path.Join(e.Path, name), Type: catalog.File, MD5: catalog.MD5{1}})
			}
		}
		of[e.Host+":"+e.Path] = entries
		members = append(members, entries...)
	}
	for i := range items { // the last tenth waits
		if i < len(items)*9/10 {
			it := items[i]
			a.Items = append(a.Items, catalog.Item{ID: it.ID, Host: it.Host, Path: it.Path, Entries: of[it.Host+":"+it.Path]})
		}
	}
	id, err := b.PlanArchive(b.ctx, run.job.ID, run.session.ID, a, 50, nil)
	b.must(err)
	b.flush(run, id, a)

	hits, filtered := 0, 0
	for range 400 {
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
		for _, it := range a.Items {
			for _, e := range it.Entries {
				if fits(e) {
					want = append(want, found{it.ID, e.Host + ":" + e.Path})
				}
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
			t.Fatalf("%q, at most %d: found %+v, want %+v", pattern, limit, got, want)
		}
		hits += len(got)
		var ids, wantIDs []int64
		for i, it := range items {
			if i < len(a.Items) && slices.ContainsFunc(of[it.Host+":"+it.Path], fits) || fits(catalog.Entry{Host: it.Host, Path: it.Path}) {
				wantIDs = append(wantIDs, it.ID)
			}
		}
		for it, err := range b.Items(b.ctx, ledger.Filter{Pattern: pattern}) {
			b.must(err)
			ids = append(ids, it.ID)
		}
		if !slices.Equal(ids, wantIDs) {
			t.Fatalf("%q: items %d, want %d", pattern, ids, wantIDs)
		}
		filtered += len(ids)
	}
	if hits < 400 || filtered < 400 {
		t.Errorf("only %d members and %d items were found", hits, filtered)
	}
}

// somePattern makes a pattern of a member's path: parts of it become wildcards, and what its names have of those stands for itself.
func somePattern(r *rand.Rand, e catalog.Entry, hosts []string) string {
	parts := strings.Split(e.Path[1:], "/")
	for i, p := range parts {
		switch r.IntN(6) {
		case 0:
			parts[i] = "*"
		case 1:
			parts[i] = "**"
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
