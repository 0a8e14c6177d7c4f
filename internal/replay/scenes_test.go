package replay

import (
	"fmt"
	"testing"

	"hm/actual"
	"hm/desired"
)

// scenes are the small recordings in testdata/recordings, by name. go test -run TestCorpus -generate writes them.
func scenes(t testing.TB) map[string]*scene {
	const (
		starting, running, crashed, evacuating = actual.Starting, actual.Running, actual.Crashed, actual.Evacuating
		started, stopped                       = desired.Started, desired.Stopped
		staged, pending, failed                = desired.Staged, desired.Pending, desired.Failed
	)
	n := func(note string, end int) *scene { return newScene(t, note, end) }
	all := map[string]*scene{
		"R01-missing": n("a DEA lists web/1 no more at 0:55 (R41), and it is started after the grace; it runs again at 1:35", 180).fleet().
			lose(55, "web-1").put(98, "b", "web", "v1", 1, "web-1-new", running),
		"R01-start-without-effect": n("web/1 is lost and every start is lost, too: each is repeated after its keep time (R52), and the pause doubles (W23)", 600).fleet().
			lose(55, "web-1"),
		"R02-live-before-due": n("web/1 is gone from one heartbeat only: no command", 180).fleet().
			lose(55, "web-1").put(72, "b", "web", "v1", 1, "web-1-back", running),
		"R03-stopped-while-pending": n("web/1 is lost, and the app is stopped before its start is due; the rest is stopped", 200).fleet().
			runs("api", 1).wants("api", 1).lose(52, "web-1").want(58, "web", "v1", 3, stopped, staged).lose(75, "web-0", "web-2"),
		"R04-newly-desired": n("an app of two instances is pushed, and nobody starts it but hm", 200).fleet().
			want(58, "api", "v1", 2, started, staged).put(97, "a", "api", "v1", 0, "api-0", running).put(97, "b", "api", "v1", 1, "api-1", running),
		"R05-crashed": n("web/1 crashes: restarted at once", 150).fleet().
			turn(55, crashed, "web-1").put(68, "c", "web", "v1", 1, "web-1-new", running),
		"R06-canary": n("all of web crash: only index 0 is restarted, the others when it runs", 200).dea("a").runs("web", 3).wants("web", 3).
			turn(55, crashed, "web-0", "web-1", "web-2").put(72, "a", "web", "v1", 0, "web-0-new", running).
			put(92, "a", "web", "v1", 1, "web-1-new", running).put(92, "a", "web", "v1", 2, "web-2-new", running),
		"R07-crash-loop": crashLoop(n("web/1 crashes each time it runs: restarted at once three times, then with growing delays", 480).fleet()),
		"R08-series-forgotten": n("four crashes, then 1920 s without one: the fifth restart comes without a delay again", 2400).dea("a").runs("web", 2).wants("web", 2).
			crashes("web", 1, 148, 45, 65, 85, 105).turn(2255, crashed, "web-1-4").put(2268, "a", "web", "v1", 1, "web-1-last", running),
		"R09-crash-while-starting": n("the instance that a start made crashes before it was heard live: the restart waits for the keep time of the start", 240).fleet().
			lose(55, "web-1").put(98, "b", "web", "v1", 1, "web-1-new", crashed).put(128, "b", "web", "v1", 1, "web-1-newer", running),
		"R10-crashed-beside-live": n("a crashed instance beside a live one: nothing", 150).fleet().
			put(55, "c", "web", "v1", 1, "web-1-old", crashed),
		"R11-crashed-undesired": n("a crashed instance of an app that is not desired: nothing", 150).fleet().
			put(55, "c", "gone", "v1", 0, "gone-0", crashed),
		"R12-evacuation-overtakes": n("web/1 crash-loops and waits for its back-off when a copy evacuates: it is started at once", 320).fleet().
			crashes("web", 1, 0, 45, 65, 85, 105).put(122, "c", "web", "v1", 1, "web-1-evacuating", evacuating).
			put(135, "a", "web", "v1", 1, "web-1-new", running).lose(135, "web-1-evacuating"),
		"R13-not-staged": n("web/1 is lost while the app is staged anew: nothing is started until it is staged", 240).fleet().
			want(58, "web", "v1", 3, started, pending).lose(72, "web-1").want(178, "web", "v1", 3, started, staged),
		"R14-staging-failed": n("staging fails: what runs is stopped", 150).fleet().want(58, "web", "v1", 3, started, failed).runs("api", 1).wants("api", 1).lose(75, "web-0", "web-1", "web-2"),
		"R15-stopped":        n("the app is stopped: what runs is stopped", 150).fleet().want(58, "web", "v1", 3, stopped, staged).wants("api", 1).runs("api", 1).lose(75, "web-0", "web-1", "web-2"),
		"R16-deleted":        n("one of two apps is deleted: what runs of it is stopped", 150).fleet().wants("api", 1).runs("api", 1).forget(58, "api").lose(75, "api-0"),
		"R65-another-cell": n("hm is that of a cell: an app that it never had is left alone, and one that leaves it is stopped", 240).cell().fleet().
			runs("theirs", 2).wants("api", 1).runs("api", 1).forget(58, "api").lose(75, "api-0"),
		"R17-other-version": n("the app is pushed anew: instances of the new version are started, and once they run those of the old one are stopped (I3)", 240).fleet().
			want(58, "web", "v2", 3, started, staged).lose(125, "web-0", "web-1", "web-2").
			put(98, "a", "web", "v2", 0, "web-0-v2", running).put(98, "b", "web", "v2", 1, "web-1-v2", running).put(98, "c", "web", "v2", 2, "web-2-v2", running),
		"R18-scaled-down": n("web is scaled from 3 to 2: index 2 is stopped", 150).fleet().want(58, "web", "v1", 2, started, staged).lose(75, "web-2"),
		"R18-newer-than-the-read": n("an instance at index 3 appears at 1:42, after the newest read: it is left alone until the read at 2:00 shows that it is not wanted", 180).fleet().
			put(102, "a", "web", "v1", 3, "web-3", running).lose(125, "web-3"),
		"R19-starts-first": n("web/1 is missing when an instance at index 5 turns out not to be wanted: its stop waits until web/1 runs", 240).fleet().
			put(50, "a", "web", "v1", 5, "web-5", running).lose(50, "web-1").put(88, "b", "web", "v1", 1, "web-1-new", running).lose(135, "web-5"),
		"R20-duplicate": n("two instances run at web/1: after four graces the younger one is stopped", 300).fleet().
			put(55, "c", "web", "v1", 1, "web-1-twin", running).lose(215, "web-1-twin"),
		"R21-several-undesired": n("two instances run at an index that is not desired: both are stopped", 180).fleet().
			put(50, "a", "web", "v1", 7, "web-7", running).put(50, "b", "web", "v1", 7, "web-7-twin", running).lose(75, "web-7", "web-7-twin"),
		"R22-live-and-crashed": n("a live, a crashed and an evacuating instance at web/1: no duplicate", 300).fleet().
			put(55, "c", "web", "v1", 1, "web-1-crashed", crashed).put(55, "a", "web", "v1", 1, "web-1-evacuating", evacuating).lose(85, "web-1-evacuating"),
		"R24-evacuating-undesired": n("an instance at an index that is not desired evacuates: stopped, not replaced", 180).fleet().
			put(55, "a", "web", "v1", 4, "web-4", evacuating).lose(95, "web-4"),
		"R25-evacuating-not-staged": n("web/1 evacuates while the app is staged anew", 200).fleet().
			want(58, "web", "v1", 3, started, pending).turn(72, evacuating, "web-1").lose(95, "web-1"),
		"R26-evacuation": n("web/1 evacuates (R23, R29): a replacement is started at once, and once it runs the old one is stopped; while it is STARTING hm waits (R27)", 180).fleet().
			turn(55, evacuating, "web-1").put(65, "a", "web", "v1", 1, "web-1-new", starting).turn(85, running, "web-1-new").lose(105, "web-1"),
		"R28-evacuating-after-a-crash": n("web/1 crashed lately, and its new instance evacuates: it is stopped and replaced", 200).fleet().
			turn(45, crashed, "web-1").lose(58, "web-1").put(58, "c", "web", "v1", 1, "web-1-new", running).turn(92, evacuating, "web-1-new").
			put(108, "a", "web", "v1", 1, "web-1-newer", running).lose(108, "web-1-new"),
		"R30-evacuating-counts": n("an instance is lost of each of two apps, and of web another one evacuates: web is worse off, so its start comes first", 240).config("policy.start_limit", "1").
			dea("a", "b", "c").runs("api", 4).wants("api", 4).runs("web", 4).wants("web", 4).
			turn(42, evacuating, "web-2").lose(52, "api-1", "web-1").
			put(65, "a", "web", "v1", 2, "web-2-new", running).lose(80, "web-2").
			put(92, "b", "web", "v1", 1, "web-1-new", running).put(104, "b", "api", "v1", 1, "api-1-new", running),
		"R31-evacuating-again": n("web/1 is reported as evacuating again and again: one start, and again after pauses that double (W23)", 200).fleet().
			turn(55, evacuating, "web-1"),
		"R32-crashed-evacuating": n("a crashed instance is reported as evacuating", 200).fleet().
			turn(45, crashed, "web-1").turn(55, evacuating, "web-1").put(65, "c", "web", "v1", 1, "web-1-new", running).lose(85, "web-1"),
		"R33-exit-evacuation": n("a DEA says that web/1 leaves with it: replaced before it is gone", 180).fleet().
			exit(52.5, "web", "v1", 1, "web-1", actual.ExitEvacuation).turn(52.5, evacuating, "web-1").put(58, "a", "web", "v1", 1, "web-1-new", running).lose(78, "web-1"),
		"R33-exit-shutdown": n("a DEA shuts down and says so for web/1: replaced at once, before any grace", 180).fleet().
			exit(52.5, "web", "v1", 1, "web-1", actual.ExitShutdown).quiet(52.5, true, "b").put(58, "a", "web", "v1", 1, "web-1-new", running),
		"R34-exit-crashed": n("web/1 crashes and its DEA says so: restarted at once; the heartbeat that follows is the same crash", 180).fleet().
			exit(52.5, "web", "v1", 1, "web-1", actual.ExitCrashed).turn(52.5, crashed, "web-1").put(58, "a", "web", "v1", 1, "web-1-new", running),
		"R34-exit-of-an-unseen-instance": n("a start leads to an instance that crashes before any heartbeat shows it: the exit tells", 240).fleet().
			lose(55, "web-1").exit(96, "web", "v1", 1, "web-1-unseen", actual.ExitCrashed).put(135, "b", "web", "v1", 1, "web-1-new", running),
		"R35-exit-stopped": n("an exit with reason STOPPED, and one with a word that hm does not know (R36): nothing", 150).fleet().
			exit(52.5, "web", "v1", 1, "web-1", actual.ExitStopped).
			say(53.5, "droplet.exited", `{"droplet":"web","version":"v1","instance":"web-2","index":2,"reason":"BORED"}`),
		"R37-exit-of-another-instance": n("an exit names an old instance of web/1 while another one runs there: nothing", 150).fleet().
			exit(52.5, "web", "v1", 1, "web-1-older", actual.ExitCrashed),
		"R38-delayed-restart-verified": n("web/1 waits for its back-off when the app is scaled below it: the restart is dropped (R54)", 320).fleet().
			crashes("web", 1, 0, 45, 65, 85, 105).want(110, "web", "v1", 1, started, staged).lose(125, "web-2"),
		"R39-updated": n("web is scaled from 3 to 4, and the Cloud Controller says so: the grace counts from the read of that app alone, not from the next one of all", 150).fleet().
			want(52, "web", "v1", 4, started, staged).updated(52.5, "web").put(88, "a", "web", "v1", 3, "web-3", running),
		"R42-steady":     n("nothing happens", 150).fleet(),
		"R43-link-late":  n("NATS comes up at 0:40: nothing is decided until 1:10", 150).fleet().link(0, false).link(40, true).lose(39, "web-1").put(103, "b", "web", "v1", 1, "web-1-new", running),
		"R44-all-silent": n("no DEA is heard from 1:00 on, though NATS is up: silence of everyone is no absence", 240).fleet().quiet(58, true, "a", "b", "c").quiet(185, false, "a", "b", "c"),
		"R51-start-limit": n("a DEA with eight instances is lost; two starts may be sent in each period", 240).config("policy.start_limit", "2").dea("a", "b").runs("web", 8).wants("web", 8).quiet(55, true, "b").
			put(112, "a", "web", "v1", 1, "web-1-new", running).put(112, "a", "web", "v1", 3, "web-3-new", running).
			put(122, "a", "web", "v1", 5, "web-5-new", running).put(122, "a", "web", "v1", 7, "web-7-new", running),
		"R53-stop-verified": n("an instance at index 3 is to be stopped after the read at 2:00, which wants it: no stop", 180).fleet().
			put(102, "a", "web", "v1", 3, "web-3", running).want(110, "web", "v1", 4, started, staged),
		"R55-extra-becomes-duplicate": n("two instances of an app appear before it is known to be desired; the next read wants one of them: no stop as EXTRA, but one as DUPLICATE after its graces", 320).fleet().
			put(102, "a", "api", "v1", 0, "api-0", running).put(102, "b", "api", "v1", 0, "api-0-twin", running).want(110, "api", "v1", 1, started, staged).lose(245, "api-0"),
		"R56-forgotten": n("a crashed app is deleted and no longer heard of, then pushed anew: its crash series is forgotten", 400).fleet().wants("api", 1).runs("api", 1).
			crashes("api", 0, 0, 45, 65, 85, 105).forget(118, "api").lose(125, "api-0-3").
			want(238, "api", "v1", 1, started, staged).put(275, "a", "api", "v1", 0, "api-0-anew", running).
			turn(315, crashed, "api-0-anew").put(325, "a", "api", "v1", 0, "api-0-last", running),
		"R57-no-read-yet": n("no read of the desired state succeeds before 2:00: nothing is stopped", 200).fleet().reads(0, "connection refused").reads(115, ""),
		"R59-two-deas-of-one-id": n("two DEAs use one id and tell different lists in turn: each loss waits for the grace, so nothing is sent", 150).fleet().
			say(52, "dea.heartbeat", `{"dea":"dea-a","droplets":[]}`).say(62, "dea.heartbeat", `{"dea":"dea-a","droplets":[]}`).say(72, "dea.heartbeat", `{"dea":"dea-a","droplets":[]}`),
		"W14-one-bad-entry": n("a heartbeat with one entry that cannot be read, and messages that are no JSON: the other entries count", 120).fleet().
			say(52, "dea.heartbeat", `{"dea":"dea-d","droplets":[{"droplet":"web","version":"v1","instance":"web-9","index":"nine","state":"RUNNING"},{"droplet":"api","version":"v1","instance":"api-0","index":0,"state":"RUNNING"}]}`).
			say(53, "dea.heartbeat", "not json\n").say(54, "dea.heartbeat", `{"dea":7,"droplets":[]}`).say(55, "droplet.exited", `{}`).
			say(62, "dea.heartbeat", `{"dea":"dea-d","droplets":[]}`).say(72, "dea.heartbeat", `{"dea":"dea-d","droplets":[]}`),

		"outage-nats-brief":    n("NATS is lost for 15 s", 180).fleet().link(60, false).link(75, true),
		"outage-nats-long":     n("NATS is lost for ten minutes (R49), and a DEA dies meanwhile: replaced, but not before its full time to live after the return", 900).fleet().link(60, false).link(660, true).quiet(660.1, true, "b").put(725, "a", "web", "v1", 1, "web-1-new", running),
		"outage-nats-flapping": flapping(n("NATS comes and goes every few seconds for three minutes", 360).fleet()),
		"outage-nats-at-start": n("NATS is away when hm starts, for two minutes", 240).fleet().link(0, false).link(120, true),
		"outage-nats-gap": n("messages are lost while NATS is up, a DEA's among them: every time to live starts anew", 180).fleet().
			quiet(45, true, "b").write(70, gap).quiet(75, false, "b"),
		"outage-cc-failing":  n("reads fail for ten minutes (R47): after the time to live nothing is sent; web/1, lost meanwhile, is started when reads work again", 840).fleet().reads(115, "HTTP 500").lose(300, "web-1").reads(715, "").put(755, "b", "web", "v1", 1, "web-1-new", running),
		"outage-cc-empty":    n("reads give nothing for five minutes (R58): held", 600).fleet().wants("api", 2).runs("api", 2).emptied(115, 415),
		"outage-cc-shrunken": shrunken(n("reads give 5 of 25 apps for five minutes: held", 600).dea("a", "b", "c", "d")),
		"outage-dea-lost": n("one DEA of five is lost for good (R40): its instances are started elsewhere", 240).dea("a", "b", "c", "d", "e").runs("web", 5).runs("api", 5).wants("web", 5).wants("api", 5).
			quiet(55, true, "c").put(128, "a", "web", "v1", 2, "web-2-new", running).put(128, "b", "api", "v1", 2, "api-2-new", running),
		"outage-deas-lost": n("four DEAs of six fall silent at once and return after two minutes (R60): held, and nothing is sent", 420).dea("a", "b", "c", "d", "e", "f").runs("web", 6).wants("web", 6).
			quiet(55, true, "a", "b", "c", "d").quiet(185, false, "a", "b", "c", "d"),
		"outage-deas-lost-for-good": n("four DEAs of six are lost for good (R60): replaced when the hold is over", 600).dea("a", "b", "c", "d", "e", "f").runs("web", 6).wants("web", 6).
			quiet(55, true, "a", "b", "c", "d").
			put(390, "e", "web", "v1", 0, "web-0-new", running).put(390, "f", "web", "v1", 1, "web-1-new", running).
			put(425, "e", "web", "v1", 2, "web-2-new", running).put(390, "f", "web", "v1", 3, "web-3-new", running),
		"hold-paused": n("a person pauses hm before web/1 is lost, and resumes it after two minutes: its start is sent a grace later", 300).fleet().
			hold(50, "paused", true).lose(55, "web-1").hold(170, "paused", false).put(208, "b", "web", "v1", 1, "web-1-new", running),
		"outage-leader-lost": n("no node leads for 15 s, in which a start is due: the next leader sends it", 240).fleet().
			lose(55, "web-1").leaderless(80).leader(95).put(105, "b", "web", "v1", 1, "web-1-new", running),
		"outage-leader-change": n("the leader changes while starts are outstanding (R62): none is sent twice", 240).config("policy.start_limit", "1").fleet().
			lose(55, "web-1", "web-2").leader(91.5).leader(96).leader(101.5).put(105, "b", "web", "v1", 1, "web-1-new", running).put(115, "c", "web", "v1", 2, "web-2-new", running),
		"outage-dea-restarted": n("a DEA restarts under a new id with its instances (W10): nothing is started or stopped", 240).fleet().
			quiet(52, true, "b").at(55, func(s *scene) {
			old := s.find("b")
			s.deas = append(s.deas, &sceneDEA{id: "dea-b2", list: old.list})
		}),
	}
	return all
}

func crashLoop(s *scene) *scene {
	return s.crashes("web", 1, 388, 45, 65, 85, 105, 165, 255)
}

// crashes lets the instance at an index crash at each of the seconds. A new one runs a few seconds before the next
// crash, and at the end from the second recovers on, unless that is 0.
func (s *scene) crashes(name string, index int, recovers float64, seconds ...float64) *scene {
	guid := fmt.Sprintf("%s-%d", name, index)
	d := s.deas[index%len(s.deas)].id[len("dea-"):]
	for i, at := range seconds {
		s.turn(at, actual.Crashed, guid)
		again := recovers
		if i+1 < len(seconds) {
			again = seconds[i+1] - 7
		} else if recovers == 0 {
			break
		}
		s.lose(again, guid)
		guid = fmt.Sprintf("%s-%d-%d", name, index, i+1)
		s.put(again, d, name, "v1", index, guid, actual.Running)
	}
	return s
}

func flapping(s *scene) *scene {
	for i := range 12 {
		at := 60 + 15*float64(i)
		s.link(at, false).link(at+float64(3+i%3*4), true)
	}
	return s
}

// emptied makes reads return nothing for some time.
func (s *scene) emptied(from, to float64) *scene {
	var all []desired.App
	return s.at(from, func(s *scene) { all, s.apps = s.apps, nil }).at(to, func(s *scene) { s.apps = all })
}

func shrunken(s *scene) *scene {
	for i := range 25 {
		name := fmt.Sprintf("app%02d", i)
		s.runs(name, 1).wants(name, 1)
	}
	var all []desired.App
	return s.at(115, func(s *scene) { all = s.apps; s.apps = s.apps[:5:5] }).at(415, func(s *scene) { s.apps = all })
}
