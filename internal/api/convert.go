package api

import (
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/diff"
	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

func commandID(id commands.ID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

// CommandOf gives an outstanding command.
func CommandOf(c commands.Command, wall Wall) Command {
	return Command{
		ID: commandID(c.ID), Action: c.Action.String(), App: c.App.Droplet.String(), Version: c.App.Version.String(),
		Index: c.Index, Instance: c.Instance.String(), Reason: c.Reason.String(), Priority: c.Priority,
		CreatedAt: wall.Time(c.CreatedAt), DueAt: wall.Time(c.DueAt), State: c.State.String(), SentAt: wall.Time(c.SentAt),
	}
}

// EndedCommandOf gives a command that has ended.
func EndedCommandOf(e raftfsm.EndedCommand, wall Wall) Command {
	c := CommandOf(e.Command, wall)
	c.EndedAt, c.Detail = wall.Time(e.At), e.Detail
	return c
}

func (n snapshot) command(c commands.Command) Command {
	out := CommandOf(c, n.wall)
	if out.Detail = n.refusal(c); out.Detail == "" && n.details != nil {
		out.Detail = n.details.of(c.ID)
	}
	return out
}

func (n snapshot) ended(e raftfsm.EndedCommand) Command { return EndedCommandOf(e, n.wall) }

func desiredOf(d *desired.App) *Desired {
	if d == nil {
		return nil
	}
	return &Desired{State: d.State.String(), PackageState: d.Package.String(), Instances: d.Instances}
}

func countInstances(list []actual.Located) (c InstanceCounts) {
	for i := range list {
		c.add(list[i].State)
	}
	return c
}

// add counts an instance in a state.
func (c *InstanceCounts) add(st actual.State) {
	switch st {
	case actual.Starting:
		c.Starting++
	case actual.Running:
		c.Running++
	case actual.Crashed:
		c.Crashed++
	case actual.Evacuating:
		c.Evacuating++
	case actual.Unknown:
		c.Unknown++
	case actual.Stopping:
		c.Stopping++
	}
}

// instance gives an instance without its app.
func (s *Server) instance(n snapshot, i *actual.Located) Instance {
	out := Instance{Index: i.Index, Instance: i.GUID.String(), State: i.State.String(), DEA: i.DEA, LastHeard: n.wall.Time(s.opts.Loop.LastHeard(i.DEA))}
	out.RecordedAt = n.wall.Time(i.Heard)
	if i.State == actual.Crashed {
		out.Crash = [...]string{"new", "counted", "answered"}[min(i.Mark, actual.CrashAnswered)]
	}
	if i.Since != 0 {
		out.Since = Timestamp{time.UnixMilli(i.Since).UTC()}
	}
	return out
}

func (s *Server) crashRecord(n snapshot, c actual.Crash) CrashRecord {
	p := s.opts.Policy
	ran := c.Ran
	if c.RunningSince != 0 {
		ran += n.hm.Sub(c.RunningSince)
	}
	r := CrashRecord{
		Index: c.Index, Count: c.Count, Effective: p.Crashes(c, n.hm), First: n.wall.Time(c.First), Last: n.wall.Time(c.Last),
		Instance: c.Instance.String(), Exited: c.Exited.String(), RunningMS: ran.Milliseconds(),
	}
	r.Answered, r.Tries, r.TriedAt = c.Answered, c.Tries, n.wall.Time(c.TriedAt)
	if !c.Exited.IsZero() {
		r.ExitedBy = c.ExitReason.String()
	}
	r.BackoffMS = p.Backoff(r.Effective).Milliseconds()
	if c.Last != 0 {
		r.Forgotten = n.wall.Time(c.Last.Add(p.CrashMemory()))
	}
	return r
}

func hold(wall Wall, h raftfsm.Hold) Hold {
	return Hold{Name: h.Name, Reason: h.Reason, By: h.By, SetAt: wall.Time(h.SetAt), Until: wall.Time(h.Until), StopLimit: h.StopLimit}
}

func holds(wall Wall, list []raftfsm.Hold) []Hold {
	out := make([]Hold, 0, len(list))
	for _, h := range list {
		out = append(out, hold(wall, h))
	}
	return out
}

func gateOf(over reconcile.Overview, wall Wall) Gate {
	reasons := over.GateReasons
	if reasons == nil {
		reasons = []string{}
	}
	return Gate{Open: over.GateOpen, Reasons: reasons, Since: wall.Time(over.GateSince)}
}

// driftItem gives the item of a finding that is drift.
func driftItem(n snapshot, f *diff.Finding, in *diff.Input, at app.Time) DriftItem {
	item := DriftItem{
		App: in.Key.Droplet.String(), Version: in.Key.Version.String(), Index: f.Index, Instance: f.Instance.String(),
		Kind: f.Kind.String(), Rule: f.Rule, Action: f.Action.String(), HeldBy: heldBy(f, in), Detail: withTold(detail(f, in, at, n.refusalOf(f)), n.toldOf(f)),
		Bucket: f.Bucket.String(), DEA: f.DEA, Command: commandID(f.Command),
	}
	if f.Action != commands.None {
		item.Due, item.Reason = n.wall.Time(f.Due), f.Reason.String()
	}
	return item
}

// heldBy gives the gate's reasons for a finding with an action; empty for any other.
func heldBy(f *diff.Finding, in *diff.Input) []string {
	if f.Action == commands.None || len(in.Held) == 0 {
		return []string{}
	}
	return in.Held
}
