package scan

import (
	"fmt"
	"path"
	"sort"
	"strconv"
	"strings"

	"twintape/internal/catalog"
	"twintape/internal/paperdump"
)

// place is where an item was.
type place struct{ host, path string }

func (p place) String() string {
	quoted := strconv.QuoteToASCII(p.path)
	if quoted == `"`+p.path+`"` {
		return p.host + ":" + p.path
	}
	return p.host + ":" + quoted
}

// data is the file of an item that paper-dump's catalog has the MD5 of.
const data = "visdata"

// oldItem is an item of an archive of paper-dump's.
type oldItem struct {
	place
	listed  *paperdump.Item // nil if the catalog does not name it
	members []*paperdump.Member
	next    int    // index of the archive's member behind its last one
	why     string // it does not count; empty if it does
}

func (it *oldItem) bad(format string, args ...any) {
	if it.why == "" {
		it.why = fmt.Sprintf(format, args...)
	}
}

// group makes items of an archive's members, in tape order, and judges them by what could be read, and by the catalog. An item
// is what the catalog names. Of what it does not name, a directory that holds visdata is one, with all in it; so is any other
// file, and any other directory that nothing else lies in.
func group(a *paperdump.Archive, c *paperdump.Catalog, lost []paperdump.Range) []*oldItem {
	g := &grouping{
		archive: a, listed: make(map[place]*paperdump.Item), sets: make(map[place]bool), above: make(map[place]bool), items: make(map[place]*oldItem),
	}
	for i := range c.Items {
		it := &c.Items[i]
		g.listed[place{it.Host, it.Path}] = it
	}
	for i := range a.Members {
		m := &a.Members[i]
		if m.Type == catalog.File && path.Base(m.Path) == data {
			g.sets[place{m.Host, path.Dir(m.Path)}] = true
		}
		for p := m.Path; p != "/"; {
			p = path.Dir(p)
			g.above[place{m.Host, p}] = true
		}
	}
	var all []*oldItem
	g.of = make([]*oldItem, len(a.Members))
	for i := range a.Members {
		m := &a.Members[i]
		at, ok := g.itemOf(m)
		if !ok {
			continue
		}
		it := g.items[at]
		if it == nil {
			it = &oldItem{place: at, listed: g.listed[at], next: i}
			g.items[at] = it
			all = append(all, it)
		}
		if it.next != i {
			it.bad("its members do not lie together")
		}
		it.members, it.next, g.of[i] = append(it.members, m), i+1, it
	}
	for _, it := range all {
		it.judge()
	}
	g.doubt(append(lost, a.Gaps...))
	for _, it := range all {
		it.compare()
	}
	return all
}

// grouping is one call of group.
type grouping struct {
	archive *paperdump.Archive
	listed  map[place]*paperdump.Item
	sets    map[place]bool // directories that hold visdata
	above   map[place]bool // directories in which something lies
	items   map[place]*oldItem
	of      []*oldItem // by member
}

// itemOf returns what item a member belongs to, if any.
func (g *grouping) itemOf(m *paperdump.Member) (at place, ok bool) {
	for p := m.Path; ; p = path.Dir(p) {
		here := place{m.Host, p}
		if g.listed[here] != nil {
			return here, true
		}
		if g.sets[here] { // the outermost, unless the catalog names one further out
			at, ok = here, true
		}
		if p == "/" {
			break
		}
	}
	if !ok {
		at = place{m.Host, m.Path}
		ok = m.Type != catalog.Dir || !g.above[at]
	}
	return at, ok
}

// judge looks whether an item's members make one.
func (it *oldItem) judge() {
	seen := make(map[string]bool)
	for _, m := range it.members {
		switch {
		case m.Why != "":
			it.bad("%s is not taken in: %s", place{m.Host, m.Path}, m.Why)
		case m.Cut:
			it.bad("%s is cut off", place{m.Host, m.Path})
		case seen[m.Path]:
			it.bad("the archive holds %s twice", place{m.Host, m.Path})
		case m.Type == catalog.Hardlink && m.Link != it.path && !strings.HasPrefix(m.Link, strings.TrimSuffix(it.path, "/")+"/"):
			it.bad("%s is another name of %s, which is not in it", place{m.Host, m.Path}, place{m.Host, m.Link})
		}
		seen[m.Path] = true
	}
}

// compare compares an item with its line of the catalog.
func (it *oldItem) compare() {
	var of *paperdump.Member // that the MD5 is of
	for _, m := range it.members {
		if m.Type == catalog.File && (m.Path == it.path || m.Path == path.Join(it.path, data)) {
			of = m
		}
	}
	switch {
	case it.listed == nil || it.listed.MD5.IsZero() || it.why != "":
	case of == nil:
		it.bad("it has no %s, of which the catalog has the md5 %s", data, it.listed.MD5)
	case of.MD5 != it.listed.MD5:
		it.bad("the md5 of its %s is %s, the catalog says %s", data, of.MD5, it.listed.MD5)
	}
}

// doubt takes those items out of the count that have a part in what could not be read, or perhaps have: where a header may have
// stood, it may have been of a member of the item before or behind.
func (g *grouping) doubt(lost []paperdump.Range) {
	a := g.archive
	for _, r := range lost {
		first := sort.Search(len(a.Members), func(i int) bool { return a.Members[i].Range().To > r.From })
		from := r.From
		for i := first; i < len(a.Members) && a.Members[i].At < r.To; i++ {
			m := &a.Members[i]
			if from < m.At {
				g.between(i)
			}
			if it := g.of[i]; it != nil && r.From < m.At+int64(m.Header)+m.Size {
				it.bad("%s cannot be read", place{m.Host, m.Path})
			}
			from = m.Range().To
		}
		last := len(a.Members) > 0 && from >= a.Members[len(a.Members)-1].Range().To
		switch {
		case from >= r.To:
		case a.Inner.To != 0 && (r.To <= a.Inner.From || from >= a.Inner.To): // beside the members' tar
		case last && a.End != 0 && from >= a.End+2*512: // behind its end
		default:
			next := sort.Search(len(a.Members), func(i int) bool { return a.Members[i].At >= r.To })
			g.between(next)
		}
	}
	if n := len(a.Members); n > 0 && !a.Whole() {
		g.between(n)
	}
}

// between doubts the items of the members before and behind a place where others may have lain.
func (g *grouping) between(next int) {
	for i := next - 1; i >= 0; i-- {
		if it := g.of[i]; it != nil {
			it.bad("what lies behind %s cannot be read, and may belong to it", place{g.archive.Members[i].Host, g.archive.Members[i].Path})
			break
		}
	}
	for i := next; i < len(g.of); i++ {
		if it := g.of[i]; it != nil {
			it.bad("what lies before %s cannot be read, and may belong to it", place{g.archive.Members[i].Host, g.archive.Members[i].Path})
			break
		}
	}
}

// item is what the ledger is told of it: of one that does not count nothing but why. Directories that the tar does not have are
// put in, as nothing on tape.
func (it *oldItem) item() catalog.Item {
	out := catalog.Item{Host: it.host, Path: it.path, Bad: it.why}
	if it.why != "" {
		return out
	}
	have := make(map[string]bool)
	for _, m := range it.members {
		e := m.Entry
		e.Record = m.At
		var lacking []string
		for p := e.Path; p != it.path; {
			if p = path.Dir(p); have[p] {
				break
			}
			lacking = append(lacking, p)
		}
		for i := len(lacking) - 1; i >= 0; i-- {
			have[lacking[i]] = true
			out.Entries = append(out.Entries, catalog.Entry{
				Host: it.host, Path: lacking[i], Type: catalog.Dir, Mode: 0o755, MTime: e.MTime, Place: catalog.Place{Record: m.At},
			})
		}
		if e.Type == catalog.Dir {
			if have[e.Path] { // it comes behind what it holds
				continue
			}
			have[e.Path] = true
		}
		out.Entries = append(out.Entries, e)
	}
	return out
}
