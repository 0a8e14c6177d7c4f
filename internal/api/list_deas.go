package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"hm/internal/app"
	"hm/raftfsm"
)

// States of a DEA.
const (
	deaGone       = "gone"
	deaDoubled    = "doubled"
	deaSilent     = "silent"
	deaUnreadable = "unreadable"
	deaHeard      = "heard"
)

// deaRow is what a filter or an order of GET /v1/deas knows of a DEA.
type deaRow struct {
	id         string
	state      string
	count      int64
	silence    int64 // milliseconds since the answering node heard it
	heard      bool  // it ever did
	age        int64 // milliseconds since it was first recorded
	unreadable int64
	states     InstanceCounts
}

// deaFields are the fields of GET /v1/deas.
var deaFields = []field[deaRow]{
	{name: "dea", natural: true, texts: text(func(r *deaRow) string { return r.id }), about: "id of the DEA"},
	{name: "state", texts: text(func(r *deaRow) string { return r.state }), words: []string{deaHeard, deaSilent, deaGone, deaUnreadable, deaDoubled},
		about: "the field state of the answer"},
	{name: "instances", number: func(r *deaRow) (int64, bool) { return r.count, true }, about: "recorded instances"},
	{name: "running", number: func(r *deaRow) (int64, bool) { return int64(r.states.Running), true }, needs: needsInstances, about: "instances that run"},
	{name: "starting", number: func(r *deaRow) (int64, bool) { return int64(r.states.Starting), true }, needs: needsInstances, about: "instances that start"},
	{name: "crashed", number: func(r *deaRow) (int64, bool) { return int64(r.states.Crashed), true }, needs: needsInstances, about: "instances that have crashed"},
	{name: "evacuating", number: func(r *deaRow) (int64, bool) { return int64(r.states.Evacuating), true }, needs: needsInstances, about: "instances that evacuate"},
	{name: "silence", number: func(r *deaRow) (int64, bool) { return r.silence, r.heard }, duration: true,
		sort: (*deaRow).silenceForOrder, about: "time since the answering node heard the DEA; a DEA that it never heard counts as silent for longest"},
	{name: "age", number: func(r *deaRow) (int64, bool) { return r.age, true }, duration: true, about: "time since the DEA was first recorded"},
	{name: "unreadable", number: func(r *deaRow) (int64, bool) { return r.unreadable, true }, about: "entries and messages that the answering node cannot read"},
}

// silenceForOrder puts DEAs that were never heard after all others.
func (r *deaRow) silenceForOrder() int64 {
	if !r.heard {
		return 1 << 62
	}
	return r.silence
}

// deas answers GET /v1/deas?prefix=&filter=&sort=&limit=&cursor=, sorted by id unless sort says otherwise, with the DEAs
// that are gone.
func (s *Server) deas(w http.ResponseWriter, r *http.Request) error {
	l, err := listedOf(r, "deas", deaFields)
	if err != nil {
		return err
	}
	if l.plain() {
		return s.allDEAs(w, r)
	}
	var cursor selectionCursor[string]
	limit, resumed, err := pageOf(r, &cursor)
	if err != nil {
		return err
	}
	n := s.snapshot()
	if resumed {
		if err := cursor.checked(l.digest(), n.hm); err != nil {
			return err
		}
	}
	sel, at, err := selected(r.Context(), &s.selections, selectionKey{l.String(), cursor.At}, func() (*selection[string], app.Time) {
		return s.selectDEAs(n, l), n.hm
	})
	if err != nil {
		return err
	}
	first := 0
	if resumed {
		first = sel.after(cursor.Value, func(id string) int { return strings.Compare(id, cursor.Key) })
	}
	end := min(first+limit, sel.len())
	items := make([]DEA, 0, end-first)
	for i := first; i < end; i++ {
		id, value := sel.at(i)
		if d, ok := sel.n.view.DEA(id); ok {
			items = append(items, s.deaItem(n, d))
		}
		if i == end-1 && end < sel.len() {
			if err := setNext(w, r, selectionCursor[string]{At: at, Digest: l.digest(), Value: value, Key: id}); err != nil {
				return err
			}
		}
	}
	w.Header().Set(headerTotal, strconv.Itoa(sel.len()))
	return writeTagged(w, n.basis(sel.n.view), items, deasUnheard(items))
}

// allDEAs answers with a page of the whole list in its own order.
func (s *Server) allDEAs(w http.ResponseWriter, r *http.Request) error {
	var last string
	limit, resumed, err := pageOf(r, &last)
	if err != nil {
		return err
	}
	n := s.snapshot()
	items := []DEA{}
	for d := range n.view.DEAs() {
		if resumed && d.ID <= last {
			continue
		}
		if len(items) == limit {
			if err := setNext(w, r, items[limit-1].DEA); err != nil {
				return err
			}
			break
		}
		items = append(items, s.deaItem(n, d))
	}
	c := n.view.Counts()
	w.Header().Set(headerTotal, strconv.Itoa(c.DEAs+c.GoneDEAs))
	return writeTagged(w, n.basis(n.view), items, deasUnheard(items))
}

func (s *Server) selectDEAs(n snapshot, l listed[deaRow]) *selection[string] {
	scan, i, need := selector[string, deaRow]{filter: l.filter, order: l.order}, 0, l.needs()
	for d := range n.view.DEAs() {
		yield(i)
		i++
		if strings.HasPrefix(d.ID, l.prefix) {
			row := s.deaRow(n, d, need)
			scan.add(d.ID, &row)
		}
	}
	return scan.done(n)
}

func (s *Server) deaRow(n snapshot, d raftfsm.DEA, need needs) deaRow {
	heard := s.opts.Loop.LastHeard(d.ID)
	row := deaRow{id: d.ID, count: int64(d.Len), state: s.deaState(n, d, heard), heard: heard != 0, age: n.hm.Sub(d.FirstSeen).Milliseconds()}
	if row.heard {
		row.silence = n.hm.Sub(heard).Milliseconds()
	}
	if need&needsInstances != 0 {
		n.view.EachStateOn(d.ID, row.states.add)
	}
	if t, any := s.opts.Loop.Trouble(d.ID); any {
		row.unreadable = int64(t.Entries + t.UnknownStates + t.Messages)
	}
	return row
}

func (s *Server) deaState(n snapshot, d raftfsm.DEA, heard app.Time) string {
	t, any := s.opts.Loop.Trouble(d.ID)
	switch {
	case d.GoneAt != 0:
		return deaGone
	case any && t.Doubled != 0:
		return deaDoubled
	case heard == 0 || n.hm.Sub(heard) >= s.opts.HeartbeatTTL:
		return deaSilent
	case any && t.Entries+t.UnknownStates+t.Messages > 0:
		return deaUnreadable
	}
	return deaHeard
}

func (s *Server) deaItem(n snapshot, d raftfsm.DEA) DEA {
	heard := s.opts.Loop.LastHeard(d.ID)
	item := DEA{
		DEA: d.ID, Count: d.Len, FirstSeen: n.wall.Time(d.FirstSeen), ChangedAt: n.wall.Time(d.ChangedAt),
		LastHeard: n.wall.Time(heard), GoneAt: n.wall.Time(d.GoneAt), State: s.deaState(n, d, heard),
	}
	n.view.EachStateOn(d.ID, item.States.add)
	_, item.HeardByPeer = n.over.MissedDEAs[d.ID]
	s.addTrouble(n, d, &item)
	return item
}

// deasUnheard gives items without the times when they were last heard, for a tag.
func deasUnheard(items []DEA) []DEA {
	same := slices.Clone(items)
	for i := range same {
		same[i].LastHeard = Timestamp{}
	}
	return same
}
