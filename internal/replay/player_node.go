package replay

import (
	"errors"
	"fmt"

	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// restore has the replay begin with what was recorded when the recording began, or when it was begun anew, as a node that
// starts anew does.
func (p *player) restore(state *raftfsm.State) {
	if state == nil || p.world != nil && p.result.Heartbeats > 0 { // what simulated DEAs have become goes on
		return
	}
	for a := range p.state.Apps() { // some of which may be gone
		p.touched = append(p.touched, a.Key)
	}
	p.state, p.view, p.index = state, nil, max(p.index, state.Index())
	p.term = max(p.term, state.Term()) + 1
	p.listen()
	p.lead()
	for a := range state.Apps() {
		p.touched = append(p.touched, a.Key)
	}
	counts, outstanding := state.Counts(), 0
	for range state.AllCommands() {
		outstanding++
	}
	p.tell(Moment{Kind: MomentState, Text: fmt.Sprintf("recorded so far: %d instances on %d DEAs, %d desired, %d commands outstanding",
		counts.Instances, counts.DEAs, counts.DesiredInstances, outstanding)})
}

// hold does to a hold what a person did.
func (p *player) hold(e *Event) error {
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
	if _, err := p.Propose(p.ctx, record); err != nil { // to release what this replay does not hold is refused, which is no error
		return fmt.Errorf("replaying at %v: %w", p.now, err)
	}
	p.wake = true
	p.tell(Moment{Kind: MomentHold, Text: text})
	return nil
}

// oneApp takes what was read of a single app.
func (p *player) oneApp(e *Event) error {
	var readErr error
	if e.Failed != "" {
		readErr = errors.New(e.Failed)
	}
	if p.world != nil && len(e.Read.Apps) > 0 {
		p.world.readOne(e.Only, e.Read.Apps)
	}
	p.tell(Moment{Kind: MomentDesired, Text: "read of app " + e.Only.String() + " alone" + failedText(e)})
	if err := p.core.AppRead(p.ctx, p.now, reconcile.AppReadOutcome{Droplet: e.Only, Began: app.TimeOf(e.Began), Rows: e.Read.Apps, Err: readErr}); err != nil {
		return fmt.Errorf("replaying at %v: %w", p.now, err)
	}
	p.wake = true
	return nil
}

func failedText(e *Event) string {
	if e.Failed != "" {
		return " failed: " + e.Failed
	}
	return ""
}
