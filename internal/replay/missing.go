package replay

import (
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// missing counts the indices that should be started and have no live or evacuating instance, and sums up for how long.
// It begins when the gate first opens: before that hm has not received everything.
type missing struct {
	begun bool
	byApp map[app.Key]int // without zeros
	count int             // of all apps
	total time.Duration   // of all indices together

	instances []actual.Located // buffer
}

// begin counts the indices of all apps for the first time.
func (m *missing) begin(view *raftfsm.State, eval *reconcile.Evaluator) {
	m.begun = true
	for _, k := range eval.Unsettled(view) { // the other apps have no missing index
		m.update(view, k)
	}
}

// update counts the indices of an app that has changed.
func (m *missing) update(view *raftfsm.State, k app.Key) {
	if m.begun {
		m.set(k, missingIndices(view, k, &m.instances))
	}
}

// pass adds the time that passes while the count stays the same.
func (m *missing) pass(d time.Duration) {
	if m.begun {
		m.total += time.Duration(m.count) * d
	}
}

func (m *missing) set(k app.Key, n int) {
	old := m.byApp[k]
	if old == n {
		return
	}
	m.count += n - old
	if n == 0 {
		delete(m.byApp, k)
	} else {
		m.byApp[k] = n
	}
}

// missingIndices counts an app's missing indices.
func missingIndices(view *raftfsm.State, k app.Key, buffer *[]actual.Located) int {
	if reconcile.Settled(view, k) {
		return 0
	}
	a, ok := view.App(k)
	if !ok || !a.HasDesired || !a.Desired.Startable() {
		return 0
	}
	*buffer = view.Instances((*buffer)[:0], k)
	n, counted := int(a.Desired.Instances), int64(-1)
	for i := range *buffer {
		inst := &(*buffer)[i]
		if inst.State != actual.Crashed && inst.Index < a.Desired.Instances && int64(inst.Index) != counted {
			n--
			counted = int64(inst.Index)
		}
	}
	return n
}
