package reconcile

import (
	"slices"
	"strings"
	"testing"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

// steadyCell is steadyFleet in a cell, with apps of another cell on the same bus.
func steadyCell(t *testing.T, deas, apps int) *simCF {
	t.Helper()
	opts := testOptions()
	opts.Filter = cellFilter.String()
	cf := steadyFleet(t, deas, apps, opts)
	cf.addForeign(6, 3)
	cf.run(10 * hb)
	cf.wantGate("a steady cell")
	cf.wantSent("a steady cell", 0, 0)
	return cf
}

// foreignFindings counts the findings about what is left alone.
func (cf *simCF) foreignFindings() (n int) {
	NewEvaluator(cf.opts.Policy).Fleet(cf.View(), cf.core.Knowledge(cf.now), cf.now, func(a *Evaluation) bool {
		for i := range a.Findings {
			if a.Findings[i].Rule == "R65" {
				n++
			}
		}
		return true
	})
	return n
}

// awaitStoppedRow runs until the row of an app says STOPPED.
func (cf *simCF) awaitStoppedRow(droplet app.GUID) {
	cf.t.Helper()
	for range 200 {
		if cf.run(hb / 10); cf.recordedRow(droplet).State == desired.Stopped {
			return
		}
	}
	cf.t.Fatalf("%+v is recorded of %s, which is gone", cf.recordedRow(droplet), droplet)
}

// instancesOf counts the live instances of a droplet that there really are.
func (cf *simCF) instancesOf(droplet app.GUID) (n int) {
	for k, at := range cf.liveAtEach() {
		if k.Droplet == droplet {
			for _, instances := range at {
				n += instances
			}
		}
	}
	return n
}

// TestR65AppsOfAnotherCellAreLeftAlone: nothing is sent for them, whatever happens to them, by any
// leader.
func TestR65AppsOfAnotherCellAreLeftAlone(t *testing.T) {
	cf := steadyCell(t, 4, 10)
	if n := cf.foreignFindings(); n != 18 {
		t.Errorf("%d findings with R65, want one for each of 18 instances", n)
	}
	for _, d := range cf.deas {
		for i := range d.list {
			switch inst := &d.list[i]; {
			case !cf.cell.foreign[inst.App.Droplet]:
			case inst.Index == 0:
				inst.State = actual.Crashed
				cf.exit(actual.Exit{App: inst.App, Instance: inst.GUID, Index: inst.Index, Reason: actual.ExitCrashed})
			case inst.Index == 1:
				inst.State = actual.Evacuating
			}
		}
	}
	cf.run(20 * hb)
	cf.restart()
	cf.run(20 * hb)
	cf.wantGate("after a restart")
	cf.wantSent("apps of another cell that crash and evacuate", 0, 0)
}

// TestR65AnAppThatLeftIsStopped: an app that was recorded here and is gone is stopped, by whoever
// leads, although it has no row; then its record goes.
func TestR65AnAppThatLeftIsStopped(t *testing.T) {
	for name, after := range map[string]func(*simCF){
		"the same leader":      func(*simCF) {},
		"another leader":       func(cf *simCF) { cf.failover() },
		"a leader that is new": func(cf *simCF) { cf.restart() },
	} {
		t.Run(name, func(t *testing.T) {
			cf := steadyCell(t, 4, 10)
			k := cf.apps[3].Key
			cf.nobodyObeys = true
			cf.leave(3)
			cf.awaitStoppedRow(k.Droplet)
			before := cf.View().DesiredMeta()
			after(cf)
			cf.run(15 * hb)
			if row := cf.recordedRow(k.Droplet); row.State != desired.Stopped || row.Key != k {
				t.Fatalf("while its instances run, %+v is recorded", row)
			}
			if again := cf.View().DesiredMeta(); again.Generation != before.Generation {
				t.Errorf("further reads that do not have the app record something: generation %d after %d", again.Generation, before.Generation)
			}
			cf.nobodyObeys = false
			cf.run(20 * hb)
			if n := cf.instancesOf(k.Droplet); n != 0 {
				t.Errorf("%d instances of the app run", n)
			}
			if v := cf.View().Versions(k.Droplet); len(v) != 0 {
				t.Errorf("%v is still recorded", v)
			}
			if cf.live() != 36 || len(cf.drift()) > 0 {
				t.Errorf("%d instances of the other apps run, want 36; drift %v", cf.live(), cf.drift())
			}
		})
	}
}

// TestR65AStartThatTakesEffectLateIsUndone: the app is gone when the effect of its start comes.
func TestR65AStartThatTakesEffectLateIsUndone(t *testing.T) {
	cf := steadyCell(t, 4, 10)
	k := cf.apps[3].Key
	for _, d := range cf.deas {
		d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.App == k })
	}
	cf.nobodyObeys = true
	for len(cf.sent) < 4 {
		cf.run(hb / 10)
	}
	cf.leave(3)
	cf.intake.Updated(k.Droplet)
	cf.awaitStoppedRow(k.Droplet)
	cf.nobodyObeys = false
	for _, c := range cf.sent {
		cf.obey(c.Command)
	}
	cf.run(20 * hb)
	if n := cf.instancesOf(k.Droplet); n != 0 || len(cf.View().Versions(k.Droplet)) != 0 {
		t.Errorf("%d instances run, and %v is recorded", n, cf.View().Versions(k.Droplet))
	}
}

// TestR65AnAppThatComesBackIsWanted: its row says again what is desired, and it runs.
func TestR65AnAppThatComesBackIsWanted(t *testing.T) {
	for name, single := range map[string]bool{"in a complete read": false, "in a read of the app alone": true} {
		t.Run(name, func(t *testing.T) {
			cf := steadyCell(t, 4, 10)
			cf.opts.ReadsApps = single
			cf.failover()
			k := cf.apps[3].Key
			cf.leave(3)
			cf.awaitStoppedRow(k.Droplet)
			cf.apps = append(cf.apps, cf.cell.left[0])
			if single {
				cf.post("updated", func(in *Intake) { in.Updated(k.Droplet) })
				cf.run(hb / 2)
				if row := cf.recordedRow(k.Droplet); !row.Wanted() {
					t.Fatalf("%+v is recorded", row)
				}
			}
			cf.run(30 * hb)
			if n := cf.instancesOf(k.Droplet); n != 4 || !cf.recordedRow(k.Droplet).Wanted() {
				t.Errorf("%d instances of the app run, and %+v is recorded", n, cf.recordedRow(k.Droplet))
			}
		})
	}
}

// TestR65AnAppThatAnotherCellStartsIsLeftAlone: an app that moves is started anew there, in another
// version, on the same bus. Only what it had here is stopped.
func TestR65AnAppThatAnotherCellStartsIsLeftAlone(t *testing.T) {
	cf := steadyCell(t, 4, 10)
	old := cf.apps[3].Key
	moved := app.Key{Droplet: old.Droplet, Version: app.MustGUID("v-there")}
	cf.leave(3)
	for index := range uint32(4) {
		cf.obey(commands.Command{Action: commands.Start, App: moved, Index: index})
	}
	cf.nobodyObeys = true // the row stays for a while
	cf.run(20 * hb)
	cf.nobodyObeys = false
	cf.run(20 * hb)
	if len(cf.sent) < 8 {
		t.Errorf("%d commands were sent, want stops again and again", len(cf.sent))
	}
	for _, c := range cf.sent {
		if c.App != old || c.Action != commands.Stop {
			t.Errorf("a stop of %s", c.App)
		}
	}
	if n := cf.instancesOf(old.Droplet); n != 4 {
		t.Errorf("%d instances run, want the 4 of the other cell", n)
	}
	if v := cf.recordedRow(old.Droplet); v != (desired.App{}) {
		t.Errorf("%+v is still recorded", v)
	}
}

// TestR65ManyAppsThatLeaveHold: the guard counts them as gone, as it does without a filter.
func TestR65ManyAppsThatLeaveHold(t *testing.T) {
	for name, filter := range map[string]string{"whole": "", "a cell": cellFilter.String()} {
		t.Run(name, func(t *testing.T) {
			opts := testOptions()
			opts.Filter = filter
			cf := steadyFleet(t, 4, 30, opts)
			for range 16 {
				cf.leave(0)
			}
			cf.run(10 * hb)
			cf.wantGate("most apps are gone", "hold:desired-shrink")
			cf.wantSent("most apps are gone", 0, 0)
			holds := cf.View().Holds()
			if want := "a read dropped 16 of 30 desired apps"; len(holds) != 1 || holds[0].Reason != want || holds[0].AppsBefore != 30 {
				t.Errorf("holds %+v, want one: %s", holds, want)
			}
			if meta := cf.View().DesiredMeta(); meta.Apps != 14 || meta.Instances != 56 {
				t.Errorf("%d desired apps with %d instances, want 14 with 56", meta.Apps, meta.Instances)
			}
		})
	}
}

// TestR65AnotherFilterStopsNothing: when the nodes get another filter, or their first one, what it
// does not let through is left alone, since it belongs to another cell from now on. Before a read
// through the new filter nothing is sent.
func TestR65AnotherFilterStopsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		before, after string
		leave         int
	}{
		"the first filter":                  {"", cellFilter.String(), 5},
		"another filter":                    {cellFilter.String(), otherFilter.String(), 5},
		"another filter with the same apps": {cellFilter.String(), otherFilter.String(), 0},
	} {
		t.Run(name, func(t *testing.T) {
			opts := testOptions()
			opts.Filter = c.before
			cf := steadyFleet(t, 4, 30, opts)
			for range c.leave {
				cf.leave(0)
			}
			cf.opts.Filter, cf.readErr = c.after, errTest
			cf.failover() // it knows of a complete read that is recent, through the filter before
			cf.core.Learn(cf.now, cf.now)
			cf.run(2 * hb)
			cf.wantGate("before a read through the new filter", ReasonDesiredStale)
			cf.readErr = nil
			cf.run(40 * hb)
			cf.wantGate("after a read through the new filter")
			cf.wantSent("another filter", 0, 0)
			if n := cf.foreignFindings(); n != 4*c.leave {
				t.Errorf("%d findings with R65, want %d", n, 4*c.leave)
			}
		})
	}
}

// TestR65NoFilterAnyMore: once the whole desired state is read again, what nobody wants is stopped,
// and not before.
func TestR65NoFilterAnyMore(t *testing.T) {
	cf := steadyCell(t, 4, 10)
	for g := range cf.cell.foreign { // the whole desired state has these
		cf.apps = append(cf.apps, desired.App{
			Key: app.Key{Droplet: g, Version: app.MustGUID("v1")}, Instances: 2, State: desired.Started, Package: desired.Staged,
		})
	}
	cf.opts.Filter, cf.readErr = "", errTest
	cf.failover()
	cf.core.Learn(cf.now, cf.now)
	cf.run(2 * hb)
	cf.wantGate("before a whole read", ReasonDesiredStale)
	cf.cell.foreign = nil
	cf.readErr = nil
	cf.run(10 * hb)
	cf.wantGate("after a whole read")
	cf.wantSent("one instance of each of 6 apps is too many", 0, 6)
	if n := cf.foreignFindings(); n != 0 {
		t.Errorf("%d findings with R65", n)
	}
}

// TestR65TheFirstReadOfACell: that most of what runs on the bus is of other cells says nothing of
// the desired state.
func TestR65TheFirstReadOfACell(t *testing.T) {
	opts := testOptions()
	opts.Filter = cellFilter.String()
	cf := newSimCF(t, opts)
	cf.addDEAs(4)
	cf.desire(3, 2, true)
	cf.addForeign(30, 4)
	cf.run(10 * hb)
	cf.wantGate("a small cell beside a large one")
	cf.apps[0].State = desired.Stopped
	cf.run(10 * hb)
	cf.wantSent("an app is stopped", 0, 2)
}

// TestR65NothingIsRecordedOfAStillCell: a cell at rest records nothing, however often it reads.
func TestR65NothingIsRecordedOfAStillCell(t *testing.T) {
	cf := steadyCell(t, 4, 10)
	before := cf.View().DesiredMeta()
	cf.run(60 * hb)
	if after := cf.View().DesiredMeta(); after != before || !strings.HasSuffix(after.Source, cellFilter.String()) {
		t.Errorf("%+v after %+v", after, before)
	}
}

// TestKeepRows: only an app that lives and is wanted in no version keeps its row.
func TestKeepRows(t *testing.T) {
	cf := steadyCell(t, 2, 4)
	row := func(n int) desired.App { return cf.apps[n] }
	d := cf.deas["dea-000"]
	cf.apps[1].Instances = 0 // nothing of the second app lives
	cf.run(20 * hb)
	d.list = append(d.list, cf.instance(row(1).Key, 0, actual.Crashed))
	cf.run(hb + 1)
	view := cf.View()
	newer := row(2)
	newer.Key.Version = app.MustGUID("v2")
	for _, c := range []struct {
		name, source string
		apps         []desired.App
		stopped      []app.Key
	}{
		{"all are gone", desired.Filtered("x", cellFilter), nil, []app.Key{row(0).Key, row(2).Key, row(3).Key}},
		{"another version of one", desired.Filtered("x", cellFilter), []desired.App{newer}, []app.Key{row(0).Key, row(3).Key}},
		{"another filter", desired.Filtered("x", otherFilter), nil, nil},
		{"no filter", "x", nil, nil},
	} {
		read, err := desired.NewRead(c.source, c.apps)
		if err != nil {
			t.Fatal(err)
		}
		changes := cf.opts.Guard.compareRead(view, read).changes
		var stopped []app.Key
		for _, a := range changes.Upserts {
			if a.State == desired.Stopped {
				stopped = append(stopped, a.Key)
			}
		}
		if !slices.Equal(stopped, c.stopped) || len(changes.Removes)+len(stopped) != 4 {
			t.Errorf("%s: stopped %v, removed %v; want %v stopped", c.name, stopped, changes.Removes, c.stopped)
		}
		if !slices.IsSortedFunc(changes.Upserts, func(a, b desired.App) int { return a.Key.Compare(b.Key) }) {
			t.Errorf("%s: upserts are not sorted: %v", c.name, changes.Upserts)
		}
	}
}
