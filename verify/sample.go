package verify

import (
	"context"
	"math"
	"math/rand/v2"
)

// extent is what the survey keeps of each archive on the tape: where it lies, and how much it holds.
type extent struct {
	first   int64 // logical block number of its first record
	records int64
	items   int   // that are archived, so that the sample may choose from them
	data    int64 // bytes of their members
}

// end is the block of the filemark behind the archive.
func (x extent) end() int64 { return x.first + x.records }

// run is a run of blocks of the tape, from first to before end, whatever lies there.
type run struct{ first, end int64 }

// everything is the plan that reads all archives with the filemarks behind them.
func (c *check) everything() []span {
	plan := make([]span, len(c.extents))
	for i, x := range c.extents {
		plan[i] = span{archive: i, first: x.first, end: x.end(), mark: true}
	}
	return plan
}

// sample draws at least one item of every archive, and of the tape's items as many as were asked for, and plans to read
// the records that they lie in. Runs of records are joined where reading on is faster for the drive than to locate.
func (c *check) sample(ctx context.Context) ([]span, error) {
	total, must := 0, 0
	for _, x := range c.extents {
		total += x.items
		if x.items > 0 {
			must++
		}
	}
	// Of each archive one item is drawn beforehand; then so many of the others that each has the same chance (Knuth, The
	// Art of Computer Programming, vol. 2, algorithm 3.4.2 S).
	need := max(int(math.Ceil(c.o.Sample*float64(total)))-must, 0)
	pool := total - must
	last := len(c.extents) - 1 // the archive with the tape's last item
	for last > 0 && c.extents[last].items == 0 {
		last--
	}
	begun := false
	random := rand.New(rand.NewPCG(c.o.Seed, 0x7477696e74617065))
	gap := c.d.LocateGap() / int64(c.e.RecordSize)
	var runs []run
	index := 0
	err := c.each(ctx, func(a *archive) error {
		x := c.extents[index]
		index++
		if x.items == 0 {
			return nil
		}
		first, n := random.IntN(x.items), 0
		for i := range a.items {
			if !a.items[i].counts() {
				continue
			}
			chosen := n == first
			if !chosen && c.o.Limit > 0 && (!begun || index-1 == last && n == x.items-1) {
				chosen = true
				pool--
			} else if !chosen {
				chosen = random.IntN(pool) < need
				pool--
				if chosen {
					need--
				}
			}
			n, begun = n+1, true
			if r := a.run(i); chosen && r.end > 0 {
				runs = join(runs, r, gap)
			}
		}
		return nil
	})
	return split(runs, c.extents), err
}

// join adds r, which begins no earlier than the last of runs, and reads on to it if at most gap blocks lie between.
func join(runs []run, r run, gap int64) []run {
	if n := len(runs); n > 0 && r.first-runs[n-1].end <= gap {
		runs[n-1].end = max(runs[n-1].end, r.end)
		return runs
	}
	return append(runs, r)
}

// split cuts runs of blocks at the borders of archives. What lies between archives but one filemark is left out.
func split(runs []run, extents []extent) []span {
	var plan []span
	for i, x := range extents {
		for len(runs) > 0 && runs[0].end <= x.first {
			runs = runs[1:]
		}
		for _, r := range runs {
			if r.first >= x.end() {
				break
			}
			plan = append(plan, span{archive: i, first: max(r.first, x.first), end: min(r.end, x.end()), mark: r.end > x.end()})
		}
	}
	return plan
}

// misses counts, over the archives' records strung together, the places for a run of damaged records where none of them
// was read.
type misses struct {
	run    int64 // records of damage
	next   int64 // behind the last record read
	places int64 // so far
}

// read takes note that a record was read; they come in order.
func (m *misses) read(at int64) {
	m.places += max(at-m.next-m.run+1, 0)
	m.next = at + 1
}

// chance is that of damage at a random place among total records having been missed.
func (m *misses) chance(total int64) float64 {
	places := m.places + max(total-m.next-m.run+1, 0)
	if total < m.run || total == 0 {
		return 0
	}
	return float64(places) / float64(total-m.run+1)
}
