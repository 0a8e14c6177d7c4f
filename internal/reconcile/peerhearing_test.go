package reconcile

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// withPeers is a steady simulation whose leader has two peers that hear what it hears.
func withPeers(t *testing.T, deas, apps int) *simCF {
	cf := newSimCF(t, testOptions())
	for range 2 {
		n := &simNode{}
		cf.open(n)
		cf.nodes = append(cf.nodes, n)
	}
	cf.addDEAs(deas)
	cf.desire(apps, 4, true)
	cf.run(5 * hb)
	cf.wantGate("a steady fleet")
	return cf
}

// deafTo makes a node not hear the first DEAs.
func (n *simNode) deafTo(deas int) {
	n.notHeard = map[string]bool{}
	for i := range deas {
		n.notHeard[fmt.Sprintf("beat dea-%03d", i)] = true
	}
}

func (cf *simCF) wantGone(what string, want int) {
	cf.t.Helper()
	if got := cf.View().Counts().GoneDEAs; got != want {
		cf.t.Fatalf("%s: %d DEAs are recorded as gone, want %d", what, got, want)
	}
}

// TestALeaderThatHearsLessThanItsPeersSendsNothing: a route of NATS is lost, and the leader hears
// only some of the DEAs.
func TestALeaderThatHearsLessThanItsPeersSendsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		unheard int
		gate    []string
	}{
		"most of them": {6, []string{ReasonDeaf}},
		"all of them":  {10, []string{ReasonDeaf, ReasonActualStale}},
		"one of them":  {1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			cf := withPeers(t, 10, 25)
			cf.deafTo(c.unheard)
			cf.run(5*hb + hb/2)
			cf.wantGate("a heartbeat after the time to live", c.gate...)
			cf.run(100 * hb)
			cf.wantGate("much later", c.gate...)
			cf.wantGone("peers hear them", 0)
			cf.wantSent("peers hear them", 0, 0)
			if got, heard := cf.core.Overview(cf.now, Lead{}).Missed, c.unheard < 10; heard && got != c.unheard {
				t.Errorf("%d DEAs are missed, want %d", got, c.unheard)
			}
			shown := cf.core.Overview(cf.now, Lead{}).MissedDEAs
			if heard := c.unheard < 10; heard && (len(shown) != c.unheard || shown["dea-000"] == 0) {
				t.Errorf("the overview names %d missed DEAs: %v", len(shown), shown)
			}
			before := len(shown)
			cf.deafTo(0)
			cf.run(5 * hb)
			if now := cf.core.Overview(cf.now, Lead{}).MissedDEAs; len(now) > 0 || len(shown) != before {
				t.Errorf("it hears them again: the overview names %d, and the one before %d of %d", len(now), len(shown), before)
			}
			cf.wantGate("it hears them again")
			cf.wantSent("it hears them again", 0, 0)
			for i := range 2 { // a loss that is one for all is still acted on
				cf.deas[fmt.Sprintf("dea-%03d", i)].quiet = true
			}
			cf.run(8 * hb)
			cf.wantGone("two have been switched off", 2)
			cf.wantSent("two have been switched off", 20, 0)
		})
	}
}

// TestI4ADeafLeaderRecordsNoLoss: it would believe a peer whose word about a DEA is old, and the next leader would start
// what that DEA still has.
func TestI4ADeafLeaderRecordsNoLoss(t *testing.T) {
	cf := withPeers(t, 10, 25)
	cf.deafTo(6)
	cf.run(6 * hb)
	cf.wantGate("most DEAs are not heard", ReasonDeaf)
	cf.deas["dea-000"].quiet = true
	cf.run(20 * hb)
	cf.wantGate("a DEA has been silent for all", ReasonDeaf)
	cf.wantGone("the leader is deaf", 0)
	cf.wantSent("the leader is deaf", 0, 0)
	cf.deafTo(0)
	cf.run(8 * hb)
	cf.wantGate("it hears the others")
	cf.wantGone("it hears the others", 1)
	cf.wantSent("it hears the others", 10, 0)
}

// TestI4WhatIsBackForAPeerIsNotStarted: DEAs that were recorded as gone are back, and the leader does not hear one of
// them. It does not know what runs there.
func TestI4WhatIsBackForAPeerIsNotStarted(t *testing.T) {
	cf := withPeers(t, 10, 25)
	for i := range 6 {
		cf.deas[fmt.Sprintf("dea-%03d", i)].quiet = true
	}
	cf.run(6 * hb)
	cf.wantGate("most DEAs are silent for all", "hold:mass-loss")
	cf.wantGone("most DEAs are silent for all", 6)
	cf.deafTo(1)
	for _, d := range cf.deas {
		d.quiet = false
	}
	cf.run(4 * hb)
	cf.wantGone("they are back, and the leader does not hear one", 1)
	cf.wantGate("they are back, and the leader does not hear one", ReasonDeaf)
	cf.run(40 * hb)
	cf.wantGate("much later", ReasonDeaf)
	cf.wantSent("much later", 0, 0)
	cf.deafTo(0)
	cf.run(5 * hb)
	cf.wantGate("it hears that one, too")
	cf.wantSent("it hears that one, too", 0, 0)
}

// TestI4WhatCameBackWhileNothingWasRecorded: a DEA that is recorded as gone comes back while proposals fail, and the
// leader does not hear it. When it can record again it knows of no peer's answer, so it asks before it sends anything.
func TestI4WhatCameBackWhileNothingWasRecorded(t *testing.T) {
	cf := withPeers(t, 10, 25)
	cf.deas["dea-000"].quiet = true
	cf.run(12 * hb)
	cf.wantGone("a DEA is silent for all", 1)
	cf.wantGate("a DEA is silent for all")
	cf.fail = errTest
	heard := cf.deas["dea-009"]
	heard.list = heard.list[1:] // a change that is to be recorded
	cf.deafTo(1)
	cf.deas["dea-000"].quiet = false
	cf.run(10 * hb)
	if !slices.Contains(cf.core.gate, ReasonActualStale) {
		t.Fatalf("proposals fail: the gate's reasons are %v", cf.core.gate)
	}
	cf.fail = nil
	for range 300 {
		if cf.run(10 * time.Millisecond); len(cf.core.gate) == 0 {
			t.Fatal("the gate is open before the peers' answers are known")
		}
	}
	cf.wantGate("a peer hears a DEA that is recorded as gone", ReasonDeaf)
	cf.deafTo(0)
	cf.run(5 * hb)
	cf.wantGate("it hears that one, too")
}

// TestI4WhatTheLeaderHasNotHeardAgain: after a gap of its link a leader does not hear one DEA again, which its peers hear.
// It does not know what runs there now, so it sends nothing until it has given the DEA a whole time to live.
func TestI4WhatTheLeaderHasNotHeardAgain(t *testing.T) {
	cf := withPeers(t, 25, 25)
	cf.deafTo(1)
	cf.run(hb/2 + 320*time.Millisecond)
	cf.spell(true) // the others return later, and each return gives that one a whole time to live again
	gap := cf.now
	for cf.now < gap.Add(4*hb) {
		cf.run(10 * time.Millisecond)
		if since := cf.now.Sub(gap); len(cf.core.gate) == 0 && since < 3*hb+hb/2 {
			t.Fatalf("the gate is open %v after the gap", since)
		} else if since > 3*hb+4*time.Second && since < 3*hb+hb/2 {
			cf.wantGate("a peer hears what it does not hear", ReasonDeaf)
		}
	}
	cf.run(2 * hb)
	cf.wantGate("that DEA is silent for it, and its peers hear it")
	if got := cf.core.Overview(cf.now, Lead{}).Missed; got != 1 {
		t.Errorf("the overview says that %d DEAs are missed", got)
	}
	cf.wantGone("a peer hears it", 0)
	cf.wantSent("a peer hears it", 0, 0)
}

// TestADeafLeaderStaysDeafWhileItCannotTell: on a link that is late, or has just come up, no DEA
// counts as silent.
func TestADeafLeaderStaysDeafWhileItCannotTell(t *testing.T) {
	for name, trouble := range map[string]func(cf *simCF){
		"a late link":       func(cf *simCF) { cf.intake.SetLag(func() time.Duration { return hb/2 + time.Second }) },
		"a gap in the link": func(cf *simCF) { cf.spell(true) },
	} {
		t.Run(name, func(t *testing.T) {
			cf := withPeers(t, 10, 25)
			cf.deafTo(6)
			cf.run(6 * hb)
			cf.wantGate("most DEAs are not heard", ReasonDeaf)
			cf.apps[0].Instances++ // what starts where it is not heard would be started again and again
			trouble(cf)
			for range 60 {
				if cf.run(hb / 2); !slices.Contains(cf.core.gate, ReasonDeaf) {
					t.Fatalf("they are still not heard: the gate's reasons are %v", cf.core.gate)
				}
			}
			cf.intake.SetLag(func() time.Duration { return 0 })
			cf.deafTo(0)
			cf.run(8 * hb)
			cf.wantGate("they are heard")
			cf.wantSent("they are heard", 1, 0)
		})
	}
}

// TestANewLeaderIsDeafFromTheStart: it has not heard what its peers hear since before it led.
func TestANewLeaderIsDeafFromTheStart(t *testing.T) {
	for name, n := range map[string]int{"the same node again": 0, "another node": 1} {
		t.Run(name, func(t *testing.T) {
			cf := withPeers(t, 10, 25)
			cf.nodes[n].deafTo(6)
			cf.run(6 * hb)
			cf.simNode = cf.nodes[n]
			for range 3 {
				cf.term++
				cf.next, cf.wake = cf.now, true
				cf.core.Learn(cf.now, cf.nodes[0].core.reads.began)
				cf.run(time.Millisecond)
				cf.wantGate("a leadership begins", ReasonDeaf)
				cf.run(hb / 2)
				cf.wantGate("half a heartbeat later", ReasonDeaf)
			}
			cf.deafTo(0)
			cf.run(hb)
			cf.wantGate("it hears them")
		})
	}
}

// TestANewLeaderWhoseProposalsFailIsDeaf: it records nothing for a while. When it can, its link is late, so
// that it cannot compare what it hears any more.
func TestANewLeaderWhoseProposalsFailIsDeaf(t *testing.T) {
	cf := withPeers(t, 10, 25)
	cf.deafTo(6)
	cf.run(6 * hb)
	cf.fail = errTest
	heard := cf.deas["dea-009"]
	heard.list = heard.list[1:] // a change that is to be recorded
	cf.run(2 * hb)
	cf.term++
	cf.next, cf.wake = cf.now, true
	cf.run(2 * hb)
	if !slices.Contains(cf.core.gate, ReasonDeaf) {
		t.Errorf("its proposals fail: the gate's reasons are %v", cf.core.gate)
	}
	cf.intake.SetLag(func() time.Duration { return hb/2 + time.Second })
	cf.run(time.Second)
	cf.fail = nil
	cf.run(3 * hb)
	if !slices.Contains(cf.core.gate, ReasonDeaf) {
		t.Errorf("its link is late: the gate's reasons are %v", cf.core.gate)
	}
	cf.wantSent("most DEAs are not heard", 0, 0)
}

// TestANewLeaderIsNotDeafForAnOldWord: a DEA falls silent for all, and the leader fails at the same
// time. What it told last still counts the DEA.
func TestANewLeaderIsNotDeafForAnOldWord(t *testing.T) {
	cf := withPeers(t, 9, 25)
	d := cf.deas["dea-003"]
	silent := d.nextBeat.Add(2 * hb)
	d.quiet = true
	cf.run(silent.Add(-wordAge / 10).Sub(cf.now))
	for _, n := range cf.nodes {
		if n.told, n.toldAt = n.intake.Hearing(), cf.now; n.told.DEAs != 9 {
			t.Fatalf("just before its time to live is over %d DEAs are heard", n.told.DEAs)
		}
	}
	cf.run(silent.Add(7 * wordAge / 10).Sub(cf.now))
	cf.simNode = cf.nodes[1]
	cf.term++
	cf.next, cf.wake = cf.now, true
	cf.core.Learn(cf.now, cf.nodes[0].core.reads.began)
	for range 20 {
		if cf.run(hb / 100); slices.Contains(cf.core.gate, ReasonDeaf) {
			t.Fatal("it is deaf")
		}
	}
	cf.wantGone("it fell silent", 1)
}

// TestWhatPeersHeardCountsFromWhenItWasSent: a DEA that a peer heard was there when it sent that, however
// little the peer hears otherwise.
func TestWhatPeersHeardCountsFromWhenItWasSent(t *testing.T) {
	late := func(by time.Duration) func(*simCF, *simNode) {
		return func(_ *simCF, n *simNode) { n.intake.SetLag(func() time.Duration { return by }) }
	}
	for name, c := range map[string]struct {
		spoil func(cf *simCF, peer *simNode)
		gone  int
	}{
		"a link that has just come up": {func(cf *simCF, n *simNode) { n.intake.Link(true, cf.epoch) }, 0},
		"a link that is late":          {late(hb), 0},
		"a link that is very late":     {late(3 * hb), 1},
		"a link that is down":          {func(cf *simCF, n *simNode) { n.intake.Link(false, cf.epoch) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			cf := withPeers(t, 10, 25)
			cf.deafTo(1)
			cf.run(10 * hb)
			cf.wantGone("the peers hear it", 0)
			for _, n := range cf.nodes[1:] {
				c.spoil(cf, n)
			}
			cf.run(2*hb + hb/2) // what the peers said before counts for as long as a time to live
			cf.wantGone("afterwards", c.gone)
		})
	}
}

// TestADEAThatIsLostForAllIsLostInTime: asking the peers does not delay a loss by a heartbeat.
func TestADEAThatIsLostForAllIsLostInTime(t *testing.T) {
	cf := withPeers(t, 10, 25)
	d := cf.deas["dea-003"]
	last := d.nextBeat.Add(-hb)
	d.quiet = true
	cf.run(last.Add(3*hb).Sub(cf.now) - time.Millisecond)
	cf.wantGone("just before its time to live is over", 0)
	cf.run(hb / maxSweepsPerPeriod)
	cf.wantGone("just after", 1)
}

// mutePeers are peers that never answer.
type mutePeers struct{ asked int }

func (*mutePeers) Hearing() []Hearing             { return []Hearing{{DEAs: -1, Fresh: true}, {DEAs: 1 << 40}} }
func (p *mutePeers) Ask([]string)                 { p.asked++ }
func (*mutePeers) Answers() ([]PeerHearing, bool) { return []PeerHearing{{Counts: true}, {}}, false }

// TestPeersThatDoNotAnswerHoldUpNothing: a DEA is lost a second later than it would be.
func TestPeersThatDoNotAnswerHoldUpNothing(t *testing.T) {
	opts := testOptions()
	cf := steadyFleet(t, 10, 25, opts)
	peers := &mutePeers{}
	cf.core.opts.Peers = peers
	d := cf.deas["dea-003"]
	last := d.nextBeat.Add(-hb)
	d.quiet = true
	cf.run(last.Add(3*hb+answerWithin).Sub(cf.now) - time.Millisecond)
	cf.wantGone("while answers are awaited", 0)
	cf.run(hb / maxSweepsPerPeriod)
	cf.wantGone("when none has come", 1)
	if peers.asked != 1 {
		t.Errorf("the peers were asked %d times", peers.asked)
	}
	cf.run(5 * hb)
	cf.wantSent("it is replaced", 10, 0)
}

// TestNothingIsLostOnALateLink: the leader's link is slow, so that each DEA is heard less often
// than once in a time to live, while everything runs.
func TestNothingIsLostOnALateLink(t *testing.T) {
	for _, alone := range []bool{true, false} {
		t.Run(fmt.Sprint("the leader is alone: ", alone), func(t *testing.T) {
			cf := withPeers(t, 10, 25)
			if alone {
				cf.nodes = cf.nodes[:1]
			}
			cf.slowDown(cf.simNode, 6, 20*hb)
			cf.run(2*hb + time.Second)
			cf.wantGate("the link is more than a heartbeat late", ReasonNATSLate)
			cf.run(18*hb - 2*time.Second)
			cf.wantGone("the link was late all along", 0)
			cf.wantGate("still late", ReasonNATSLate)
			cf.run(5 * time.Second)
			cf.wantGate("everything has come")
			cf.run(30 * hb)
			cf.wantSent("a link that was late", 0, 0)
		})
	}
}

// TestALagThatNobodySawBeginsTheTimesToLiveAnew: the lag was long and went away between two
// measurements.
func TestALagThatNobodySawBeginsTheTimesToLiveAnew(t *testing.T) {
	cf := steadyFleet(t, 10, 25, testOptions())
	d := cf.deas["dea-003"]
	last := d.nextBeat.Add(-hb)
	d.quiet = true
	cf.run(last.Add(3*hb).Sub(cf.now) - time.Second)
	cf.intake.NoteLag(hb/2 + 1)
	cf.run(3*hb - time.Second)
	cf.wantGone("within the time to live that began anew", 0)
	cf.run(hb + 2*time.Second) // for those that speak meanwhile have returned
	cf.wantGone("after it", 1)
	if cf.intake.NoteLag(hb / 2); cf.intake.Late() {
		t.Error("late after half a heartbeat")
	}
}

// TestTheGateStaysShutUntilTheLagIsSmall: it does not open and shut while the lag is about a
// heartbeat.
func TestTheGateStaysShutUntilTheLagIsSmall(t *testing.T) {
	cf := steadyFleet(t, 10, 25, testOptions())
	var lag time.Duration
	cf.intake.SetLag(func() time.Duration { return lag })
	for _, c := range []struct {
		lag  time.Duration
		late bool
	}{{hb, false}, {hb + 1, true}, {hb - 1, true}, {hb/2 + 1, true}, {hb / 2, false}, {hb - 1, false}, {time.Hour, true}, {0, false}} {
		if lag = c.lag; cf.intake.Late() != c.late {
			t.Errorf("with a lag of %v late is %v", c.lag, !c.late)
		}
	}
}

// TestI1ALateLinkThatBreaksOpensNoGate: the lag of a link that is down cannot be measured. Until the intake is told that it
// is down, it stays late: the gate must not open in between.
func TestI1ALateLinkThatBreaksOpensNoGate(t *testing.T) {
	cf := withPeers(t, 4, 4)
	lag := 2 * hb
	cf.intake.SetLag(func() time.Duration { return lag })
	if !cf.intake.Late() {
		t.Fatal("a link with a lag of two heartbeats is not late")
	}
	lag = -1
	if !cf.intake.Late() {
		t.Error("a late link that has just gone down is in time")
	}
	cf.intake.Link(false, 7)
	if cf.intake.Late() {
		t.Error("a link that is down is late")
	}
	cf.intake.Link(true, 8)
	if lag = 0; cf.intake.Late() {
		t.Error("a new link is late")
	}
}
