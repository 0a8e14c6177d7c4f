package api

import (
	"cmp"
	"context"
	"hash/fnv"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"sync"
	"time"

	"hm/internal/app"
)

// maxSelections is how many selections are kept for further pages.
const maxSelections = 8

// selection is what a filter, a prefix and an order select of a list, at one time: its items by key, in 12 to 40 bytes
// each. The items of a page are made when the page is asked for.
type selection[K any] struct {
	n      snapshot
	keys   []K     // in the list's own order
	sorted []place // by value; nil: the list's own order
	// reversed says that the order is the reverse of the list's own.
	reversed bool
}

// place is the place of an item in the order of a list.
type place struct {
	value int64
	nth   uint32 // of keys
}

func (a place) compare(b place) int {
	return cmp.Or(cmp.Compare(a.value, b.value), cmp.Compare(a.nth, b.nth))
}

func (s *selection[K]) len() int { return len(s.keys) }

// at gives the key of the item at a position, and the value by which it is sorted.
func (s *selection[K]) at(i int) (K, int64) {
	switch {
	case s.reversed:
		return s.keys[len(s.keys)-1-i], 0
	case s.sorted == nil:
		return s.keys[i], 0
	}
	return s.keys[s.sorted[i].nth], s.sorted[i].value
}

// after is the position after an item with a value. compare compares a key with that of the item.
func (s *selection[K]) after(value int64, compare func(K) int) int {
	nth, found := slices.BinarySearchFunc(s.keys, struct{}{}, func(k K, _ struct{}) int { return compare(k) })
	switch {
	case s.reversed:
		return len(s.keys) - nth
	case s.sorted == nil && found:
		return nth + 1
	case s.sorted == nil:
		return nth
	}
	last := place{value: value, nth: uint32(nth)}
	return sort.Search(len(s.sorted), func(i int) bool {
		c := s.sorted[i].compare(last)
		return c > 0 || c == 0 && !found
	})
}

// selector collects a selection. Keys must come in the list's own order.
type selector[K, T any] struct {
	filter filter[T]
	order  order[T]
	out    selection[K]
}

func (s *selector[K, T]) add(k K, item *T) {
	if !s.filter.match(item) {
		return
	}
	s.out.keys = append(s.out.keys, k)
	if s.order.byValue() {
		s.out.sorted = append(s.out.sorted, place{value: s.order.value(item), nth: uint32(len(s.out.keys) - 1)})
	}
}

func (s *selector[K, T]) done(n snapshot) *selection[K] {
	slices.SortFunc(s.out.sorted, place.compare)
	s.out.n, s.out.reversed = n, s.order.reversed()
	return &s.out
}

// selectionKey names a selection: what was asked for, and the hm time that the cursors of its pages carry.
type selectionKey struct {
	asked string
	at    app.Time
}

// selections keeps selections for further pages and for equal requests.
type selections struct {
	scans *gate

	mu   sync.Mutex
	kept []*keptSelection // most recently used first
}

type keptSelection struct {
	key         selectionKey
	value       any
	built, used time.Time
	took        time.Duration
}

// selected gives what is kept under key, or makes it. With key.at 0 any recent one of what was asked for is good. at is
// the hm time that names it: key.at, or else the one that find gives.
func selected[V any](ctx context.Context, s *selections, key selectionKey, find func() (v V, at app.Time)) (v V, at app.Time, err error) {
	if found := s.find(key); found != nil {
		return found.value.(V), found.key.at, nil
	}
	leave, err := s.scans.enter(ctx)
	if err != nil {
		return v, 0, err
	}
	defer leave()
	if found := s.find(key); found != nil { // another request made it meanwhile
		return found.value.(V), found.key.at, nil
	}
	began := time.Now()
	if v, at = find(); key.at == 0 {
		key.at = at
	}
	s.keep(&keptSelection{key: key, value: v, built: began, used: time.Now(), took: time.Since(began)})
	return v, key.at, nil
}

// find gives a kept selection, or nil.
func (s *selections) find(key selectionKey) *keptSelection {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	for i, k := range s.kept {
		if k.key == key || key.at == 0 && k.key.asked == key.asked && time.Since(k.built) < min(keysCost*k.took, passMaxKeep) {
			k.used = time.Now()
			s.kept = slices.Insert(slices.Delete(s.kept, i, i+1), 0, k)
			return k
		}
	}
	return nil
}

func (s *selections) keep(k *keptSelection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = slices.DeleteFunc(s.kept, func(o *keptSelection) bool { return o.key == k.key })
	s.kept = slices.Insert(s.kept, 0, k)
	if len(s.kept) > maxSelections {
		clear(s.kept[maxSelections:])
		s.kept = s.kept[:maxSelections]
	}
}

// forget drops selections that were not used for a while, with the views that they hold.
func (s *selections) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
}

func (s *selections) expire() {
	s.kept = slices.DeleteFunc(s.kept, func(k *keptSelection) bool { return time.Since(k.used) > listKeep })
}

// listed is the part of a request that selects and orders a list.
type listed[T any] struct {
	list   string
	prefix string
	filter filter[T]
	order  order[T]
}

// maxPrefix is the longest prefix, in bytes.
const maxPrefix = 200

// listedOf reads the parameters prefix, filter and sort.
func listedOf[T any](r *http.Request, list string, fields []field[T]) (l listed[T], err error) {
	q := r.URL.Query()
	l.list, l.prefix = list, q.Get("prefix")
	if len(l.prefix) > maxPrefix {
		return l, badRequest("prefix has %d bytes, at most %d are allowed", len(l.prefix), maxPrefix)
	}
	if l.filter, err = parseFilter(q.Get("filter"), fields); err != nil {
		return l, err
	}
	l.order, err = parseOrder(q.Get("sort"), fields)
	return l, err
}

// plain reports whether the whole list was asked for, in its own order.
func (l listed[T]) plain() bool { return l.prefix == "" && len(l.filter) == 0 && l.order.field == nil }

func (l listed[T]) needs() needs {
	n := l.filter.needs()
	if l.order.field != nil {
		n |= l.order.field.needs
	}
	return n
}

// String names what was asked for.
func (l listed[T]) String() string {
	return l.list + " " + strconv.Quote(l.prefix) + " " + l.filter.String() + " " + l.order.String()
}

// digest gives a short form of String for cursors: a cursor is good only for what was asked for when it was given out.
func (l listed[T]) digest() uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(l.String())) // it never fails
	return h.Sum32()
}

// selectionCursor names the last item of a page of a selection.
type selectionCursor[C any] struct {
	At     app.Time `json:"t"` // names the selection
	Digest uint32   `json:"q"`
	Value  int64    `json:"s"`
	Key    C        `json:"k"`
}

// cursorDigest is digest, or 0 for a plain list.
func (l listed[T]) cursorDigest() uint32 {
	if l.plain() {
		return 0
	}
	return l.digest()
}

// checked reports whether the cursor may belong to l.
func (c selectionCursor[C]) checked(digest uint32, now app.Time) error {
	if c.Digest != digest || c.At <= 0 || c.At > now || now.Sub(c.At) > maxCursorAge {
		return badCursor()
	}
	return nil
}
