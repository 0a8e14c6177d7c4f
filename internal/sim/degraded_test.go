package sim

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hm/desired"
	"hm/internal/sim/cc"
)

// The tests of this file are named after what Cloud Foundry promises for an outage of NATS: each component by itself,
// without hm. internal/server has the tests of the whole system.

// degradedSim is a simulation with a router and users whose NATS is about to go away.
func degradedSim(t *testing.T, o Options) (*NATS, *Sim) {
	t.Helper()
	noLeaks(t)
	n := startNATS(t)
	o.Seed, o.HeartbeatPeriod, o.RouterListen = 70, 20*time.Millisecond, "127.0.0.1:0"
	o.RouterStaleThreshold = 2 * time.Second // so long that a loaded machine does not make routes stale
	if o.Apps == 0 {
		o.Apps, o.DEAs = 10, 4
	}
	s := startSim(t, n, o)
	awaitRoutes(t, s)
	poll(t, "the router knows every app for sure", func() bool {
		for _, a := range s.Apps(0, 1000) {
			if !s.Fleet.ServedSince(a.GUID, time.Now()) {
				return false
			}
		}
		return true
	})
	return n, s
}

func away(t *testing.T, s *Sim) {
	t.Helper()
	await(t, s, "everybody lost NATS", func(st State) bool { return st.Connected == 0 })
}

func back(t *testing.T, n *NATS, s *Sim) {
	t.Helper()
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, s, "everybody is back", func(st State) bool { return st.Connected == st.Connections })
}

// periods waits for so many heartbeat periods.
func periods(s *Sim, n int) { time.Sleep(time.Duration(n) * s.opts.HeartbeatPeriod) }

// TestAllComponentsReconnectInsteadOfGivingUp: also after an outage of many tries, and after several.
func TestAllComponentsReconnectInsteadOfGivingUp(t *testing.T) {
	n, s := degradedSim(t, Options{})
	for range 3 {
		n.Stop()
		away(t, s)
		periods(s, 20)
		back(t, n, s)
		listen(t, n, subjectHeartbeat).heartbeats(4)
		awaitRoutes(t, s)
	}
}

// TestPushFailsToStageWhileNATSIsAway: staging needs a stager, who is reached over NATS. It fails if NATS is away when it
// begins or ends.
func TestPushFailsToStageWhileNATSIsAway(t *testing.T) {
	n, s := degradedSim(t, Options{StagingDelay: 400 * time.Millisecond})
	apps := s.Apps(0, 10)
	restage := func(a AppView) {
		t.Helper()
		if _, err := s.CC.RestageApp(a.GUID, false); err != nil {
			t.Fatal(err)
		}
	}
	staged := func(a AppView, want desired.PackageState) {
		t.Helper()
		poll(t, "the end of staging: "+want.String(), func() bool {
			now, err := s.App(a.GUID)
			return err == nil && now.PackageState == want.String()
		})
	}
	restage(apps[0]) // ends in the outage
	n.Stop()
	away(t, s)
	restage(apps[1]) // begins in the outage, and ends after it
	back(t, n, s)
	restage(apps[2])
	staged(apps[1], desired.Failed)
	staged(apps[2], desired.Staged)

	restage(apps[3])
	n.Stop()
	away(t, s)
	staged(apps[3], desired.Failed)
	back(t, n, s)
}

// TestScaleTakesEffectInTheDBButIsNotCommunicatedToDEAs: neither during the outage nor late, after it.
func TestScaleTakesEffectInTheDBButIsNotCommunicatedToDEAs(t *testing.T) {
	n, s := degradedSim(t, Options{})
	var up, down AppView
	for _, a := range s.Apps(0, 100) {
		switch a.Instances {
		case 1:
			up = a
		case 3:
			down = a
		}
	}
	n.Stop()
	away(t, s)
	for a, instances := range map[*AppView]int{&up: 4, &down: 1} {
		row, err := s.CC.ScaleApp(a.GUID, instances)
		if err != nil || row.Instances != instances {
			t.Fatalf("%+v, %v", row, err)
		}
	}
	back(t, n, s)
	starts, stops := listen(t, n, "dea.*.start"), listen(t, n, "dea.stop")
	periods(s, 20)
	for a, instances := range map[*AppView]int{&up: 4, &down: 1} {
		now, err := s.App(a.GUID)
		if err != nil || now.Instances != instances || len(now.Running) != a.Instances {
			t.Errorf("%+v, %v: want %d in the database and %d that run", now, err, instances, a.Instances)
		}
	}
	if len(starts.messages())+len(stops.messages()) > 0 {
		t.Errorf("late messages: %d starts, %d stops", len(starts.messages()), len(stops.messages()))
	}
}

// TestDeleteRemovesFromTheDBAndHMCollectsTheApp: the app runs on until a health manager asks to stop it, which the Cloud
// Controller then accepts, as it does not know the app.
func TestDeleteRemovesFromTheDBAndHMCollectsTheApp(t *testing.T) {
	n, s := degradedSim(t, Options{})
	a := s.Apps(0, 1)[0]
	n.Stop()
	away(t, s)
	if err := s.CC.DeleteApp(a.GUID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.App(a.GUID); !errors.Is(err, ErrNotFound) {
		t.Errorf("a deleted app: %v", err)
	}
	back(t, n, s)
	periods(s, 20)
	if got := s.Fleet.Instances(a.GUID); len(got) != a.Instances {
		t.Fatalf("%d instances run, want %d", len(got), a.Instances)
	}
	for _, in := range a.Running {
		send(t, n, subjectHMStop, stopBody{"collect", in.App, in.Version, in.GUID, int(in.Index), false})
	}
	await(t, s, "the app is collected", converged)
	for _, c := range s.CC.Commands(0, 100) {
		if !c.Accepted || c.Check != cc.CheckUnknownApp {
			t.Errorf("%+v", c)
		}
	}
	awaitRoutes(t, s)
}

// TestStartAndStopTakeEffectInTheDBButAreNotCommunicatedToDEAs is the same for an app's state.
func TestStartAndStopTakeEffectInTheDBButAreNotCommunicatedToDEAs(t *testing.T) {
	n, s := degradedSim(t, Options{})
	apps := s.Apps(0, 2)
	if _, err := s.CC.StopApp(apps[0].GUID); err != nil {
		t.Fatal(err)
	}
	await(t, s, "the app is stopped", converged)
	n.Stop()
	away(t, s)
	if _, err := s.CC.StartApp(apps[0].GUID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CC.StopApp(apps[1].GUID); err != nil {
		t.Fatal(err)
	}
	back(t, n, s)
	periods(s, 20)
	if started, err := s.App(apps[0].GUID); err != nil || started.State != "STARTED" || len(started.Running) != 0 {
		t.Errorf("%+v, %v", started, err)
	}
	if stopped, err := s.App(apps[1].GUID); err != nil || stopped.State != "STOPPED" || len(stopped.Running) != apps[1].Instances {
		t.Errorf("%+v, %v", stopped, err)
	}
}

// TestStatsDoNotWorkWhileNATSIsAway: reads that ask the DEAs fail; they work before and after.
func TestStatsDoNotWorkWhileNATSIsAway(t *testing.T) {
	n, s := degradedSim(t, Options{})
	a := s.Apps(0, 1)[0]
	works := func() bool {
		found, err := s.CC.Stats(t.Context(), a.GUID)
		return err == nil && len(found) == a.Instances && found[0].Droplet == a.GUID && found[0].State == "RUNNING"
	}
	poll(t, "stats", works)
	n.Stop()
	away(t, s)
	if found, err := s.CC.Stats(t.Context(), a.GUID); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%+v, %v", found, err)
	}
	if code := call(t, s, "GET", "/apps/"+a.GUID.String()+"/stats", "", nil); code != 503 {
		t.Errorf("status %d", code)
	}
	back(t, n, s)
	poll(t, "stats again", works)
}

// TestRouterKeepsTheRoutesItKnowsWhileNATSIsAway: for longer than its threshold, and every request to a running app is
// answered. Once NATS is back, each route has a whole threshold to be registered again, and then stale ones go.
func TestRouterKeepsTheRoutesItKnowsWhileNATSIsAway(t *testing.T) {
	n, s := degradedSim(t, Options{Requests: 200})
	all, ready := s.Router.Status().Endpoints, time.Now()
	n.Stop()
	away(t, s)
	if err := s.Fleet.Kill(s.Fleet.DEAs(0, 1)[0].ID); err != nil { // its routes cannot be taken back
		t.Fatal(err)
	}
	answered := s.State().Requests.Answered
	poll(t, "every route is stale", func() bool { return s.Router.Status().Stale == all })
	periods(s, 20)
	st := s.Router.Status()
	if st.Endpoints != all || st.Stale != all || st.Pruned != 0 || st.NATS || st.Outages != 1 {
		t.Errorf("during the outage: %+v, %d endpoints before", st, all)
	}
	back(t, n, s)
	awaitRoutes(t, s)
	if st := s.Router.Status(); st.Pruned == 0 || st.Stale != 0 {
		t.Errorf("after the outage: %+v", st)
	}
	noneFailed(t, s, ready)
	if n := s.State().Requests.Answered; n <= answered {
		t.Errorf("%d requests answered, %d before the outage", n, answered)
	}
}

// TestARouterThatPrunesWithoutNATSFailsRequests: without the rule, the outage reaches the users. It shows that the tests
// of the rule can fail.
func TestARouterThatPrunesWithoutNATSFailsRequests(t *testing.T) {
	n, s := degradedSim(t, Options{Requests: 200, RouterPrunesWithoutNATS: true})
	n.Stop()
	away(t, s)
	poll(t, "requests to running apps fail", func() bool { return s.State().Requests.Failed > 10 })
	if st := s.Router.Status(); st.Endpoints != 0 {
		t.Errorf("%+v", st)
	}
	back(t, n, s)
	awaitRoutes(t, s)
}

// TestNoInstanceIsStoppedAndNoDEAExitsWhileNATSIsAway: not even a DEA that was asked to leave, although its time for that
// is over.
func TestNoInstanceIsStoppedAndNoDEAExitsWhileNATSIsAway(t *testing.T) {
	n, s := degradedSim(t, Options{Requests: 100, Passive: true})
	n.Stop()
	away(t, s)
	if err := s.Fleet.Evacuate(s.Fleet.DEAs(0, 1)[0].ID); err != nil {
		t.Fatal(err)
	}
	before, ready := s.State(), time.Now()
	periods(s, 60) // it would leave after 11.5
	if st := s.State(); st.DEAsGone != 0 || st.DEAsEvacuating != 1 || st.Running != before.Running ||
		st.Evacuating != before.Evacuating || st.Evacuating == 0 {
		t.Errorf("during the outage: %+v, before: %+v", st, before)
	}
	noneFailed(t, s, ready)
	back(t, n, s)
	// Now its time begins, in which a health manager can start its instances elsewhere.
	await(t, s, "the DEA leaves", func(st State) bool { return st.DEAsGone == 1 })
}

// TestOneComponentIsCutOff: the faults that cut a single component off do what an outage does, for that one alone.
func TestOneComponentIsCutOff(t *testing.T) {
	n, s := degradedSim(t, Options{Requests: 100})
	a := s.Apps(0, 1)[0]
	set := func(f Faults, away int) {
		t.Helper()
		if err := s.SetFaults(f); err != nil {
			t.Fatal(err)
		}
		await(t, s, "who is away", func(st State) bool { return st.Connected == st.Connections-away })
	}
	set(Faults{CCAway: true}, 1)
	if _, err := s.CC.Stats(t.Context(), a.GUID); !errors.Is(err, ErrUnavailable) {
		t.Errorf("the Cloud Controller is cut off: %v", err)
	}
	set(Faults{RouterAway: true}, 1)
	listen(t, n, subjectHeartbeat).heartbeats(4)
	poll(t, "routes are stale", func() bool { return s.Router.Status().Stale > 0 })
	periods(s, 20)
	if st := s.Router.Status(); st.Pruned != 0 || st.Stale == 0 {
		t.Errorf("the router is cut off: %+v", st)
	}
	set(Faults{}, 0)
	awaitRoutes(t, s)

	// If all DEAs are away and the router is not, it cannot know, and forgets their routes. This is the price.
	exits := listen(t, n, subjectExited)
	set(Faults{DEAsAway: true}, s.opts.Connections)
	poll(t, "the routes are pruned", func() bool { return s.Router.Status().Endpoints == 0 })
	if st := s.State(); st.Running == 0 || st.DEAsGone != 0 || len(exits.messages()) != 0 {
		t.Errorf("the DEAs are cut off: %+v", st)
	}
	set(Faults{}, 0)
	awaitRoutes(t, s)
}

// TestRouterGreets: the DEAs register at the interval that the router asks for, and all at once when it starts.
func TestRouterGreets(t *testing.T) {
	noLeaks(t)
	n := startNATS(t)
	s := startSim(t, n, Options{Apps: 10, DEAs: 4, Seed: 71, HeartbeatPeriod: 50 * time.Millisecond, RouterListen: "127.0.0.1:0"})
	awaitRoutes(t, s)
	nc, err := nats.Connect(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	answer, err := nc.Request("router.greet", nil, patience)
	if err != nil {
		t.Fatal(err)
	}
	const want = `"minimumRegisterIntervalInSeconds":0.1,"pruneThresholdInSeconds":0.6}`
	if got := string(answer.Data); len(got) < len(want) || got[len(got)-len(want):] != want {
		t.Errorf("the router's greeting: %s", got)
	}
	// Another router asks for an hour: from then on the routes come once, and no more.
	registered := listen(t, n, "router.register")
	if err := nc.Publish("router.start", []byte(`{"id":"x","minimumRegisterIntervalInSeconds":3600}`)); err != nil {
		t.Fatal(err)
	}
	all := len(s.Fleet.Endpoints())
	registered.until("all routes at once", func(m []*nats.Msg) bool { return len(m) >= all })
	periods(s, 4)
	registered.reset()
	periods(s, 10)
	if got := len(registered.messages()); got != 0 {
		t.Errorf("%d routes after a router asked for an interval of an hour", got)
	}
}
