package restore

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"twintape/internal/tape"
)

// scattered are some of the equal pieces of a full tape, at random.
func scattered(r *rand.Rand, s tape.Serpentine, size int64, n int) []extent {
	pieces := r.Perm(int(s.Capacity / float64(size)))[:n]
	slices.Sort(pieces)
	var all []extent
	for _, p := range pieces {
		all = append(all, extent{int64(p) * size, int64(p+1) * size})
	}
	return all
}

// annealed looks for the best order for long, by moving parts at random and taking what is worse too, ever more seldom.
func annealed(r *rand.Rand, s tape.Serpentine, all []extent, order []int, steps int) time.Duration {
	order = slices.Clone(order)
	now := took(s, all, order)
	best := now
	for step := range steps {
		heat := 20 * float64(time.Second) * math.Pow(1e-3, float64(step)/float64(steps))
		i, j, k := r.IntN(len(order)), r.IntN(len(order)), r.IntN(len(order)+1)
		cut := []int{i, j, k}
		slices.Sort(cut)
		i, j, k = cut[0], cut[1], cut[2]
		if i == j || j == k {
			continue
		}
		next := slices.Concat(order[:i], order[j:k], order[i:j], order[k:])
		if t := took(s, all, next); t < now || r.Float64() < math.Exp(float64(now-t)/heat) {
			order, now = next, t
			best = min(best, now)
		}
	}
	return best
}

// TestBestOrder compares with the best order that can be found, on the model of an LTO-5 tape.
func TestBestOrder(t *testing.T) {
	s, _ := tape.SerpentineOf("LTO-5")
	for _, c := range []struct {
		size int64
		n    int
	}{{100e6, 150}, {1e9, 15}, {10e6, 200}} {
		r := rand.New(rand.NewPCG(1, uint64(c.n)))
		all := scattered(r, s, c.size, c.n)
		order := bestOrder(s, all)
		if sorted := slices.Sorted(slices.Values(order)); len(sorted) != c.n || sorted[0] != 0 || sorted[c.n-1] != c.n-1 || len(slices.Compact(sorted)) != c.n {
			t.Fatalf("not an order of %d: %v", c.n, order)
		}
		byPosition := make([]int, c.n)
		for i := range byPosition {
			byPosition[i] = i
		}
		ours, plain := took(s, all, order), took(s, all, byPosition)
		best := annealed(r, s, all, byPosition, 100_000)
		through := s.Read(int64(s.Capacity))
		t.Logf("%d × %d MB: %v; by position %v; the best that was found %v (%.2f); reading through %v (%.3f of it)",
			c.n, c.size/1e6, ours.Round(time.Second), plain.Round(time.Second), best.Round(time.Second), ours.Seconds()/best.Seconds(), through, ours.Seconds()/through.Seconds())
		if ours > plain || ours.Seconds() > 1.2*best.Seconds() {
			t.Errorf("%d × %d MB take %v, by position %v, in the best order %v", c.n, c.size/1e6, ours, plain, best)
		}
	}
}

// TestOrderOfDense: what lies close together is read by position.
func TestOrderOfDense(t *testing.T) {
	s, _ := tape.SerpentineOf("LTO-5")
	var all []extent
	for i := range int64(10_000) {
		all = append(all, extent{i * 150e6, i*150e6 + 100e6})
	}
	if order := bestOrder(s, all); !slices.IsSorted(order) {
		t.Error("the order is not that of the positions")
	}
	if order := bestOrder(s, nil); len(order) != 0 {
		t.Errorf("nothing has the order %v", order)
	}
}
