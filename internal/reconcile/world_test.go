package reconcile

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

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
	StopYield: 18 * hb, StartingTTL: 30 * hb,
}

func testOptions() Options {
	return Options{
		Policy: testPolicy, StartLimit: 60, DesiredTTL: 12 * hb, PollInterval: 6 * hb, ClaimLease: 2 * time.Second,
		Guard: Guard{DesiredShrink: 0.5, MinApps: 20, ConfirmReads: 10, MassLoss: 0.5, MinDEAs: 4, MassLossHold: 30 * hb},
	}
}

// world is a Cloud Foundry in virtual time around the Core of each node, of which one leads: DEAs that heartbeat and
// obey, a Cloud Controller that can be read, and a log that is the plain state machine.
type world struct {
	*simNode // the leader
	nodes    []*simNode

	t         testing.TB
	now       app.Time
	state     *raftfsm.State
	view      *raftfsm.State
	index     uint64
	term      uint64
	fail      error // what proposals fail with
	tolerant  bool  // a step may fail
	suspended time.Duration
	faults    *faults // of the log, the link and the mail, by chance; nil: none

	opts      Options
	linkUp    bool
	linkSince app.Time
	epoch     uint64
	mail      []letter

	deas    map[string]*simDEA
	apps    []desired.App
	answer  func([]desired.App) []desired.App // what the Cloud Controller says by error; nil: the truth
	readErr error
	reads2  int // complete reads made
	// readTime is how long a read takes; it shows what there was when it was begun. 0: 50 ms.
	readTime time.Duration
	lease    error // what asking whether the leader still leads fails with
	sent     []sentCommand
	ended    [][16]byte // confirmed commands
	deaf     bool       // starts and stops are published, but nobody obeys
	pubErr   error
	onStart  func(*actual.Instance) // changes an instance that a start makes
	minted   int
	garbled  app.GUID // an instance whose entry cannot be read
	odd      map[app.GUID]oddEntry
	junk     bool // every heartbeat has entries that cannot be read and name nothing that is known
	nextDEA  int
	hush     app.Time // until when nobody is heard, though every link is up
	truth    truth
	losses   recordedLosses
	released bool // a person, not hm, releases a hold
}

// simNode is one node of hm.
type simNode struct {
	core          *Core
	endedCommands *EndedCommands
	intake        *Intake
	reads         []pendingRead
	appReads      []pendingAppRead
	next          app.Time
	wake          bool

	slow    slowLink
	earless map[string]bool // DEAs whose heartbeats do not reach it
	asked   []string        // DEAs about which it asked its peers
	told    Hearing         // what it told its peers last
	toldAt  app.Time
}

type simDEA struct {
	id string
	// nameless is how many entries of each heartbeat cannot be read and name no instance.
	nameless int
	list     []actual.Instance
	closed   bool // takes no new instances
	quiet    bool // alive or not, it is not heard
	hides    int  // its heartbeats leave out so many of what it has, from the front of its list
	garbles  bool // its messages cannot be decoded
	beat     app.Time
	excused  app.Time // when what it runs could last be taken for gone for a reason of its own
	unheard  app.Time // when it was last not heard by the leader

	steady    app.Time // since when it has been heard without a break; 0: it is not heard
	plain     app.Time // when a message of it last could be decoded
	disturbed app.Time // when it began or ceased to share its id last, or to send what cannot be decoded
}

// pendingRead is a read of the desired state that is under way.
type pendingRead struct {
	number    uint64
	began, at app.Time
	first     []desired.App // what there was when it was begun
}

// pendingAppRead is a read of one app.
type pendingAppRead struct {
	AppReadOutcome
	at app.Time
}

// letter is a message that is under way.
type letter struct {
	at      app.Time
	subject string // messages of one subject keep their order
	to      *simNode
	hear    func(*Intake)
}

type sentCommand struct {
	commands.Command
	at app.Time
}

func newWorld(t testing.TB, opts Options) *world {
	w := &world{t: t, now: 1_700_000_000_000, state: raftfsm.NewState(), term: 1, opts: opts, deas: map[string]*simDEA{}, simNode: &simNode{}}
	w.nodes = []*simNode{w.simNode}
	w.truth.begin()
	w.restart()
	w.setLink(true)
	return w
}

// restart puts a new node in the place of the leader: it knows what is recorded, and nothing else. It leads again.
func (w *world) restart() {
	w.term++
	w.open(w.simNode)
	for _, d := range w.deas {
		if len(w.sharers(d)) > 0 { // which this node does not know any more
			d.disturbed = w.now
		}
	}
}

// open begins a node's process.
func (w *world) open(n *simNode) {
	n.intake = NewIntake(w, actual.NewLiveness(hb, 3*hb, 3*hb, w.now), func() { n.wake = true })
	n.intake.SetLag(func() time.Duration { return n.slow.lag(w.now) })
	n.endedCommands = NewEndedCommands(100_000)
	n.core = w.newCore(n)
	n.next, n.reads, n.appReads = w.now, nil, nil
	if w.linkUp {
		n.intake.Link(true, w.epoch)
	}
}

// newCore gives a core to a node.
func (w *world) newCore(n *simNode) *Core {
	opts := w.opts
	opts.Peers = worldPeers{w, n}
	return NewCore(opts, w, w, n.intake, n.endedCommands)
}

// failover puts a node in the leader's place that has heard everything.
func (w *world) failover() {
	w.term++
	began := w.core.reads.began
	w.core = w.newCore(w.simNode)
	w.core.Learn(w.now, began)
	w.next, w.reads, w.appReads = w.now, nil, nil
}

func (w *world) setLink(up bool) {
	if w.linkUp != up {
		w.spell(up)
	}
}

// spell begins a new spell of the link. What was under way is lost.
func (w *world) spell(up bool) {
	w.epoch++
	w.linkUp, w.linkSince, w.mail = up, w.now, nil
	for _, n := range w.nodes {
		n.slow = slowLink{}
		n.intake.Link(up, w.epoch)
	}
}

func (w *world) Propose(_ context.Context, records ...raftfsm.Record) ([]raftfsm.Result, error) {
	if w.fail != nil {
		return nil, w.fail
	}
	if w.faults != nil {
		return w.faults.propose(w, records)
	}
	r, err := w.apply(w.term, records)
	return []raftfsm.Result{r}, err
}

// apply commits one entry.
func (w *world) apply(term uint64, records []raftfsm.Record) (raftfsm.Result, error) {
	w.index++
	data, err := raftfsm.EncodeEntry(raftfsm.Entry{At: w.now, Records: records})
	if err != nil {
		w.t.Fatalf("encoding: %v", err)
	}
	entry, err := raftfsm.DecodeEntry(data)
	if err != nil {
		w.t.Fatalf("decoding: %v", err)
	}
	check := w.watchLosses(entry.Records)
	r := w.state.Apply(w.index, term, entry)
	for _, n := range w.nodes {
		n.endedCommands.Add(r.Ended)
	}
	for _, e := range r.Ended {
		if e.State == commands.Confirmed {
			w.ended = append(w.ended, e.ID)
		}
	}
	w.view = nil
	check()
	refused := func(id commands.ID) bool {
		return slices.ContainsFunc(r.Refused, func(f raftfsm.Refusal) bool { return f.ID == id })
	}
	for _, r := range records {
		switch r := r.(type) {
		case raftfsm.CommandsScheduled:
			w.truth.scheduled(w, r, refused)
		case raftfsm.CrashesForgotten:
			w.truth.forgotten(w, r)
		case raftfsm.DesiredCommit:
			w.truth.committed(w)
		case raftfsm.CommandsClaimed:
			w.truth.claimed(w, r)
		}
	}
	return r, r.Err
}

func (w *world) View() *raftfsm.State {
	if w.view == nil {
		w.view = w.state.Freeze()
	}
	return w.view
}

func (w *world) Leading(term uint64) bool {
	return term == w.term || w.faults != nil && w.faults.stale == term
}

func (w *world) VerifyLease(_ context.Context, term uint64) error {
	if term != w.term || w.faults != nil && w.faults.unverified() {
		return errors.New("this node does not lead, or cannot tell")
	}
	return w.lease
}

func (w *world) Now() app.Time            { return w.now }
func (w *world) Suspended() time.Duration { return w.suspended }

func (w *world) Publish(_ context.Context, epoch uint64, cmds []commands.Command) []error {
	errs := make([]error, len(cmds))
	w.checkGate(epoch)
	for i, c := range cmds {
		if errs[i] = w.pubErr; w.pubErr != nil {
			continue
		}
		w.checkCommand(c)
		w.sent = append(w.sent, sentCommand{c, w.now})
		if !w.deaf {
			w.obey(c)
		}
	}
	return errs
}

// obey does what a command asks for. It gives the life that a start began, nil if none.
func (w *world) obey(c commands.Command) *life {
	if c.Action == commands.Stop {
		if l := w.truth.lives[c.Instance]; l != nil {
			l.told = true
		}
		for _, d := range w.deas {
			d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.GUID == c.Instance && i.State != actual.Crashed })
		}
		return nil
	}
	ids := slices.DeleteFunc(w.deaKeys(), func(id string) bool { return w.deas[id].quiet || w.deas[id].closed })
	if len(ids) == 0 {
		return nil
	}
	least := slices.MinFunc(ids, func(a, b string) int { return len(w.deas[a].list) - len(w.deas[b].list) })
	inst := w.instance(c.App, c.Index, actual.Running)
	l := w.truth.lives[inst.GUID]
	l.started = w.now
	if w.onStart != nil {
		w.onStart(&inst)
	}
	w.deas[least].list = append(w.deas[least].list, inst)
	return l
}

func (w *world) instance(k app.Key, index uint32, s actual.State) actual.Instance {
	w.minted++
	guid := app.MustGUID(fmt.Sprintf("%032x", w.minted))
	w.truth.born(w, guid, k, index)
	return actual.Instance{App: k, GUID: guid, Index: index, State: s, Since: int64(w.now) + w.faults.clock()}
}

// deaKeys are the keys of the DEAs, sorted: their ids, but for those that use that of another.
func (w *world) deaKeys() []string { return slices.Sorted(maps.Keys(w.deas)) }

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
				w.obey(commands.Command{Action: commands.Start, App: a.Key, Index: index})
			}
		}
	}
}

// run lets d pass.
func (w *world) run(d time.Duration) {
	for end := w.now.Add(d); ; {
		t := min(w.nextEvent(), end)
		w.now = max(w.now, t)
		w.excuse()
		for len(w.mail) > 0 && w.mail[0].at <= w.now {
			l := w.mail[0]
			w.mail = w.mail[1:]
			l.hear(l.to.intake)
		}
		w.endSlowness()
		for _, id := range slices.Sorted(maps.Keys(w.deas)) {
			if dea := w.deas[id]; dea.beat <= w.now {
				dea.beat = w.now.Add(hb)
				w.heartbeat(dea)
			}
		}
		for _, n := range w.nodes {
			w.finishReads(n)
		}
		if w.wake || w.next <= w.now {
			w.step()
		}
		for _, n := range w.nodes {
			if n != w.simNode && n.next <= w.now {
				n.next, _, _ = n.core.Step(context.Background(), w.now, Lead{Known: true, Term: w.term})
				n.wake = false
			}
		}
		if w.now >= end {
			return
		}
	}
}

// nextEvent is when something happens next, by itself.
func (w *world) nextEvent() app.Time {
	t := w.next
	for _, dea := range w.deas {
		t = min(t, dea.beat)
	}
	if len(w.mail) > 0 {
		t = min(t, w.mail[0].at)
	}
	for _, n := range w.nodes {
		t = min(t, n.next)
		if n.slow.until > w.now {
			t = min(t, n.slow.until)
		}
		for _, r := range n.reads {
			t = min(t, r.at)
		}
		for _, r := range n.appReads {
			t = min(t, r.at)
		}
	}
	return t
}

// step calls the leader until it comes to rest.
func (w *world) step() {
	for range 1000 {
		w.wake = false
		for _, n := range w.nodes {
			if n != w.simNode {
				w.core.Learn(w.now, n.core.reads.began)
			}
		}
		next, read, err := w.core.Step(context.Background(), w.now, Lead{Leader: true, Known: true, Term: w.term})
		if err != nil && w.fail == nil && !w.tolerant && w.faults == nil {
			w.t.Fatalf("step: %v", err)
		}
		if w.faults != nil && w.faults.deposed {
			w.faults.elect(w)
			continue
		}
		if read != 0 {
			w.beginRead(read)
		}
		if droplets, term := w.core.AppReads(); len(droplets) > 0 {
			w.beginAppReads(droplets, term)
		}
		if w.next = max(next, w.now+1); next > w.now && !w.wake {
			return
		}
	}
	w.t.Fatal("the core does not come to rest")
}

func (w *world) beginRead(number uint64) {
	r := pendingRead{number: number, began: w.now, at: w.now.Add(cmp.Or(w.readTime, 50*time.Millisecond)), first: slices.Clone(w.apps)}
	if w.faults == nil {
		w.reads = nil
	} else {
		r.at = w.now.Add(w.faults.readTime())
		if !w.faults.chance(0.5) { // else its outcome was there already when it was told to end
			w.reads = nil
		}
	}
	w.reads = append(w.reads, r)
}

func (w *world) beginAppReads(droplets []app.GUID, term uint64) {
	for _, d := range droplets {
		r := pendingAppRead{AppReadOutcome{Term: term, Droplet: d, Began: w.now}, w.now + 20}
		if w.faults != nil {
			r.at = w.now.Add(w.faults.readTime() / 10)
		}
		for _, a := range w.apps {
			if a.Key.Droplet == d {
				r.Rows = append(r.Rows, a)
			}
		}
		if r.Err = w.readErr; r.Err != nil {
			r.Rows = nil
		}
		w.appReads = append(w.appReads, r)
	}
}

// finishReads tells a node of its reads that have ended. Only the leader's count.
func (w *world) finishReads(n *simNode) {
	for i := 0; i < len(n.reads); {
		r := n.reads[i]
		if r.at > w.now {
			i++
			continue
		}
		n.reads = slices.Delete(n.reads, i, i+1)
		if n == w.simNode {
			w.finishRead(r)
		}
	}
	for i := 0; i < len(n.appReads); {
		r := n.appReads[i]
		if r.at > w.now {
			i++
			continue
		}
		n.appReads = slices.Delete(n.appReads, i, i+1)
		if n == w.simNode {
			w.recorded(n.core.AppRead(context.Background(), w.now, r.AppReadOutcome))
		}
	}
}

func (w *world) finishRead(r pendingRead) {
	o := ReadOutcome{Number: r.number, Began: r.began, Err: w.readErr}
	if o.Err == nil {
		w.reads2++
		apps := r.first
		if w.faults != nil {
			apps = w.faults.seenBetween(r.first, slices.Clone(w.apps))
		}
		if w.answer != nil {
			apps = w.answer(apps)
		}
		o.Read, o.Err = desired.NewRead("test", apps)
	}
	w.recorded(w.core.DesiredRead(context.Background(), w.now, o))
}

// recorded takes how the recording of a read ended.
func (w *world) recorded(err error) {
	if err != nil && w.fail == nil && !w.tolerant && w.faults == nil {
		w.t.Fatalf("recording a read: %v", err)
	}
	if w.faults != nil && w.faults.deposed {
		w.faults.elect(w)
	}
	w.wake = true
}

func (w *world) heartbeat(d *simDEA) {
	w.noteSteady(d)
	if d.quiet || !w.linkUp || w.now < w.hush {
		return
	}
	if d.garbles {
		w.post("beat "+d.id, func(in *Intake) { in.Garbled(d.id, "out of order, for a test") })
		return
	}
	d.plain = w.now
	tells := d.list[min(d.hides, len(d.list)):]
	hb := actual.Heartbeat{DEA: d.id, Instances: slices.Clone(tells), Rejected: d.nameless}
	hb.Instances = slices.DeleteFunc(hb.Instances, func(i actual.Instance) bool { return i.GUID == w.garbled })
	if n := len(tells) - len(hb.Instances); n > 0 {
		hb.Rejected += n
		hb.Unreadable = []app.GUID{w.garbled}
	}
	w.distort(&hb)
	digest := digestOf(hb)
	w.post("beat "+d.id, func(in *Intake) {
		if !in.Unchanged(digest) {
			in.Heartbeat(hb, digest)
		}
	})
}

// exit has a DEA say that an instance went away.
func (w *world) exit(e actual.Exit) {
	if w.linkUp && w.now >= w.hush {
		w.post("exit", func(in *Intake) { in.Exit(e) })
	}
}

// post has every node hear a message: at once, or by chance later, but in the order of its subject.
func (w *world) post(subject string, hear func(*Intake)) {
	delay := time.Duration(0)
	if w.faults != nil {
		delay = w.faults.delay()
	}
	for _, n := range w.nodes {
		at := n.slow.arrives(w.now, w.now.Add(delay))
		switch {
		case n.earless[subject]:
		case w.faults == nil && at == w.now:
			hear(n.intake)
		default:
			w.send(letter{at, subject, n, hear})
		}
	}
}

// send puts a message on its way.
func (w *world) send(l letter) {
	for _, before := range w.mail {
		if before.subject == l.subject && before.to == l.to {
			l.at = max(l.at, before.at)
		}
	}
	i, _ := slices.BinarySearchFunc(w.mail, l.at+1, func(l letter, at app.Time) int { return cmp.Compare(l.at, at) })
	w.mail = slices.Insert(w.mail, i, l)
}

func digestOf(hb actual.Heartbeat) (d actual.Digest) {
	var b []byte
	text := func(s string) { b = append(append(b, s...), 0) }
	text(hb.DEA)
	for _, i := range hb.Instances {
		text(i.App.Droplet.String())
		text(i.App.Version.String())
		text(i.GUID.String())
		b = append(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(b, i.Index), uint64(i.Since)), byte(i.State))
	}
	for _, g := range hb.Unreadable {
		text(g.String())
	}
	for _, u := range hb.Unplaced {
		text(u.App.Droplet.String())
		text(u.App.Version.String())
		text(u.GUID.String())
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(hb.Rejected))
	sum := xxh3.Hash128(b)
	binary.LittleEndian.PutUint64(d[:8], sum.Hi)
	binary.LittleEndian.PutUint64(d[8:], sum.Lo)
	return d
}

// drift lists what is not as desired, as the recorded state shows it.
func (w *world) drift() []string {
	var out []string
	know := Knowledge{Reads: w.core.reads.known()}
	NewEvaluator(w.opts.Policy).Fleet(w.View(), know, w.now, func(a *Evaluation) bool {
		for f := range a.Drift() {
			out = append(out, fmt.Sprintf("%s/%d %s %s %s", a.Input.Key.Droplet, f.Index, f.Kind, f.Rule, f.Bucket))
		}
		return true
	})
	return out
}

func (w *world) wantSent(what string, starts, stops int) {
	w.t.Helper()
	var gotStarts, gotStops int
	for _, c := range w.sent {
		if c.Action == commands.Start {
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

var errTest = errors.New("out of order, for a test")
