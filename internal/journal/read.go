package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// MaxLimit is the most events that one call of Events gives.
const MaxLimit = 10_000

// scanStep is how many events one read transaction looks at. A longer transaction would keep the pages that are freed
// meanwhile from being used again, and so make the file larger.
const scanStep = 2_000

// Events gives the events that the query selects, in the order in which they happened, at most q.Limit (MaxLimit if that
// is 0 or more). more reports that the journal may have further ones: after the last, or, with q.Newest, before the
// first. The error wraps ErrUnavailable if the file cannot be used, or is that of ctx. What is not stored yet is not
// given: see Changed.
func (j *Journal) Events(ctx context.Context, q Query) (events []Event, more bool, err error) {
	select {
	case <-j.opened:
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	if q.Limit <= 0 || q.Limit > MaxLimit {
		q.Limit = MaxLimit
	}
	s := newScan(q, j.opts.Node)
	for {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		err := j.view(s.step)
		if errors.Is(err, errDamaged) {
			j.damaged.Notify()
		}
		if errors.Is(err, ErrUnavailable) {
			return nil, false, err
		}
		if err != nil {
			return nil, false, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if s.done {
			break
		}
	}
	if s.unreadable > 0 {
		j.stats.unreadable.Add(uint64(s.unreadable))
		j.log.Warn("unreadable", "events of the journal cannot be read, and are left out", func() []any {
			return []any{"path", j.opts.Path, "events", s.unreadable}
		})
	}
	if q.Newest {
		slices.Reverse(s.events)
	}
	return s.events, s.more, nil
}

// scan is a query in progress. It goes through the classes at once, in the order of the keys.
type scan struct {
	q          Query
	classes    []class
	kinds      []string
	droplet    []byte // as encoded events have it
	from       []byte // smallest key, included
	at         []byte // key at which to go on: with q.Newest the largest one, not included
	events     []Event
	more       bool
	done       bool
	unreadable int
}

func newScan(q Query, node string) *scan {
	s := &scan{q: q, kinds: q.Kinds}
	for c := range classes {
		wanted := func(kind string) bool { return classOfSubject(subject(kind)) == c }
		if len(q.Kinds) == 0 || slices.ContainsFunc(q.Kinds, wanted) {
			s.classes = append(s.classes, c)
		}
	}
	if !q.App.IsZero() {
		s.droplet = q.App.AppendWire(nil)
	}
	after := q.After
	if after.Node != node {
		after.Own = 0 // counts of another node's events say nothing about this node's
	}
	if after != (ID{}) {
		after.Own++
	}
	s.from = appendKey(nil, after)
	if !q.Newest {
		s.at = s.from
	}
	return s
}

// step looks at the next events. It sets done at the end.
func (s *scan) step(tx *bbolt.Tx) error {
	heads := make([]head, len(s.classes))
	for i, c := range s.classes {
		b := tx.Bucket(bucketNames[c])
		if b == nil {
			return fmt.Errorf("%w: it has no bucket %s", errDamaged, bucketNames[c])
		}
		heads[i] = head{cursor: b.Cursor()}
		heads[i].seek(s.at, s.q.Newest)
	}
	for range scanStep {
		h := next(heads, s.q.Newest)
		if h == nil || s.q.Newest && bytes.Compare(h.key, s.from) < 0 {
			s.done = true
			return nil
		}
		if len(s.events) == s.q.Limit {
			s.more, s.done = true, true
			return nil
		}
		if s.take(h.key, h.value); s.done {
			return nil
		}
		s.at = append(s.at[:0:0], h.key...)
		if !s.q.Newest {
			s.at = append(s.at, 0) // the smallest key after it
		}
		h.move(s.q.Newest)
	}
	return nil
}

// head is the next event of a class.
type head struct {
	cursor     *bbolt.Cursor
	key, value []byte
}

// seek goes to the first event at or after key, or to the last before it; a nil key is after all events.
func (h *head) seek(key []byte, back bool) {
	switch {
	case !back:
		h.key, h.value = h.cursor.Seek(key)
	case key == nil:
		h.key, h.value = h.cursor.Last()
	default:
		if k, _ := h.cursor.Seek(key); k == nil {
			h.key, h.value = h.cursor.Last()
		} else {
			h.key, h.value = h.cursor.Prev()
		}
	}
}

func (h *head) move(back bool) {
	if back {
		h.key, h.value = h.cursor.Prev()
	} else {
		h.key, h.value = h.cursor.Next()
	}
}

// next gives the class whose event comes next, nil at the end.
func next(heads []head, back bool) (first *head) {
	for i := range heads {
		h := &heads[i]
		if h.key == nil {
			continue
		}
		if first == nil || (bytes.Compare(h.key, first.key) < 0) != back {
			first = h
		}
	}
	return first
}

// take adds an event if the query selects it. It decodes only what may be selected.
func (s *scan) take(key, value []byte) {
	if len(value) < headerBytes {
		s.unreadable++
		return
	}
	if at := eventTime(value); at < s.q.Since {
		// Older events cannot be at or after this time, but for a node's own, whose clock may differ a little.
		s.done = s.q.Newest && s.q.Since-at > 60_000
		return
	}
	if len(s.kinds) > 0 && !slices.ContainsFunc(s.kinds, func(want string) bool { return selects(want, eventKind(value)) }) ||
		s.droplet != nil && !bytes.Contains(value, s.droplet) || s.q.DEA != "" && !bytes.Contains(value, []byte(s.q.DEA)) {
		return
	}
	id, ok := decodeKey(key)
	e, err := decodeEvent(value)
	if !ok || err != nil {
		s.unreadable++
		return
	}
	if s.droplet != nil && e.App.Droplet != s.q.App || s.q.DEA != "" && e.DEA != s.q.DEA {
		return
	}
	id.Node = e.ID.Node
	e.ID = id
	s.events = append(s.events, e)
}

// selects reports whether a filter selects a kind: the kind itself, or its subject.
func selects(want string, kind []byte) bool {
	return string(kind) == want || len(kind) > len(want) && kind[len(want)] == '.' && string(kind[:len(want)]) == want
}
