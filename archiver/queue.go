package archiver

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sync/errgroup"

	"twintape/archiver/plan"
	"twintape/internal/catalog"
	"twintape/internal/ledger"
	"twintape/sources"
)

// QueueOptions say what QueueAdd takes.
type QueueOptions struct {
	Again  bool          // add archived items that changed since, as new versions
	MinAge time.Duration // leave out items with anything modified since that long
}

// Expectation is an item to queue with the MD5 that one of its members must have.
type Expectation struct {
	Host   string
	Path   string
	Member string // path below the item; empty if the item is a file itself
	MD5    catalog.MD5
}

// Queued is what QueueAdd did.
type Queued struct {
	Items    []ledger.Enqueued
	Problems []error // what cannot be queued, each naming host and path; the rest was
}

// QueueAdd finds items by patterns and expectations, looks at each on its host, and queues them all in one transaction.
// A pattern without a match is a problem.
func (a *Archiver) QueueAdd(ctx context.Context, patterns []string, expected []Expectation, o QueueOptions) (*Queued, error) {
	q := &queueing{Archiver: a, options: o, out: &Queued{}, byPath: make(map[[2]string]int)}
	for _, pattern := range patterns {
		matches := 0
		err := sources.Glob(ctx, a.Namespace, pattern, sources.Matches{
			Found:   func(host, p string, _ sources.Info) error { matches++; q.add(host, p); return nil },
			Problem: func(err error) error { matches++; q.problem(err); return nil },
		})
		if err != nil {
			return nil, err
		}
		if matches == 0 {
			q.problem(fmt.Errorf("%s matches nothing: look with `twintape ls`, and quote the pattern against the shell", pattern))
		}
	}
	for _, e := range expected {
		host, _, err := a.Namespace.Source(e.Host)
		if err != nil {
			q.problem(err)
			continue
		}
		it := &q.found[q.add(host, e.Path)]
		if it.Expected == nil {
			it.Expected = make(map[string]catalog.MD5)
		}
		it.Expected[e.Member] = e.MD5
	}
	if err := q.look(ctx); err != nil {
		return nil, err
	}
	var err error
	q.out.Items, err = a.Ledger.Enqueue(ctx, q.good, o.Again)
	return q.out, err
}

// queueing is one QueueAdd.
type queueing struct {
	*Archiver
	options QueueOptions
	found   []ledger.NewItem
	byPath  map[[2]string]int // index in found
	good    []ledger.NewItem
	out     *Queued
}

func (q *queueing) problem(err error) { q.out.Problems = append(q.out.Problems, err) }

// add notes an item once, however many patterns match it.
func (q *queueing) add(host, p string) int {
	key := [2]string{host, p}
	i, ok := q.byPath[key]
	if !ok {
		i = len(q.found)
		q.byPath[key] = i
		q.found = append(q.found, ledger.NewItem{Host: host, Path: p})
	}
	return i
}

// look walks all found items, and keeps those that can be archived, in order.
func (q *queueing) look(ctx context.Context) error {
	errs, err := q.Look(ctx, q.found, q.options.MinAge)
	if err != nil {
		return err
	}
	for i, err := range errs {
		if err != nil {
			q.problem(err)
		} else {
			q.good = append(q.good, q.found[i])
		}
	}
	return nil
}

// Look walks items on their hosts, several at once, and notes in each what it looks like. It returns of each why it cannot be
// archived, nil if it can, naming host and path. With a minimum age items with anything younger in them cannot.
func (a *Archiver) Look(ctx context.Context, items []ledger.NewItem, minAge time.Duration) ([]error, error) {
	empty, err := a.emptyTape(ctx)
	if err != nil {
		return nil, err
	}
	errs := make([]error, len(items))
	var g errgroup.Group
	g.SetLimit(lookAhead)
	for i := range items {
		g.Go(func() error {
			if ctx.Err() == nil {
				errs[i] = a.lookAt(ctx, &items[i], empty, minAge)
			}
			return nil
		})
	}
	g.Wait() //nolint:errcheck // the errors are in errs
	return errs, ctx.Err()
}

func (a *Archiver) lookAt(ctx context.Context, it *ledger.NewItem, empty int64, minAge time.Duration) error {
	_, src, err := a.Namespace.Source(it.Host)
	if err != nil {
		return err
	}
	l, err := Collect(ctx, src, it.Host, it.Path)
	if err != nil {
		return err
	}
	failed := func(err error) error {
		return &sources.Error{Op: "queue", Host: it.Host, Path: it.Path, Err: err}
	}
	if root := l.Item.Entries[0].Type; root != catalog.Dir && root != catalog.File {
		return failed(fmt.Errorf("it is a %s: only directories and regular files can be items", root))
	}
	for below := range it.Expected {
		if p := path.Join(it.Path, below); !hasFile(&l.Item, p) {
			return failed(fmt.Errorf("an MD5 is expected of %s, but the item has no such file", p))
		}
	}
	if minAge > 0 {
		for i := range l.Item.Entries {
			e := &l.Item.Entries[i]
			if age := time.Since(e.MTime); age < minAge {
				return failed(fmt.Errorf("%s was modified %s ago, within the minimum age of %s: it may still be growing",
					e.Path, age.Truncate(time.Second), minAge))
			}
		}
	}
	p := plan.New(plan.Limits{ArchiveSize: empty, RecordSize: a.RecordSize, Remaining: empty, Empty: empty}, plan.Start{})
	if _, err := p.Add(l.Item); err != nil && empty > 0 {
		return failed(err)
	}
	it.Bytes, it.Members, it.Fingerprint = l.Bytes, l.Members, l.Fingerprint
	return nil
}

// emptyTape is what the largest tape of either side takes when empty; 0 if no capacity is known.
func (a *Archiver) emptyTape(ctx context.Context) (int64, error) {
	tapes, err := a.Ledger.Tapes(ctx)
	if err != nil {
		return 0, err
	}
	var most int64
	for _, t := range tapes {
		for _, side := range a.Sides {
			if ok, err := path.Match(side, t.Barcode); err == nil && ok && t.State != ledger.TapeRetired && t.State != ledger.TapeSuspect {
				most = max(most, usable(t.Capacity))
			}
		}
	}
	return most, nil
}

// usable is what a tape of a nominal capacity surely takes before early warning.
func usable(capacity int64) int64 { return capacity - capacity/64 }

// maxExpectationLine bounds one line of an expectations file: a path of the longest kind, escaped, and an MD5.
const maxExpectationLine = 64 << 10

// ReadExpectations reads JSON Lines such as {"path":"pot1:/data/zen.1.uv","member":"visdata","md5":"…"}.
func ReadExpectations(r io.Reader) ([]Expectation, error) {
	var out []Expectation
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxExpectationLine)
	for n := 1; lines.Scan(); n++ {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var line struct {
			Path   string `json:"path"`
			Member string `json:"member"`
			MD5    string `json:"md5"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		host, p, err := sources.ParsePath(line.Path)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		sum, err := catalog.ParseMD5(line.MD5)
		if err != nil {
			return nil, fmt.Errorf("line %d: md5: %w", n, err)
		}
		if path.IsAbs(line.Member) || line.Member != "" && path.Clean(line.Member) != line.Member {
			return nil, fmt.Errorf("line %d: member %q is not a path below the item", n, line.Member)
		}
		out = append(out, Expectation{Host: host, Path: p, Member: line.Member, MD5: sum})
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("a line is longer than %s", humanize.IBytes(maxExpectationLine))
	} else if err != nil {
		return nil, err
	}
	return out, nil
}
