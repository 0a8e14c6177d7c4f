package api

import (
	"cmp"
	"context"
	"slices"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/diff"
	"hm/internal/app"
)

// Figures are the numbers that health managers before hm gave to collectors (M01 to M31). They come from the record of
// this node, so every node has the same, apart from moments; only what is heard or has happened since the node started
// is each node's own.
type Figures struct {
	// Fresh says whether what runs and what should run is known well enough to act on. HM9000 gave -1 for all of Fleet
	// otherwise (M11).
	Fresh bool
	Fleet FleetFigures // HM9000's ten
	Apps  AppFigures   // the Ruby Health Manager's

	Pass  time.Duration // how long it took to look at the whole fleet
	Queue int           // apps that wait to be evaluated
	Heard FeedStats
	Asked QuestionFigures
	Sent  map[commands.Reason]uint64 // commands that any node has sent since this node started, by reason; all are there
}

// QuestionFigures are M29: questions of a Cloud Controller that this node received over NATS.
type QuestionFigures struct{ Status, Health, Droplet uint64 }

// FleetFigures are M01 to M10.
type FleetFigures struct {
	AppsAllReporting, AppsMissing, UndesiredRunning int
	Running, MissingIndices                         int
	CrashedInstances, CrashedIndices                int
	DesiredApps, DesiredInstances, PendingStaging   int
}

// AppFigures are the numbers in M19 to M25. The desired apps are all that the desired state lists, the started ones
// those of them in state STARTED. Of the indices that should run, each is running, missing or flapping.
type AppFigures struct {
	Desired, DesiredInstances int
	Started, StartedInstances int

	Running  int // indices with a STARTING or RUNNING instance of the desired version
	Flapping int // indices without one whose restart is delayed by the back-off
	Missing  int // the others
	Crashes  int // CRASHED instances of the apps that should run
}

// Figures gives the numbers of now. Those of the whole fleet come from the pass that /metrics and the dashboard use,
// which may be as old as they allow.
func (s *Server) Figures() Figures {
	n := s.wholeSnapshot(context.Background())
	p := s.fleet.recent(n)
	f := Figures{
		Fresh: s.distrustOf(n) == trusted && n.over.DesiredFresh,
		Fleet: p.fleetFigures(), Apps: p.gauges.ruby.figures(),
		Pass: p.took, Queue: n.over.Queue, Heard: s.opts.Feed(),
		Asked: QuestionFigures{
			Status: s.questions.of(subjectStatus).received.Load(), Health: s.questions.of(subjectHealth).received.Load(),
			Droplet: s.questions.of(subjectDroplet).received.Load(),
		},
		Sent: make(map[commands.Reason]uint64, len(sentReasons)),
	}
	for _, r := range sentReasons {
		f.Sent[r.reason] = s.opts.Ended.sentOf(r.reason)
	}
	return f
}

func (p *pass) fleetFigures() FleetFigures {
	g, count := p.gauges, p.view.Counts()
	return FleetFigures{
		AppsAllReporting: g.appsAllReporting, AppsMissing: g.appsMissing, UndesiredRunning: g.undesiredRunning,
		Running: count.Starting + count.Running, MissingIndices: g.missingIndices,
		CrashedInstances: count.Crashed, CrashedIndices: g.crashedIndices,
		DesiredApps: g.desiredApps, DesiredInstances: g.desiredInstances, PendingStaging: g.pendingStaging,
	}
}

// rubyGauges are the numbers of the Ruby Health Manager's varz (M19 to M25).
type rubyGauges struct {
	desired, desiredInstances, started, startedInstances int
	wantedInstances                                      int // of the apps that should run
	lacking                                              int // indices of these without a live instance
	flapping                                             int // of these indices, those whose restart the back-off delays
	crashes                                              int // CRASHED instances of these apps
}

// desire counts an app of the desired state.
func (g *rubyGauges) desire(d desired.App) {
	g.desired++
	g.desiredInstances += int(d.Instances)
	if d.State == desired.Started {
		g.started++
		g.startedInstances += int(d.Instances)
	}
	if d.Wanted() {
		g.wantedInstances += int(d.Instances)
	}
}

// add counts an app that may not be as desired.
func (g *rubyGauges) add(in *diff.Input, policy diff.Policy, at app.Time) {
	if in.Desired == nil || !in.Desired.Wanted() {
		return
	}
	served := 0
	for i := 0; i < len(in.Instances); {
		index, live := in.Instances[i].Index, false
		for ; i < len(in.Instances) && in.Instances[i].Index == index; i++ {
			live = live || in.Instances[i].State.Live()
			if in.Instances[i].State == actual.Crashed {
				g.crashes++
			}
		}
		if live && index < in.Desired.Instances {
			served++
		}
	}
	g.lacking += int(in.Desired.Instances) - served
	for _, c := range in.Crashes {
		if c.Index < in.Desired.Instances && policy.Flapping(c, at) && !liveAt(in.Instances, c.Index) {
			g.flapping++
		}
	}
}

// liveAt reports whether one of the instances, which are sorted by index, is live at an index.
func liveAt(instances []actual.Located, index uint32) bool {
	i, _ := slices.BinarySearchFunc(instances, index, func(l actual.Located, index uint32) int { return cmp.Compare(l.Index, index) })
	for ; i < len(instances) && instances[i].Index == index; i++ {
		if instances[i].State.Live() {
			return true
		}
	}
	return false
}

func (g rubyGauges) figures() AppFigures {
	return AppFigures{
		Desired: g.desired, DesiredInstances: g.desiredInstances, Started: g.started, StartedInstances: g.startedInstances,
		Running: g.wantedInstances - g.lacking, Flapping: g.flapping, Missing: g.lacking - g.flapping, Crashes: g.crashes,
	}
}
