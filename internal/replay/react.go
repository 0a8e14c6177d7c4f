package replay

import (
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"

	"hm/actual"
	"hm/actual/feed"
	"hm/commands"
	"hm/desired"
	"hm/diff"
	"hm/internal/app"
)

// React says how simulated DEAs answer the commands of a replay.
type React struct {
	Delay time.Duration // from a command to its effect, which the DEA's next heartbeat tells; 0: a tenth of a period
}

// world lets the recorded DEAs answer the commands, by rewriting what they say:
//
//   - An instance that was told to stop is left out after the delay.
//   - An instance that was started is RUNNING, after the delay, in what the DEA with the fewest instances says next.
//     When the recording itself shows a new live instance at that index, that one has taken its place.
//   - What the recorded hm did is undone as far as the recording holds its commands: a new instance at an index that
//     it started is left out, and one that it stopped stays, until the replay stops it or its DEA falls silent.
//
// After the end of the recording the DEAs that still spoke go on speaking, and reads of the desired state give what
// the last one gave.
type world struct {
	delay  time.Duration
	period time.Duration
	sum    feed.Digester

	deas    map[string]*worldDEA
	stopped map[app.GUID]app.Time // instances that are left out, and from when on
	coming  []placement           // in the order of time
	made    map[place]*worldDEA   // where a start of the replay put an instance
	theirs  map[place]bool        // started by the recorded hm: what appears there is its doing
	known   map[app.GUID]bool     // instances that the recording has shown

	over   bool          // the recording has ended
	turns  []*worldDEA   // in the order in which they speak then
	read   *desired.Read // the newest; nil if it failed
	readAt app.Time      // when a read that the core wants ends; 0 if none is under way
	began  app.Time
}

type place struct {
	key   app.Key
	index uint32
}

type placement struct {
	at    app.Time
	place place
	guid  app.GUID
}

type worldDEA struct {
	id    string
	heard *said // in the recording
	beat  app.Time
	added []actual.Instance // started by the replay, or stopped by the recorded hm alone
	said  *said             // in the replay
	of    *said             // the heard that said is of
	epoch uint64
}

const (
	never    = app.Time(math.MaxInt64)
	readTook = 50 // ms
)

func newWorld(r React, period time.Duration) *world {
	if r.Delay <= 0 {
		r.Delay = period / 10
	}
	return &world{
		delay: r.Delay, period: period, sum: feed.NewFastDigester(), deas: map[string]*worldDEA{}, stopped: map[app.GUID]app.Time{},
		made: map[place]*worldDEA{}, theirs: map[place]bool{}, known: map[app.GUID]bool{},
	}
}

// hear turns what a DEA said in the recording into what it says in the replay.
func (w *world) hear(s *said, now app.Time) *said {
	d := w.deas[s.hb.DEA]
	if d == nil {
		d = &worldDEA{id: s.hb.DEA}
		w.deas[d.id] = d
	}
	if d.heard != s {
		w.notice(s)
		d.heard = s
	}
	d.beat = now
	return w.say(d, now)
}

// notice looks at instances that the recording shows for the first time.
func (w *world) notice(s *said) {
	for _, i := range s.hb.Instances {
		if w.known[i.GUID] {
			continue
		}
		w.known[i.GUID] = true
		at := place{i.App, i.Index}
		if w.theirs[at] {
			delete(w.theirs, at)
			w.stopped[i.GUID] = 0
		} else if d := w.made[at]; d != nil && i.State.Live() {
			d.drop(func(a actual.Instance) bool { return place{a.App, a.Index} == at })
			delete(w.made, at)
		}
	}
}

func (d *worldDEA) drop(which func(actual.Instance) bool) {
	d.added = slices.DeleteFunc(slices.Clone(d.added), which)
}

func (w *world) left(g app.GUID, now app.Time) bool {
	since, ok := w.stopped[g]
	return ok && now >= since
}

// hidden reports whether the replay knows nothing of an instance of the recording.
func (w *world) hidden(g app.GUID) bool {
	since, ok := w.stopped[g]
	return ok && since == 0
}

// say makes a DEA's heartbeat.
func (w *world) say(d *worldDEA, now app.Time) *said {
	w.settle(now)
	d.drop(func(a actual.Instance) bool {
		return w.left(a.GUID, now) || slices.ContainsFunc(d.heard.hb.Instances, func(i actual.Instance) bool { return i.GUID == a.GUID })
	})
	list := make([]actual.Instance, 0, len(d.heard.hb.Instances)+len(d.added))
	for _, i := range d.heard.hb.Instances {
		if !w.left(i.GUID, now) {
			list = append(list, i)
		}
	}
	if len(list) == len(d.heard.hb.Instances) && len(d.added) == 0 {
		return d.heard
	}
	list = append(list, d.added...)
	if d.of == d.heard && slices.Equal(d.said.hb.Instances, list) {
		return d.said
	}
	d.epoch++
	text := append([]byte(d.id), d.heard.digest[:]...)
	digest := w.sum.Sum(binary.BigEndian.AppendUint64(text, d.epoch))
	hb := d.heard.hb // with what cannot be read of it
	hb.Instances = list
	d.said, d.of = &said{digest: digest, hb: hb}, d.heard
	return d.said
}

// settle puts the instances whose time has come where there is most room.
func (w *world) settle(now app.Time) {
	for len(w.coming) > 0 && w.coming[0].at <= now {
		c := w.coming[0]
		w.coming = w.coming[1:]
		var best *worldDEA
		for _, d := range w.deas {
			if now.Sub(d.beat) >= w.period+w.period/2 {
				continue
			}
			if best == nil || cmp.Or(cmp.Compare(d.load(), best.load()), cmp.Compare(d.id, best.id)) < 0 {
				best = d
			}
		}
		if best == nil {
			continue // nobody is there to start it
		}
		best.added = append(best.added, actual.Instance{App: c.place.key, GUID: c.guid, Index: c.place.index, State: actual.Running, Since: int64(c.at)})
		w.made[c.place] = best
	}
}

func (d *worldDEA) load() int { return len(d.heard.hb.Instances) + len(d.added) }

// obey takes a command of the replay.
func (w *world) obey(c commands.Command, now app.Time) {
	if c.Action == diff.Stop {
		if _, hidden := w.stopped[c.Instance]; !hidden {
			w.stopped[c.Instance] = now.Add(w.delay)
		}
		return
	}
	w.coming = append(w.coming, placement{now.Add(w.delay), place{c.App, c.Index}, app.FromBinary(c.ID, 'h')})
}

// recorded takes a command that the recorded hm sent.
func (w *world) recorded(e *item) {
	if e.kind == itemStart {
		s := e.rest.start
		w.theirs[place{app.Key{Droplet: s.Droplet, Version: s.Version}, s.Index}] = true
		return
	}
	guid := e.rest.stop.Instance
	for _, d := range w.deas {
		for _, i := range d.heard.hb.Instances {
			if i.GUID == guid {
				i.State = actual.Running
				d.added = append(slices.Clone(d.added), i)
				return
			}
		}
	}
}

// carryOn begins the time after the end of the recording.
func (w *world) carryOn(now app.Time) {
	w.over = true
	for _, d := range w.deas {
		if now.Sub(d.beat) < w.period+w.period/2 {
			w.turns = append(w.turns, d)
		}
	}
	slices.SortFunc(w.turns, func(a, b *worldDEA) int { return cmp.Or(cmp.Compare(a.beat, b.beat), cmp.Compare(a.id, b.id)) })
}

// wantRead begins a read of the desired state, unless the recording tells of the reads.
func (w *world) wantRead(now app.Time) {
	if w.over && w.readAt == 0 {
		w.began, w.readAt = now, now+readTook
	}
}

// readOne has the reads after the end of the recording give the newest rows of an app, too.
func (w *world) readOne(droplet app.GUID, rows []desired.App) {
	if w.read == nil {
		return
	}
	apps := slices.DeleteFunc(slices.Clone(w.read.Apps), func(a desired.App) bool { return a.Key.Droplet == droplet })
	if read, err := desired.NewRead(w.read.Source, append(apps, rows...)); err == nil {
		read.Unreadable = w.read.Unreadable
		w.read = &read
	}
}

// next is when something happens of itself.
func (w *world) next() app.Time {
	if !w.over {
		return never
	}
	next := never
	if len(w.turns) > 0 {
		next = w.turns[0].beat.Add(w.period)
	}
	if w.readAt != 0 {
		next = min(next, w.readAt)
	}
	return next
}

// happen has everything happen that is due.
func (w *world) happen(p *player) {
	for len(w.turns) > 0 && w.turns[0].beat.Add(w.period) <= p.now {
		d := w.turns[0]
		w.turns = append(w.turns[1:], d)
		d.beat = p.now
		p.hear(w.say(d, p.now))
	}
	if w.readAt == 0 || w.readAt > p.now {
		return
	}
	w.readAt = 0
	var err error
	if w.read != nil {
		err = p.readEnded(*w.read, w.began, nil)
	} else {
		err = p.readEnded(desired.Read{}, w.began, errors.New("the last read of the recording failed"))
	}
	if err != nil {
		p.failed = err
	}
}
