package compare

import (
	"cmp"
	"slices"
	"time"

	"hm/internal/app"
)

// match pairs hm's commands about a target with the other's, one to one, in the order of time, and never further apart
// than the window. It gives for each of the other's commands the number of hm's, or -1. Of all ways to pair them it
// takes the one with the most pairs, then the one with the shortest time between the two of a pair in sum, then the
// earliest one. It does not matter which side is which, but a command that hm never decided comes last, and is no
// partner of a command that the other issued while hm held all commands.
func (t *target) match(in Input) []int {
	window := in.Window
	partner, held := make([]int, len(t.others)), make([]bool, len(t.others))
	for j, o := range t.others {
		partner[j], held[j] = -1, slices.ContainsFunc(in.Held, func(s Span) bool { return s.has(o.At) })
	}
	for i, j := 0, 0; i < len(t.own) && j < len(t.others); {
		// A cluster: commands that can be paired only with each other.
		ei, ej := i, j
		for end := min(t.own[i].at(), t.others[j].At); ei-i < maxCluster && ej-j < maxCluster; {
			switch {
			case ei < len(t.own) && t.own[ei].at().Sub(end) <= window && (ej == len(t.others) || t.own[ei].at() <= t.others[ej].At):
				end = t.own[ei].at()
				ei++
				continue
			case ej < len(t.others) && t.others[ej].At.Sub(end) <= window:
				end = t.others[ej].At
				ej++
				continue
			}
			break
		}
		for _, p := range alignment(t.own[i:ei], t.others[j:ej], held[j:ej], window) {
			partner[j+p.other] = i + p.own
		}
		i, j = ei, ej
	}
	return partner
}

// maxCluster bounds the commands about one target that are paired at once, and so the time that it takes. Only a flood
// of commands about one target reaches it.
const maxCluster = 1000

type pair struct{ own, other int }

// score is how good a way to pair commands is.
type score struct {
	pairs int
	apart time.Duration // in sum
	early app.Time      // sum of the times
}

func (s score) compare(o score) int {
	return cmp.Or(cmp.Compare(s.pairs, o.pairs), cmp.Compare(o.apart, s.apart), cmp.Compare(o.early, s.early))
}

// alignment gives the best pairs of a cluster.
func alignment(own []*Own, others []*Other, held []bool, window time.Duration) []pair {
	const (
		skipOwn byte = iota
		skipOther
		takeBoth
	)
	n, m := len(own), len(others)
	steps := make([]byte, (n+1)*(m+1)) // how the best way for the first i and j commands ends
	above, row := make([]score, m+1), make([]score, m+1)
	for i := 1; i <= n; i++ {
		row[0] = score{}
		for j := 1; j <= m; j++ {
			best, step := above[j], skipOwn
			if row[j-1].compare(best) > 0 {
				best, step = row[j-1], skipOther
			}
			a, b := own[i-1], others[j-1]
			if apart := b.At.Sub(a.at()).Abs(); apart <= window && (a.Decided != 0 || !held[j-1]) {
				if a.Decided == 0 {
					apart += window
				}
				s := above[j-1]
				s = score{s.pairs + 1, s.apart + apart, s.early + a.at() + b.At}
				if s.compare(best) > 0 {
					best, step = s, takeBoth
				}
			}
			row[j], steps[i*(m+1)+j] = best, step
		}
		above, row = row, above
	}
	var pairs []pair
	for i, j := n, m; i > 0 && j > 0; {
		switch steps[i*(m+1)+j] {
		case takeBoth:
			i, j = i-1, j-1
			pairs = append(pairs, pair{i, j})
		case skipOwn:
			i--
		default:
			j--
		}
	}
	return pairs
}
