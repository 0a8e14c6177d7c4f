package api

import (
	"slices"
	"testing"
	"time"

	"hm/actual"
	"hm/desired"
	"hm/diff"
	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// TestWhatAPassKeepsIsWhatItWouldFind: what a pass keeps for later ones is what they would find, whatever is recorded and
// whenever they are made.
func TestWhatAPassKeepsIsWhatItWouldFind(t *testing.T) {
	const begin = app.Time(1_700_000_000_000)
	policy := diff.Policy{HeartbeatPeriod: time.Second, StartingTTL: 30 * time.Second}
	eval := reconcile.NewEvaluator(policy)
	state := raftfsm.NewState()
	record := func(at app.Time, records ...raftfsm.Record) {
		t.Helper()
		r := state.Apply(state.Index()+1, 1, raftfsm.Entry{At: at, Records: records})
		if r.Err != nil || len(r.Refused) > 0 {
			t.Fatal(r.Err, r.Refused)
		}
	}
	key := func(n byte) app.Key {
		return app.Key{Droplet: app.FromBinary([16]byte{n}, 'u'), Version: app.FromBinary([16]byte{n, 1}, 'u')}
	}
	want := func(n byte, instances uint32) desired.App {
		return desired.App{Key: key(n), Instances: instances, State: desired.Started, Package: desired.Staged}
	}
	runs := func(n byte, s actual.State) actual.Instance {
		return actual.Instance{App: key(n), GUID: app.FromBinary([16]byte{n, 2}, 'h'), State: s}
	}

	var known knownApps
	check := func(at app.Time, drifting ...app.Key) {
		t.Helper()
		view := state.Freeze()
		got := known.unsettledAt(eval, view, at)
		if fresh := eval.UnsettledAt(view, at); !slices.Equal(got, fresh) || !slices.Equal(got, drifting) {
			t.Errorf("at %v the apps that may drift are %v; a look at all finds %v; want %v", at, got, fresh, drifting)
		}
		var fresh knownApps
		if got, now := known.desiredGauges(view), fresh.desiredGauges(view); got != now {
			t.Errorf("at %v the desired state counts %+v; a look at all counts %+v", at, got, now)
		}
	}
	check(begin)
	record(begin, raftfsm.DesiredChanges{Generation: 1, Upserts: []desired.App{want(1, 1), want(2, 1)}},
		raftfsm.DesiredCommit{Generation: 1, Parts: 1})
	check(begin, key(1), key(2))
	record(begin, raftfsm.DEAChanges{DEA: "a", Upserts: []actual.Instance{runs(1, actual.Running), runs(2, actual.Starting)}})
	check(begin)
	check(begin.Add(policy.StartingTTL - 1))
	check(begin.Add(policy.StartingTTL), key(2)) // nothing was recorded, but the instance has been STARTING for too long
	check(begin.Add(2*policy.StartingTTL), key(2))
	check(begin) // a listing as of an earlier time
	record(begin.Add(time.Second), raftfsm.DesiredChanges{Generation: 2, Upserts: []desired.App{want(1, 2), want(3, 5)}},
		raftfsm.DesiredCommit{Generation: 2, Parts: 1, Base: 1})
	check(begin.Add(time.Second), key(1), key(3))
	record(begin.Add(time.Second), raftfsm.DesiredChanges{Generation: 3, Removes: []app.Key{key(3)}})
	check(begin.Add(time.Second), key(1), key(3)) // a part of a read counts with its commit
	record(begin.Add(time.Second), raftfsm.DesiredCommit{Generation: 3, Parts: 1, Base: 2})
	check(begin.Add(time.Second), key(1))
}
