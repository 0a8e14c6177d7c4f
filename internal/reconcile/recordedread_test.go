package reconcile

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"
	"weak"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// lie gives a read with the digest of the apps as they are, but with another number of instances of the first one. If it
// is recorded, it was compared.
func (cf *simCF) lie() desired.Read {
	cf.t.Helper()
	honest, lie := cf.readNow(), cf.readNow()
	lie.Apps[0].Instances = 9
	lie.Digest = honest.Digest
	return lie
}

// readNow gives a read of the apps as they are.
func (cf *simCF) readNow() desired.Read {
	cf.t.Helper()
	read, err := desired.NewRead(cf.source(cf.opts), slices.Clone(cf.rows(cf.apps)))
	if err != nil {
		cf.t.Fatal(err)
	}
	read.Digest = rowsDigest(read)
	return read
}

// takeRead gives the core a read that begins now.
func (cf *simCF) takeRead(o ReadOutcome) {
	cf.t.Helper()
	cf.now++
	cf.reads = nil // only these reads are made
	o.Began = cf.now
	if err := cf.core.DesiredRead(cf.t.Context(), cf.now, o); err != nil {
		cf.t.Fatal(err)
	}
}

// TestAnUnchangedReadIsNotComparedAgain: a read with the digest of the read before is not compared with the record, unless
// something else may have changed. Here the digest lies, which shows whether the read was compared.
func TestAnUnchangedReadIsNotComparedAgain(t *testing.T) {
	nothing := func(*simCF, *desired.Read) {}
	readApp := func(cf *simCF, instances uint32) {
		row := cf.apps[1]
		row.Instances = instances
		cf.now++
		o := AppReadOutcome{Droplet: row.Key.Droplet, Began: cf.now, Rows: []desired.App{row}}
		if err := cf.core.AppRead(cf.t.Context(), cf.now, o); err != nil {
			cf.t.Fatal(err)
		}
		if got := cf.recordedRow(row.Key.Droplet); got != row {
			cf.t.Fatalf("%+v is recorded, want %+v", got, row)
		}
	}
	for name, c := range map[string]struct {
		change   func(*simCF, *desired.Read)
		compared bool
	}{
		"nothing changes":                        {nothing, false},
		"a read of one app that has not changed": {func(cf *simCF, _ *desired.Read) { readApp(cf, cf.apps[1].Instances) }, false},
		"instances change": {func(cf *simCF, _ *desired.Read) {
			lost := raftfsm.DEAChanges{DEA: "dea-001", Removes: []app.GUID{cf.deas["dea-001"].list[0].GUID}}
			if _, err := cf.Propose(cf.t.Context(), lost); err != nil {
				cf.t.Fatal(err)
			}
		}, false},
		"another digest":                     {func(_ *simCF, read *desired.Read) { read.Digest[0]++ }, true},
		"no digest":                          {func(_ *simCF, read *desired.Read) { read.Digest = [16]byte{} }, true},
		"another source":                     {func(_ *simCF, read *desired.Read) { read.Source = "elsewhere" }, true},
		"another filter":                     {func(_ *simCF, read *desired.Read) { read.Source = desired.Filtered(read.Source, cellFilter) }, true},
		"a row changes in a read of its app": {func(cf *simCF, _ *desired.Read) { readApp(cf, 8) }, true},
		"a row changes in a read of its app, and back": {func(cf *simCF, _ *desired.Read) {
			before := cf.apps[1].Instances
			readApp(cf, 8)
			readApp(cf, before)
		}, true},
		"another read is recorded": {func(cf *simCF, _ *desired.Read) {
			cf.apps[1].Instances = 8
			cf.takeRead(ReadOutcome{Read: cf.readNow()})
		}, true},
		"a new leadership":       {func(cf *simCF, _ *desired.Read) { cf.core.beginTerm(cf.term, cf.now) }, true},
		"a snapshot is restored": {func(cf *simCF, _ *desired.Read) { cf.restoreSnapshot(cf.saved()) }, true},
		"a part of a read is left": {func(cf *simCF, _ *desired.Read) {
			part := raftfsm.DesiredChanges{Generation: cf.View().NextGeneration(), Upserts: cf.apps[2:3]}
			if _, err := cf.Propose(cf.t.Context(), part); err != nil {
				cf.t.Fatal(err)
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 4, 25, testOptions())
			cf.takeRead(ReadOutcome{Read: cf.readNow()})
			lie := cf.lie()
			index := cf.index
			cf.takeRead(ReadOutcome{Read: cf.readNow()})
			if cf.index != index || !cf.core.reads.recorded.has(lie, cf.View()) {
				t.Fatalf("%d entries for an unchanged read, and %+v is recorded", cf.index-index, cf.core.reads.recorded)
			}
			c.change(cf, &lie)
			cf.takeRead(ReadOutcome{Read: lie})
			if got := cf.recordedRow(lie.Apps[0].Key.Droplet); (got.Instances == 9) != c.compared {
				t.Errorf("the read was compared: %v, want %v", got.Instances == 9, c.compared)
			}
			if cf.core.reads.began != cf.now || cf.core.reads.failing {
				t.Errorf("the read is not known: %+v", cf.core.reads)
			}
		})
	}
}

// TestAReadThatChangedSomethingIsComparedAgain: only a comparison that found nothing says that the next one would not.
func TestAReadThatChangedSomethingIsComparedAgain(t *testing.T) {
	cf := steadyFleet(t, 4, 25, testOptions())
	cf.apps[3].Instances = 2
	cf.takeRead(ReadOutcome{Read: cf.readNow()})
	cf.takeRead(ReadOutcome{Read: cf.lie()})
	if got := cf.recordedRow(cf.apps[0].Key.Droplet); got.Instances != 9 {
		t.Errorf("%+v is recorded: the read was not compared", got)
	}
}

// TestR65AnUnchangedReadEndsARowThatWasKept: the row of an app that left the cell stays as STOPPED while anything of it
// lives. The reads meanwhile are the same, and yet the row goes when nothing lives any more.
func TestR65AnUnchangedReadEndsARowThatWasKept(t *testing.T) {
	opts := testOptions()
	opts.Filter = cellFilter.String()
	cf := steadyFleet(t, 4, 25, opts)
	cf.nobodyObeys = true
	gone := cf.apps[0]
	cf.leave(0)
	for range 3 {
		cf.takeRead(ReadOutcome{Read: cf.readNow()})
		if got := cf.recordedRow(gone.Key.Droplet); got.State != desired.Stopped {
			t.Fatalf("%+v is recorded while it lives", got)
		}
	}
	for _, d := range cf.deas {
		d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.App == gone.Key })
	}
	cf.run(20 * hb)
	if got := cf.recordedRow(gone.Key.Droplet); got != (desired.App{}) {
		t.Errorf("%+v is recorded, and nothing of it lives", got)
	}
}

// TestTheLoopLeavesOutTheComparison: the reader does not compare a read that it knows. If the record changes afterwards,
// the read is compared when it is taken.
func TestTheLoopLeavesOutTheComparison(t *testing.T) {
	cf := steadyFleet(t, 4, 25, testOptions())
	source := &sameAnswer{}
	l := NewLoop(LoopOptions{Options: cf.opts, Log: cf, Leader: leads{cf}, Publisher: cf, Source: source, Intake: cf.intake}, cf.endedCommands)
	cf.takeRead(ReadOutcome{Read: cf.readNow()})
	recorded := cf.core.reads.recorded
	source.read = cf.readNow()
	if o := l.read(t.Context(), 1, recordedRead{}); !o.compared.known {
		t.Error("a read was not compared, and none before it is known")
	}
	source.read = cf.lie()
	o := l.read(t.Context(), 1, recorded)
	if o.compared.known {
		t.Error("an unchanged read was compared")
	}
	row := cf.apps[1]
	row.Instances = 8
	o.Number, cf.now = 0, cf.now.Add(time.Second)
	if err := cf.core.AppRead(t.Context(), cf.now, AppReadOutcome{Droplet: row.Key.Droplet, Began: cf.now, Rows: []desired.App{row}}); err != nil {
		t.Fatal(err)
	}
	cf.takeRead(o.ReadOutcome)
	if got := cf.recordedRow(row.Key.Droplet); got.Instances != 4 {
		t.Errorf("%+v is recorded, as an older read said", got)
	}
}

type sameAnswer struct{ read desired.Read }

func (s *sameAnswer) Read(context.Context) (desired.Read, error) { return s.read, nil }

// TestNobodyKeepsARead: the rows of a read are large, and nothing holds them once they are recorded.
func TestNobodyKeepsARead(t *testing.T) {
	cf := steadyFleet(t, 4, 25, testOptions())
	source := &sameAnswer{}
	l := NewLoop(LoopOptions{Options: cf.opts, Log: cf, Leader: leads{cf}, Publisher: cf, Source: source, Intake: cf.intake}, cf.endedCommands)
	for _, what := range []string{"a change", "no change"} {
		cf.apps[0].Instances, cf.now = 5, cf.now+1
		source.read = cf.readNow()
		rows := weak.Make(&source.read.Apps[0])
		l.take(t.Context(), l.read(t.Context(), 0, l.core.reads.recorded))
		source.read = desired.Read{}
		if got := cf.recordedRow(cf.apps[0].Key.Droplet); got.Instances != 5 || l.core.reads.lastError != "" {
			t.Fatalf("%s: %+v is recorded, error %q", what, got, l.core.reads.lastError)
		}
		runtime.GC()
		if rows.Value() != nil {
			t.Errorf("%s: the rows of the read are still in memory", what)
		}
	}
}
