package raftfsm

import (
	"cmp"
	"fmt"
	"slices"

	"hm/actual"
	"hm/raftfsm/internal/wire"
)

// InstanceExited is a droplet.exited message. A recorded instance becomes CRASHED, or EVACUATING if it is live and its
// DEA shuts down or evacuates; the next heartbeats bring its further states.
//
// If the instance is not recorded, and it crashed or its DEA shuts down or evacuates, the exit is noted as Exited in
// the crash record of the index (R33, R34). That is so only if the index is wanted, has no live instance, and the crash
// was not counted before.
type InstanceExited struct{ Exit actual.Exit }

// Kind is KindInstanceExited.
func (InstanceExited) Kind() Kind { return KindInstanceExited }

func applyInstanceExited(a *applier, r InstanceExited) error {
	x := r.Exit
	if !validKey(x.App) || x.Instance.IsZero() || x.Index > actual.MaxIndex ||
		x.Reason < actual.ExitCrashed || x.Reason > actual.ExitOther {
		return fmt.Errorf("%w: exit of instance %s of app %s, index %d, reason %d",
			ErrInvalid, x.Instance, x.App, x.Index, x.Reason)
	}
	h, ok := a.lookup.find(&a.apps, x.App)
	if !ok {
		return nil
	}
	recorded, known := false, x.Reason != actual.ExitCrashed || a.crashKnown(h, x.Index, x.Instance)
	crash := CrashFact{App: x.App, Index: x.Index, Instance: x.Instance, Exit: true}
	var newest uint64        // deaRec.born of crash.DEA
	var evacuating []DEAFact // the order of an app's DEAs is not the same on every node
	// A restarted DEA keeps its instances' guids. For a while two DEAs list the instance, and both records change (W10).
	for _, num := range a.apps.deas(h) {
		d := *a.deas.get(num)
		lo, hi := d.of(h)
		i := d.locate(x.Instance, lo, hi)
		if i < 0 {
			continue
		}
		recorded = true
		if d.born > newest {
			newest, crash.DEA, crash.Index = d.born, d.ID, uint32(d.inst[i].index)
		}
		if st := d.inst[i].state.AfterExit(x.Reason); st != d.inst[i].state {
			if st == actual.Evacuating && !d.evacuates() {
				evacuating = append(evacuating, DEAFact{DEA: d.ID, Change: DEAEvacuating, Instances: len(d.inst), Evacuating: 1})
			}
			a.setState(d, i, st)
		}
	}
	slices.SortFunc(evacuating, func(a, b DEAFact) int { return cmp.Compare(a.DEA, b.DEA) })
	for _, f := range evacuating {
		a.fact(f)
	}
	if recorded && !known {
		a.fact(crash)
	}
	row := a.apps.row(h)
	if recorded || !x.Reason.Ends() || !row.Wanted() || x.Index >= row.Instances || a.anyAt(h, x.Index, actual.State.Live) {
		return nil
	}
	c, _ := a.crash(x.App, x.Index)
	if c.Instance == x.Instance || c.Exited == x.Instance || a.markOf(h, x.Index, x.Instance) != actual.CrashNew {
		return nil
	}
	c.Exited, c.ExitedAt, c.ExitReason = x.Instance, a.now, x.Reason
	c.Tries, c.TriedAt = 0, 0
	a.setCrash(h, c)
	if !known {
		a.fact(crash)
	}
	return nil
}

// setState records a new state of instance i of a DEA.
func (s *State) setState(d *deaRec, i int, st actual.State) {
	t := s.scratch
	t.drop = append(t.drop[:0], make([]bool, len(d.inst))...)
	t.drop[i] = true
	c := newcomer{packed: d.inst[i], text: d.guid(i), interned: true, recorded: true}
	c.state, c.heard = st, millisOf(int64(s.now))
	t.fresh = t.fresh[:0]
	t.add = append(t.add[:0], c)
	s.replaceDEA(d, d, s.nextDEA(d, d.ID), len(d.inst))
}

func encodeInstanceExited(r InstanceExited) ([]byte, error) {
	x := r.Exit
	return marshal(&wire.Exit{
		App: appendKey(nil, x.App), Instance: x.Instance.AppendWire(nil), Index: x.Index, Reason: uint32(x.Reason),
	})
}

func decodeInstanceExited(b []byte) (InstanceExited, error) {
	var m wire.Exit
	if err := unmarshal(b, &m); err != nil {
		return InstanceExited{}, err
	}
	k, err1 := oneKey(m.App, "app")
	g, err2 := oneGUID(m.Instance, "instance")
	reason, err3 := small[actual.ExitReason](m.Reason, "reason")
	r := InstanceExited{Exit: actual.Exit{App: k, Instance: g, Index: m.Index, Reason: reason}}
	return r, firstError(err1, err2, err3)
}
