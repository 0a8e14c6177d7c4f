package api

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// holdRow is what a filter or an order of GET /v1/holds knows of a hold.
type holdRow struct {
	Hold
	now time.Time
}

// holdFields are the fields of GET /v1/holds.
var holdFields = []field[holdRow]{
	{name: "name", natural: true, texts: text(func(r *holdRow) string { return r.Name }), about: "name of the hold"},
	{name: "by", texts: text(func(r *holdRow) string { return r.By }), about: "who set it"},
	{name: "set", number: func(r *holdRow) (int64, bool) { return since(r.now, r.SetAt.Time) }, duration: true,
		sort: func(r *holdRow) int64 { return orderTime(r.SetAt.Time) }, about: "time since it was set; sorted by that time, the earliest first"},
	{name: "until", number: func(r *holdRow) (int64, bool) { n, ok := since(r.now, r.Until.Time); return -n, ok }, duration: true,
		sort: func(r *holdRow) int64 { return orderTime(r.Until.Time) }, about: "time until it ends; sorted by that time, the earliest first, and those without an end at the end"},
}

// holds answers GET /v1/holds?prefix=&filter=&sort=&limit=&cursor=, in the order of their names unless sort says otherwise.
func (s *Server) holds(w http.ResponseWriter, r *http.Request) error {
	l, err := listedOf(r, "holds", holdFields)
	if err != nil {
		return err
	}
	var last string
	limit, resumed, err := pageOf(r, &last)
	if err != nil {
		return err
	}
	n := s.snapshot()
	items := slices.DeleteFunc(holds(n.wall, n.view.Holds()), func(h Hold) bool {
		return !strings.HasPrefix(h.Name, l.prefix) || !l.filter.match(&holdRow{h, n.at.Time})
	})
	if l.order.reversed() {
		slices.Reverse(items)
	} else if l.order.byValue() {
		slices.SortStableFunc(items, func(a, b Hold) int {
			return cmp.Compare(l.order.value(&holdRow{a, n.at.Time}), l.order.value(&holdRow{b, n.at.Time}))
		})
	}
	w.Header().Set(headerTotal, strconv.Itoa(len(items)))
	if resumed {
		at := slices.IndexFunc(items, func(h Hold) bool { return h.Name == last })
		if at < 0 { // it was released
			return badCursor()
		}
		items = items[at+1:]
	}
	if len(items) > limit {
		items = items[:limit]
		if err := setNext(w, r, items[limit-1].Name); err != nil {
			return err
		}
	}
	return writeTagged(w, n.basis(n.view), items, nil)
}
