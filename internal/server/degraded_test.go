package server

import (
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"hm/internal/app"
	"hm/internal/bus/bustest"
	"hm/internal/sim"
	"hm/internal/sim/fleet"
)

// The tests of this file hold the whole system to its promise for an outage of NATS: what runs and is reachable stays so,
// nothing wrong is done, and what users changed meanwhile is carried out afterwards. They judge by the messages on NATS,
// by what the DEAs run and by the answers that users get, and by no word of hm.
//
// HM_TEST_OUTAGE_INSTANCES=2000 makes them larger, and HM_TEST_OUTAGE_HEARTBEAT=250ms sets their time scale.

// outageHeartbeats is 10 minutes of heartbeats of 10 s. It is longer than every threshold that the tests configure: of
// hm (time to live, desired.ttl, stop_yield, starting_ttl, the back-off) and of the router.
const outageHeartbeats = 60

// longOutage is longer than the time to live, the grace, desired.ttl, stop_yield (18) and the router's time. It is shorter
// than starting_ttl (30) and the back-off (48), which only outageHeartbeats exceeds.
const longOutage = 20

// degraded is a running system under test.
type degraded struct {
	*testCluster
	watch   *busWatch
	period  time.Duration
	allowed map[string]bool   // commands that a change justifies
	due     map[string]bool   // of these, those that must come
	excused map[app.GUID]bool // apps that may be unreachable: nothing of them runs, or they are deleted
	clients int               // connections to NATS when all is well
	backAt  time.Time         // when NATS came back last
	readyAt time.Time         // when the system was up; what users saw before does not count
	changed map[string]app.GUID
}

func startDegraded(t *testing.T, sets ...string) *degraded {
	t.Helper()
	return startDegradedAt(t, 250*time.Millisecond, sets...)
}

// startDegradedAt is startDegraded with a heartbeat period.
func startDegradedAt(t *testing.T, period time.Duration, sets ...string) *degraded {
	t.Helper()
	instances := 60
	if text := os.Getenv("HM_TEST_OUTAGE_INSTANCES"); text != "" {
		var err error
		if instances, err = strconv.Atoi(text); err != nil {
			t.Fatalf("HM_TEST_OUTAGE_INSTANCES: %v", err)
		}
	}
	if text := os.Getenv("HM_TEST_OUTAGE_HEARTBEAT"); text != "" {
		var err error
		if period, err = time.ParseDuration(text); err != nil {
			t.Fatalf("HM_TEST_OUTAGE_HEARTBEAT: %v", err)
		}
	}
	nats := bustest.Run(t, nil)
	d := &degraded{period: period, allowed: map[string]bool{}, due: map[string]bool{}, excused: map[app.GUID]bool{},
		changed: map[string]app.GUID{}}
	d.testCluster = startCluster(t, nats, clusterSetup{
		period: period,
		sets:   append(sets, "policy.backoff_max=48"), // shorter than the outage
		sim: func(o *sim.Options) {
			o.Apps, o.DEAs, o.Passive = instances/2, max(6, instances/50), false
			o.RouterListen, o.Requests = "127.0.0.1:0", min(1000, instances)
			// A DEA that evacuates leaves when hm has replaced and stopped all its instances. By the default it leaves 11.5
			// heartbeats after NATS is back at the latest, and then ends them itself: on a slow machine that is before hm stops
			// them.
			o.EvacuationBailOut = time.Hour
		},
	})
	d.watch = watchBus(t, nats.URL())
	d.awaitConverged()
	bustest.Until(t, "the router knows exactly what serves", func() bool { return routesAgree(d.sim) })
	bustest.Until(t, "a failed request to any app would count", func() bool {
		return !slices.ContainsFunc(d.sim.Apps(0, 1<<30), func(a sim.AppView) bool {
			return !d.sim.Fleet.ServedSince(a.GUID, time.Now())
		})
	})
	d.clients, d.readyAt = nats.NumClients(), time.Now()
	return d
}

// heartbeats lets so many heartbeat periods pass.
func (d *degraded) heartbeats(n int) { time.Sleep(time.Duration(n) * d.period) }

// app draws an app that no change has touched and that fits.
func (d *degraded) app(fits func(sim.AppView) bool) sim.AppView {
	d.t.Helper()
	for _, a := range d.sim.Apps(0, 1<<30) {
		touched := false
		for _, g := range d.changed {
			touched = touched || g == a.GUID
		}
		if !touched && fits(a) {
			return a
		}
	}
	d.t.Fatal("no app fits")
	return sim.AppView{}
}

func withInstances(n int) func(sim.AppView) bool {
	return func(a sim.AppView) bool { return a.Instances == n }
}

// usersChange does what users do during the outage, and notes the commands that it justifies: one app is scaled up, one
// down, one deleted, one stopped, one loses its only instance and another one of three.
func (d *degraded) usersChange() {
	d.t.Helper()
	mustChange := func(err error) {
		d.t.Helper()
		if err != nil {
			d.t.Fatal(err)
		}
	}
	up := d.app(withInstances(2))
	d.changed["up"] = up.GUID
	_, err := d.sim.CC.ScaleApp(up.GUID, 4)
	mustChange(err)
	d.mustStart(up, 2)
	d.mustStart(up, 3)

	down := d.app(withInstances(3))
	d.changed["down"] = down.GUID
	_, err = d.sim.CC.ScaleApp(down.GUID, 1)
	mustChange(err)
	d.mustStop(down, 1)

	gone := d.app(withInstances(2))
	d.changed["gone"], d.excused[gone.GUID] = gone.GUID, true
	mustChange(d.sim.CC.DeleteApp(gone.GUID))
	d.mustStop(gone, 0)

	stopped := d.app(withInstances(1))
	d.changed["stopped"], d.excused[stopped.GUID] = stopped.GUID, true
	_, err = d.sim.CC.StopApp(stopped.GUID)
	mustChange(err)
	d.mustStop(stopped, 0)

	single := d.app(withInstances(1))
	d.changed["single"], d.excused[single.GUID] = single.GUID, true
	mustChange(d.sim.Fleet.CrashInstance(single.GUID, 0))
	d.mustStart(single, 0)

	several := d.app(withInstances(3))
	d.changed["several"] = several.GUID
	mustChange(d.sim.Fleet.CrashInstance(several.GUID, 1))
	d.mustStart(several, 1)
}

func (d *degraded) mustStart(a sim.AppView, index int) {
	key := startOf(a.GUID, a.Version, index)
	d.allowed[key], d.due[key] = true, true
}

// mustStop expects stops of the app's instances from an index on.
func (d *degraded) mustStop(a sim.AppView, from int) {
	for _, in := range a.Running {
		if int(in.Index) >= from {
			d.allowed[stopOf(in.GUID)], d.due[stopOf(in.GUID)] = true, true
		}
	}
}

// sameInstances checks that no DEA stopped or started anything since: only the crashes differ.
func (d *degraded) sameInstances(before map[app.GUID]sim.InstanceView, crashes int) {
	d.t.Helper()
	now := truth(d.sim)
	crashed := 0
	for guid, was := range before {
		is, there := now[guid]
		switch {
		case !there && d.excused[was.App]: // Apps does not list a deleted app
			if got := d.sim.Fleet.Instances(was.App); len(got) == 0 {
				d.t.Errorf("instance %s of a deleted app was stopped while NATS was away", guid)
			}
		case !there:
			d.t.Errorf("instance %s of app %s was stopped while NATS was away", guid, was.App)
		case is.State != was.State:
			crashed++
		}
	}
	if crashed != crashes {
		d.t.Errorf("%d instances have another state than before the outage, want %d", crashed, crashes)
	}
	for guid, is := range now {
		if _, was := before[guid]; !was {
			d.t.Errorf("instance %s of app %s was started while NATS was away", guid, is.App)
		}
	}
}

// natsBack starts NATS again, and returns the heartbeats of the fleet until everybody is connected.
func (d *degraded) natsBack() (beats int) {
	d.t.Helper()
	d.backAt = time.Now()
	d.nats.Start(d.t, nil)
	d.everybodyBack()
	d.watch.calm()
	return d.watch.beatsNow()
}

func (d *degraded) everybodyBack() {
	d.t.Helper()
	bustest.Until(d.t, "everybody is connected to NATS again", func() bool { return d.nats.NumClients() >= d.clients })
}

// agrees waits until the world agrees with the Cloud Controller's database and the router's table with the world.
func (d *degraded) agrees() {
	d.t.Helper()
	bustest.Until(d.t, "what runs agrees with the Cloud Controller's database", func() bool { return d.sim.State().Converged })
	bustest.Until(d.t, "the routes agree with what runs", func() bool { return routesAgree(d.sim) })
}

// judge checks the whole run: every command was justified, none was needless or harmful, all that were due came, and no
// request to a healthy app failed. It returns the commands.
func (d *degraded) judge() []busCommand {
	d.t.Helper()
	commands := d.watch.all()
	came := map[string]bool{}
	for _, c := range commands {
		came[c.key] = true
		if !d.allowed[c.key] {
			d.t.Errorf("wrong command: %s", c.text)
		}
	}
	for _, c := range d.sim.CC.Commands(0, 1<<30) {
		key := stopOf(c.Instance)
		if c.Action == "start" {
			key = startOf(c.App, c.Version, c.Index)
		}
		if !d.allowed[key] {
			d.t.Errorf("the Cloud Controller got a wrong command: %+v", c)
		}
	}
	for key := range d.due {
		if !came[key] {
			d.t.Errorf("there was no command: %s", key)
		}
	}
	st := d.sim.State()
	if st.Commands.Harmful != 0 || st.Commands.Needless != 0 && d.inTime() {
		d.t.Errorf("%d starts at an index that was live, %d stops of the only instance", st.Commands.Needless, st.Commands.Harmful)
	}
	if st.Requests.Astray != 0 || st.Requests.Answered == 0 {
		d.t.Errorf("requests: %+v", st.Requests)
	}
	for _, f := range d.sim.Failures() {
		if f.At.After(d.readyAt) && !(f.Excused && d.excused[f.App]) {
			d.t.Errorf("a request failed: %+v", f)
		}
	}
	return commands
}

// perDEA turns a number of heartbeats of the fleet into heartbeats of one DEA.
func (d *degraded) perDEA(beats int) float64 { return float64(beats) / float64(d.sim.State().DEAs) }

// inTime reports whether the machine was fast enough for what depends on time to be judged. A message that takes longer
// than a heartbeat closes the gate (R43), and a start whose effect is not heard within the grace is sent again (R52).
func (d *degraded) inTime() bool {
	if delay := d.watch.delayNow(); delay > d.period {
		d.t.Logf("not judged: the machine delays messages by %s, more than a heartbeat of %s", delay, d.period)
		return false
	}
	return true
}

// withinBound checks that everything that was due was sent within freshness + grace + 1 heartbeats, counted by the
// DEAs' own heartbeats since everybody was connected: the gate opens after freshness, the grace of a missing index may
// begin then, and a heartbeat may pass until the DEAs are heard. A stop needs no grace: the last read of the desired
// state is younger than the instance (R18). What the machine delays everybody is added: a command passes the log of
// three nodes, so it is counted four times.
func (d *degraded) withinBound(commands []busCommand, since int) {
	d.t.Helper()
	p := d.nodes[0].cfg.Policy
	for _, c := range commands {
		if after := c.at.Sub(d.backAt); after > 0 && after < time.Duration(p.Freshness)*d.period {
			d.t.Errorf("%s came %s after NATS was back, before the picture was fresh", c.key, after)
		}
	}
	if !d.inTime() {
		return
	}
	late := float64(4*d.watch.delayNow()) / float64(d.period)
	bound := float64(p.Freshness+p.Grace+1) + late
	seen := map[string]bool{}
	for _, c := range commands {
		if !d.due[c.key] || seen[c.key] {
			continue
		}
		seen[c.key] = true
		d.t.Logf("%.1f heartbeats after NATS was back: %s", d.perDEA(c.beats-since), c.key)
		if after := d.perDEA(c.beats - since); after > bound {
			d.t.Errorf("%s came %.1f heartbeats after NATS was back, the policy's bound is %.1f with a delay of %.1f",
				c.key, after, bound, late)
		}
	}
}

// report prints the figures of a run.
func (d *degraded) report(what string, commands []busCommand, since int, outage time.Duration) {
	r, router := d.sim.State().Requests, d.sim.Router.Status()
	first, last := 0.0, 0.0
	if len(commands) > 0 {
		first, last = d.perDEA(commands[0].beats-since), d.perDEA(commands[len(commands)-1].beats-since)
	}
	d.t.Logf("%s: %d instances, outage %s (%.0f heartbeats), %d requests, %d failed, %d to apps without an instance, "+
		"%d retries; %d commands, %d wrong, the first %.1f and the last %.1f heartbeats after NATS was back; %d routes pruned",
		what, d.sim.State().Desired, outage.Round(time.Millisecond), float64(outage)/float64(d.period), r.Sent, r.Failed, r.Excused,
		router.Retries, len(commands), wrong(commands, d.allowed), first, last, router.Pruned)
}

func wrong(commands []busCommand, allowed map[string]bool) int {
	return len(slices.DeleteFunc(slices.Clone(commands), func(c busCommand) bool { return allowed[c.key] }))
}

// TestNATSAwayForTenMinutes: NATS is away for longer than every threshold, while users change apps and instances crash.
func TestNATSAwayForTenMinutes(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	d := startDegraded(t)
	before, routes := truth(d.sim), d.sim.Router.Status()
	began := time.Now()
	d.nats.Stop()
	d.heartbeats(outageHeartbeats / 3)
	d.usersChange()
	d.heartbeats(outageHeartbeats * 2 / 3)
	outage := time.Since(began)

	d.sameInstances(before, 2)
	during := d.sim.Router.Status()
	if during.Endpoints != routes.Endpoints || during.Stale != routes.Endpoints || during.Pruned != routes.Pruned || during.NATS {
		t.Errorf("the router during the outage: %+v, before: %+v", during, routes)
	}
	if n := len(d.watch.all()); n != 0 {
		t.Errorf("%d commands before NATS was back", n)
	}
	since := d.natsBack()
	d.agrees()
	commands := d.judge()
	d.withinBound(commands, since)
	d.report("NATS away", commands, since, outage)
}

// TestNATSAwayDuringAnEvacuation: NATS goes away while a DEA evacuates, when a part of its instances has been started
// elsewhere. The others serve on until they are, after the outage.
func TestNATSAwayDuringAnEvacuation(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	d := startDegraded(t, "policy.start_limit=5") // in a heartbeat, so that the outage comes in the middle
	var leaving string
	for _, dea := range d.sim.Fleet.DEAs(0, 1) {
		leaving = dea.ID
	}
	onIt := 0
	for guid, in := range truth(d.sim) {
		if in.DEA != leaving {
			continue
		}
		onIt++
		start := startOf(in.App, in.Version, int(in.Index))
		d.allowed[start], d.allowed[stopOf(guid)], d.due[stopOf(guid)] = true, true, true
	}
	if err := d.sim.Fleet.Evacuate(leaving); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "hm replaces the instances of the DEA", func() bool { return len(d.watch.all()) > 0 })
	d.nats.Stop()
	began := time.Now()
	d.heartbeats(longOutage)
	if dea, err := d.sim.Fleet.DEA(leaving); err != nil || dea.Status != "evacuating" {
		t.Errorf("an evacuating DEA while NATS was away: %+v, %v", dea, err)
	}
	outage := time.Since(began)
	since := d.natsBack()
	d.agrees()
	bustest.Until(t, "the DEA has left", func() bool { return d.sim.State().DEAsGone == 1 })
	commands := d.judge()
	d.report("NATS away during an evacuation of "+strconv.Itoa(onIt)+" instances", commands, since, outage)
}

// TestNATSAwayDuringARollingRestartOfHM: while NATS is away, every node of hm is restarted, one after the other.
func TestNATSAwayDuringARollingRestartOfHM(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	d := startDegraded(t)
	before := truth(d.sim)
	began := time.Now()
	d.nats.Stop()
	d.heartbeats(5)
	d.usersChange()
	for _, n := range d.nodes {
		n.close(t)
		d.heartbeats(3)
		n.open(t)
		bustest.Until(t, "the restarted node knows a leader", func() bool {
			s, _, err := n.client.Status(t.Context())
			return err == nil && s.Cluster.Leader != ""
		})
	}
	if rest := longOutage*d.period - time.Since(began); rest > 0 {
		time.Sleep(rest)
	}
	d.sameInstances(before, 2)
	outage := time.Since(began)
	since := d.natsBack()
	d.agrees()
	commands := d.judge()
	d.report("NATS away during a rolling restart of hm", commands, since, outage)
}

// TestNATSAwayAgainAndAgain: many short outages. Between some of them hm has no time to get a fresh picture, between others
// it has.
func TestNATSAwayAgainAndAgain(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	d := startDegraded(t)
	began, since := time.Now(), 0
	for i := range 8 {
		d.nats.Stop()
		if i == 2 {
			d.usersChange()
		}
		d.heartbeats(2 + i%2)
		d.nats.Start(t, nil)
		if i == 3 {
			since = d.watch.beatsNow()
		}
		d.heartbeats(2 + 4*(i%2))
	}
	d.agrees()
	commands := d.judge()
	d.report("NATS away again and again", commands, since, time.Since(began))
}

// TestNATSAwayAndDEAsReturnLate: a third of the DEAs connects again only after hm's gate may have opened. Until then hm
// must not take them for lost: their times to live began anew when the link returned (I4).
func TestNATSAwayAndDEAsReturnLate(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	// They return after 6 heartbeats. hm may start what they ran after a time to live and the grace, which is 9.
	// The router forgets routes that nobody has registered again for 12 heartbeats: on a busy machine these are not to be short.
	d := startDegradedAt(t, 500*time.Millisecond, "policy.heartbeat_ttl=6")
	before := truth(d.sim)
	began := time.Now()
	d.nats.Stop()
	late, err := d.sim.Fleet.ActOnRandom(d.sim.State().DEAs/3, fleet.Pause)
	if err != nil {
		t.Fatal(err)
	}
	d.usersChange()
	d.heartbeats(longOutage)
	d.sameInstances(before, 2)
	outage := time.Since(began)
	since := d.natsBack()
	d.heartbeats(6)
	for _, id := range late {
		if err := d.sim.Fleet.Resume(id); err != nil {
			t.Error(err)
		}
	}
	d.agrees()
	commands := d.judge()
	d.report("NATS away, and a third of the DEAs late", commands, since, outage)
}
