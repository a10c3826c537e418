package restore

import (
	"slices"
	"time"

	"twintape/internal/tape"
)

// extent is where something lies on a tape, in bytes.
type extent struct{ from, to int64 }

// travel is how long a drive takes from the end of what it read to the beginning of what it reads next.
func travel(s tape.Serpentine, at, from int64) time.Duration {
	locate := s.Locate(at, from)
	if from >= at {
		return min(locate, s.Read(from-at))
	}
	return locate
}

// took is how long a drive takes for extents in an order, from the beginning of the tape on.
func took(s tape.Serpentine, all []extent, order []int) time.Duration {
	at, sum := int64(0), time.Duration(0)
	for _, i := range order {
		sum += travel(s, at, all[i].from) + s.Read(all[i].to-all[i].from)
		at = all[i].to
	}
	return sum
}

// Bounds of the search for a good order.
const (
	mostStops = 4000 // runs of extents; more lie so dense that their positions' order is good
	mostMoves = 60e6 // that are tried
)

// bestOrder is an order in which a drive reads extents, which are sorted by position, in little time: a tour of one who travels
// along wraps that lie side by side. Extents between which reading on is faster than locating stay together. It begins
// with the nearest one each time, and is made shorter by moving parts of it elsewhere as long as that helps.
func bestOrder(s tape.Serpentine, all []extent) []int {
	var stops [][2]int // first and behind the last extent of each
	for i, e := range all {
		if i > 0 && e.from-all[i-1].to <= s.Gap() && e.from >= all[i-1].to {
			stops[len(stops)-1][1] = i + 1
			continue
		}
		stops = append(stops, [2]int{i, i + 1})
	}
	tour := make([]int, len(stops))
	for i := range tour {
		tour[i] = i
	}
	if len(stops) <= mostStops {
		tour = shorten(s, all, stops, nearest(s, all, stops))
	}
	var order []int
	for _, k := range tour {
		for i := stops[k][0]; i < stops[k][1]; i++ {
			order = append(order, i)
		}
	}
	return order
}

// nearest goes to the stop that is reached first, each time.
func nearest(s tape.Serpentine, all []extent, stops [][2]int) []int {
	left := make([]int, len(stops))
	for i := range left {
		left[i] = i
	}
	var tour []int
	for at := int64(0); len(left) > 0; {
		best, least := 0, time.Duration(-1)
		for i, k := range left {
			if t := travel(s, at, all[stops[k][0]].from); least < 0 || t < least {
				best, least = i, t
			}
		}
		k := left[best]
		tour = append(tour, k)
		at = all[stops[k][1]-1].to
		left = slices.Delete(left, best, best+1)
	}
	return tour
}

// shorten moves parts of a tour elsewhere, without turning them round, as long as that makes it shorter.
func shorten(s tape.Serpentine, all []extent, stops [][2]int, tour []int) []int {
	n := len(tour)
	between := func(a, b int) time.Duration { // positions in the tour; -1 is the beginning of the tape, n is nowhere
		if b >= n {
			return 0
		}
		at := int64(0)
		if a >= 0 {
			at = all[stops[tour[a]][1]-1].to
		}
		return travel(s, at, all[stops[tour[b]][0]].from)
	}
	tries := 0
	for better := true; better; {
		better = false
		for i := 0; i < n; i++ {
			for j := i + 1; j < n; j++ { // the part from i to before j changes places with that from j to before k
				gone := between(i-1, i) + between(j-1, j)
				for k := j + 1; k <= n; k++ {
					if tries++; tries > mostMoves {
						return tour
					}
					before := gone + between(k-1, k)
					after := between(i-1, j) + between(k-1, i)
					if k < n {
						after += between(j-1, k)
					}
					if after < before {
						part := slices.Clone(tour[i:j])
						copy(tour[i:], tour[j:k])
						copy(tour[i+k-j:], part)
						better = true
						gone = between(i-1, i) + between(j-1, j)
					}
				}
			}
		}
	}
	return tour
}
