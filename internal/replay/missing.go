package replay

import (
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// missing counts the indices that are to be started and at which nothing is live or evacuating, and how long that was
// so. It begins when the gate first opens: before that hm has not heard of everything.
type missing struct {
	began bool
	of    map[app.Key]int // without the zeros
	now   int             // all of them
	total time.Duration

	instances []actual.Located // scratch
}

// begin counts for the first time, and everything: until now it was not worth while.
func (m *missing) begin(view *raftfsm.State, eval *reconcile.Evaluator) {
	m.began = true
	for _, k := range eval.Unsettled(view) { // nothing is missing of the others
		m.update(view, k)
	}
}

// update counts an app of which something has changed.
func (m *missing) update(view *raftfsm.State, k app.Key) {
	if m.began {
		m.set(k, missingOf(view, k, &m.instances))
	}
}

func (m *missing) pass(d time.Duration) {
	if m.began {
		m.total += time.Duration(m.now) * d
	}
}

func (m *missing) set(k app.Key, n int) {
	old := m.of[k]
	if old == n {
		return
	}
	m.now += n - old
	if n == 0 {
		delete(m.of, k)
	} else {
		m.of[k] = n
	}
}

// missingOf counts an app's missing indices.
func missingOf(view *raftfsm.State, k app.Key, scratch *[]actual.Located) int {
	if reconcile.Settled(view, k) {
		return 0
	}
	a, ok := view.App(k)
	if !ok || !a.HasDesired || !a.Desired.Startable() {
		return 0
	}
	*scratch = view.Instances((*scratch)[:0], k)
	n, counted := int(a.Desired.Instances), int64(-1)
	for i := range *scratch {
		inst := &(*scratch)[i]
		if inst.State != actual.Crashed && inst.Index < a.Desired.Instances && int64(inst.Index) != counted {
			n--
			counted = int64(inst.Index)
		}
	}
	return n
}
