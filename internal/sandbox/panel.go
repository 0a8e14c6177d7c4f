package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"hm/internal/dashboard"
	"hm/internal/liveview"
)

// panel offers on the dashboard's pages what the keys of the live view do. The nodes get it before the view is there.
type panel struct{ view atomic.Pointer[View] }

// panelTexts name actions whose name in the bottom line of the live view is too short to stand alone.
var panelTexts = map[liveview.Action]string{
	liveview.ScaleDown: "scale down", liveview.ToggleNATS: "stop or start NATS", liveview.ToggleLeader: "close the leader",
	liveview.TogglePause: "pause or resume hm", liveview.ToggleBulk: "break or mend the bulk API", liveview.UpdateApp: "update an app",
	liveview.DeleteApp: "delete an app", liveview.AddApp: "add an app", liveview.CrashOne: "crash an instance", liveview.CrashLoop: "crash loop",
	liveview.KillDEA: "kill a DEA", liveview.KillSeveral: "kill several", liveview.ReviveDEAs: "revive DEAs", liveview.EvacuateDEA: "evacuate a DEA",
}

// panelEvents is how many of the newest events the panel shows.
const panelEvents = 12

// Actions returns the actions of the keys, in their order.
func (p *panel) Actions() (actions []dashboard.SandboxAction) {
	for _, k := range liveview.DevKeys {
		if k.Action != liveview.Quit {
			actions = append(actions, dashboard.SandboxAction{Name: string(k.Action), Key: k.Name, Text: cmp.Or(panelTexts[k.Action], k.Help)})
		}
	}
	return actions
}

// Do starts an action, as its key does.
func (p *panel) Do(_ context.Context, name string) error {
	view := p.view.Load()
	if view == nil {
		return errors.New("hm dev is still starting: try again")
	}
	known := slices.ContainsFunc(p.Actions(), func(a dashboard.SandboxAction) bool { return a.Name == name })
	if !known {
		return fmt.Errorf("the sandbox has no action %.40q", name)
	}
	view.Do(liveview.Action(name))
	return nil
}

// State returns what the live view shows of the simulation.
func (p *panel) State() dashboard.SandboxState {
	view := p.view.Load()
	if view == nil {
		return dashboard.SandboxState{About: "starting"}
	}
	f := view.Frame()
	s := dashboard.SandboxState{About: f.About, Faults: f.Faults}
	if t := f.Truth; t != nil {
		s.Converged, s.Desired, s.Settled, s.Undesired, s.Needless, s.Harmful = t.Converged, t.Desired, t.Settled, t.Undesired, t.Needless, t.Harmful
		s.Router, s.Requests, s.RequestsFailed = t.Router, t.Requests, t.RequestsFailed
	}
	for _, e := range f.Events[:min(len(f.Events), panelEvents)] {
		s.Done = append(s.Done, dashboard.SandboxEvent{At: e.At, Text: e.Text, Failed: e.Failed})
	}
	for _, at := range f.Places {
		s.Places = append(s.Places, dashboard.SandboxPlace(at))
	}
	return s
}
