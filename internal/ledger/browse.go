package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"twintape/internal/catalog"
)

// Browsed is an entry of the tree that the copies make: host and path of all members on one tape, or on all. Of several
// versions of an item it has the latest. Damaged copies are left out.
type Browsed struct {
	catalog.Entry
	Item int64 // that the entry is a member of; 0 for a directory that only leads to items
}

// BrowseHosts returns the hosts of which something is on a tape, sorted; on any tape if barcode is empty.
func (l *Ledger) BrowseHosts(ctx context.Context, barcode string) ([]string, error) {
	hosts, err := l.browseHosts(ctx, barcode)
	return hosts, l.failed("list the hosts on "+onTape(barcode), err)
}

// Browse returns the entry at a path, or an error that wraps ErrNotFound.
func (l *Ledger) Browse(ctx context.Context, barcode, host, path string) (Browsed, error) {
	e, err := l.browse(ctx, barcode, host, path)
	return e, l.failed("look "+spell(host, path)+" up on "+onTape(barcode), err)
}

// BrowseDir returns what the directory at a path holds, sorted by path; nothing if there is no such directory.
func (l *Ledger) BrowseDir(ctx context.Context, barcode, host, path string) ([]Browsed, error) {
	all, err := l.browseDir(ctx, barcode, host, path)
	return all, l.failed("list "+spell(host, path)+" on "+onTape(barcode), err)
}

func onTape(barcode string) string {
	if barcode == "" {
		return "all tapes"
	}
	return "tape " + barcode
}

// copied is the condition that item i has a copy on the tape; a barcode is its only argument, if it is not empty.
func copied(barcode string) (condition string, args []any) {
	if barcode == "" {
		return undamaged, nil
	}
	return "EXISTS (SELECT 1 FROM copies c CROSS JOIN tapes t ON t.id = c.tape WHERE c.item = i.id AND c.damaged = 0 AND t.barcode = ?)", []any{barcode}
}

func (l *Ledger) browseHosts(ctx context.Context, barcode string) (hosts []string, err error) {
	if barcode != "" {
		return collect(ctx, l.read, scanText, `SELECT DISTINCT i.host
			FROM tapes t CROSS JOIN copies c ON c.tape = t.id CROSS JOIN items i ON i.id = c.item
			WHERE t.barcode = ? AND c.damaged = 0 ORDER BY i.host`, barcode)
	}
	all, err := l.hosts(ctx, l.read)
	for _, host := range all {
		found, err := collect(ctx, l.read, scanID, "SELECT i.id FROM items i WHERE i.host = ? AND "+undamaged+" LIMIT 1", host)
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			hosts = append(hosts, host)
		}
	}
	return hosts, err
}

// hosts returns the hosts that items are on, sorted: from one to the next by the index, however many items each has.
func (l *Ledger) hosts(ctx context.Context, q querier) (hosts []string, err error) {
	for last := ""; ; {
		var next sql.NullString
		if err := q.QueryRowContext(ctx, "SELECT MIN(host) FROM items WHERE host > ?", last).Scan(&next); err != nil || !next.Valid {
			return hosts, err
		}
		last = next.String
		hosts = append(hosts, last)
	}
}

func scanText(rows *sql.Rows) (s string, err error) {
	err = rows.Scan(&s)
	return s, err
}

// copiedItem is where an item's members stand in the ledger.
type copiedItem struct {
	id      int64
	host    string
	path    string
	version int
	archive int64
	number  int   // of the archive
	first   int64 // seq of its first member, the item itself
}

func scanCopiedItem(rows *sql.Rows) (it copiedItem, err error) {
	var path []byte
	err = rows.Scan(&it.id, &it.host, &path, &it.version, &it.archive, &it.number, &it.first)
	it.path = string(path)
	return it, err
}

// copiedItems returns items that fit the conditions, the latest first.
func (l *Ledger) copiedItems(ctx context.Context, where string, args ...any) ([]copiedItem, error) {
	return collect(ctx, l.read, scanCopiedItem, `SELECT DISTINCT i.id, i.host, i.path, i.version, a.id, a.number, ai.first_member
		FROM items i JOIN copies c ON c.item = i.id AND c.damaged = 0
		JOIN archives a ON a.id = c.archive JOIN archive_items ai ON ai.item = i.id AND ai.archive = c.archive
		WHERE `+where+" ORDER BY i.id DESC", args...)
}

// covering returns the items that a path is in, the latest first, each in its latest version.
func (l *Ledger) covering(ctx context.Context, barcode, host, p string) ([]copiedItem, error) {
	var hashes []any
	for at := p; ; at = path.Dir(at) {
		hashes = append(hashes, pathHash(host, at))
		if at == "/" {
			break
		}
	}
	condition, args := copied(barcode)
	// The host is compared here: by its index the database would look through all of its items.
	all, err := l.copiedItems(ctx, "i.path_hash IN ("+marks(len(hashes))+") AND "+condition, append(hashes, args...)...)
	return latest(slices.DeleteFunc(all, func(it copiedItem) bool { return it.host != host })), err
}

// latest leaves the latest version of each path.
func latest(all []copiedItem) []copiedItem {
	last := make(map[string]int)
	for _, it := range all {
		last[it.path] = max(last[it.path], it.version)
	}
	return slices.DeleteFunc(all, func(it copiedItem) bool {
		older := it.version < last[it.path]
		last[it.path] = max(last[it.path], it.version+1) // once only
		return older
	})
}

// versions keeps of items that are the entries of a directory those of the latest version.
type versions map[string]int

// add takes the next item with a path, and tells whether it is to be kept so far.
func (v versions) add(p string, version int) bool {
	later := version > v[p]
	v[p] = max(v[p], version)
	return later
}

// member finds an item's member by its name below the item.
func (l *Ledger) member(ctx context.Context, it copiedItem, name string) (seq int64, err error) {
	seq = it.first
	for end := 0; end < len(name); {
		if next := strings.IndexByte(name[end+1:], '/'); next < 0 {
			end = len(name)
		} else {
			end += 1 + next
		}
		err := l.read.QueryRowContext(ctx, "SELECT seq FROM members WHERE archive = ? AND parent = ? AND name = ?",
			it.archive, seq, bytesOf(name[:end])).Scan(&seq)
		if errors.Is(err, sql.ErrNoRows) {
			return 0, ErrNotFound
		}
		if err != nil {
			return 0, err
		}
	}
	return seq, nil
}

// browsedMembers returns members of an item, in the order of the condition.
func (l *Ledger) browsedMembers(ctx context.Context, it copiedItem, where string, args ...any) ([]Browsed, error) {
	all, err := collect(ctx, l.read, func(rows *sql.Rows) (Browsed, error) {
		e, err := scanMember(rows, it.host, it.path, it.number)
		return Browsed{Entry: e, Item: it.id}, err
	}, "SELECT "+memberColumns+" FROM members WHERE archive = ? AND "+where, append([]any{it.archive}, args...)...)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if e := &all[i].Entry; e.Type == catalog.Hardlink {
			if err := l.resolve(ctx, it, e); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// resolve gives a hard link what the file has that it is another name of.
func (l *Ledger) resolve(ctx context.Context, it copiedItem, e *catalog.Entry) error {
	name, ok := memberName(catalog.Item{Host: it.host, Path: it.path}, &catalog.Entry{Host: it.host, Path: e.Link})
	if !ok {
		return fmt.Errorf("hard link %s leads to %s, out of its item", spell(e.Host, e.Path), spell(e.Host, e.Link))
	}
	seq, err := l.member(ctx, it, name)
	if err != nil {
		return fmt.Errorf("hard link %s to %s: %w", spell(e.Host, e.Path), spell(e.Host, e.Link), err)
	}
	return l.read.QueryRowContext(ctx, "SELECT size, md5, bad FROM members WHERE archive = ? AND seq = ?", it.archive, seq).
		Scan(&e.Size, sum{&e.MD5}, &e.Bad)
}

func (l *Ledger) browse(ctx context.Context, barcode, host, p string) (Browsed, error) {
	items, err := l.covering(ctx, barcode, host, p)
	if err != nil {
		return Browsed{}, err
	}
	for _, it := range items {
		name, _ := memberName(catalog.Item{Host: host, Path: it.path}, &catalog.Entry{Host: host, Path: p})
		seq, err := l.member(ctx, it, name)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return Browsed{}, err
		}
		found, err := l.browsedMembers(ctx, it, "seq = ?", seq)
		if err == nil && len(found) == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return Browsed{}, err
		}
		return found[0], nil
	}
	leads, err := l.leadsToItems(ctx, barcode, host, p)
	if err != nil {
		return Browsed{}, err
	}
	if !leads {
		return Browsed{}, ErrNotFound
	}
	return leadingDir(host, p), nil
}

// leadingDir is a directory that only leads to items: nothing else is known of it.
func leadingDir(host, p string) Browsed {
	return Browsed{Entry: catalog.Entry{Host: host, Path: p, Type: catalog.Dir, Mode: 0o555, MTime: time.Unix(0, 0).UTC()}}
}

// fewItems is up to how many items below a directory are looked at one by one, whatever tape they are on.
const fewItems = 2000

// leadsToItems tells whether there are items with a copy below a directory.
func (l *Ledger) leadsToItems(ctx context.Context, barcode, host, dir string) (bool, error) {
	if barcode != "" {
		found, err := l.tapeEntries(ctx, barcode, host, dir, true)
		return len(found) > 0, err
	}
	id, err := folder(ctx, l.read, host, dir)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	lead, err := l.leading(ctx, []int64{id})
	return lead[id], err
}

// tapeEntries is inFolder for what is on one tape; with first it returns only one that is found.
func (l *Ledger) tapeEntries(ctx context.Context, barcode, host, dir string, first bool) (entries map[string]int64, err error) {
	var n int
	args := []any{host, bytesOf(below(dir)), bytesOf(after(below(dir)))}
	if err := l.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM items i WHERE i.host = ? AND i.path >= ? AND i.path < ? LIMIT ?) x",
		append(args, fewItems+1)...).Scan(&n); err != nil {
		return nil, err
	}
	condition, on := copied(barcode)
	query := "SELECT i.id, i.version, i.path FROM items i WHERE i.host = ? AND i.path >= ? AND i.path < ? AND " + condition
	args = append(args, on...)
	if n > fewItems { // most may be on other tapes
		query = `SELECT i.id, i.version, i.path FROM tapes t CROSS JOIN copies c ON c.tape = t.id CROSS JOIN items i ON i.id = c.item
			WHERE i.host = ? AND i.path >= ? AND i.path < ? AND c.damaged = 0 AND t.barcode = ?`
	}
	entries = make(map[string]int64)
	of := make(versions)
	return entries, l.passItems(ctx, func(id int64, version int, p string) bool {
		switch name, _, deeper := strings.Cut(p[len(below(dir)):], "/"); {
		case name == "": // the directory itself
		case deeper:
			entries[below(dir)+name] = max(entries[below(dir)+name], 0)
		case of.add(p, version):
			entries[p] = id
		}
		return !first || len(entries) == 0
	}, query, args...)
}

// passItems gives id, version and path of the rows of a query to f until that returns false.
func (l *Ledger) passItems(ctx context.Context, f func(id int64, version int, p string) bool, query string, args ...any) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, err := l.read.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	defer cancel() // before the rows are closed: what was not asked for is not read
	for rows.Next() {
		var id int64
		var version int
		var p []byte
		if err := rows.Scan(&id, &version, &p); err != nil {
			return err
		}
		if !f(id, version, string(p)) {
			return nil
		}
	}
	return rows.Err()
}

func (l *Ledger) browseDir(ctx context.Context, barcode, host, dir string) ([]Browsed, error) {
	found := make(map[string]Browsed) // by path
	add := func(e Browsed) {
		if known, ok := found[e.Path]; !ok || e.Item > known.Item {
			found[e.Path] = e
		}
	}
	items, err := l.covering(ctx, barcode, host, dir)
	if err != nil {
		return nil, err
	}
	for _, it := range items {
		name, _ := memberName(catalog.Item{Host: host, Path: it.path}, &catalog.Entry{Host: host, Path: dir})
		seq, err := l.member(ctx, it, name)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		members, err := l.browsedMembers(ctx, it, "parent = ? ORDER BY name", seq)
		if err != nil {
			return nil, err
		}
		for _, m := range members {
			add(m)
		}
	}
	var entries map[string]int64
	if barcode == "" {
		entries, err = l.inFolder(ctx, host, dir)
	} else {
		entries, err = l.tapeEntries(ctx, barcode, host, dir, false)
	}
	if err != nil {
		return nil, err
	}
	var ids []any
	for p, item := range entries {
		add(leadingDir(host, p))
		if item != 0 {
			ids = append(ids, item)
		}
	}
	for some := range slices.Chunk(ids, idsAtOnce) {
		tops, err := l.topMembers(ctx, barcode, host, some)
		if err != nil {
			return nil, err
		}
		for _, e := range tops {
			add(e)
		}
	}
	all := make([]Browsed, 0, len(found))
	for _, p := range slices.Sorted(maps.Keys(found)) {
		all = append(all, found[p])
	}
	return all, nil
}

// topMembers returns what some items of a host are themselves, if they have copies.
func (l *Ledger) topMembers(ctx context.Context, barcode, host string, items []any) ([]Browsed, error) {
	condition, args := copied(barcode)
	return collect(ctx, l.read, func(rows *sql.Rows) (b Browsed, err error) {
		var path []byte
		var number int
		b.Entry, err = scanMember(rows, host, "", 0, &b.Item, &path, &number)
		b.Path = string(path)
		if b.Place != (catalog.Place{}) {
			b.Archive = number
		}
		return b, err
	}, "SELECT "+memberColumns+`, x.item, x.item_path, x.number FROM (
			SELECT i.id AS item, i.path AS item_path, a.number, ai.archive AS in_archive, ai.first_member
			FROM items i JOIN archive_items ai ON ai.item = i.id JOIN archives a ON a.id = ai.archive
			WHERE i.id IN (`+marks(len(items))+`) AND EXISTS (SELECT 1 FROM copies c WHERE c.item = i.id AND c.archive = ai.archive AND c.damaged = 0)
				AND `+condition+`) x
		CROSS JOIN members ON archive = x.in_archive AND seq = x.first_member`, append(slices.Clip(items), args...)...)
}
