package reconcile

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// plainLog is a log that applies each entry at once, as raft would: through its bytes.
type plainLog struct {
	tb      testing.TB
	state   *raftfsm.State
	now     app.Time
	index   uint64
	entries int
	bytes   int
}

func (l *plainLog) Propose(_ context.Context, records ...raftfsm.Record) ([]raftfsm.Result, error) {
	data, err := raftfsm.EncodeEntry(raftfsm.Entry{At: l.now, Records: records})
	if err != nil {
		return nil, err
	}
	e, err := raftfsm.DecodeEntry(data)
	if err != nil {
		return nil, err
	}
	l.index++
	l.entries++
	l.bytes += len(data)
	r := l.state.Apply(l.index, 1, e)
	return []raftfsm.Result{r}, r.Err
}

func (l *plainLog) View() *raftfsm.State                      { return l.state.Freeze() }
func (l *plainLog) Leading(uint64) bool                       { return true }
func (l *plainLog) VerifyLease(context.Context, uint64) error { return nil }
func (l *plainLog) Now() app.Time                             { return l.now }
func (l *plainLog) Suspended() time.Duration                  { return 0 }

// keepingPublisher sends everything, and keeps it.
type keepingPublisher struct{ sent []commands.Command }

func (p *keepingPublisher) Publish(_ context.Context, _ uint64, cmds []commands.Command) []error {
	p.sent = append(p.sent, cmds...)
	return make([]error, len(cmds))
}

// benchFleet is a core that leads, and a fleet whose apps each want two instances.
type benchFleet struct {
	*testing.B
	log    *plainLog
	pub    *keepingPublisher
	intake *Intake
	core   *Core
	lists  [][]actual.Instance // of each DEA
	number uint64              // of the newest read that was asked for
}

func benchGUID(kind byte, n int) app.GUID {
	var g [16]byte
	g[0] = kind
	binary.BigEndian.PutUint64(g[4:], uint64(n)*0x9e3779b97f4a7c15)
	return app.FromBinary(g, 'u')
}

// newBenchFleet makes a fleet of so many apps, of which so many instances run, and opens the gate. There is a DEA for each
// 100 instances that are wanted.
func newBenchFleet(b *testing.B, apps, instances int) *benchFleet {
	opts := testOptions()
	opts.StartLimit, opts.Guard, opts.ReadsApps = 0, Guard{}, false
	f := &benchFleet{B: b, log: &plainLog{tb: b, state: raftfsm.NewState(), now: 1_800_000_000_000}, pub: &keepingPublisher{},
		lists: make([][]actual.Instance, apps/50)}
	var rows []desired.App
	for n := range apps {
		k := app.Key{Droplet: benchGUID(1, n), Version: benchGUID(2, n)}
		rows = append(rows, desired.App{Key: k, Instances: 2, State: desired.Started, Package: desired.Staged})
		for index := range instances {
			dea := (n + index*len(f.lists)/2) % len(f.lists)
			f.lists[dea] = append(f.lists[dea], actual.Instance{App: k, GUID: benchGUID(3, 2*n+index), Index: uint32(index), State: actual.Running, Since: 1_700_000_000_000})
		}
	}
	propose := func(r ...raftfsm.Record) {
		if _, err := f.log.Propose(b.Context(), r...); err != nil {
			b.Fatal(err)
		}
	}
	parts := raftfsm.Split(raftfsm.DesiredChanges{Generation: 1, Upserts: rows}, raftfsm.MaxEntry)
	for _, p := range parts {
		propose(p)
	}
	propose(raftfsm.DesiredCommit{Generation: 1, Parts: len(parts)})
	for d, list := range f.lists {
		propose(raftfsm.DEAChanges{DEA: benchDEA(d), Upserts: list})
	}
	f.intake = NewIntake(f.log, actual.NewLiveness(hb, 3*hb, 3*hb, f.log.now), func() {})
	f.intake.Link(true, 1)
	f.core = NewCore(opts, f.log, f.pub, f.intake, NewEndedCommands(1))
	for !f.core.gateKnown || len(f.core.GateReasons()) > 0 || f.number == 0 {
		f.beatAll()
		f.step()
		if f.number != 0 {
			r, err := desired.NewRead("bench", rows)
			if err != nil {
				b.Fatal(err)
			}
			o := ReadOutcome{Number: f.number, Read: r, Began: f.log.now}
			o.compared = opts.Guard.compareRead(f.log.View(), r)
			if err := f.core.DesiredRead(b.Context(), f.log.now, o); err != nil {
				b.Fatal(err)
			}
		}
		if f.log.now = f.log.now.Add(hb / 10); f.log.now > 1_800_000_000_000+app.Time(20*hb.Milliseconds()) {
			b.Fatalf("the gate stays closed: %v", f.core.GateReasons())
		}
	}
	return f
}

func benchDEA(n int) string { return fmt.Sprintf("0-%032x", n) }

// beat has a DEA send its list. version is another number whenever the list has changed.
func (f *benchFleet) beat(dea, version int) {
	d := actual.Digest{byte(dea), byte(dea >> 8), 1}
	binary.BigEndian.PutUint32(d[4:], uint32(version))
	f.intake.Heartbeat(actual.Heartbeat{DEA: benchDEA(dea), Instances: f.lists[dea]}, d)
}

func (f *benchFleet) beatAll() {
	for d := range f.lists {
		f.beat(d, 0)
	}
}

func (f *benchFleet) step() {
	_, read, err := f.core.Step(f.Context(), f.log.now, Lead{Leader: true, Term: 1, Known: true})
	if err != nil {
		f.Fatal(err)
	}
	if read != 0 {
		f.number = read
	}
}

// lookAtEach gives how long one look at each app takes.
func (f *benchFleet) lookAtEach() time.Duration {
	view := f.log.View()
	began := time.Now()
	for a := range view.Apps() {
		f.core.eval.App(view, a.Key, Knowledge{}, f.log.now)
	}
	return time.Since(began)
}

// BenchmarkStartStorm is 100,000 starts that are due at once, in a fleet of 200,000 instances: from the plans to the record
// that they were sent, without the time of a disk and of NATS. The reference is one look at each app.
func BenchmarkStartStorm(b *testing.B) {
	const apps = 100_000
	b.ReportAllocs()
	var took, reference time.Duration
	starts, entries, bytes := 0, 0, 0
	for b.Loop() {
		b.StopTimer()
		f := newBenchFleet(b, apps, 1)
		reference += f.lookAtEach()
		b.StartTimer()
		began := time.Now()
		entries -= f.log.entries
		bytes -= f.log.bytes
		for n := 0; len(f.pub.sent) < apps; n++ {
			if f.log.now = f.log.now.Add(time.Millisecond); n%1000 == 0 {
				f.beatAll()
			}
			f.step()
			if n > 100_000 {
				b.Fatalf("%d starts were sent: %v", len(f.pub.sent), f.core.GateReasons())
			}
		}
		took += time.Since(began)
		starts += apps
		entries += f.log.entries
		bytes += f.log.bytes
	}
	b.ReportMetric(float64(starts)/took.Seconds(), "starts/s")
	b.ReportMetric(float64(took.Microseconds())/float64(starts), "us/start")
	b.ReportMetric(float64(took)/float64(reference), "looks-at-each-app")
	b.ReportMetric(float64(bytes)/float64(starts), "log-bytes/start")
	b.ReportMetric(float64(starts)/float64(entries), "starts/entry")
}

// BenchmarkCrashes is a fleet of 100,000 instances of which 5 % crash between two heartbeats: a crash is heard, its start
// is sent, and the new instance is heard as STARTING and then as RUNNING. It takes six heartbeat periods, without the time
// of decoding, of a disk and of NATS. The reference is one look at each app.
func BenchmarkCrashes(b *testing.B) {
	const apps, rounds = 50_000, 6
	b.ReportAllocs()
	var took, reference time.Duration
	crashes, entries, starts := 0, 0, 0
	for b.Loop() {
		b.StopTimer()
		f := newBenchFleet(b, apps, 2)
		reference += f.lookAtEach()
		entries -= f.log.entries
		b.StartTimer()
		began := time.Now()
		born, version := 2*apps, 0
		for turn := range rounds * len(f.lists) {
			dea := turn % len(f.lists)
			version++
			crashes += f.crash(dea, version)
			if f.beat(dea, version); dea%3 == 2 { // what is heard within 15 ms
				f.step()
				f.log.now = f.log.now.Add(3 * hb / time.Duration(len(f.lists)))
			}
			for _, c := range f.pub.sent {
				if c.Action != commands.Start {
					b.Fatalf("a needless command: %+v", c)
				}
				born++
				starts++
				on := born % len(f.lists)
				f.lists[on] = append(f.lists[on], actual.Instance{App: c.App, GUID: benchGUID(3, born), Index: c.Index, State: actual.Starting, Since: 1_700_000_000_000})
			}
			f.pub.sent = f.pub.sent[:0]
		}
		took += time.Since(began)
		entries += f.log.entries
	}
	b.ReportMetric(float64(took.Microseconds())/float64(crashes), "us/crash")
	b.ReportMetric(float64(took)/float64(reference), "looks-at-each-app")
	b.ReportMetric(float64(crashes)/float64(entries), "crashes/entry")
	b.ReportMetric(float64(starts)/float64(crashes), "starts/crash")
}

// crash lets a twentieth of a DEA's instances crash. What has crashed before leaves the list, and what is STARTING runs. It
// gives how many crash.
func (f *benchFleet) crash(dea, version int) (crashes int) {
	var list []actual.Instance
	for i, inst := range f.lists[dea] {
		switch {
		case inst.State == actual.Crashed:
			continue
		case inst.State == actual.Starting:
			inst.State = actual.Running
		case (i+version)%20 == 0:
			inst.State = actual.Crashed
			crashes++
		}
		list = append(list, inst)
	}
	f.lists[dea] = list
	return crashes
}
