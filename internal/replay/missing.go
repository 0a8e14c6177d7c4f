package replay

import (
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm"
)

// missing counts the indices that are to be started and have no live instance, and how long they had none.
type missing struct {
	of    map[app.Key]int // without the zeros
	now   int             // all of them
	total time.Duration

	instances []actual.Located // scratch
}

func (m *missing) pass(d time.Duration) { m.total += time.Duration(m.now) * d }

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
	a, ok := view.App(k)
	if !ok || !a.HasDesired || !a.Desired.Startable() {
		return 0
	}
	*scratch = view.Instances((*scratch)[:0], k)
	n, counted := int(a.Desired.Instances), int64(-1)
	for i := range *scratch {
		inst := &(*scratch)[i]
		if inst.State.Live() && inst.Index < a.Desired.Instances && int64(inst.Index) != counted {
			n--
			counted = int64(inst.Index)
		}
	}
	return n
}
