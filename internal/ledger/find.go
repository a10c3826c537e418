package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	pathpkg "path"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"twintape/internal/catalog"
)

// Found is a member on tape.
type Found struct {
	Item  Item // with its copies
	Entry catalog.Entry
}

// Wanted is what Find looks for. Zero fields fit everything.
type Wanted struct {
	// Pattern is a doublestar glob, spelled host:/path, /path on any host, or the end of a path, such as visdata or
	// *.uv/visdata.
	Pattern       string
	MD5           catalog.MD5
	Since, Before time.Time // modified at Since or later, before Before
	Limit         int       // at most so many
}

func (w *Wanted) fits(e *catalog.Entry) bool {
	return (w.MD5.IsZero() || e.MD5 == w.MD5) && !e.MTime.Before(w.Since) && (w.Before.IsZero() || e.MTime.Before(w.Before))
}

// Find streams members on tape that fit, in the order of their items.
func (l *Ledger) Find(ctx context.Context, w Wanted) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		left := w.Limit
		for f, err := range l.find(ctx, w) {
			if err != nil {
				yield(Found{}, l.failed("find "+w.Pattern, err))
				return
			}
			if !yield(f, nil) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

func (l *Ledger) find(ctx context.Context, w Wanted) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		glob := w.Pattern
		if glob == "" {
			glob = "/**"
		}
		p, err := parsePattern(glob)
		if err != nil {
			yield(Found{}, err)
			return
		}
		condition, args := undamaged, []any(nil)
		if !w.MD5.IsZero() {
			condition += ` AND i.id IN (SELECT ai.item FROM members m
				JOIN archive_items ai ON ai.archive = m.archive AND m.seq >= ai.first_member AND m.seq < ai.first_member + ai.members WHERE m.md5 = ?)`
			args = append(args, w.MD5[:])
		}
		for it, err := range l.matchingItems(ctx, p, true, condition, args...) {
			if err != nil {
				yield(Found{}, err)
				return
			}
			for e, err := range l.members(ctx, it) {
				if err != nil {
					yield(Found{}, err)
					return
				}
				if w.fits(&e) && p.match(e.Host, e.Path) && !yield(Found{Item: it, Entry: e}, nil) {
					return
				}
			}
		}
	}
}

// fits tells whether a pattern matches an item or one of its members.
func (l *Ledger) fits(ctx context.Context, p pattern, it Item) (bool, error) {
	if p.match(it.Host, it.Path) {
		return true, nil
	}
	for e, err := range l.members(ctx, it) {
		if err != nil {
			return false, err
		}
		if p.match(e.Host, e.Path) {
			return true, nil
		}
	}
	return false, nil
}

// members streams the members of an item as they were planned last, in tape order; none if it was never planned.
func (l *Ledger) members(ctx context.Context, it Item) iter.Seq2[catalog.Entry, error] {
	return func(yield func(catalog.Entry, error) bool) {
		var archive, first, count int64
		var number int
		err := l.read.QueryRowContext(ctx, `SELECT a.id, a.number, ai.first_member, ai.members
			FROM archive_items ai JOIN archives a ON a.id = ai.archive WHERE ai.item = ? ORDER BY a.id DESC LIMIT 1`, it.ID).
			Scan(&archive, &number, &first, &count)
		if errors.Is(err, sql.ErrNoRows) {
			return
		}
		if err != nil {
			yield(catalog.Entry{}, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		rows, err := l.read.QueryContext(ctx, "SELECT "+memberColumns+" FROM members WHERE archive = ? AND seq >= ? AND seq < ? ORDER BY seq",
			archive, first, first+count)
		if err != nil {
			cancel()
			yield(catalog.Entry{}, err)
			return
		}
		defer rows.Close()
		defer cancel() // before the rows are closed: what was not asked for is not read
		for rows.Next() {
			e, err := scanMember(rows, it.Host, it.Path, number)
			if !yield(e, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(catalog.Entry{}, err)
		}
	}
}

// pattern is a parsed glob.
type pattern struct{ host, path string }

func parsePattern(glob string) (pattern, error) {
	p := pattern{host: "*", path: glob}
	if host, path, ok := strings.Cut(glob, ":/"); ok && !strings.Contains(host, "/") {
		p = pattern{host: host, path: "/" + path}
	} else if !strings.HasPrefix(glob, "/") {
		p.path = "/**/" + glob
	}
	if !doublestar.ValidatePattern(p.host) || !doublestar.ValidatePattern(p.path) {
		return pattern{}, fmt.Errorf("%q is not a valid pattern: %w", glob, doublestar.ErrBadPattern)
	}
	return p, nil
}

func (p pattern) match(host, path string) bool {
	return doublestar.MatchUnvalidated(p.host, host) && doublestar.MatchUnvalidated(p.path, path)
}

// literal is what every path that matches begins with; it is never empty, and a path behind all that begin so exists.
func (p pattern) literal() string {
	literal := p.path
	if n := strings.IndexAny(literal, meta); n >= 0 {
		literal = literal[:n]
	}
	for literal[len(literal)-1] == 0xff {
		literal = literal[:len(literal)-1]
	}
	return literal
}

// meta are the characters that do not stand for themselves in a pattern.
const meta = `*?[{\`

// folders are those of the literal part of the pattern: items that hold what matches, if they do not match or lie deeper.
func (p pattern) folders() (all []string) {
	literal := p.literal()
	for folder := literal[:max(1, strings.LastIndexByte(literal, '/'))]; ; folder = pathpkg.Dir(folder) {
		all = append(all, folder)
		if folder == "/" {
			return all
		}
	}
}

// condition is what must hold for an item i that matches or has members that do, as far as paths tell.
func (p pattern) condition() (string, []any) {
	where, args := "1 = 1", []any(nil)
	if !strings.ContainsAny(p.host, meta) {
		where, args = "i.host = ?", append(args, p.host)
	}
	literal := p.literal()
	if literal == "/" {
		return where, args
	}
	args = append(args, bytesOf(literal), bytesOf(after(literal)))
	above := p.folders()
	for _, folder := range above {
		args = append(args, bytesOf(folder))
	}
	return where + " AND ((i.path >= ? AND i.path < ?) OR i.path IN (" + marks(len(above)) + "))", args
}

// mostMatching is up to how many items are found by their paths. More are gone through in the order of the queue: who asks for so many
// waits for the rest, and should not wait for the first.
const mostMatching = 10_000

// matchingItems streams the items that may match a pattern and fit the conditions, in queue order. With planned those may be left out that
// no archive has, planned or flushed.
func (l *Ledger) matchingItems(ctx context.Context, p pattern, planned bool, where string, args ...any) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		tx, err := l.snapshot(ctx)
		if err != nil {
			yield(Item{}, err)
			return
		}
		defer tx.Rollback() // nothing was written
		ids, few, err := l.byPath(ctx, tx, p)
		if err == nil && !few && planned {
			ids, few, err = l.byName(ctx, tx, p)
		}
		if err != nil {
			yield(Item{}, err)
			return
		}
		pass := func(where string, more []any) bool {
			for it, err := range l.selectItems(ctx, tx, where, append(slices.Clip(args), more...)...) {
				if !yield(it, err) || err != nil {
					return false
				}
			}
			return true
		}
		if !few {
			condition, more := p.condition()
			pass(where+" AND "+condition, more)
			return
		}
		for some := range slices.Chunk(ids, idsAtOnce) {
			if !pass(where+" AND i.id IN ("+marks(len(some))+")", anys(some)) {
				return
			}
		}
	}
}

// byPath returns, in their order, the items that fit the condition of a pattern, if they are few.
func (l *Ledger) byPath(ctx context.Context, q querier, p pattern) (ids []int64, few bool, err error) {
	literal := p.literal()
	if literal == "/" {
		return nil, false, nil
	}
	hosts := []string{p.host}
	if strings.ContainsAny(p.host, meta) {
		if hosts, err = l.hosts(ctx, q); err != nil {
			return nil, false, err
		}
	}
	for _, host := range hosts {
		if !doublestar.MatchUnvalidated(p.host, host) {
			continue
		}
		var hashes []any
		for _, folder := range p.folders() {
			hashes = append(hashes, pathHash(host, folder))
		}
		above, err := collect(ctx, q, scanID, "SELECT i.id FROM items i WHERE i.path_hash IN ("+marks(len(hashes))+")", hashes...)
		if err != nil {
			return nil, false, err
		}
		below, err := collect(ctx, q, scanID, "SELECT i.id FROM items i WHERE i.host = ? AND i.path >= ? AND i.path < ? LIMIT ?",
			host, bytesOf(literal), bytesOf(after(literal)), mostMatching+1)
		if err != nil {
			return nil, false, err
		}
		if ids = append(append(ids, above...), below...); len(ids) > mostMatching {
			return nil, false, nil
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), true, nil
}
