package replay

import (
	"fmt"

	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/internal/recording"
	"hm/raftfsm"
)

// restore lets the replay begin with the state of the cluster when the recording began, or when its recorder was
// restarted. The node is restarted with it.
func (p *player) restore(state *raftfsm.State) {
	if state == nil || p.fleet != nil && p.result.Heartbeats > 0 { // the simulated DEAs go on as they are
		return
	}
	for a := range p.state.Apps() { // the new state may not have all of them
		p.touched = append(p.touched, a.Key)
	}
	p.state, p.view, p.index = state, nil, max(p.index, state.Index())
	p.term = max(p.term, state.Term()) + 1
	p.startNode()
	p.lead()
	for a := range state.Apps() {
		p.touched = append(p.touched, a.Key)
	}
	counts, outstanding := state.Counts(), 0
	for range state.AllCommands() {
		outstanding++
	}
	p.report(TimelineEvent{Kind: TimelineState, Text: fmt.Sprintf(
		"recorded so far: %d instances on %d DEAs, %d desired, %d commands outstanding",
		counts.Instances, counts.DEAs, counts.DesiredInstances, outstanding)})
}

// hold sets or releases a hold as a person did.
func (p *player) hold(e *recording.Event) error {
	h := e.Hold
	var record raftfsm.Record = raftfsm.HoldReleased{Name: h.Name}
	text := "released " + h.Name
	if !e.Released {
		h.SetAt = p.now
		record = raftfsm.HoldSet{Hold: h}
		text = "set " + h.Name
		if h.Until != 0 {
			text += " until " + h.Until.String()
		}
		if h.Reason != "" {
			text += ": " + h.Reason
		}
	}
	if _, err := p.Propose(p.ctx, record); err != nil { // releasing a hold that this replay has not set is no error
		return fmt.Errorf("replaying at %v: %w", p.now, err)
	}
	p.wake = true
	p.report(TimelineEvent{Kind: TimelineHold, Text: text})
	return nil
}

// appRead takes the outcome of a read of one app.
func (p *player) appRead(e *recording.Event) error {
	if p.fleet != nil && len(e.Read.Apps) > 0 {
		p.fleet.readApp(e.OnlyApp, e.Read.Apps)
	}
	text := "read of app " + e.OnlyApp.String() + " alone"
	if e.Failed != "" {
		text += " failed: " + e.Failed
	}
	p.report(TimelineEvent{Kind: TimelineDesired, Text: text})
	outcome := reconcile.AppReadOutcome{
		Droplet: e.OnlyApp, Began: app.TimeOf(e.Began), Rows: e.Read.Apps, Err: e.ReadError(),
	}
	if err := p.core.AppRead(p.ctx, p.now, outcome); err != nil {
		return fmt.Errorf("replaying at %v: %w", p.now, err)
	}
	p.wake = true
	return nil
}
