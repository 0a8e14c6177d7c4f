package reconcile

import (
	"cmp"
	"slices"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// truth is the real state of the simulation, beside what hm has heard and read. The checks use it.
type truth struct {
	watched bool // every change of what is desired is noted, so that everything can be checked
	lives   map[app.GUID]*life
	history map[app.GUID][]desired.App // what the Cloud Controller has said of each droplet, zero for nothing
	seen    map[app.GUID]int           // up to where in its history a droplet is recorded
	wrong   bool                       // a wrong answer may still be recorded
	since   map[place]app.Time         // since when each index that is wanted has been
	claims  map[commands.ID]app.Time   // when each command was claimed, by a clock that counts suspensions
	counted map[app.GUID]uint32        // the crashes that were counted, each with the length of its series then

	created   map[commands.ID]app.Time // when each command was scheduled
	published map[commands.ID]bool
	// unlisted gives when a leader last found that a crashed instance must leave the record, as its DEA
	// stopped listing it or was lost. The entry that says so may be committed much later.
	unlisted map[app.GUID]app.Time
}

// life is the life of one instance.
type life struct {
	key              app.Key
	index            uint32
	born             app.Time
	started          app.Time // by a command, or by the Cloud Controller with the change that wants it; 0: by somebody else
	byCC             bool     // by the Cloud Controller
	unwanted         bool     // for some time of its life
	died             app.Time // when it ceased to be live, other than by a command; 0 while it is
	told             bool     // it was told to stop
	recorded         app.Time // when it was seen last to be recorded as live
	excused          app.Time // when it could last be taken for gone, since its entry could not be read
	misreportedUntil app.Time // when its DEA last reported it wrongly
}

func (tr *truth) begin() {
	*tr = truth{lives: map[app.GUID]*life{}, history: map[app.GUID][]desired.App{}, seen: map[app.GUID]int{}, since: map[place]app.Time{}, claims: map[commands.ID]app.Time{}, counted: map[app.GUID]uint32{}, unlisted: map[app.GUID]app.Time{}, created: map[commands.ID]app.Time{}, published: map[commands.ID]bool{}}
}

// wanted reports whether the Cloud Controller wants an index of an app.
func (cf *simCF) wanted(k app.Key, index uint32) bool {
	a := cf.row(k.Droplet)
	return a.Key == k && a.Wanted() && index < a.Instances
}

func (cf *simCF) row(droplet app.GUID) desired.App {
	if i := slices.IndexFunc(cf.apps, func(a desired.App) bool { return a.Key.Droplet == droplet }); i >= 0 {
		return cf.apps[i]
	}
	return desired.App{}
}

// changed notes what the Cloud Controller wants now.
func (tr *truth) changed(cf *simCF) {
	tr.watched = true
	for _, a := range cf.apps {
		if _, known := tr.history[a.Key.Droplet]; !known {
			tr.history[a.Key.Droplet] = []desired.App{{}}
		}
	}
	for d, rows := range tr.history {
		if row := cf.row(d); rows[len(rows)-1] != row {
			tr.history[d] = append(rows, row)
		}
	}
	since := map[place]app.Time{}
	for _, a := range cf.apps {
		for index := range a.Instances {
			if p := (place{a.Key, index}); a.Wanted() {
				since[p] = cmp.Or(tr.since[p], cf.now)
			}
		}
	}
	tr.since = since
	live := map[app.GUID]bool{}
	cf.excuse()
	recorded := cf.recordedLives()
	for _, d := range cf.deas {
		for _, i := range d.list {
			live[i.GUID] = i.State.Live() && !d.quiet
			l := tr.lives[i.GUID]
			_, misreported := cf.misreported[i.GUID]
			switch {
			case l == nil:
			case misreported || i.GUID == cf.unreadable:
				l.excused = cf.now
			case live[i.GUID] && recorded[i.GUID] == i.App && cf.heardAt(d.id) > max(d.excused, l.excused):
				l.recorded = cf.now
			}
		}
	}
	for g, l := range tr.lives {
		l.unwanted = l.unwanted || !cf.wanted(l.key, l.index)
		switch {
		case live[g]:
			l.died = 0
		case l.died == 0:
			l.died = cf.now
		}
	}
}

// justLost reports whether a copy at a command's index, other than its own, ended so recently that
// no heartbeat may have told.
func (tr *truth) justLost(cf *simCF, c commands.Command) bool {
	return tr.lostSince(cf.now.Add(-2*hb), c, c.Instance)
}

// lostSince reports whether a copy at a command's index, other than g, ended by itself at t or
// later.
func (tr *truth) lostSince(t app.Time, c commands.Command, g app.GUID) bool {
	for other, l := range tr.lives {
		if other != g && l.key == c.App && l.index == c.Index && !l.told && l.died != 0 && l.died >= t {
			return true
		}
	}
	return false
}

func (tr *truth) born(cf *simCF, g app.GUID, k app.Key, index uint32) {
	tr.lives[g] = &life{key: k, index: index, born: cf.now, unwanted: !cf.wanted(k, index)}
}

// committed requires that the recorded desired state was true at some time, and never goes back.
func (tr *truth) committed(cf *simCF) {
	if !tr.watched {
		return
	}
	tr.wrong = tr.wrong || cf.answer != nil || cf.wrongReads > 0
	agrees := cf.answer == nil && cf.wrongReads == 0
	for d, rows := range tr.history {
		recorded := cf.recordedRow(d)
		agrees = agrees && cf.saysTheSame(rows[len(rows)-1], recorded)
	}
	if agrees {
		tr.wrong = false
	}
	for d, rows := range tr.history {
		recorded := cf.recordedRow(d)
		at := -1
		for i, row := range rows {
			if cf.saysTheSame(row, recorded) && (at < 0 || i <= tr.seen[d] || at < tr.seen[d]) {
				at = i
			}
		}
		switch {
		case at < 0 && !tr.wrong:
			cf.t.Fatalf("what is recorded of %s was never so: %+v", d, recorded)
		case at < tr.seen[d] && !tr.wrong:
			cf.t.Fatalf("what is recorded of %s went back, from %+v to %+v", d, rows[tr.seen[d]], recorded)
		case !tr.wrong:
			tr.seen[d] = at
		}
	}
}

func (cf *simCF) recordedRow(d app.GUID) desired.App {
	v := cf.View().DesiredVersion(d)
	if v.IsZero() {
		return desired.App{}
	}
	a, _ := cf.View().App(app.Key{Droplet: d, Version: v})
	return a.Desired
}

func (tr *truth) claimed(cf *simCF, r raftfsm.CommandsClaimed) {
	for _, c := range r.Claims {
		tr.claims[c.ID] = cf.now.Add(cf.suspended)
	}
}

// scheduled requires that a crash is counted once, however long its DEA lists it.
func (tr *truth) scheduled(cf *simCF, r raftfsm.CommandsScheduled, refused func(commands.ID) bool) {
	for _, c := range r.Commands {
		if _, again := tr.created[c.ID]; !again {
			tr.created[c.ID] = cf.now
		}
		if c.Reason != commands.ReasonCrashed || c.Crashed.IsZero() || refused(c.ID) {
			continue
		}
		if before, again := tr.counted[c.Crashed]; again && c.CrashCount > before {
			cf.t.Fatalf("the crash of %s at %s/%d is counted again: %d after %d", c.Crashed, c.App.Droplet, c.Index, c.CrashCount, before)
		}
		tr.counted[c.Crashed] = max(tr.counted[c.Crashed], c.CrashCount)
	}
}

// unlist notes the crashed instances that a record is about to take out of the state. stamped is when
// its leader made it.
func (tr *truth) unlist(cf *simCF, r raftfsm.Record, stamped app.Time) {
	note := func(i actual.Instance) {
		if i.State == actual.Crashed {
			tr.unlisted[i.GUID] = stamped
		}
	}
	switch r := r.(type) {
	case raftfsm.DEAsGone:
		for _, dea := range r.DEAs {
			for _, i := range cf.View().DEAInstances(nil, dea) {
				note(i)
			}
		}
	case raftfsm.DEAChanges:
		cf.View().EachOn(r.DEA, r.Removes, note)
	}
}

// forgotten requires that the mark of a crash is forgotten only when no DEA lists it, and none has
// for as long as crashes are remembered. Then it may be counted again. That time begins when the leader
// heard that the DEA does not list it, though it may record that only minutes later, once it has a majority.
func (tr *truth) forgotten(cf *simCF, r raftfsm.CrashesForgotten) {
	for _, c := range r.Crashes {
		if c.Instance.IsZero() { // the series of an index, without its marks
			continue
		}
		for _, i := range cf.View().Instances(nil, c.App) {
			if i.GUID == c.Instance && i.State == actual.Crashed {
				cf.t.Fatalf("the crash of %s is forgotten while %s lists it", c.Instance, i.DEA)
			}
		}
		for _, d := range cf.deas {
			if cf.tellsSteadily(d) && slices.ContainsFunc(d.list, func(i actual.Instance) bool { return i.GUID == c.Instance && cf.tellsCrash(i) }) {
				cf.t.Fatalf("the crash of %s is forgotten while %s lists it, and hm could have heard so", c.Instance, d.id)
			}
		}
		if ago := cf.now.Sub(tr.unlisted[c.Instance]); ago < cf.opts.Policy.CrashMemory()-cf.slack() {
			cf.t.Fatalf("the crash of %s is forgotten %v after it was last listed, want %v or more",
				c.Instance, ago, cf.opts.Policy.CrashMemory())
		}
		delete(tr.counted, c.Instance)
	}
}

// tellsSteadily reports whether a DEA's heartbeats have told all that it has for long.
func (cf *simCF) tellsSteadily(d *simDEA) bool {
	return d.heardSince != 0 && cf.now.Sub(max(d.heardSince, d.disturbed, d.excused)) >= steadyAfter
}

// tellsCrash reports whether the entry of an instance has said for long that it crashed.
func (cf *simCF) tellsCrash(i actual.Instance) bool {
	_, misreported := cf.misreported[i.GUID]
	l := cf.truth.lives[i.GUID]
	return i.State == actual.Crashed && !misreported && i.GUID != cf.unreadable &&
		l != nil && cf.now.Sub(l.misreportedUntil) >= steadyAfter
}

// slack is how far the nodes' hm times may differ from each other, and from the world's.
func (cf *simCF) slack() time.Duration {
	if cf.cluster == nil {
		return 0
	}
	return time.Second
}

// checkGate requires that a node may publish (I1). What it says of itself does not count.
func (cf *simCF) checkGate(n *simNode, epoch uint64) {
	cf.t.Helper()
	up, since, complete := cf.linkUp, cf.linkSince, cf.complete
	if cf.cluster != nil {
		up, since = n.hearsNATS(), max(cf.linkSince, n.linkSince)
		cf.checkLease(n)
	} else if n.core.term != cf.term {
		cf.t.Fatalf("I1: published by a leader of term %d, while the term is %d", n.core.term, cf.term)
	}
	switch {
	case !up || cf.now.Sub(since) < 3*hb:
		cf.t.Fatalf("I1: published %v after the link's last gap, link up: %v", cf.now.Sub(since), up)
	case n.slow.lag(cf.now) > hb:
		cf.t.Fatalf("I1: published while the link is %v late", n.slow.lag(cf.now))
	case epoch != n.epoch():
		cf.t.Fatalf("I1: published for epoch %d of the link, while it is %d", epoch, n.epoch())
	case slices.ContainsFunc(n.View().Holds(), func(h raftfsm.Hold) bool { return h.Shuts(n.Now()) }):
		cf.t.Fatalf("I1: published while a hold is recorded: %+v", cf.state.Holds())
	case complete == 0 || cf.now.Sub(complete) > cf.opts.DesiredTTL+cf.slack()+cf.asleep():
		cf.t.Fatalf("I1: node %d publishes while the newest complete read is %v old; by its own clock the newest that it knows is %v old", n.id, cf.now.Sub(complete), n.Now().Sub(n.core.reads.began))
	}
}

// asleep is for how long any node's machine was suspended. By so much hm may take a read for newer
// than it is, if the leader was suspended in the middle of a step and its peers were restarted then.
func (cf *simCF) asleep() (d time.Duration) {
	for _, n := range cf.nodes {
		d += n.suspended
	}
	return d
}

// checkLease requires that a majority confirmed that a node leads, since it asked for its claim.
// Another node may lead since then only if this one was paused, and for less than the claim lease.
func (cf *simCF) checkLease(n *simNode) {
	cf.t.Helper()
	switch {
	case cf.now.Sub(n.verified) > cf.opts.ClaimLease:
		cf.t.Fatalf("I1: node %d publishes %v after a majority confirmed that it leads", n.id, cf.now.Sub(n.verified))
	case n == cf.simNode && n.raft.commit != cf.cluster.committed:
		cf.t.Fatalf("I1: node %d publishes with %d of %d committed entries", n.id, n.raft.commit, cf.cluster.committed)
	}
}

// checkCommand requires that a publish fits the real state.
func (cf *simCF) checkCommand(n *simNode, c commands.Command) {
	cf.t.Helper()
	cf.checkCell(c)
	at, claimed := cf.truth.claims[c.ID]
	if age := cf.now.Add(cf.suspended).Sub(at); !claimed || age > cf.opts.ClaimLease {
		cf.t.Fatalf("I2: published %v after its claim; claimed: %v", age, claimed)
	}
	if cf.truth.published[c.ID] {
		cf.t.Fatalf("I2: command %s is published twice", c.ID)
	}
	cf.truth.published[c.ID] = true
	if c.Action == commands.Stop {
		cf.checkStop(n, c)
		return
	}
	cf.checkStart(n, c)
}

// checkStop requires that a stop never ends the last instance at a desired index (I3).
func (cf *simCF) checkStop(n *simNode, c commands.Command) {
	cf.t.Helper()
	if cf.truth.watched && c.Reason == commands.ReasonExtra {
		if l := cf.truth.lives[c.Instance]; l != nil && !l.unwanted {
			cf.t.Fatalf("I3: stop of %s/%d %s, which was wanted all its life, since %v; recorded is %+v; the Cloud Controller answers wrong: %v; holds %+v", c.App.Droplet, c.Index, c.App.Version, cf.now.Sub(l.born), cf.recordedRow(c.App.Droplet), cf.answer != nil, cf.state.Holds())
		}
	}
	for _, a := range cf.apps {
		if a.Key != c.App || !a.Startable() || c.Index >= a.Instances || c.Reason == commands.ReasonEvacuationComplete {
			continue
		}
		if cf.truth.watched && cf.truth.since[place{c.App, c.Index}] > cf.readBegan(n, n.core.reads.beganOf(c.App.Droplet)) {
			continue // it was wanted again after the newest read was begun: nobody can know
		}
		for _, d := range cf.deas {
			for _, i := range d.list {
				if i.App == c.App && i.Index == c.Index && i.GUID != c.Instance && i.State.Live() {
					return
				}
			}
		}
		if cf.truth.watched && cf.truth.justLost(cf, c) {
			continue
		}
		cf.t.Fatalf("I3: stop %v of the last instance at a desired index of %s", c.Reason, c.App)
	}
}

// checkStart requires that a start is not needless: nothing that was just started lives at its
// index, and it is not of an old version beside the new one.
func (cf *simCF) checkStart(n *simNode, c commands.Command) {
	cf.t.Helper()
	if !cf.truth.watched {
		return
	}
	cf.checkKnown(n, c)
	if cf.flips(c) {
		return
	}
	now := cf.row(c.App.Droplet)
	for _, d := range cf.deas {
		for _, i := range d.list {
			l := cf.truth.lives[i.GUID]
			if _, is := cf.misreported[i.GUID]; is || d.garbles || !i.State.Live() || d.quiet || d.omits > 0 || i.GUID == cf.unreadable || l == nil {
				continue
			}
			if i.App == c.App && i.Index == c.Index && l.recorded > max(d.excused, l.excused) {
				cf.t.Fatalf("needless start %v of %s/%d: %s was recorded %v ago, has lived since, and its DEA has told", c.Reason, c.App.Droplet, c.Index, i.GUID, cf.now.Sub(l.recorded))
			}
			// The Cloud Controller and hm may come to start an index at once: hm for what it was
			// missing before, or for an evacuation, which waits for nothing. But no crash may be
			// seen in what is only just wanted. Nor can hm tell its own start's effect from a copy
			// that was back at the index, and crashed before the start's was heard of.
			overtaken := l.byCC && (cf.truth.created[c.ID] < l.born || c.Reason != commands.ReasonCrashed) ||
				c.Reason == commands.ReasonCrashed && !cf.recordedLive(i) && cf.truth.lostSince(l.started, c, i.GUID)
			if i.App == c.App && i.Index == c.Index && l.started != 0 && !overtaken && cf.now.Sub(l.started) < cf.opts.Policy.Grace-cf.slack() {
				cf.t.Fatalf("needless start %v of %s/%d: %s was started %v ago and lives", c.Reason, c.App.Droplet, c.Index, i.GUID, cf.now.Sub(l.started))
			}
			if i.App.Droplet == c.App.Droplet && i.App != c.App && i.App == now.Key && !l.unwanted && cf.recordedLive(i) {
				cf.t.Fatalf("start %v of %s/%d in version %s, while %s of version %s is recorded", c.Reason, c.App.Droplet, c.Index, c.App.Version, i.GUID, i.App.Version)
			}
		}
	}
}

// recordedLives gives the apps of the instances that are recorded as live.
func (cf *simCF) recordedLives() map[app.GUID]app.Key {
	lives := map[app.GUID]app.Key{}
	view := cf.View()
	for d := range view.DEAs() {
		for _, i := range view.DEAInstances(nil, d.ID) {
			if i.State.Live() {
				lives[i.GUID] = i.App
			}
		}
	}
	return lives
}

func (cf *simCF) recordedLive(i actual.Instance) bool {
	return slices.ContainsFunc(cf.View().Instances(nil, i.App), func(l actual.Located) bool { return l.GUID == i.GUID && l.State.Live() })
}

// heardAt is when any node last heard a DEA.
func (cf *simCF) heardAt(dea string) (at app.Time) {
	for _, n := range cf.nodes {
		if t := n.intake.live.LastHeard(dea); t != 0 {
			at = max(at, cf.now.Add(-simIntakeLog{n}.Now().Sub(t)))
		}
	}
	return at
}

// liveAtEach counts the live instances that there really are at each index.
func (cf *simCF) liveAtEach() map[app.Key]map[uint32]int {
	live := map[app.Key]map[uint32]int{}
	for _, d := range cf.deas {
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
