package reconcile

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"hm/actual"
	"hm/raftfsm"
)

// secondIntake is the intake of a follower that has heard the present list of every DEA.
func secondIntake(cf *simCF) (in *Intake, hear func(d *simDEA, list []actual.Instance)) {
	in = NewIntake(simIntakeLog{cf.simNode}, actual.NewLiveness(hb, 3*hb, 3*hb, cf.now), func() {})
	in.Link(true, 1)
	in.Follow(true)
	hear = func(d *simDEA, list []actual.Instance) {
		h := actual.Heartbeat{DEA: d.id, Instances: slices.Clone(list)}
		if digest := digestOf(h); !in.Unchanged(digest) {
			in.Heartbeat(h, digest)
		}
	}
	for _, d := range cf.deas {
		hear(d, d.list)
	}
	in.Settle(cf.View())
	return in, hear
}

// TestI5ANewLeaderRecordsNoListOlderThanTheRecord: a node that hears less than the leader before it, or
// later, does not take back what that leader recorded.
func TestI5ANewLeaderRecordsNoListOlderThanTheRecord(t *testing.T) {
	setUp := func(t *testing.T) (cf *simCF, d *simDEA, in *Intake, hear func(*simDEA, []actual.Instance), before []actual.Instance) {
		cf = steadyFleet(t, 6, 10, testOptions())
		in, hear = secondIntake(cf)
		d = cf.deas["dea-001"]
		before = slices.Clone(d.list)
		d.list = append(slices.Clone(d.list[1:]), cf.instance(before[0].App, before[0].Index, actual.Running))
		cf.run(hb) // the leader hears and records it
		return cf, d, in, hear, before
	}
	changes := func(cf *simCF, in *Intake) int { return len(in.Changes(cf.View(), 10)) }
	t.Run("the old list was heard before the change", func(t *testing.T) {
		cf, d, in, hear, before := setUp(t)
		hear(d, append(slices.Clone(before), cf.instance(before[0].App, 9, actual.Crashed)))
		in.BeginLeading(cf.View(), cf.now)
		if n := changes(cf, in); n != 0 || in.Backlog() != 0 {
			t.Errorf("%d changes; backlog %d", n, in.Backlog())
		}
	})
	t.Run("the old list is late", func(t *testing.T) {
		cf, d, in, hear, before := setUp(t)
		in.BeginLeading(cf.View(), cf.now)
		hear(d, before)
		if n := changes(cf, in); n != 0 {
			t.Errorf("%d changes", n)
		}
		cf.run(hb)
		if hear(d, before); changes(cf, in) != 1 {
			t.Error("the DEA says so again a period later, and it is not recorded")
		}
	})
	t.Run("the old list is as late as the link", func(t *testing.T) {
		cf, d, in, hear, before := setUp(t)
		in.BeginLeading(cf.View(), cf.now)
		in.SetLag(func() time.Duration { return 4 * hb })
		cf.run(4 * hb)
		if hear(d, before); changes(cf, in) != 0 {
			t.Error("it is recorded")
		}
		cf.run(hb)
		if hear(d, before); changes(cf, in) != 1 {
			t.Error("it was sent a period after the change, and is not recorded")
		}
	})
	t.Run("the list is newer than what was heard and recorded", func(t *testing.T) {
		cf, d, in, hear, _ := setUp(t)
		hear(d, d.list)
		in.BeginLeading(cf.View(), cf.now)
		if hear(d, d.list[1:]); changes(cf, in) != 1 {
			t.Error("it is not recorded at once")
		}
	})
	t.Run("this leader made the record", func(t *testing.T) {
		cf, d, in, hear, _ := setUp(t)
		hear(d, d.list)
		in.BeginLeading(cf.View().Freeze(), cf.now.Add(-time.Minute))
		d.list = d.list[1:]
		cf.run(hb)
		if hear(d, d.list[1:]); changes(cf, in) != 1 {
			t.Error("a change of what it recorded itself is not recorded at once")
		}
	})
	t.Run("a follower keeps the list", func(t *testing.T) {
		cf, d, in, hear, before := setUp(t)
		hear(d, before)
		in.BeginLeading(cf.View(), cf.now)
		in.Follow(true)
		if hear(d, before); in.Backlog() != 1 {
			t.Error("it is dropped")
		}
	})
}

// TestI1ANewLeaderWaitsForADEAWhoseListItDoesNotHave: the record says that a DEA is gone, or has an older
// list, and this leader hears the DEA. It sends nothing before the DEA's next heartbeat.
func TestI1ANewLeaderWaitsForADEAWhoseListItDoesNotHave(t *testing.T) {
	gone := func(t *testing.T, cf *simCF, dea string) {
		t.Helper()
		if _, err := cf.Propose(t.Context(), raftfsm.DEAsGone{DEAs: []string{dea}}); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("the DEA is recorded as gone", func(t *testing.T) {
		cf := steadyFleet(t, 6, 10, testOptions())
		in, hear := secondIntake(cf)
		d := cf.deas["dea-001"]
		gone(t, cf, d.id)
		if in.BeginLeading(cf.View(), cf.now); !in.Awaits() {
			t.Error("it does not wait")
		}
		if hear(d, d.list); in.Awaits() || len(in.Changes(cf.View(), 10)) != 1 {
			t.Error("the DEA is heard: it still waits, or does not record the list")
		}
	})
	t.Run("the DEA does not come back", func(t *testing.T) {
		cf := steadyFleet(t, 6, 10, testOptions())
		in, _ := secondIntake(cf)
		gone(t, cf, "dea-001")
		in.BeginLeading(cf.View(), cf.now)
		if cf.run(hb); !in.Awaits() {
			t.Error("it waits for less than a heartbeat period")
		}
		if cf.run(hb); in.Awaits() {
			t.Error("it waits for a DEA that has missed a heartbeat")
		}
	})
	t.Run("the list may be older than the record", func(t *testing.T) {
		cf := steadyFleet(t, 6, 10, testOptions())
		in, hear := secondIntake(cf)
		d := cf.deas["dea-001"]
		before := slices.Clone(d.list)
		d.list = d.list[1:]
		cf.run(hb) // the leader hears and records it
		in.BeginLeading(cf.View(), cf.now)
		if hear(d, append(slices.Clone(before), cf.instance(before[0].App, 9, actual.Crashed))); !in.Awaits() {
			t.Error("it does not wait")
		}
		if hear(d, d.list); in.Awaits() {
			t.Error("it still waits")
		}
	})
	t.Run("the list was dropped while no leader was known, and the record has changed since", func(t *testing.T) {
		cf := steadyFleet(t, 6, 10, testOptions())
		in, hear := secondIntake(cf)
		d := cf.deas["dea-001"]
		before := slices.Clone(d.list)
		in.Follow(false)
		hear(d, before) // it agrees with the record that this node has
		d.list = d.list[1:]
		cf.run(hb) // an entry that this node did not have yet says so
		if in.BeginLeading(cf.View(), cf.now); !in.Awaits() {
			t.Error("it does not wait")
		}
		cf.run(hb)
		if hear(d, before); in.Awaits() || len(in.Changes(cf.View(), 10)) != 1 {
			t.Error("the DEA is heard a period later: it still waits, or does not record the list")
		}
	})
	t.Run("a leader was known when the list was dropped", func(t *testing.T) {
		cf := steadyFleet(t, 6, 10, testOptions())
		in, hear := secondIntake(cf)
		d := cf.deas["dea-001"]
		in.Follow(false)
		hear(d, d.list)
		in.Follow(true)
		hear(d, d.list)
		d.list = d.list[1:]
		cf.run(hb)
		if in.BeginLeading(cf.View(), cf.now); in.Awaits() {
			t.Error("the record has changed since it was heard: it waits")
		}
	})
	t.Run("no leader was known, and the record is as it was", func(t *testing.T) {
		cf := steadyFleet(t, 6, 10, testOptions())
		in, hear := secondIntake(cf)
		in.Follow(false)
		for _, d := range cf.deas {
			hear(d, d.list)
		}
		if in.BeginLeading(cf.View(), cf.now); in.Awaits() {
			t.Error("it waits")
		}
	})
	t.Run("the messages of a stranger cannot be decoded", func(t *testing.T) {
		cf := steadyFleet(t, 6, 10, testOptions())
		in, _ := secondIntake(cf)
		in.Follow(false)
		in.Garbled("stranger", "out of order, for a test")
		if in.BeginLeading(cf.View(), cf.now); in.Awaits() {
			t.Error("it waits for a list that nobody has")
		}
	})
	t.Run("the gate is closed", func(t *testing.T) {
		cf := steadyFleet(t, 6, 10, testOptions())
		cf.term++ // before it steps again
		gone(t, cf, "dea-001")
		cf.next, cf.wake = cf.now, true
		cf.run(time.Millisecond)
		cf.wantGate("a DEA that is heard is recorded as gone", ReasonActualStale)
		cf.run(2 * hb)
		cf.wantGate("the DEA was heard again")
		cf.run(10 * hb)
		cf.wantSent("nothing was lost", 0, 0)
	})
}

// TestI1NoStartForWhatIsListedBeforeALeaderIsKnown: a start is due for an instance whose entry could not be
// read. All nodes are killed and know an old record at first. It has the instance, and so has its DEA again.
// Then a node leads, and its record does not have the instance any more. The start is not sent.
func TestI1NoStartForWhatIsListedBeforeALeaderIsKnown(t *testing.T) {
	cf := steadyFleet(t, 6, 10, testOptions())
	cf.faults = &faults{rnd: rand.New(rand.NewPCG(1, 1)), calm: true}
	cf.beginCluster(3)
	cf.truth.changed(cf)
	d := cf.deas["dea-001"]
	g := d.list[0].GUID
	cf.unreadable, cf.unreadableSince = g, cf.now
	cf.run(5 * hb)
	if n := cf.View().Counts().PendingStarts; n != 1 {
		t.Fatalf("%d starts are pending, want the one of the instance whose entry cannot be read", n)
	}
	cf.setLink(false)
	cf.run(4 * hb) // the start becomes due
	short := raftfsm.Hold{Name: HoldPaused, By: "a person", SetAt: cf.Now(), Until: cf.Now() + 1}
	cf.byAPerson(raftfsm.HoldSet{Hold: short})
	cf.run(time.Second) // an entry tells the nodes the time when they start again
	cf.isolateAll()
	cf.reportPlainly(g)
	cf.setLink(true)
	cf.restartAll()
	cf.run(11 * hb)
	cf.mendCuts()
	cf.run(10 * hb)
	cf.wantGate("a node leads again")
	cf.wantSent("the instance runs", 0, 0)
	if n := cf.View().Counts().PendingStarts; n != 0 {
		t.Errorf("%d starts are pending, want none: the instance is recorded again", n)
	}
}
