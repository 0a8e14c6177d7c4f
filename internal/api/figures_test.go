package api_test

import (
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/raftfsm"
)

func open(t *testing.T, o api.Options) *api.Server {
	t.Helper()
	s, err := api.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestFigures checks M01 to M10 and M19 to M25 by hand.
func TestFigures(t *testing.T) {
	w := apitest.Fleet()
	o := w.Options()
	o.Ended = &api.CommandTotals{}
	o.Ended.Applied(raftfsm.Applied{Result: raftfsm.Result{Sent: []commands.Command{{Reason: commands.ReasonMissing}, {Reason: commands.ReasonExtra}, {Reason: commands.ReasonExtra}}}})
	got := open(t, o).Figures()
	if want := (api.FleetFigures{
		AppsAllReporting: 5, AppsMissing: 2, UndesiredRunning: 2, Running: 11, MissingIndices: 2, CrashedInstances: 1, CrashedIndices: 1,
		DesiredApps: 7, DesiredInstances: 11, PendingStaging: 1,
	}); got.Fleet != want {
		t.Errorf("M01 to M10: %+v, want %+v", got.Fleet, want)
	}
	// Lacking: Gappy 2, Crashy 1, Leaving 0 (its instance is EVACUATING), Staging 0, Moved's version 2 0. Crashy has
	// crashed four times.
	if want := (api.AppFigures{
		Desired: 8, DesiredInstances: 12, Started: 8, StartedInstances: 12, Running: 7, Flapping: 1, Missing: 4, Crashes: 1,
	}); got.Apps != want {
		t.Errorf("M19 to M25: %+v, want %+v", got.Apps, want)
	}
	if got.Sent[commands.ReasonMissing] != 1 || got.Sent[commands.ReasonExtra] != 2 || len(got.Sent) != 6 {
		t.Errorf("sent %v", got.Sent)
	}
	if !got.Fresh || got.Heard.Heartbeats != 120 || got.Heard.Exits != 3 {
		t.Errorf("%+v", got)
	}
}

// TestFiguresOfOddApps: stopped and failed apps, many instances, and crashes at indices that nobody wants or that run.
func TestFiguresOfOddApps(t *testing.T) {
	w := apitest.New()
	stopped, failed, wide, shrunk := apitest.Key(1, 1), apitest.Key(2, 1), apitest.Key(3, 1), apitest.Key(4, 1)
	w.Desire(apitest.Start,
		desired.App{Key: stopped, Instances: 3, State: desired.Stopped, Package: desired.Staged},
		desired.App{Key: failed, Instances: 2, State: desired.Started, Package: desired.Failed},
		desired.App{Key: wide, Instances: 100, State: desired.Started, Package: desired.Staged},
		desired.App{Key: shrunk, Instances: 1, State: desired.Started, Package: desired.Staged},
	)
	var list []actual.Instance
	for i := range uint32(100) {
		list = append(list, apitest.Instance(wide, int(i)+1, i, actual.Running))
	}
	list[7].State = actual.Crashed
	list = append(list, apitest.Instance(shrunk, 200, 0, actual.Running), apitest.Instance(shrunk, 201, 0, actual.Crashed),
		apitest.Instance(shrunk, 202, 1, actual.Crashed), apitest.Instance(stopped, 203, 0, actual.Crashed))
	w.Must(apitest.Start.Add(time.Second), raftfsm.DEAChanges{DEA: "0-dea", Upserts: list})
	got := open(t, w.Options()).Figures().Apps
	if want := (api.AppFigures{
		Desired: 4, DesiredInstances: 106, Started: 3, StartedInstances: 103, Running: 100, Flapping: 0, Missing: 1, Crashes: 3,
	}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestFiguresFreshness: M11 is about what this node knows now.
func TestFiguresFreshness(t *testing.T) {
	for name, change := range map[string]func(*apitest.Node){
		"the actual state is stale":  func(n *apitest.Node) { n.Over.ActualFresh = false },
		"the desired state is stale": func(n *apitest.Node) { n.Over.DesiredFresh = false },
		"the link is down":           func(n *apitest.Node) { n.Link.Up = false },
		"not recorded":               func(n *apitest.Node) { n.Behind = true },
		"joining":                    func(n *apitest.Node) { n.Joins, n.Lead.Leader, n.Lead.LeaderID = true, false, "hm-2" },
	} {
		t.Run(name, func(t *testing.T) {
			w := apitest.Fleet()
			change(w)
			if open(t, w.Options()).Figures().Fresh {
				t.Error("the figures are fresh")
			}
		})
	}
}
