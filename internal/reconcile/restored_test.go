package reconcile

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// saved gives a snapshot of what is committed.
func (cf *simCF) saved() []byte {
	cf.t.Helper()
	var b bytes.Buffer
	if err := cf.View().WriteSnapshot(&b); err != nil {
		cf.t.Fatal(err)
	}
	return b.Bytes()
}

// restoreSnapshot puts a snapshot in the place of what is committed, as a person does it while hm runs.
func (cf *simCF) restoreSnapshot(data []byte) {
	cf.t.Helper()
	s, err := raftfsm.RestoreState(bytes.NewReader(data))
	if err != nil {
		cf.t.Fatal(err)
	}
	cf.index = max(cf.index, s.Index()) + 16
	err = s.TakeOver(raftfsm.Restoration{
		Index: cf.index, Term: cf.term, Present: cf.View(), At: cf.now,
		Hold: RestoredHold(cf.now, 3*hb, cf.opts.Policy, "a snapshot was restored", "ada"),
	})
	if err != nil {
		cf.t.Fatal(err)
	}
	cf.state, cf.view = s, nil
	cf.next = cf.now
}

// becomeAnother makes the fleet another one than a snapshot of before has: apps are scaled, stopped, deleted, new and of new
// versions, an instance is lost, and a DEA is replaced.
func (cf *simCF) becomeAnother() {
	cf.apps[0].Instances = 7
	cf.apps[1].Instances = 1
	cf.apps[2].State = desired.Stopped
	cf.apps[3].Key.Version = app.MustGUID("v2")
	cf.desire(4, 3, false)
	cf.apps = slices.Delete(cf.apps, 4, 6)
	cf.run(60 * hb)
	old := cf.deas["dea-001"]
	delete(cf.deas, "dea-001")
	cf.deas["dea-new"] = &simDEA{id: "dea-new", list: old.list, nextBeat: cf.now}
	d := cf.deas["dea-002"]
	d.list = d.list[1:]
	cf.run(120 * hb)
}

// I5: an old snapshot is restored while hm runs, with a fleet that has changed since. hm waits for a fresh picture and a
// read, and sends nothing, because nothing drifts.
func TestI5RestoredSnapshotCausesNoCommand(t *testing.T) {
	cf := steadyFleet(t, 6, 20, testOptions())
	old := cf.saved()
	cf.becomeAnother()
	if d := cf.drift(); len(d) > 0 {
		t.Fatalf("drift before the restore: %v", d)
	}
	sent, reads, before := len(cf.sent), cf.readsMade, cf.now
	cf.restoreSnapshot(old)
	cf.run(time.Second)
	cf.wantGate("a second after the restore", ReasonActualStale, "hold:"+HoldRestored)
	cf.run(5*hb + hb/2)
	cf.wantGate("at the end of the freshness window and the grace", "hold:"+HoldRestored)
	if cf.readsMade == reads {
		t.Error("the desired state was not read again")
	}
	cf.run(hb)
	cf.wantGate("afterwards")
	cf.run(60 * hb)
	cf.wantGate("at rest")
	if len(cf.sent) != sent {
		t.Errorf("%d commands were sent after the restore: %+v", len(cf.sent)-sent, cf.sent[sent:])
	}
	if d := cf.drift(); len(d) > 0 {
		t.Errorf("drift after the restore: %v", d)
	}
	if got := cf.View(); got.Time() < before || got.Restores() != 1 {
		t.Errorf("hm time went back to %d from %d, or %d restores", got.Time(), before, got.Restores())
	}
	// hm does its work again.
	lost := cf.deas["dea-new"]
	lost.list = lost.list[1:]
	cf.run(20 * hb)
	if n := len(cf.sent) - sent; n != 1 {
		t.Errorf("%d commands for one lost instance", n)
	}
}

// A command that was outstanding in the snapshot never goes out, whatever its state was.
func TestI2CommandsOfASnapshotNeverGoOut(t *testing.T) {
	cf := steadyFleet(t, 6, 20, testOptions())
	cf.nobodyObeys = true
	cf.deas["dea-001"].list = nil // starts are pending, claimed and sent
	cf.deas["dea-002"].list = append(cf.deas["dea-002"].list, cf.instance(testKey(0, 1), 1, actual.Running))
	cf.opts.StartLimit = 1
	cf.restart()
	cf.run(12 * hb)
	states := map[commands.State]int{}
	for c := range cf.View().AllCommands() {
		states[c.State]++
	}
	if states[commands.Pending] == 0 || states[commands.Sent] == 0 {
		t.Fatalf("the snapshot has commands in the states %v, want pending and sent ones", states)
	}
	old := cf.saved()
	cf.nobodyObeys, cf.opts.StartLimit = false, 60
	cf.restart()
	cf.run(200 * hb)
	if d := cf.drift(); len(d) > 0 {
		t.Fatalf("drift before the restore: %v", d)
	}
	sent := len(cf.sent)
	cf.restoreSnapshot(old)
	if n := len(slices.Collect(cf.View().AllCommands())); n != 0 {
		t.Errorf("%d commands are outstanding after the restore", n)
	}
	cf.run(100 * hb)
	if len(cf.sent) != sent {
		t.Errorf("%d commands were sent after the restore: %+v", len(cf.sent)-sent, cf.sent[sent:])
	}
}

// Leaders that follow the restore wait as well: the hold and the time of the restore are recorded, and a read from before
// it does not count, whoever tells of it.
func TestI5RestoreAndFailover(t *testing.T) {
	cf := steadyFleet(t, 6, 20, testOptions())
	old := cf.saved()
	cf.becomeAnother()
	sent, began := len(cf.sent), cf.core.reads.began
	cf.restoreSnapshot(old)
	cf.run(time.Second)
	cf.readErr = errTest // no read succeeds any more
	for range 12 {
		cf.failover()
		cf.core.Learn(cf.now, began)
		cf.run(hb)
		if len(cf.core.gate) == 0 {
			t.Fatalf("the gate is open %v after the restore, without a read", cf.now.Sub(cf.View().RestoredAt()))
		}
	}
	cf.readErr = nil
	cf.failover()
	cf.run(60 * hb)
	cf.wantGate("after a read")
	if len(cf.sent) != sent {
		t.Errorf("%d commands were sent after the restore: %+v", len(cf.sent)-sent, cf.sent[sent:])
	}
}

// A heartbeat that repeats what was recorded before the restore is compared with the record again: an id of a revision
// may mean another record now, as in a snapshot of another cluster.
func TestARestoreForgetsWhichHeartbeatsAgree(t *testing.T) {
	cf := steadyFleet(t, 4, 5, testOptions())
	other := steadyFleet(t, 4, 5, testOptions()) // the same steps: the same revisions
	for _, d := range other.deas {
		for i := range d.list {
			d.list[i].State = actual.Starting
		}
	}
	cf.restoreSnapshot(other.saved())
	cf.run(2 * hb)
	if c := cf.View().Counts(); c.Running != cf.live() || c.Starting != 0 {
		t.Errorf("%d instances are recorded as running, %d as starting, and %d run", c.Running, c.Starting, cf.live())
	}
}
