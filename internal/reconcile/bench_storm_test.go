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

// countingPublisher sends everything.
type countingPublisher struct{ sent int }

func (p *countingPublisher) Publish(_ context.Context, _ uint64, cmds []commands.Command) []error {
	p.sent += len(cmds)
	return make([]error, len(cmds))
}

// BenchmarkStartStorm is 100,000 starts that are due at once, in a fleet of 200,000 instances: from the plans to the record
// that they were sent, without the time of a disk and of NATS. The reference is one look at each app.
func BenchmarkStartStorm(b *testing.B) {
	const apps = 100_000
	guid := func(kind byte, n int) app.GUID {
		var g [16]byte
		g[0] = kind
		binary.BigEndian.PutUint64(g[4:], uint64(n)*0x9e3779b97f4a7c15)
		return app.FromBinary(g, 'u')
	}
	opts := testOptions()
	opts.StartLimit, opts.Guard, opts.ReadsApps = 0, Guard{}, false
	b.ReportAllocs()
	var took, reference time.Duration
	starts, entries, bytes := 0, 0, 0
	for b.Loop() {
		b.StopTimer()
		log := &plainLog{tb: b, state: raftfsm.NewState(), now: 1_800_000_000_000}
		var rows []desired.App
		lists := make([][]actual.Instance, apps/50)
		for n := range apps {
			k := app.Key{Droplet: guid(1, n), Version: guid(2, n)}
			rows = append(rows, desired.App{Key: k, Instances: 2, State: desired.Started, Package: desired.Staged})
			lists[n%len(lists)] = append(lists[n%len(lists)], actual.Instance{App: k, GUID: guid(3, n), State: actual.Running, Since: 1_700_000_000_000})
		}
		propose := func(r ...raftfsm.Record) {
			if _, err := log.Propose(b.Context(), r...); err != nil {
				b.Fatal(err)
			}
		}
		parts := raftfsm.Split(raftfsm.DesiredChanges{Generation: 1, Upserts: rows}, raftfsm.MaxEntry)
		for _, p := range parts {
			propose(p)
		}
		propose(raftfsm.DesiredCommit{Generation: 1, Parts: len(parts)})
		for d, list := range lists {
			propose(raftfsm.DEAChanges{DEA: fmt.Sprintf("0-%032x", d), Upserts: list})
		}
		intake := NewIntake(log, actual.NewLiveness(hb, 3*hb, 3*hb, log.now), func() {})
		intake.Link(true, 1)
		pub := &countingPublisher{}
		core := NewCore(opts, log, pub, intake, NewEndedCommands(1))
		lead := Lead{Leader: true, Term: 1, Known: true}
		beat := func() {
			for d, list := range lists {
				intake.Heartbeat(actual.Heartbeat{DEA: fmt.Sprintf("0-%032x", d), Instances: list}, actual.Digest{byte(d), byte(d >> 8), 1})
			}
		}
		var number uint64
		step := func() {
			_, read, err := core.Step(b.Context(), log.now, lead)
			if err != nil {
				b.Fatal(err)
			}
			if read != 0 {
				number = read
			}
		}
		for core.GateReasons() == nil || len(core.GateReasons()) > 0 || number == 0 {
			beat()
			step()
			if number != 0 {
				r, err := desired.NewRead("bench", rows)
				if err != nil {
					b.Fatal(err)
				}
				o := ReadOutcome{Number: number, Read: r, Began: log.now}
				o.compared = opts.Guard.compareRead(log.View(), r)
				if err := core.DesiredRead(b.Context(), log.now, o); err != nil {
					b.Fatal(err)
				}
			}
			if log.now = log.now.Add(hb / 10); log.now > 1_800_000_000_000+app.Time(20*hb.Milliseconds()) {
				b.Fatalf("the gate stays closed: %v", core.GateReasons())
			}
			if pub.sent > 0 {
				break
			}
		}
		view := log.View()
		began := time.Now()
		for a := range view.Apps() {
			core.eval.App(view, a.Key, Knowledge{}, log.now)
		}
		reference += time.Since(began)
		b.StartTimer()
		began = time.Now()
		entries -= log.entries
		bytes -= log.bytes
		for n := 0; pub.sent < apps; n++ {
			if log.now = log.now.Add(time.Millisecond); n%1000 == 0 {
				beat()
			}
			step()
			if n > 100_000 {
				b.Fatalf("%d starts were sent: %v", pub.sent, core.GateReasons())
			}
		}
		took += time.Since(began)
		starts += apps
		entries += log.entries
		bytes += log.bytes
	}
	b.ReportMetric(float64(starts)/took.Seconds(), "starts/s")
	b.ReportMetric(float64(took.Microseconds())/float64(starts), "us/start")
	b.ReportMetric(float64(took)/float64(reference), "looks-at-each-app")
	b.ReportMetric(float64(bytes)/float64(starts), "log-bytes/start")
	b.ReportMetric(float64(starts)/float64(entries), "starts/entry")
}
