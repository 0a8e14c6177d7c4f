package reconcile

import (
	"errors"
	"testing"
	"time"

	"hm/actual"
)

// TestBehindTellsHowLongAHeartbeatWaits: what was heard may wait one heartbeat to be recorded, whatever is heard meanwhile.
func TestBehindTellsHowLongAHeartbeatWaits(t *testing.T) {
	w := newWorld(t, testOptions())
	w.addDEAs(2)
	w.desire(2, 1, true)
	w.run(10 * hb)
	if w.intake.Behind(hb) {
		t.Fatal("behind, though all is recorded")
	}
	w.fail = errors.New("no majority")
	for _, d := range w.deas {
		d.list = append(d.list, w.instance(testKey(9, 1), 0, actual.Running))
	}
	w.run(hb) // both have told it now
	if w.intake.Backlog() != 2 || w.intake.Behind(hb) {
		t.Fatalf("%d wait, behind: %v, within one heartbeat", w.intake.Backlog(), w.intake.Behind(hb))
	}
	for i := range 3 { // they go on saying other things
		w.run(hb)
		if !w.intake.Behind(hb) {
			t.Fatal("not behind, though a heartbeat has waited for longer than a period")
		}
		for _, d := range w.deas {
			d.list[0].State = []actual.State{actual.Evacuating, actual.Running}[i%2]
		}
	}
	if !w.intake.Behind(2*hb) || w.intake.Behind(5*hb) {
		t.Error("the oldest of several unrecorded heartbeats counts")
	}
	w.fail = nil
	w.step()
	if w.intake.Behind(0) {
		t.Error("behind, though all is recorded again")
	}
	w.run(time.Second)
	for _, d := range w.deas {
		d.list = d.list[:1]
	}
	w.fail = errors.New("no majority")
	w.run(hb)
	if w.intake.Behind(hb) {
		t.Error("the wait of an earlier backlog counts for a new one")
	}
}

// TestBehindSeesWhatTheLeaderRecorded: a follower that has not taken a step since is not behind.
func TestBehindSeesWhatTheLeaderRecorded(t *testing.T) {
	w := newWorld(t, testOptions())
	w.addDEAs(1)
	w.desire(1, 1, true)
	w.run(hb)
	d := w.deas["dea-000"]
	follower := NewIntake(w, actual.NewLiveness(hb, 3*hb, 3*hb, w.now), func() {})
	follower.Link(true, 1)
	d.list = append(d.list, w.instance(testKey(9, 1), 0, actual.Running))
	said := actual.Heartbeat{DEA: d.id, Instances: d.list}
	follower.Heartbeat(said, digestOf(said))
	w.now = w.now.Add(2 * hb)
	if !follower.Behind(hb) {
		t.Fatal("not behind, though nobody has recorded it")
	}
	w.intake.Heartbeat(said, digestOf(said))
	w.step()
	if follower.Backlog() != 1 {
		t.Fatal("the follower has settled already: this test shows nothing")
	}
	if follower.Behind(hb) {
		t.Error("behind, though the leader has recorded it")
	}
}
