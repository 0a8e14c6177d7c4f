package reconcile

import (
	"maps"
	"slices"
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm"
)

// recentExits holds the instances whose exit was heard within a time to live. droplet.exited and
// dea.heartbeat have separate queues: a heartbeat from before an exit may be handled after it, and
// must not make the instance live again. A DEA that still lists the instance as live after a whole
// time to live is right.
type recentExits struct {
	byInstance map[app.GUID]heardExit
	pruned     app.Time // when add last dropped old exits
}

type heardExit struct {
	reason actual.ExitReason
	at     app.Time // by the intake's clock
}

// maxExited bounds the exits that are kept. For an instance beyond it the next heartbeat counts at
// once.
const maxExited = 100_000

func (x *recentExits) add(e actual.Exit, now app.Time, ttl time.Duration) {
	if len(x.byInstance) >= maxExited && now.Sub(x.pruned) >= ttl/10 { // in a flood of exits, not for each of them
		x.pruned = now
		x.prune(now, ttl)
	}
	if x.byInstance == nil {
		x.byInstance = map[app.GUID]heardExit{}
	}
	if len(x.byInstance) < maxExited {
		x.byInstance[e.Instance] = heardExit{e.Reason, now}
	}
}

func (x *recentExits) prune(now app.Time, ttl time.Duration) {
	maps.DeleteFunc(x.byInstance, func(_ app.GUID, h heardExit) bool { return now.Sub(h.at) >= ttl })
	if len(x.byInstance) == 0 {
		x.byInstance = nil // a map never shrinks
	}
}

// overrule gives upserts with the states that the recent exits lead to, without those that the
// record then agrees with. overruled says whether a state differs from the heartbeat's. It leaves
// the given upserts unchanged.
func (x *recentExits) overrule(
	view *raftfsm.State, dea string, upserts []actual.Instance, now app.Time, ttl time.Duration,
) (_ []actual.Instance, overruled bool) {
	if len(x.byInstance) == 0 {
		return upserts, false
	}
	after := func(i actual.Instance) actual.State {
		h, ok := x.byInstance[i.GUID]
		if !ok || now.Sub(h.at) >= ttl {
			return i.State
		}
		return i.State.AfterExit(h.reason)
	}
	if !slices.ContainsFunc(upserts, func(i actual.Instance) bool { return after(i) != i.State }) {
		return upserts, false
	}
	recorded := map[app.GUID]actual.State{}
	for _, i := range view.DEAInstances(nil, dea) {
		recorded[i.GUID] = i.State
	}
	var left []actual.Instance
	for _, i := range upserts {
		st := after(i)
		if st != i.State && recorded[i.GUID] == st {
			continue
		}
		i.State = st
		left = append(left, i)
	}
	return left, true
}
