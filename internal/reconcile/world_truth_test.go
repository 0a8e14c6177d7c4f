package reconcile

import (
	"cmp"
	"slices"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// truth is what really is, beside what hm has heard and read of it: the checks of a world go by it.
type truth struct {
	watched bool // the world tells of every change of what is desired, so that everything can be checked
	lives   map[app.GUID]*life
	history map[app.GUID][]desired.App // what the Cloud Controller has said of each droplet, zero for nothing
	seen    map[app.GUID]int           // up to where in its history a droplet is recorded
	wrong   bool                       // a wrong answer may still be recorded
	since   map[place]app.Time         // since when each index that is wanted has been
	claims  map[commands.ID]app.Time   // when each command was claimed, by a clock that counts suspensions
	counted map[app.GUID]uint32        // the crashes that were counted, each with the length of its series then
}

// life is the life of one instance.
type life struct {
	key      app.Key
	index    uint32
	born     app.Time
	started  app.Time // by a command, or by the Cloud Controller with the change that wants it; 0: by somebody else
	byCC     bool     // by the Cloud Controller
	unwanted bool     // for some time of its life
	died     app.Time // when it ceased to be live, other than by a command; 0 while it is
	told     bool     // it was told to stop
	recorded app.Time // when it was seen last to be recorded as live
	excused  app.Time // when it could last be taken for gone, since its entry could not be read
	oddUntil app.Time // when its DEA last told of it in an odd way
}

func (tr *truth) begin() {
	*tr = truth{lives: map[app.GUID]*life{}, history: map[app.GUID][]desired.App{}, seen: map[app.GUID]int{}, since: map[place]app.Time{}, claims: map[commands.ID]app.Time{}, counted: map[app.GUID]uint32{}}
}

// wanted reports whether the Cloud Controller wants an index of an app.
func (w *world) wanted(k app.Key, index uint32) bool {
	a := w.row(k.Droplet)
	return a.Key == k && a.Wanted() && index < a.Instances
}

func (w *world) row(droplet app.GUID) desired.App {
	if i := slices.IndexFunc(w.apps, func(a desired.App) bool { return a.Key.Droplet == droplet }); i >= 0 {
		return w.apps[i]
	}
	return desired.App{}
}

// changed takes note of what the Cloud Controller wants now.
func (tr *truth) changed(w *world) {
	tr.watched = true
	for _, a := range w.apps {
		if _, known := tr.history[a.Key.Droplet]; !known {
			tr.history[a.Key.Droplet] = []desired.App{{}}
		}
	}
	for d, rows := range tr.history {
		if row := w.row(d); rows[len(rows)-1] != row {
			tr.history[d] = append(rows, row)
		}
	}
	since := map[place]app.Time{}
	for _, a := range w.apps {
		for index := range a.Instances {
			if p := (place{a.Key, index}); a.Wanted() {
				since[p] = cmp.Or(tr.since[p], w.now)
			}
		}
	}
	tr.since = since
	live := map[app.GUID]bool{}
	w.excuse()
	for _, d := range w.deas {
		for _, i := range d.list {
			live[i.GUID] = i.State.Live() && !d.quiet
			l := tr.lives[i.GUID]
			_, odd := w.odd[i.GUID]
			switch {
			case l == nil:
			case odd || i.GUID == w.garbled:
				l.excused = w.now
			case live[i.GUID] && w.recordedLive(i) && w.heardAt(d.id) > max(d.excused, l.excused):
				l.recorded = w.now
			}
		}
	}
	for g, l := range tr.lives {
		l.unwanted = l.unwanted || !w.wanted(l.key, l.index)
		switch {
		case live[g]:
			l.died = 0
		case l.died == 0:
			l.died = w.now
		}
	}
}

// justLost reports whether a copy at an index, other than the command's, went away so lately that no heartbeat need have told.
func (tr *truth) justLost(w *world, c commands.Command) bool {
	return tr.lostSince(w.now.Add(-2*hb), c, c.Instance)
}

// lostSince reports whether a copy at a command's index, other than g, went away at a time or later, by itself.
func (tr *truth) lostSince(t app.Time, c commands.Command, g app.GUID) bool {
	for other, l := range tr.lives {
		if other != g && l.key == c.App && l.index == c.Index && !l.told && l.died != 0 && l.died >= t {
			return true
		}
	}
	return false
}

func (tr *truth) born(w *world, g app.GUID, k app.Key, index uint32) {
	tr.lives[g] = &life{key: k, index: index, born: w.now, unwanted: !w.wanted(k, index)}
}

// committed holds what was recorded of the desired state against its history: it never goes back.
func (tr *truth) committed(w *world) {
	if !tr.watched {
		return
	}
	tr.wrong = tr.wrong || w.answer != nil
	agrees := w.answer == nil
	for d, rows := range tr.history {
		agrees = agrees && rows[len(rows)-1] == w.recordedRow(d)
	}
	if agrees {
		tr.wrong = false
	}
	for d, rows := range tr.history {
		recorded := w.recordedRow(d)
		at := -1
		for i, row := range rows {
			if row == recorded && (at < 0 || i <= tr.seen[d] || at < tr.seen[d]) {
				at = i
			}
		}
		switch {
		case at < 0 && !tr.wrong:
			w.t.Fatalf("what is recorded of %s was never so: %+v", d, recorded)
		case at < tr.seen[d] && !tr.wrong:
			w.t.Fatalf("what is recorded of %s went back, from %+v to %+v", d, rows[tr.seen[d]], recorded)
		case !tr.wrong:
			tr.seen[d] = at
		}
	}
}

func (w *world) recordedRow(d app.GUID) desired.App {
	v := w.View().DesiredVersion(d)
	if v.IsZero() {
		return desired.App{}
	}
	a, _ := w.View().App(app.Key{Droplet: d, Version: v})
	return a.Desired
}

func (tr *truth) claimed(w *world, r raftfsm.CommandsClaimed) {
	for _, c := range r.Claims {
		tr.claims[c.ID] = w.now.Add(w.suspended)
	}
}

// scheduled holds that a crash is counted once, however long its DEA lists it.
func (tr *truth) scheduled(w *world, r raftfsm.CommandsScheduled, refused func(commands.ID) bool) {
	for _, c := range r.Commands {
		if c.Reason != commands.ReasonCrashed || c.Crashed.IsZero() || refused(c.ID) {
			continue
		}
		if before, again := tr.counted[c.Crashed]; again && c.CrashCount > before {
			w.t.Fatalf("the crash of %s at %s/%d is counted again: %d after %d", c.Crashed, c.App.Droplet, c.Index, c.CrashCount, before)
		}
		tr.counted[c.Crashed] = max(tr.counted[c.Crashed], c.CrashCount)
	}
}

// forgotten holds that the mark of a crash is forgotten only when no DEA has listed it for as long as crashes are
// remembered. Then it may be counted again.
func (tr *truth) forgotten(w *world, r raftfsm.CrashesForgotten) {
	for _, c := range r.Crashes {
		for _, i := range w.View().Instances(nil, c.App) {
			if !c.Instance.IsZero() && i.GUID == c.Instance && i.State == actual.Crashed {
				w.t.Fatalf("the crash of %s is forgotten while %s lists it", c.Instance, i.DEA)
			}
		}
		delete(tr.counted, c.Instance)
	}
}

// checkGate holds a publish against I1.
func (w *world) checkGate(epoch uint64) {
	w.t.Helper()
	switch {
	case w.core.term != w.term:
		w.t.Fatalf("I1: published by a leader of term %d, while the term is %d", w.core.term, w.term)
	case !w.linkUp || w.now.Sub(w.linkSince) < 3*hb:
		w.t.Fatalf("I1: published %v after the link's last gap, link up: %v", w.now.Sub(w.linkSince), w.linkUp)
	case w.slow.lag(w.now) > hb:
		w.t.Fatalf("I1: published while the link is %v late", w.slow.lag(w.now))
	case epoch != w.epoch:
		w.t.Fatalf("I1: published for epoch %d of the link, while it is %d", epoch, w.epoch)
	case slices.ContainsFunc(w.state.Holds(), func(h raftfsm.Hold) bool { return h.Shuts(w.now) }):
		w.t.Fatalf("I1: published while a hold is recorded: %+v", w.state.Holds())
	case !w.core.reads.fresh(w.now, w.opts):
		w.t.Fatal("I1: published while the desired state is stale")
	}
}

// checkCommand holds a publish against what really is.
func (w *world) checkCommand(c commands.Command) {
	w.t.Helper()
	if age := w.now.Add(w.suspended).Sub(w.truth.claims[c.ID]); age > w.opts.ClaimLease {
		w.t.Fatalf("I2: published %v after its claim", age)
	}
	if c.Action == commands.Stop {
		w.checkStop(c)
		return
	}
	w.checkStart(c)
}

// checkStop holds a published stop against I3.
func (w *world) checkStop(c commands.Command) {
	w.t.Helper()
	if w.truth.watched && c.Reason == commands.ReasonExtra {
		if l := w.truth.lives[c.Instance]; l != nil && !l.unwanted {
			w.t.Fatalf("I3: stop of %s/%d %s, which was wanted all its life, since %v; recorded is %+v; the Cloud Controller answers wrong: %v; holds %+v", c.App.Droplet, c.Index, c.App.Version, w.now.Sub(l.born), w.recordedRow(c.App.Droplet), w.answer != nil, w.state.Holds())
		}
	}
	for _, a := range w.apps {
		if a.Key != c.App || !a.Startable() || c.Index >= a.Instances || c.Reason == commands.ReasonEvacuationComplete {
			continue
		}
		if w.truth.watched && w.truth.since[place{c.App, c.Index}] > w.core.reads.beganOf(c.App.Droplet) {
			continue // it was wanted again after the newest read was begun: nobody can know
		}
		for _, d := range w.deas {
			for _, i := range d.list {
				if i.App == c.App && i.Index == c.Index && i.GUID != c.Instance && i.State.Live() {
					return
				}
			}
		}
		if w.truth.watched && w.truth.justLost(w, c) {
			continue
		}
		w.t.Fatalf("I3: stop %v of the last instance at a desired index of %s", c.Reason, c.App)
	}
}

// checkStart holds a published start against needless ones: of what was just started and lives, and of an old version
// beside the new one.
func (w *world) checkStart(c commands.Command) {
	w.t.Helper()
	if !w.truth.watched {
		return
	}
	w.checkKnown(c)
	if w.flips(c) {
		return
	}
	now := w.row(c.App.Droplet)
	for _, d := range w.deas {
		for _, i := range d.list {
			l := w.truth.lives[i.GUID]
			if _, odd := w.odd[i.GUID]; odd || d.garbles || !i.State.Live() || d.quiet || d.hides > 0 || i.GUID == w.garbled || l == nil {
				continue
			}
			if i.App == c.App && i.Index == c.Index && l.recorded > max(d.excused, l.excused) {
				w.t.Fatalf("needless start %v of %s/%d: %s was recorded %v ago, has lived since, and its DEA has told", c.Reason, c.App.Droplet, c.Index, i.GUID, w.now.Sub(l.recorded))
			}
			// The Cloud Controller and hm may come to start an index at once: hm for what it was missing before, or for
			// an evacuation, which waits for nothing. But no crash may be seen in what is only just wanted.
			// Nor can hm tell its own start's effect from a copy that was back at the index, and crashed before the start's
			// was heard of.
			overtaken := l.byCC && (c.CreatedAt < l.born || c.Reason != commands.ReasonCrashed) ||
				c.Reason == commands.ReasonCrashed && !w.recordedLive(i) && w.truth.lostSince(l.started, c, i.GUID)
			if i.App == c.App && i.Index == c.Index && l.started != 0 && !overtaken && w.now.Sub(l.started) < w.opts.Policy.Grace {
				w.t.Fatalf("needless start %v of %s/%d: %s was started %v ago and lives", c.Reason, c.App.Droplet, c.Index, i.GUID, w.now.Sub(l.started))
			}
			if i.App.Droplet == c.App.Droplet && i.App != c.App && i.App == now.Key && !l.unwanted && w.recordedLive(i) {
				w.t.Fatalf("start %v of %s/%d in version %s, while %s of version %s is recorded", c.Reason, c.App.Droplet, c.Index, c.App.Version, i.GUID, i.App.Version)
			}
		}
	}
}

func (w *world) recordedLive(i actual.Instance) bool {
	return slices.ContainsFunc(w.View().Instances(nil, i.App), func(l actual.Located) bool { return l.GUID == i.GUID && l.State.Live() })
}

// heardAt is when a DEA was heard last, by any node.
func (w *world) heardAt(dea string) (at app.Time) {
	for _, n := range w.nodes {
		at = max(at, n.intake.live.LastHeard(dea))
	}
	return at
}

// liveAtEach counts the live instances at each index that really are.
func (w *world) liveAtEach() map[app.Key]map[uint32]int {
	live := map[app.Key]map[uint32]int{}
	for _, d := range w.deas {
		for _, i := range d.list {
			if d.quiet || !i.State.Live() {
				continue
			}
			if live[i.App] == nil {
				live[i.App] = map[uint32]int{}
			}
			live[i.App][i.Index]++
		}
	}
	return live
}
