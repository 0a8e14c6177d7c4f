package replay

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestNearest(t *testing.T) {
	for _, c := range []struct {
		few, many []Time
		want      []int
	}{
		{nil, nil, nil},
		{nil, []Time{1, 2}, nil},
		{[]Time{1, 2}, []Time{100, 200}, []int{0, 1}},
		{[]Time{100}, []Time{10, 99, 103}, []int{1}},
		{[]Time{100}, []Time{99, 101}, []int{0}},
		{[]Time{100, 200}, []Time{10, 99, 150, 201}, []int{1, 3}},
		{[]Time{100, 101}, []Time{1, 100, 1000}, []int{0, 1}},
		{[]Time{100, 100}, []Time{1, 100, 100}, []int{1, 2}},
	} {
		if got := nearest(c.few, c.many); !slices.Equal(got, c.want) {
			t.Errorf("of %v in %v: %v, want %v", c.few, c.many, got, c.want)
		}
	}
	long := make([]Time, 5000)
	for i := range long {
		long[i] = Time(i)
	}
	if got := nearest(long[2500:], long); got[0] != 0 { // too many to try all pairings
		t.Errorf("of very many the first is paired with %d, want 0", got[0])
	}
}

// No other pairing in order has a smaller sum of distances.
func TestNearestIsNearest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(most int, what string) []Time {
			list := rapid.SliceOfN(rapid.Int64Range(0, 30), 0, most).Draw(t, what)
			slices.Sort(list)
			out := make([]Time, len(list))
			for i, v := range list {
				out[i] = Time(v)
			}
			return out
		}
		few, many := draw(4, "few"), draw(8, "many")
		if len(few) > len(many) {
			few, many = many, few
		}
		distance := func(of []int) (sum int64) {
			for i, n := range of {
				if i > 0 && of[i-1] >= n {
					t.Fatalf("%v in %v: %v is not in order", few, many, of)
				}
				sum += max(int64(many[n]-few[i]), int64(few[i]-many[n]))
			}
			return sum
		}
		best := int64(1 << 60)
		var try func(of []int)
		try = func(of []int) {
			if len(of) == len(few) {
				best = min(best, distance(of))
				return
			}
			from := 0
			if len(of) > 0 {
				from = of[len(of)-1] + 1
			}
			for n := from; n < len(many); n++ {
				try(append(slices.Clone(of), n))
			}
		}
		try(nil)
		if got := nearest(few, many); distance(got) != best {
			t.Errorf("%v in %v: %v has the sum %d, the best has %d", few, many, got, distance(got), best)
		}
	})
}

// If one side has a command more, the commands after it are still paired with each other.
func TestCompareAfterAMissingCommand(t *testing.T) {
	at := func(times ...Time) (list []Command) {
		for _, v := range times {
			list = append(list, Command{At: v, Action: "start", App: "web"})
		}
		return list
	}
	show := func(all []Difference) (s []string) {
		for _, d := range all {
			s = append(s, fmt.Sprintf("%s %d", d.Kind, d.ByMS))
		}
		return s
	}
	if got := show(Compare(at(1000, 20_000), at(20_010))); !slices.Equal(got, []string{"only_here 0", "later 10"}) {
		t.Errorf("with a command only here: %v", got)
	}
	if got := show(Compare(at(20_010), at(1000, 20_000))); !slices.Equal(got, []string{"only_there 0", "earlier 10"}) {
		t.Errorf("with a command only there: %v", got)
	}
	if got := show(Compare(nil, at(5))); !slices.Equal(got, []string{"only_there 0"}) {
		t.Errorf("without a command here: %v", got)
	}
}
