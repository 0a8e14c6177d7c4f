package api

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestAPageGoesOnBehindTheLastItem: also if that item is not in the selection any more.
func TestAPageGoesOnBehindTheLastItem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type item struct{ key, value int64 }
		o := order[item]{field: &field[item]{}, by: func(x *item) int64 { return x.value }, down: rapid.Bool().Draw(t, "down")}
		if rapid.Bool().Draw(t, "natural") {
			o.by = nil
		}
		scan := selector[int64, item]{order: o}
		keys := rapid.SliceOfNDistinct(rapid.Int64Range(0, 30), 0, 20, rapid.ID[int64]).Draw(t, "keys")
		slices.Sort(keys)
		for _, k := range keys {
			scan.add(k, &item{k, rapid.Int64Range(0, 3).Draw(t, "value")})
		}
		sel := scan.done(snapshot{})
		last := item{rapid.Int64Range(0, 30).Draw(t, "last"), rapid.Int64Range(0, 3).Draw(t, "last value")}
		if o.by == nil {
			last.value = 0
		}
		if i := slices.Index(keys, last.key); i >= 0 { // a cursor has the value that the item had
			for j := range sel.len() {
				if k, v := sel.at(j); k == last.key {
					last.value = v
					if o.down && o.by != nil {
						last.value = -v
					}
				}
			}
		}
		after := func(k, value int64) bool {
			lastValue := o.value(&last)
			switch {
			case o.reversed():
				return k < last.key
			case value != lastValue:
				return value > lastValue
			}
			return k > last.key
		}
		got := sel.after(o.value(&last), func(k int64) int { return cmp.Compare(k, last.key) })
		for i := range sel.len() {
			if k, v := sel.at(i); after(k, v) != (i >= got) {
				t.Fatalf("after %+v (order %v) the page begins at %d, and item %d is %d with value %d", last, o.down, got, i, k, v)
			}
		}
	})
}
