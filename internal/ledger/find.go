package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	pathpkg "path"
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
		condition, args := p.condition()
		if !w.MD5.IsZero() {
			condition += ` AND i.id IN (SELECT ai.item FROM members m
				JOIN archive_items ai ON ai.archive = m.archive AND m.seq >= ai.first_member AND m.seq < ai.first_member + ai.members WHERE m.md5 = ?)`
			args = append(args, w.MD5[:])
		}
		for it, err := range l.selectItems(ctx, l.read, condition+" AND "+undamaged, args...) {
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

// condition is what must hold for an item i that matches or has members that do, as far as an index can tell.
func (p pattern) condition() (string, []any) {
	const meta = `*?[{\`
	where, args := "1 = 1", []any(nil)
	if !strings.ContainsAny(p.host, meta) {
		where, args = "i.host = ?", append(args, p.host)
	}
	// What matches begins with the literal part of the pattern; so does its item, or it is one of the folders of that part.
	literal := p.path
	if n := strings.IndexAny(literal, meta); n >= 0 {
		literal = literal[:n]
	}
	folder := literal[:max(1, strings.LastIndexByte(literal, '/'))]
	for literal[len(literal)-1] == 0xff {
		literal = literal[:len(literal)-1]
	}
	if literal == "/" {
		return where, args
	}
	where += " AND ((i.path >= ? AND i.path < ?) OR i.path IN ("
	args = append(args, bytesOf(literal), bytesOf(after(literal)))
	var above []any
	for {
		above = append(above, bytesOf(folder))
		if folder == "/" {
			break
		}
		folder = pathpkg.Dir(folder)
	}
	return where + marks(len(above)) + "))", append(args, above...)
}
