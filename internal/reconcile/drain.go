package reconcile

import (
	"slices"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/diff"
	"hm/internal/app"
	"hm/raftfsm"
)

// Drain is what became of the commands that were to be sent when the leader's gate opened.
type Drain struct {
	Opened  app.Time // when the gate opened
	Waiting int      // not settled yet
	Healed  int      // the drift was gone before the command was sent
	Starts  int      // starts that were sent; in shadow mode: decided
	Stops   int
	Dropped int // the desired state changed before the command was sent
	Later   int // they wait for something that may last, such as a back-off
}

// drain follows what waits when the gate opens, until all of it is settled. A leader begins anew with what it finds:
// what an earlier leader followed is in the record and waits again.
//
// A closing that is shorter than a heartbeat period interrupts nothing, so that a gate that opens and closes often does
// not fill the history.
type drain struct {
	Drain
	closed  app.Time // since when the gate is closed; 0: it is open
	reasons []string // for which it was closed, in the order in which they came
	begun   bool     // something is followed
	first   bool     // the first evaluation of the fleet since the gate opened is under way
	targets map[app.Key][]waitingTarget

	// What there was when the gate opened.
	apps      int // that waited
	kinds     [diff.NumKinds]int
	closedFor time.Duration
}

// waitingTarget is the target of a command that is not sent yet.
type waitingTarget struct {
	action   commands.Action
	index    uint32
	instance app.GUID // of a stop
}

// begin begins a leadership at now.
func (d *drain) begin(now app.Time) { *d = drain{closed: now} }

// gate takes in whether the leader decides at now, and whether it did before.
func (d *drain) gate(now app.Time, was, is bool, period time.Duration) {
	switch {
	case was && !is:
		d.closed = now
		if d.first { // nothing of it is told yet
			d.begun, d.first, d.Opened = false, false, 0
		}
	case !was && is:
		if short := d.Opened != 0 && now.Sub(d.closed) < period; short {
			d.closed, d.reasons = 0, nil
			return
		}
		*d = drain{
			Drain: Drain{Opened: now}, begun: true, first: true, targets: map[app.Key][]waitingTarget{},
			closedFor: now.Sub(d.closed), reasons: d.reasons,
		}
	}
}

// lasting are the explanations of findings that may wait for long.
var lasting = [diff.WhyGate + 1]bool{
	diff.WhyBackoff: true, diff.WhyNoEffect: true, diff.WhyStaging: true, diff.WhyCanary: true,
	diff.WhyUnknownState: true, diff.WhyUnplaced: true,
}

// evaluated takes in the findings of an app, none if it is as desired.
func (d *drain) evaluated(view *raftfsm.State, k app.Key, findings []diff.Finding) {
	if !d.begun {
		return
	}
	if d.first {
		d.follow(k, findings)
		return
	}
	followed, ok := d.targets[k]
	if !ok {
		return
	}
	d.keep(k, slices.DeleteFunc(followed, func(t waitingTarget) bool {
		i := slices.IndexFunc(findings, t.isOf)
		switch {
		case i >= 0 && !lasting[findings[i].Why]:
			return false
		case i >= 0:
			d.Later++
		case healed(view, k, t):
			d.Healed++
		default:
			d.Dropped++
		}
		return true
	}))
}

// follow begins to follow an app.
func (d *drain) follow(k app.Key, findings []diff.Finding) {
	var waiting []waitingTarget
	found := false
	for i := range findings {
		f := &findings[i]
		if f.Kind == diff.KindNone || f.Action == commands.None || f.Why == diff.WhySent {
			continue
		}
		found = true
		d.kinds[f.Kind]++
		if lasting[f.Why] {
			d.Later++
			continue
		}
		waiting = append(waiting, targetOf(f))
	}
	if found {
		d.apps++
		d.keep(k, waiting)
	}
}

// settled takes in that all apps but those of unsettled, which is sorted, are as desired.
func (d *drain) settled(view *raftfsm.State, unsettled []app.Key) {
	if !d.begun || d.first {
		return
	}
	for k := range d.targets {
		if _, found := slices.BinarySearchFunc(unsettled, k, app.Key.Compare); !found {
			d.evaluated(view, k, nil)
		}
	}
}

// keep sets what is followed of an app.
func (d *drain) keep(k app.Key, waiting []waitingTarget) {
	d.Waiting += len(waiting) - len(d.targets[k])
	if len(waiting) == 0 {
		delete(d.targets, k)
		return
	}
	d.targets[k] = waiting
}

// sent takes in that a command was sent, or decided in shadow mode.
func (d *drain) sent(c commands.Command) {
	followed := d.targets[c.App]
	t := waitingTarget{action: c.Action, index: c.Index, instance: c.Instance}
	i := slices.Index(followed, t)
	if i < 0 {
		return
	}
	if c.Action == commands.Start {
		d.Starts++
	} else {
		d.Stops++
	}
	d.Waiting--
	if followed = slices.Delete(followed, i, i+1); len(followed) == 0 {
		delete(d.targets, c.App)
		return
	}
	d.targets[c.App] = followed
}

// isOf reports whether a finding is about the target.
func (t waitingTarget) isOf(f diff.Finding) bool {
	if t.action == commands.Start { // its command may not even be planned any more
		return f.Index == t.index && f.Instance.IsZero() && f.Kind != diff.KindNone
	}
	return f.Action == commands.Stop && f.Instance == t.instance
}

func targetOf(f *diff.Finding) waitingTarget {
	t := waitingTarget{action: f.Action, index: f.Index}
	if f.Action == commands.Stop {
		t.instance = f.Instance
	}
	return t
}

// healed reports whether a target that is no longer found has what its command would have brought about; else its app
// is desired in another way now.
func healed(view *raftfsm.State, k app.Key, t waitingTarget) bool {
	if t.action == commands.Start {
		a, known := view.App(k)
		return known && a.HasDesired && a.Desired.Wanted() && t.index < a.Desired.Instances
	}
	return !slices.ContainsFunc(view.Instances(nil, k), func(l actual.Located) bool {
		return l.GUID == t.instance && l.State != actual.Crashed
	})
}
