package reconcile

import (
	"errors"
	"testing"
	"time"

	"hm/actual"
)

// TestBehindTellsHowLongAHeartbeatWaits: what was heard may wait one heartbeat to be recorded,
// whatever is heard meanwhile.
func TestBehindTellsHowLongAHeartbeatWaits(t *testing.T) {
	cf := newSimCF(t, testOptions())
	cf.addDEAs(2)
	cf.desire(2, 1, true)
	cf.run(10 * hb)
	if cf.intake.Behind(hb) {
		t.Fatal("behind, though all is recorded")
	}
	cf.fail = errors.New("no majority")
	for _, d := range cf.deas {
		d.list = append(d.list, cf.instance(testKey(9, 1), 0, actual.Running))
	}
	cf.run(hb) // both have told it now
	if cf.intake.Backlog() != 2 || cf.intake.Behind(hb) {
		t.Fatalf("%d wait, behind: %v, within one heartbeat", cf.intake.Backlog(), cf.intake.Behind(hb))
	}
	for i := range 3 { // they go on saying other things
		cf.run(hb)
		if !cf.intake.Behind(hb) {
			t.Fatal("not behind, though a heartbeat has waited for longer than a period")
		}
		for _, d := range cf.deas {
			d.list[0].State = []actual.State{actual.Evacuating, actual.Running}[i%2]
		}
	}
	if !cf.intake.Behind(2*hb) || cf.intake.Behind(5*hb) {
		t.Error("the oldest of several unrecorded heartbeats counts")
	}
	cf.fail = nil
	cf.step()
	if cf.intake.Behind(0) {
		t.Error("behind, though all is recorded again")
	}
	cf.run(time.Second)
	for _, d := range cf.deas {
		d.list = d.list[:1]
	}
	cf.fail = errors.New("no majority")
	cf.run(hb)
	if cf.intake.Behind(hb) {
		t.Error("the wait of an earlier backlog counts for a new one")
	}
}

// TestBehindSeesWhatTheLeaderRecorded: a follower that has not taken a step since is not behind.
func TestBehindSeesWhatTheLeaderRecorded(t *testing.T) {
	cf := newSimCF(t, testOptions())
	cf.addDEAs(1)
	cf.desire(1, 1, true)
	cf.run(hb)
	d := cf.deas["dea-000"]
	follower := NewIntake(cf, actual.NewLiveness(hb, 3*hb, 3*hb, cf.now), func() {})
	follower.Link(true, 1)
	d.list = append(d.list, cf.instance(testKey(9, 1), 0, actual.Running))
	said := actual.Heartbeat{DEA: d.id, Instances: d.list}
	follower.Heartbeat(said, digestOf(said))
	cf.now = cf.now.Add(2 * hb)
	if !follower.Behind(hb) {
		t.Fatal("not behind, though nobody has recorded it")
	}
	cf.intake.Heartbeat(said, digestOf(said))
	cf.step()
	if follower.Backlog() != 1 {
		t.Fatal("the follower has settled already: this test shows nothing")
	}
	if follower.Behind(hb) {
		t.Error("behind, though the leader has recorded it")
	}
}
