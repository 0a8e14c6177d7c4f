package api

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/diff"
	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// How long a pass over the fleet is used.
const (
	passCost    = 200                   // a pass is used for at least this many times as long as it took: 0.5 % of one core
	keysCost    = 50                    // the same of the sorted keys of a list
	passMaxAge  = 10 * time.Second      // and no longer than this or a heartbeat period, because findings change with time
	passMaxKeep = 30 * time.Second      // the longest use of a pass that was expensive, but for the time that the next one takes
	passTooOld  = 2 * passMaxKeep       // age from which everybody waits longer for a new pass, however long the last one took
	listKeep    = time.Minute           // how long the pass of a listing is kept after its newest page
	maxLists    = 3                     // passes kept for that
	smallFleet  = 10_000                // desired apps, below which everybody waits for a new pass
	perSmallApp = 4                     // instances for each of them: apps that are not desired run as well
	passWait    = 25 * time.Millisecond // how long others wait for it while there is an older one to use
	longWait    = time.Second           // the same while the older one is too old, from when the new one was asked for
)

// fleet finds the drift of the whole fleet. It does so rarely enough that scrapes and dashboards cost little, and
// keeps the passes of listings that have more pages.
type fleet struct {
	policy diff.Policy

	mu      sync.Mutex // held during a pass: a second request waits for it
	eval    *reconcile.Evaluator
	known   knownApps
	current *pass
	lists   []*pass // most recently used first

	small      int                  // smallFleet
	newest     atomic.Pointer[pass] // current, for those that do not wait
	background func(func())         // runs a function on a goroutine that the server waits for

	renewMu  sync.Mutex
	renewing chan struct{} // closed when the pass that is being made in the background is there; nil if none is
	began    time.Time     // when the newest of them was asked for
}

// pass is what was found about the whole fleet, or about some apps, in 24 bytes a finding. The findings of a page are
// evaluated again when the page is asked for.
type pass struct {
	view   *raftfsm.State
	at     app.Time
	know   reconcile.Knowledge
	policy diff.Policy
	keys   []app.Key  // sorted
	sums   []driftSum // of each key
	refs   []ref      // most urgent first
	alone  []ref      // what may be another cell's (R65), which is no drift
	kinds  [diff.NumKinds]int
	due    int // findings that are acted on now
	waits  waits
	gauges gauges

	built time.Time
	took  time.Duration
	used  time.Time
}

// driftSum sums up the drift of one app.
type driftSum struct {
	findings uint32
	kinds    uint8 // a bit for each diff.Kind
	buckets  uint8 // a bit for each diff.Bucket
}

func (d *driftSum) add(f *diff.Finding) {
	d.findings++
	d.kinds |= 1 << f.Kind
	d.buckets |= 1 << f.Bucket
}

// ref names a finding: the nth of an app. Refs are sorted by urgency.
type ref struct {
	due    app.Time // 0: now; neverDue: no action
	key    uint32   // position in pass.keys
	nth    uint32
	kind   diff.Kind
	bucket diff.Bucket
}

// refOf gives the ref of the nth finding of the app at a position in pass.keys.
func refOf(f *diff.Finding, key, nth int) ref {
	return ref{due: urgency(f), key: uint32(key), nth: uint32(nth), kind: f.Kind, bucket: f.Bucket}
}

const neverDue = app.Time(math.MaxInt64)

func (a ref) compare(b ref) int {
	return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.kind, b.kind), cmp.Compare(a.key, b.key), cmp.Compare(a.nth, b.nth))
}

// urgency is when a finding is acted on, for sorting.
func urgency(f *diff.Finding) app.Time {
	switch {
	case f.Action == commands.None:
		return neverDue
	case f.Bucket != diff.Wait:
		return 0
	}
	return f.Due
}

// gauges are the numbers of HM9000's metrics of the fleet (M01 to M10), and those of the Ruby Health Manager.
type gauges struct {
	appsAllReporting, appsMissing, undesiredRunning, missingIndices, crashedIndices int
	desiredApps, desiredInstances, pendingStaging                                   int
	ruby                                                                            rubyGauges
}

// recent gives a pass that is recent enough. In a large fleet, where a pass may take a second when there is much drift, and
// half a minute when the processors are busy as well, it gives soon an older one, and lets a new one be made in the
// background. The older one is as a rule at most passMaxKeep old, and as much older as the new one takes: DriftCounts.AgeMS tells.
func (f *fleet) recent(n snapshot) *pass {
	p := f.newest.Load()
	if c := n.view.Counts(); p == nil || c.Apps < f.small && c.Instances < perSmallApp*f.small {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.recentLocked(n)
	}
	if f.isRecent(p, n, n.knowledge()) {
		return p
	}
	renewed, began := f.renew(n)
	patience := passWait
	if time.Since(p.built) >= min(passMaxKeep+2*p.took, passTooOld) {
		patience = max(passWait, longWait-time.Since(began))
	}
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case <-renewed:
		if newest := f.newest.Load(); newest != nil {
			return newest
		}
	case <-wait.C:
	}
	return p
}

// renew makes a pass in the background, unless one is being made. The channel is closed when it is there. began is when it
// was asked for.
func (f *fleet) renew(n snapshot) (renewed <-chan struct{}, began time.Time) {
	f.renewMu.Lock()
	defer f.renewMu.Unlock()
	if f.renewing != nil {
		return f.renewing, f.began
	}
	done := make(chan struct{})
	f.renewing, f.began = done, time.Now()
	f.background(func() {
		defer close(done)
		f.mu.Lock()
		f.recentLocked(n)
		f.mu.Unlock()
		f.renewMu.Lock()
		f.renewing = nil
		f.renewMu.Unlock()
	})
	return f.renewing, f.began
}

// isRecent reports whether a pass is recent enough.
func (f *fleet) isRecent(p *pass, n snapshot, know reconcile.Knowledge) bool {
	age := time.Since(p.built)
	same := p.view.Index() == n.view.Index() && slices.Equal(p.know.Held, know.Held) && p.know.Reads == know.Reads
	return age < min(passCost*p.took, passMaxKeep) || same && age < min(passMaxAge, f.policy.HeartbeatPeriod)
}

func (f *fleet) recentLocked(n snapshot) *pass {
	f.expire()
	know := n.knowledge()
	if p := f.current; p != nil && f.isRecent(p, n, know) {
		p.used = time.Now()
		return p
	}
	f.current = f.newPass(n.view, know, n.hm, nil)
	f.newest.Store(f.current)
	return f.current
}

// list gives the pass of a listing. at is 0 for a new listing, or else the hm time of its first pass. If that pass is
// no longer kept, list makes a new one as of that time, which gives nearly the same order.
func (f *fleet) list(n snapshot, at app.Time) *pass {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at == 0 {
		return f.keep(f.recentLocked(n))
	}
	f.expire()
	for _, p := range append(slices.Clone(f.lists), f.current) {
		if p != nil && p.at == at {
			return f.keep(p)
		}
	}
	return f.keep(f.newPass(n.view, n.knowledge(), at, nil))
}

// apps makes a pass over some apps only.
func (f *fleet) apps(n snapshot, at app.Time, keys []app.Key) *pass {
	if at == 0 {
		at = n.hm
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.newPass(n.view, n.knowledge(), at, keys)
}

func (f *fleet) keep(p *pass) *pass {
	p.used = time.Now()
	f.lists = slices.DeleteFunc(f.lists, func(o *pass) bool { return o == p })
	f.lists = slices.Insert(f.lists, 0, p)
	f.lists = f.lists[:min(len(f.lists), maxLists)]
	return p
}

// forget drops passes that were not used for a while, with the views that they hold, and what is kept for further ones.
func (f *fleet) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire()
	if f.current != nil && time.Since(f.current.used) > listKeep {
		f.current, f.known = nil, knownApps{}
		f.newest.Store(nil)
	}
}

func (f *fleet) expire() {
	f.lists = slices.DeleteFunc(f.lists, func(p *pass) bool { return time.Since(p.used) > listKeep })
}

// newPass makes a pass over the fleet, or over the apps that keys name.
func (f *fleet) newPass(view *raftfsm.State, know reconcile.Knowledge, at app.Time, keys []app.Key) *pass {
	began := time.Now()
	p := &pass{view: view, at: at, know: know, policy: f.policy, keys: keys, built: began, used: began}
	whole, shut := keys == nil, len(p.shut()) > 0
	if whole {
		p.keys, p.gauges = f.known.unsettledAt(f.eval, view, at), f.known.desiredGauges(view)
	}
	p.sums = make([]driftSum, len(p.keys))
	for i, k := range p.keys {
		yield(i)
		e := f.eval.App(view, k, know, at)
		for nth := range e.Findings {
			fd := &e.Findings[nth]
			if fd.Kind == diff.KindNone {
				continue
			}
			p.kinds[fd.Kind]++
			if fd.Kind == diff.KindForeign {
				p.alone = append(p.alone, refOf(fd, i, nth))
				continue
			}
			p.sums[i].add(fd)
			if fd.Bucket == diff.ToStart || fd.Bucket == diff.ToStop {
				p.due++
			}
			p.refs = append(p.refs, refOf(fd, i, nth))
		}
		p.waits.add(e.Findings, shut)
		p.gauges.add(&e.Input)
		p.gauges.ruby.add(&e.Input, f.policy, at)
	}
	slices.SortFunc(p.refs, ref.compare)
	slices.SortFunc(p.alone, ref.compare)
	if whole {
		p.gauges.appsAllReporting = p.gauges.desiredApps - p.gauges.appsMissing
	}
	p.took = time.Since(began)
	return p
}

// add counts an app that may not be as desired.
func (g *gauges) add(in *diff.Input) {
	wanted := in.Desired != nil && in.Desired.Wanted()
	staged := wanted && in.Desired.Startable()
	seen, anyLive := 0, false
	for i := 0; i < len(in.Instances); {
		index, crashed, live := in.Instances[i].Index, false, false
		for ; i < len(in.Instances) && in.Instances[i].Index == index; i++ {
			live = live || in.Instances[i].State.Live()
			crashed = crashed || in.Instances[i].State == actual.Crashed
		}
		anyLive = anyLive || live
		if crashed && !live {
			g.crashedIndices++
		}
		if staged && index < in.Desired.Instances {
			seen++
		}
	}
	if !wanted && anyLive && !(in.Foreign && in.Desired == nil) {
		g.undesiredRunning++
	}
	if staged && seen < int(in.Desired.Instances) {
		g.appsMissing++
		g.missingIndices += int(in.Desired.Instances) - seen
	}
}

// desire counts an app of the desired state.
func (g *gauges) desire(d desired.App) {
	g.ruby.desire(d)
	switch {
	case d.Startable():
		g.desiredApps++
		g.desiredInstances += int(d.Instances)
	case d.Wanted():
		g.pendingStaging++
	}
}

// counts gives the numbers of the status of n.
func (p *pass) counts(n snapshot) DriftCounts {
	d := DriftCountsOf(p.kinds, p.due)
	if p.view.Index() != n.view.Index() {
		d.AgeMS = max(n.hm.Sub(p.at).Milliseconds(), 1)
	}
	return d
}

// DriftCountsOf gives the numbers of findings. kinds counts them by kind; due of them are acted on now.
func DriftCountsOf(kinds [diff.NumKinds]int, due int) DriftCounts {
	return DriftCounts{
		Missing: kinds[diff.KindMissing], Crashed: kinds[diff.KindCrashed], Evacuating: kinds[diff.KindEvacuating],
		Extra: kinds[diff.KindExtra], Duplicate: kinds[diff.KindDuplicate], Undesired: kinds[diff.KindUndesired], Due: due,
		Foreign: kinds[diff.KindForeign],
	}
}

// place is the position of a key among the pass's keys, or where it would be, and whether it is there.
func (p *pass) place(k app.Key) (uint32, bool) {
	i, found := slices.BinarySearchFunc(p.keys, k, app.Key.Compare)
	return uint32(i), found
}

// reader evaluates the findings of single refs. It keeps those of the last app.
type reader struct {
	p    *pass
	eval *reconcile.Evaluator
	last *reconcile.Evaluation
	key  int // of last
}

func (p *pass) reader() *reader {
	return &reader{p: p, eval: reconcile.NewEvaluator(p.policy), key: -1}
}

// finding gives the finding of a ref. in is valid until the next call.
func (r *reader) finding(at ref) (f *diff.Finding, in *diff.Input) {
	if r.key != int(at.key) {
		r.key = int(at.key)
		r.last = r.eval.App(r.p.view, r.p.keys[at.key], r.p.know, r.p.at)
	}
	return &r.last.Findings[at.nth], &r.last.Input
}
