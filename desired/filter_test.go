package desired

import (
	"fmt"
	"strings"
	"testing"
)

func TestFilterText(t *testing.T) {
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("organization-%03d", i))
	}
	for _, c := range []struct {
		name   string
		filter Filter
		want   string // empty: only that it is read back
	}{
		{"nothing", Filter{}, ""},
		{"one list", Filter{Stacks: []string{"lucid64"}}, `stacks "lucid64"`},
		{"the order and repetitions do not matter", Filter{Organizations: []string{"b", "a", "b"}}, `organizations "a", "b"`},
		{"all lists", Filter{[]string{"s"}, []string{"t"}, []string{"o"}}, `isolation segments "s"; stacks "t"; organizations "o"`},
		{"a name that looks like the text of a filter", Filter{Stacks: []string{`a", "b`}}, `stacks "a\", \"b"`},
		{"a name with the mark", Filter{Stacks: []string{"a | only b"}}, ""},
		{"many entries", Filter{Organizations: many}, ""},
	} {
		if c.want != "" && c.filter.String() != c.want {
			t.Errorf("%s: %s, want %s", c.name, c.filter, c.want)
		}
		source := Filtered("sql postgres db:5432/ccdb"+strings.Repeat("x", 2000), c.filter)
		if got := FilterOf(source); got != c.filter.String() {
			t.Errorf("%s: %q is read back from %q", c.name, got, source)
		}
		if !c.filter.Empty() && (FilterOf(source) == "" || len(source) > 1<<10) {
			t.Errorf("%s: the source has %d bytes and the filter %q", c.name, len(source), FilterOf(source))
		}
	}
	if Anonymous("sql db") != "recording" || FilterOf(Anonymous(Filtered("sql db", Filter{Stacks: many}))) != "a part" {
		t.Error("an anonymous source does not say whether it was read through a filter, or says more")
	}
	fewer := Filter{Organizations: many[:199]}
	if fewer.String() == (Filter{Organizations: many}).String() {
		t.Error("two long filters have one text")
	}
	if FilterOf("bulk http://cc:9022") != "" || Filtered("bulk http://cc:9022", Filter{}) != "bulk http://cc:9022" {
		t.Error("a source without a filter has one")
	}
}
