package reconcile

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// withPeers is a steady world in which the leader has two peers that hear as it does.
func withPeers(t *testing.T, deas, apps int) *world {
	w := newWorld(t, testOptions())
	for range 2 {
		n := &simNode{}
		w.open(n)
		w.nodes = append(w.nodes, n)
	}
	w.addDEAs(deas)
	w.desire(apps, 4, true)
	w.run(5 * hb)
	w.wantGate("a steady fleet")
	return w
}

// deafTo has a node not hear the first so many DEAs.
func (n *simNode) deafTo(deas int) {
	n.earless = map[string]bool{}
	for i := range deas {
		n.earless[fmt.Sprintf("beat dea-%03d", i)] = true
	}
}

func (w *world) wantGone(what string, want int) {
	w.t.Helper()
	if got := w.View().Counts().GoneDEAs; got != want {
		w.t.Fatalf("%s: %d DEAs are recorded as gone, want %d", what, got, want)
	}
}

// TestALeaderThatHearsLessThanItsPeersSendsNothing: a route of NATS is lost, and the leader hears a part of the fleet.
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
			w := withPeers(t, 10, 25)
			w.deafTo(c.unheard)
			w.run(5*hb + hb/2)
			w.wantGate("a heartbeat after the time to live", c.gate...)
			w.run(100 * hb)
			w.wantGate("much later", c.gate...)
			w.wantGone("peers hear them", 0)
			w.wantSent("peers hear them", 0, 0)
			if got, heard := w.core.Overview(w.now, Lead{}).Missed, c.unheard < 10; heard && got != c.unheard {
				t.Errorf("%d DEAs are missed, want %d", got, c.unheard)
			}
			w.deafTo(0)
			w.run(5 * hb)
			w.wantGate("it hears them again")
			w.wantSent("it hears them again", 0, 0)
			for i := range 2 { // a loss that is one for all is still acted on
				w.deas[fmt.Sprintf("dea-%03d", i)].quiet = true
			}
			w.run(8 * hb)
			w.wantGone("two have been switched off", 2)
			w.wantSent("two have been switched off", 20, 0)
		})
	}
}

// TestADeafLeaderStaysDeafWhileItCannotTell: on a link that is late, or has only just come up, nobody counts as silent.
func TestADeafLeaderStaysDeafWhileItCannotTell(t *testing.T) {
	for name, trouble := range map[string]func(w *world){
		"a late link":       func(w *world) { w.intake.SetLag(func() time.Duration { return hb/2 + time.Second }) },
		"a gap in the link": func(w *world) { w.spell(true) },
	} {
		t.Run(name, func(t *testing.T) {
			w := withPeers(t, 10, 25)
			w.deafTo(6)
			w.run(6 * hb)
			w.wantGate("most DEAs are not heard", ReasonDeaf)
			w.apps[0].Instances++ // what starts where it is not heard would be started again and again
			trouble(w)
			for range 60 {
				if w.run(hb / 2); !slices.Contains(w.core.gate, ReasonDeaf) {
					t.Fatalf("they are still not heard: the gate's reasons are %v", w.core.gate)
				}
			}
			w.intake.SetLag(func() time.Duration { return 0 })
			w.deafTo(0)
			w.run(8 * hb)
			w.wantGate("they are heard")
			w.wantSent("they are heard", 1, 0)
		})
	}
}

// TestANewLeaderIsDeafFromTheStart: it has not heard what its peers hear since before it led.
func TestANewLeaderIsDeafFromTheStart(t *testing.T) {
	for name, n := range map[string]int{"the same node again": 0, "another node": 1} {
		t.Run(name, func(t *testing.T) {
			w := withPeers(t, 10, 25)
			w.nodes[n].deafTo(6)
			w.run(6 * hb)
			w.simNode = w.nodes[n]
			for range 3 {
				w.term++
				w.next, w.wake = w.now, true
				w.core.Learn(w.now, w.nodes[0].core.reads.began)
				w.run(time.Millisecond)
				w.wantGate("a leadership begins", ReasonDeaf)
				w.run(hb / 2)
				w.wantGate("half a heartbeat later", ReasonDeaf)
			}
			w.deafTo(0)
			w.run(hb)
			w.wantGate("it hears them")
		})
	}
}

// TestANewLeaderIsNotDeafForAnOldWord: a DEA falls silent for all, and just then the leader is lost, whose last word
// still counts it.
func TestANewLeaderIsNotDeafForAnOldWord(t *testing.T) {
	w := withPeers(t, 9, 25)
	d := w.deas["dea-003"]
	silent := d.beat.Add(2 * hb)
	d.quiet = true
	w.run(silent.Add(-wordAge / 10).Sub(w.now))
	for _, n := range w.nodes {
		if n.told, n.toldAt = n.intake.Hearing(), w.now; n.told.DEAs != 9 {
			t.Fatalf("just before its time to live is over %d DEAs are heard", n.told.DEAs)
		}
	}
	w.run(silent.Add(7 * wordAge / 10).Sub(w.now))
	w.simNode = w.nodes[1]
	w.term++
	w.next, w.wake = w.now, true
	w.core.Learn(w.now, w.nodes[0].core.reads.began)
	for range 20 {
		if w.run(hb / 100); slices.Contains(w.core.gate, ReasonDeaf) {
			t.Fatal("it is deaf")
		}
	}
	w.wantGone("it fell silent", 1)
}

// TestOnlyPeersWithAFreshPictureCount: what a peer says that cannot know keeps nothing on record.
func TestOnlyPeersWithAFreshPictureCount(t *testing.T) {
	for name, spoil := range map[string]func(w *world, peers []*simNode){
		"a link that has just come up": func(w *world, peers []*simNode) {
			for _, n := range peers {
				n.intake.Link(true, w.epoch)
			}
		},
		"a link that is late": func(w *world, peers []*simNode) {
			for _, n := range peers {
				n.intake.SetLag(func() time.Duration { return hb })
			}
		},
		"a link that is down": func(w *world, peers []*simNode) {
			for _, n := range peers {
				n.intake.Link(false, w.epoch)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := withPeers(t, 10, 25)
			w.deafTo(1)
			w.run(10 * hb)
			w.wantGone("the peers hear it", 0)
			spoil(w, w.nodes[1:])
			w.run(2*hb + hb/2) // what the peers said before counts for as long as a time to live
			w.wantGone("the peers' word counts no more", 1)
		})
	}
}

// TestADEAThatIsLostForAllIsLostInTime: asking the peers delays a loss by no heartbeat.
func TestADEAThatIsLostForAllIsLostInTime(t *testing.T) {
	w := withPeers(t, 10, 25)
	d := w.deas["dea-003"]
	last := d.beat.Add(-hb)
	d.quiet = true
	w.run(last.Add(3*hb).Sub(w.now) - time.Millisecond)
	w.wantGone("just before its time to live is over", 0)
	w.run(hb / maxSweepsPerPeriod)
	w.wantGone("just after", 1)
}

// mutePeers are peers that never answer.
type mutePeers struct{ asked int }

func (*mutePeers) Hearing() []Hearing             { return []Hearing{{DEAs: -1, Fresh: true}, {DEAs: 1 << 40}} }
func (p *mutePeers) Ask([]string)                 { p.asked++ }
func (*mutePeers) Answers() ([]PeerHearing, bool) { return []PeerHearing{{Counts: true}, {}}, false }

// TestPeersThatDoNotAnswerHoldUpNothing: a DEA is lost a second later than it would be.
func TestPeersThatDoNotAnswerHoldUpNothing(t *testing.T) {
	opts := testOptions()
	w := steady(t, 10, 25, opts)
	peers := &mutePeers{}
	w.core.opts.Peers = peers
	d := w.deas["dea-003"]
	last := d.beat.Add(-hb)
	d.quiet = true
	w.run(last.Add(3*hb+answerWithin).Sub(w.now) - time.Millisecond)
	w.wantGone("while answers are awaited", 0)
	w.run(hb / maxSweepsPerPeriod)
	w.wantGone("when none has come", 1)
	if peers.asked != 1 {
		t.Errorf("the peers were asked %d times", peers.asked)
	}
	w.run(5 * hb)
	w.wantSent("it is replaced", 10, 0)
}

// TestNothingIsLostOnALateLink: the leader's link is slow, so that each DEA is heard less often than once in a time to
// live, while everything runs.
func TestNothingIsLostOnALateLink(t *testing.T) {
	for _, alone := range []bool{true, false} {
		t.Run(fmt.Sprint("the leader is alone: ", alone), func(t *testing.T) {
			w := withPeers(t, 10, 25)
			if alone {
				w.nodes = w.nodes[:1]
			}
			w.slowDown(w.simNode, 6, 20*hb)
			w.run(2*hb + time.Second)
			w.wantGate("the link is more than a heartbeat late", ReasonNATSLate)
			w.run(18*hb - 2*time.Second)
			w.wantGone("the link was late all along", 0)
			w.wantGate("still late", ReasonNATSLate)
			w.run(5 * time.Second)
			w.wantGate("everything has come")
			w.run(30 * hb)
			w.wantSent("a link that was late", 0, 0)
		})
	}
}

// TestALagThatNobodySawBeginsTheTimesToLiveAnew: between two looks at the lag it was great, and is gone.
func TestALagThatNobodySawBeginsTheTimesToLiveAnew(t *testing.T) {
	w := steady(t, 10, 25, testOptions())
	d := w.deas["dea-003"]
	last := d.beat.Add(-hb)
	d.quiet = true
	w.run(last.Add(3*hb).Sub(w.now) - time.Second)
	w.intake.NoteLag(hb/2 + 1)
	w.run(3*hb - time.Second)
	w.wantGone("within the time to live that began anew", 0)
	w.run(hb + 2*time.Second) // for those that speak meanwhile have returned
	w.wantGone("after it", 1)
	if w.intake.NoteLag(hb / 2); w.intake.Late() {
		t.Error("late after half a heartbeat")
	}
}

// TestTheGateStaysShutUntilTheLagIsSmall: it does not open and shut while the lag is about a heartbeat.
func TestTheGateStaysShutUntilTheLagIsSmall(t *testing.T) {
	w := steady(t, 10, 25, testOptions())
	var lag time.Duration
	w.intake.SetLag(func() time.Duration { return lag })
	for _, c := range []struct {
		lag  time.Duration
		late bool
	}{{hb, false}, {hb + 1, true}, {hb - 1, true}, {hb/2 + 1, true}, {hb / 2, false}, {hb - 1, false}, {time.Hour, true}, {0, false}} {
		if lag = c.lag; w.intake.Late() != c.late {
			t.Errorf("with a lag of %v late is %v", c.lag, !c.late)
		}
	}
}
