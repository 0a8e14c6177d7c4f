package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// story is a simulation of which the notes of the leaders are compared.
type story struct{ *simCF }

func newStory(t *testing.T, opts Options) *story { return &story{steadyFleet(t, 4, 5, opts)} }

// want compares what the leaders noted since the last call, without times.
func (s *story) want(what string, told ...string) {
	s.t.Helper()
	var got []string
	for _, n := range s.notes {
		if n.Event != "picture.fresh" && n.Event != "queue.drained" {
			continue
		}
		text := n.Event
		for _, c := range n.Counts {
			if !strings.HasSuffix(c.Name, "_ms") {
				text += fmt.Sprintf(" %s=%d", c.Name, c.N)
			}
		}
		got = append(got, text)
	}
	if !slices.Equal(got, told) {
		s.t.Fatalf("%s: the leaders noted\n\t%s\nwant\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(told, "\n\t"))
	}
	s.notes = nil
}

// outage runs change during an outage of NATS, and on until the gate is open again.
func (s *story) outage(change func()) {
	s.t.Helper()
	s.setLink(false)
	s.run(10 * hb)
	change()
	s.run(10 * hb) // the Cloud Controller's database can be read meanwhile
	s.setLink(true)
	s.run(3*hb + time.Second)
	s.wantGate("the link is back and the picture is fresh")
}

// pause closes the gate for a while.
func (s *story) pause(d time.Duration) {
	s.t.Helper()
	if _, err := s.Propose(s.t.Context(), raftfsm.HoldSet{Hold: raftfsm.Hold{Name: HoldPaused, SetAt: s.now, Until: s.now.Add(d)}}); err != nil {
		s.t.Fatal(err)
	}
	s.wake = true
	s.run(10 * time.Millisecond)
	s.wantGate("paused", ReasonPaused)
}

func (s *story) scaleUp(n int) { s.apps[n].Instances++ }

func TestTheQueueAfterAnOutageIsTold(t *testing.T) {
	s := newStory(t, testOptions())
	s.outage(func() {
		s.scaleUp(0)
		s.scaleUp(0)
		s.apps[1].State = desired.Stopped
	})
	if d := s.core.Overview(s.now, Lead{Leader: true}).Drain; d == nil || d.Waiting != 2 || d.Stops != 4 {
		t.Errorf("while two starts wait for their grace the overview has %+v", d)
	}
	s.run(5 * hb)
	fresh := s.notes[slices.IndexFunc(s.notes, func(n raftfsm.Note) bool { return n.Event == "picture.fresh" })]
	if closed := fresh.Counts[1]; fresh.Detail != "actual-stale, desired-stale, nats-down" || closed.Name != "closed_ms" || closed.N != (23*hb).Milliseconds() {
		t.Errorf("the gate was closed for 23 heartbeats; it is told as %+v", fresh)
	}
	s.want("a scale-up and a stop during an outage", "picture.fresh apps=2 missing=2 undesired=4", "queue.drained starts_sent=2 stops_sent=4")
	s.wantSent("a scale-up and a stop during an outage", 2, 4)
	if d := s.core.Overview(s.now, Lead{Leader: true}).Drain; d != nil {
		t.Errorf("when all is settled the overview has %+v", d)
	}
	s.outage(func() {})
	s.run(20 * hb)
	s.want("an outage in which nothing changed")
}

func TestWhatHealsByItselfAfterAnOutageIsTold(t *testing.T) {
	opts := testOptions()
	opts.PollInterval = hb
	s := newStory(t, opts)
	s.outage(func() {
		s.scaleUp(0)
		s.scaleUp(1)
		s.scaleUp(2)
	})
	s.obey(commands.Command{Action: commands.Start, App: s.apps[0].Key, Index: 4}) // the Cloud Controller started it
	s.apps[1].Instances--
	d := s.deas["dea-001"] // it has an instance at the index of the third, in a state that hm does not know
	d.list = append(d.list, s.instance(s.apps[2].Key, 4, actual.Unknown))
	s.run(10 * hb)
	s.want("one healed by itself, one wanted no more, one unclear", "picture.fresh apps=3 missing=3",
		"queue.drained healed_by_itself=1 dropped=1 still_waiting=1")
	s.wantSent("nothing had to be sent", 0, 0)
}

// A new leader begins anew: it tells what still waits, and what becomes of that.
func TestAFailoverWhileTheQueueDrains(t *testing.T) {
	opts := testOptions()
	opts.StartLimit = 1
	s := newStory(t, opts)
	s.outage(func() {
		for range 4 {
			s.scaleUp(0)
		}
	})
	s.run(4 * hb) // the grace, and at least one start
	sent := len(s.sent)
	if sent == 0 || sent == 4 {
		t.Fatalf("%d starts were sent before the failover: too early or too late to tell", sent)
	}
	s.failover()
	s.run(20 * hb)
	s.want("a failover in the middle", "picture.fresh apps=1 missing=4", fmt.Sprintf("picture.fresh apps=1 missing=%d", 4-sent),
		fmt.Sprintf("queue.drained starts_sent=%d", 4-sent))
	s.wantSent("each start is sent once", 4, 0)
	s.failover()
	s.run(10 * hb)
	s.want("a failover of a fleet that is as desired")
}

func TestAShortClosingDoesNotInterruptTheQueue(t *testing.T) {
	s := newStory(t, testOptions())
	s.outage(func() { s.scaleUp(0); s.scaleUp(1) })
	s.pause(hb / 2)
	s.obey(commands.Command{Action: commands.Start, App: s.apps[0].Key, Index: 4}) // it may be heard while the gate is closed
	for _, d := range s.deas {
		d.nextBeat = s.now + 1
	}
	s.run(6 * hb)
	s.want("a closing of half a heartbeat", "picture.fresh apps=2 missing=2", "queue.drained healed_by_itself=1 starts_sent=1")
	s.scaleUp(2)
	s.run(7 * hb)
	s.pause(2 * hb)
	s.run(20 * hb)
	s.want("a closing of two heartbeats while a start waits for its grace", "picture.fresh apps=1 missing=1", "queue.drained starts_sent=1")
}

// An app of which nothing is scheduled is not in the pass over the fleet once it is as desired.
func TestWhatHealsWhileTheGateIsClosedForAMomentIsTold(t *testing.T) {
	s := newStory(t, testOptions())
	s.setLink(false)
	s.run(10 * hb)
	d := s.deas["dea-001"]
	d.list = append(d.list, s.instance(s.apps[2].Key, 9, actual.Running))
	s.run(2 * hb)
	s.readErr = errTest // its stop waits for a newer read
	s.setLink(true)
	s.run(3*hb + time.Second)
	s.want("an instance that is not desired", "picture.fresh apps=1 extra=1")
	s.pause(hb / 2)
	d.list = d.list[:len(d.list)-1]
	d.nextBeat = s.now + 1
	s.run(hb)
	s.want("it is gone", "queue.drained healed_by_itself=1")
}

// What is followed is settled by the pass over the fleet, too, since that replaces what is queued.
func TestTheQueueDrainsWhateverIsMissed(t *testing.T) {
	d := &drain{begun: true, targets: map[app.Key][]waitingTarget{}}
	s := raftfsm.NewState()
	k := testKey(1, 1)
	d.targets[k] = []waitingTarget{{action: commands.Start, index: 3}, {action: commands.Stop, instance: app.MustGUID("gone")}}
	d.Waiting = 2
	d.settled(s, []app.Key{k})
	if d.Waiting != 2 {
		t.Fatalf("an app that drifts still is settled: %+v", d.Drain)
	}
	d.settled(s, nil)
	if d.Waiting != 0 || d.Dropped != 1 || d.Healed != 1 || len(d.targets) != 0 {
		t.Errorf("after a pass: %+v", d.Drain)
	}
}
