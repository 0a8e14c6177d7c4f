package reconcile

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/diff"
	"hm/internal/app"
	"hm/raftfsm"
)

const hb = 10 * time.Second

var testPolicy = diff.Policy{
	HeartbeatPeriod: hb, Grace: 3 * hb, CrashesBeforeBackoff: 3, BackoffStart: 3 * hb, BackoffMax: 96 * hb, DuplicateGrace: 4,
}

func testOptions() Options {
	return Options{
		Policy: testPolicy, StartLimit: 60, DesiredTTL: 12 * hb, PollInterval: 6 * hb, ClaimLease: 2 * time.Second,
		Guard: Guard{DesiredShrink: 0.5, MinApps: 20, ConfirmReads: 10, MassLoss: 0.5, MinDEAs: 4, MassLossHold: 30 * hb},
	}
}

// world is a Cloud Foundry in virtual time around one Core: DEAs that heartbeat and obey, a Cloud Controller that
// can be read, and a log that is the plain state machine.
type world struct {
	t     testing.TB
	now   app.Time
	state *raftfsm.State
	view  *raftfsm.State
	index uint64
	term  uint64
	fail  error // what proposals fail with

	core    *Core
	journal *Journal
	intake  *Intake
	opts    Options
	linkUp  bool
	wake    bool
	next    app.Time
	reads   []pendingRead

	deas    map[string]*simDEA
	apps    []desired.App
	readErr error
	reads2  int // complete reads made
	sent    []sentCommand
	ended   [][16]byte // confirmed commands
	deaf    bool       // starts and stops are published, but nobody obeys
	pubErr  error
	onStart func(*actual.Instance) // changes an instance that a start makes
	minted  int
	garbled app.GUID // an instance whose entry cannot be read
	nextDEA int
}

type simDEA struct {
	id     string
	list   []actual.Instance
	closed bool // takes no new instances
	quiet  bool // alive or not, it is not heard
	beat   app.Time
}

type pendingRead struct {
	began, at app.Time
}

type sentCommand struct {
	commands.Command
	at app.Time
}

func newWorld(t testing.TB, opts Options) *world {
	w := &world{t: t, now: 1_700_000_000_000, state: raftfsm.NewState(), term: 1, opts: opts, deas: map[string]*simDEA{}}
	w.restart()
	w.setLink(true)
	return w
}

// restart puts a new node in the place of the old one: it knows what is recorded, and nothing else.
func (w *world) restart() {
	w.term++
	w.intake = NewIntake(w, actual.NewLiveness(hb, 3*hb, 3*hb, w.now), func() { w.wake = true })
	w.journal = NewJournal(100_000)
	w.core = NewCore(w.opts, w, w, w.intake, w.journal)
	w.next, w.reads = w.now, nil
	if w.linkUp {
		w.intake.Link(true)
	}
}

// failover puts a node in the leader's place that has heard everything.
func (w *world) failover() {
	w.term++
	began := w.core.reads.began
	w.core = NewCore(w.opts, w, w, w.intake, w.journal)
	w.core.Learn(began)
	w.next, w.reads = w.now, nil
}

func (w *world) setLink(up bool) {
	if w.linkUp != up {
		w.linkUp = up
		w.intake.Link(up)
	}
}

func (w *world) Propose(_ context.Context, records ...raftfsm.Record) ([]raftfsm.Result, error) {
	if w.fail != nil {
		return nil, w.fail
	}
	w.index++
	data, err := raftfsm.EncodeEntry(raftfsm.Entry{At: w.now, Records: records})
	if err != nil {
		w.t.Fatalf("encoding: %v", err)
	}
	entry, err := raftfsm.DecodeEntry(data)
	if err != nil {
		w.t.Fatalf("decoding: %v", err)
	}
	r := w.state.Apply(w.index, w.term, entry)
	w.journal.Add(r.Ended)
	for _, e := range r.Ended {
		if e.State == commands.Confirmed {
			w.ended = append(w.ended, e.ID)
		}
	}
	w.view = nil
	return []raftfsm.Result{r}, r.Err
}

func (w *world) View() *raftfsm.State {
	if w.view == nil {
		w.view = w.state.Freeze()
	}
	return w.view
}

func (w *world) Leading(term uint64) bool { return term == w.term }
func (w *world) Now() app.Time            { return w.now }

func (w *world) Publish(_ context.Context, cmds []commands.Command) []error {
	errs := make([]error, len(cmds))
	for i, c := range cmds {
		if errs[i] = w.pubErr; w.pubErr != nil {
			continue
		}
		w.sent = append(w.sent, sentCommand{c, w.now})
		if !w.deaf {
			w.obey(c)
		}
	}
	return errs
}

func (w *world) obey(c commands.Command) {
	if c.Action == diff.Stop {
		w.checkStop(c)
		for _, d := range w.deas {
			d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.GUID == c.Instance && i.State != actual.Crashed })
		}
		return
	}
	ids := slices.Sorted(maps.Keys(w.deas))
	ids = slices.DeleteFunc(ids, func(id string) bool { return w.deas[id].quiet || w.deas[id].closed })
	if len(ids) == 0 {
		return
	}
	least := slices.MinFunc(ids, func(a, b string) int { return len(w.deas[a].list) - len(w.deas[b].list) })
	inst := w.instance(c.App, c.Index, actual.Running)
	if w.onStart != nil {
		w.onStart(&inst)
	}
	w.deas[least].list = append(w.deas[least].list, inst)
}

// checkStop holds every published stop against I3.
func (w *world) checkStop(c commands.Command) {
	for _, a := range w.apps {
		if a.Key != c.App || !a.Startable() || c.Index >= a.Instances || c.Reason == diff.ReasonEvacuationComplete {
			continue
		}
		for _, d := range w.deas {
			for _, i := range d.list {
				if i.App == c.App && i.Index == c.Index && i.GUID != c.Instance && i.State.Live() {
					return
				}
			}
		}
		w.t.Fatalf("I3: stop %v of the last instance at a desired index of %s", c.Reason, c.App)
	}
}

func (w *world) instance(k app.Key, index uint32, s actual.State) actual.Instance {
	w.minted++
	return actual.Instance{App: k, GUID: app.MustGUID(fmt.Sprintf("%032x", w.minted)), Index: index, State: s, Since: int64(w.now)}
}

func (w *world) addDEAs(n int) {
	for range n {
		id := fmt.Sprintf("dea-%03d", w.nextDEA)
		w.deas[id] = &simDEA{id: id, beat: w.now.Add(time.Duration(w.nextDEA) * hb / 16 % hb)}
		w.nextDEA++
	}
}

func testKey(n, version int) app.Key {
	return app.Key{Droplet: app.MustGUID(fmt.Sprintf("app-%03d", n)), Version: app.MustGUID(fmt.Sprintf("v%d", version))}
}

// desire adds n apps of so many instances each, which all run already if running is set.
func (w *world) desire(n int, instances uint32, running bool) {
	first := len(w.apps)
	for i := range n {
		a := desired.App{Key: testKey(first+i, 1), Instances: instances, State: desired.Started, Package: desired.Staged}
		w.apps = append(w.apps, a)
		if running {
			for index := range instances {
				w.obey(commands.Command{Action: diff.Start, App: a.Key, Index: index})
			}
		}
	}
}

// run lets d pass.
func (w *world) run(d time.Duration) {
	for end := w.now.Add(d); ; {
		t := min(w.next, end)
		for _, dea := range w.deas {
			t = min(t, dea.beat)
		}
		for _, r := range w.reads {
			t = min(t, r.at)
		}
		w.now = max(w.now, t)
		for _, id := range slices.Sorted(maps.Keys(w.deas)) {
			if dea := w.deas[id]; dea.beat <= w.now {
				dea.beat = w.now.Add(hb)
				w.heartbeat(dea)
			}
		}
		if len(w.reads) > 0 && w.reads[0].at <= w.now {
			w.finishRead()
		}
		if w.wake || w.next <= w.now {
			w.step()
		}
		if w.now >= end {
			return
		}
	}
}

func (w *world) step() {
	for range 1000 {
		w.wake = false
		next, read, err := w.core.Step(context.Background(), w.now, Lead{Leader: true, Known: true, Term: w.term})
		if err != nil && w.fail == nil {
			w.t.Fatalf("step: %v", err)
		}
		if read && len(w.reads) == 0 {
			w.reads = append(w.reads, pendingRead{began: w.now, at: w.now + 50})
		}
		if w.next = max(next, w.now+1); next > w.now && !w.wake {
			return
		}
	}
	w.t.Fatal("the core does not come to rest")
}

func (w *world) finishRead() {
	r := w.reads[0]
	w.reads = nil
	var read desired.Read
	err := w.readErr
	if err == nil {
		w.reads2++
		read, err = desired.NewRead("test", slices.Clone(w.apps))
	}
	if err := w.core.DesiredRead(context.Background(), w.now, r.began, read, err); err != nil && w.fail == nil {
		w.t.Fatalf("recording a read: %v", err)
	}
	w.wake = true
}

func (w *world) heartbeat(d *simDEA) {
	if d.quiet || !w.linkUp {
		return
	}
	hb := actual.Heartbeat{DEA: d.id, Instances: slices.Clone(d.list)}
	hb.Instances = slices.DeleteFunc(hb.Instances, func(i actual.Instance) bool { return i.GUID == w.garbled })
	hb.Rejected = len(d.list) - len(hb.Instances)
	digest := digestOf(hb)
	if !w.intake.Unchanged(digest) {
		w.intake.Heartbeat(hb, digest)
	}
}

func digestOf(hb actual.Heartbeat) (d actual.Digest) {
	h := fnv128(fmt.Sprint(hb))
	copy(d[:], h)
	return d
}

// drift lists what is not as desired, as the recorded state shows it.
func (w *world) drift() []string {
	var out []string
	var p Pass
	p.Drift(w.View(), Knowledge{Reads: w.core.reads.known()}, w.now, w.opts.Policy, func(d AppDrift) bool {
		for _, f := range d.Findings {
			out = append(out, fmt.Sprintf("%s/%d %s %s %s", d.Key.Droplet, f.Index, f.Kind, f.Rule, f.Bucket))
		}
		return true
	})
	return out
}

func (w *world) wantSent(what string, starts, stops int) {
	w.t.Helper()
	var gotStarts, gotStops int
	for _, c := range w.sent {
		if c.Action == diff.Start {
			gotStarts++
		} else {
			gotStops++
		}
	}
	if gotStarts != starts || gotStops != stops {
		var lines []string
		for i, c := range w.sent {
			if i == 20 {
				lines = append(lines, "...")
				break
			}
			lines = append(lines, fmt.Sprintf("%v %s %s/%d %s", c.at, c.Action, c.App.Droplet, c.Index, c.Reason))
		}
		w.t.Fatalf("%s: %d starts and %d stops were sent, want %d and %d\n%s\ndrift: %v\ngate: %v", what, gotStarts, gotStops, starts, stops, strings.Join(lines, "\n"), w.drift(), w.core.gate)
	}
}

func (w *world) wantGate(what string, reasons ...string) {
	w.t.Helper()
	if !slices.Equal(w.core.gate, reasons) {
		w.t.Fatalf("%s: the gate's reasons are %v, want %v", what, w.core.gate, reasons)
	}
}

// live is the number of live instances that the DEAs really have.
func (w *world) live() int {
	n := 0
	for _, d := range w.deas {
		for _, i := range d.list {
			if i.State.Live() && !d.quiet {
				n++
			}
		}
	}
	return n
}

// steady is a world of so many apps of four instances that all run, with an open gate.
func steady(t testing.TB, deas, apps int, opts Options) *world {
	w := newWorld(t, opts)
	w.addDEAs(deas)
	w.desire(apps, 4, true)
	w.run(5 * hb)
	w.wantGate("a steady fleet")
	w.wantSent("a steady fleet", 0, 0)
	if d := w.drift(); len(d) > 0 {
		t.Fatalf("a steady fleet drifts: %v", d)
	}
	return w
}

func fnv128(s string) []byte {
	h := fnv.New128a()
	h.Write([]byte(s))
	return h.Sum(nil)
}

var errTest = errors.New("out of order, for a test")
