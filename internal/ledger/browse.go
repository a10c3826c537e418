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
	// From host to host by the index, however many items each has.
	for last := ""; ; {
		var next sql.NullString
		if err := l.read.QueryRowContext(ctx, "SELECT MIN(host) FROM items WHERE host > ?", last).Scan(&next); err != nil {
			return nil, err
		}
		if !next.Valid {
			return hosts, nil
		}
		last = next.String
		found, err := collect(ctx, l.read, scanID, "SELECT i.id FROM items i WHERE i.host = ? AND "+undamaged+" LIMIT 1", last)
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			hosts = append(hosts, last)
		}
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
	archive int64
	number  int   // of the archive
	first   int64 // seq of its first member, the item itself
}

func scanCopiedItem(rows *sql.Rows) (it copiedItem, err error) {
	var path []byte
	err = rows.Scan(&it.id, &it.host, &path, &it.archive, &it.number, &it.first)
	it.path = string(path)
	return it, err
}

// copiedItems returns items that fit the conditions, the latest first.
func (l *Ledger) copiedItems(ctx context.Context, where string, args ...any) ([]copiedItem, error) {
	return collect(ctx, l.read, scanCopiedItem, `SELECT DISTINCT i.id, i.host, i.path, a.id, a.number, ai.first_member
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

// latest leaves one item of each path, the first.
func latest(all []copiedItem) []copiedItem {
	seen := make(map[string]bool)
	return slices.DeleteFunc(all, func(it copiedItem) bool {
		again := seen[it.path]
		seen[it.path] = true
		return again
	})
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
	below, err := l.itemsBelow(ctx, barcode, host, p, true)
	if err != nil {
		return Browsed{}, err
	}
	if len(below) == 0 {
		return Browsed{}, ErrNotFound
	}
	return leading(host, p), nil
}

// leading is a directory that only leads to items: nothing else is known of it.
func leading(host, p string) Browsed {
	return Browsed{Entry: catalog.Entry{Host: host, Path: p, Type: catalog.Dir, Mode: 0o555, MTime: time.Unix(0, 0).UTC()}}
}

// rowsOfOne is after how many items of one directory the next is looked up by the index.
const rowsOfOne = 10

// child is an entry of a directory that items lie in.
type child struct {
	path string
	item int64 // the latest that is the entry itself; 0 if items lie below it only
}

// fewItems is up to how many items below a directory are looked at one by one, whatever tape they are on.
const fewItems = 2000

// itemsBelow returns the entries of a directory that items lie in, sorted; with first only one that is found.
func (l *Ledger) itemsBelow(ctx context.Context, barcode, host, dir string, first bool) ([]child, error) {
	many := false
	if barcode != "" {
		var n int
		if err := l.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM items i WHERE i.host = ? AND i.path >= ? AND i.path < ? LIMIT ?) x",
			host, bytesOf(below(dir)), bytesOf(after(below(dir))), fewItems+1).Scan(&n); err != nil {
			return nil, err
		}
		many = n > fewItems
	}
	if many { // most may be on other tapes
		var all []child
		err := l.passItems(ctx, func(id int64, p string) bool {
			all = addChild(all, dir, id, p)
			return !first
		}, `SELECT i.id, i.path FROM tapes t CROSS JOIN copies c ON c.tape = t.id CROSS JOIN items i ON i.id = c.item
			WHERE t.barcode = ? AND c.damaged = 0 AND i.host = ? AND i.path >= ? AND i.path < ? ORDER BY i.path`,
			barcode, host, bytesOf(below(dir)), bytesOf(after(below(dir))))
		return all, err
	}
	condition, on := copied(barcode)
	var all []child
	for from := below(dir); ; {
		rows, next := 0, ""
		err := l.passItems(ctx, func(id int64, p string) bool {
			before := len(all)
			all = addChild(all, dir, id, p)
			if rows++; len(all) > before {
				rows = 0
			}
			if name, _, deeper := strings.Cut(p[len(below(dir)):], "/"); deeper && rows > rowsOfOne && l.dialect.seeks() {
				next = after(below(below(dir) + name))
			}
			return !first && next == ""
		}, "SELECT i.id, i.path FROM items i WHERE i.host = ? AND i.path >= ? AND i.path < ? AND "+condition+" ORDER BY i.path",
			append([]any{host, bytesOf(from), bytesOf(after(below(dir)))}, on...)...)
		if err != nil || next == "" {
			return all, err
		}
		from = next
	}
}

// addChild adds the entry of dir that an item is or lies below. Items come sorted by path, so one entry's follow each other,
// but for others whose names begin like it.
func addChild(all []child, dir string, id int64, p string) []child {
	name, _, deeper := strings.Cut(p[len(below(dir)):], "/")
	if name == "" { // the directory itself
		return all
	}
	c := child{path: below(dir) + name}
	if !deeper {
		c.item = id
	}
	i, known := slices.BinarySearchFunc(all, c, func(a, b child) int { return strings.Compare(a.path, b.path) })
	if !known {
		return slices.Insert(all, i, c)
	}
	all[i].item = max(all[i].item, c.item)
	return all
}

// passItems gives id and path of the rows of a query to f until that returns false.
func (l *Ledger) passItems(ctx context.Context, f func(id int64, p string) bool, query string, args ...any) error {
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
		var p []byte
		if err := rows.Scan(&id, &p); err != nil {
			return err
		}
		if !f(id, string(p)) {
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
	children, err := l.itemsBelow(ctx, barcode, host, dir, false)
	if err != nil {
		return nil, err
	}
	var ids []any
	for _, c := range children {
		add(leading(host, c.path))
		if c.item != 0 {
			ids = append(ids, c.item)
		}
	}
	for some := range slices.Chunk(ids, idsAtOnce) {
		condition, args := copied(barcode)
		tops, err := l.copiedItems(ctx, "i.id IN ("+marks(len(some))+") AND "+condition, append(slices.Clone(some), args...)...)
		if err != nil {
			return nil, err
		}
		for _, it := range tops {
			self, err := l.browsedMembers(ctx, it, "seq = ?", it.first)
			if err != nil {
				return nil, err
			}
			for _, e := range self {
				add(e)
			}
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b Browsed) int { return strings.Compare(a.Path, b.Path) }), nil
}
