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
	"hm/internal/app"
)

// React says how simulated DEAs react to the commands of a replay.
type React struct {
	// Delay is the time from a command to its effect, which the DEA's next heartbeat shows; 0: a tenth of a period.
	Delay time.Duration
}

// fleet simulates how the recorded DEAs react to the commands of the replay. It rewrites their heartbeats:
//
//   - An instance that was stopped is left out after the delay.
//   - An instance that was started is RUNNING, after the delay, in the next heartbeat of the DEA with the fewest
//     instances. When the recording itself shows a new live instance at that index, that one takes its place.
//   - What the recorded hm did is undone, as far as the recording has its commands: a new instance at an index that it
//     started is left out, and one that it stopped stays, until the replay stops it or its DEA falls silent.
//
// After the end of the recording the DEAs that were not silent keep sending heartbeats, and reads of the desired state
// return what the last one returned.
type fleet struct {
	delay    time.Duration
	period   time.Duration
	digester feed.Digester

	deas    map[string]*simulatedDEA
	stopped map[app.GUID]app.Time   // instances that are left out, and from when on
	pending []placement             // starts without effect yet, in the order of time
	placed  map[place]*simulatedDEA // where a start of the replay put an instance
	// startedByRecorded are the places that the recorded hm started: the next new instance there is its doing.
	startedByRecorded map[place]bool
	known             map[app.GUID]bool // instances that the recording has shown

	over      bool            // the recording has ended
	turns     []*simulatedDEA // in the order in which they send heartbeats then
	read      *desired.Read   // the newest; nil if it failed
	readEnds  app.Time        // when the read that the core wants ends; 0 if none is under way
	readBegan app.Time
}

type place struct {
	key   app.Key
	index uint32
}

// placement is an instance that a start brings at a time.
type placement struct {
	at    app.Time
	place place
	guid  app.GUID
}

// simulatedDEA is a DEA of the recording with the instances that the replay has changed.
type simulatedDEA struct {
	id       string
	recorded *heartbeat // the newest in the recording
	sentAt   app.Time
	added    []actual.Instance // started by the replay, or stopped by the recorded hm alone
	sent     *heartbeat        // the newest in the replay
	sentFor  *heartbeat        // the recorded one that sent was made of
	changes  uint64
}

const (
	never        = app.Time(math.MaxInt64)
	readDuration = 50 // ms, of a read after the end of the recording
)

func newFleet(r React, period time.Duration) *fleet {
	if r.Delay <= 0 {
		r.Delay = period / 10
	}
	return &fleet{
		delay: r.Delay, period: period, digester: feed.NewFastDigester(), deas: map[string]*simulatedDEA{},
		stopped: map[app.GUID]app.Time{}, placed: map[place]*simulatedDEA{}, startedByRecorded: map[place]bool{},
		known: map[app.GUID]bool{},
	}
}

// rewrite turns a heartbeat of the recording into the one that the DEA sends in the replay.
func (f *fleet) rewrite(recorded *heartbeat, now app.Time) *heartbeat {
	d := f.deas[recorded.DEA]
	if d == nil {
		d = &simulatedDEA{id: recorded.DEA}
		f.deas[d.id] = d
	}
	if d.recorded != recorded {
		f.addInstances(recorded)
		d.recorded = recorded
	}
	d.sentAt = now
	return f.heartbeat(d, now)
}

// addInstances handles the instances that the recording shows for the first time.
func (f *fleet) addInstances(recorded *heartbeat) {
	for _, i := range recorded.Instances {
		if f.known[i.GUID] {
			continue
		}
		f.known[i.GUID] = true
		at := place{i.App, i.Index}
		if f.startedByRecorded[at] {
			delete(f.startedByRecorded, at)
			f.stopped[i.GUID] = 0
		} else if d := f.placed[at]; d != nil && i.State.Live() {
			d.drop(func(a actual.Instance) bool { return place{a.App, a.Index} == at })
			delete(f.placed, at)
		}
	}
}

func (d *simulatedDEA) drop(which func(actual.Instance) bool) {
	d.added = slices.DeleteFunc(slices.Clone(d.added), which)
}

// leftOut reports whether an instance is stopped by now.
func (f *fleet) leftOut(g app.GUID, now app.Time) bool {
	since, ok := f.stopped[g]
	return ok && now >= since
}

// hidden reports whether an instance of the recording does not exist in the replay.
func (f *fleet) hidden(g app.GUID) bool {
	since, ok := f.stopped[g]
	return ok && since == 0
}

// heartbeat makes a DEA's heartbeat.
func (f *fleet) heartbeat(d *simulatedDEA, now app.Time) *heartbeat {
	f.placePending(now)
	d.drop(func(a actual.Instance) bool {
		return f.leftOut(a.GUID, now) ||
			slices.ContainsFunc(d.recorded.Instances, func(i actual.Instance) bool { return i.GUID == a.GUID })
	})
	list := make([]actual.Instance, 0, d.load())
	for _, i := range d.recorded.Instances {
		if !f.leftOut(i.GUID, now) {
			list = append(list, i)
		}
	}
	if len(list) == len(d.recorded.Instances) && len(d.added) == 0 {
		return d.recorded
	}
	list = append(list, d.added...)
	if d.sentFor == d.recorded && slices.Equal(d.sent.Instances, list) {
		return d.sent
	}
	d.changes++
	text := append([]byte(d.id), d.recorded.digest[:]...)
	digest := f.digester.Sum(binary.BigEndian.AppendUint64(text, d.changes))
	hb := d.recorded.Heartbeat // with its unreadable entries
	hb.Instances = list
	d.sent, d.sentFor = &heartbeat{digest, hb}, d.recorded
	return d.sent
}

// placePending puts the instances whose time has come on the DEAs with the fewest instances.
func (f *fleet) placePending(now app.Time) {
	for len(f.pending) > 0 && f.pending[0].at <= now {
		p := f.pending[0]
		f.pending = f.pending[1:]
		var best *simulatedDEA
		for _, d := range f.deas {
			if f.silent(d, now) {
				continue
			}
			if best == nil || cmp.Or(cmp.Compare(d.load(), best.load()), cmp.Compare(d.id, best.id)) < 0 {
				best = d
			}
		}
		if best == nil {
			continue // there is no DEA to start it
		}
		best.added = append(best.added, actual.Instance{
			App: p.place.key, GUID: p.guid, Index: p.place.index, State: actual.Running, Since: int64(p.at),
		})
		f.placed[p.place] = best
	}
}

func (f *fleet) silent(d *simulatedDEA, now app.Time) bool {
	return now.Sub(d.sentAt) >= f.period+f.period/2
}

func (d *simulatedDEA) load() int { return len(d.recorded.Instances) + len(d.added) }

// command takes a command of the replay.
func (f *fleet) command(c commands.Command, now app.Time) {
	if c.Action == commands.Stop {
		if _, stopped := f.stopped[c.Instance]; !stopped {
			f.stopped[c.Instance] = now.Add(f.delay)
		}
		return
	}
	f.pending = append(f.pending, placement{now.Add(f.delay), place{c.App, c.Index}, app.FromBinary(c.ID, 'h')})
}

// recordedCommand takes a command that the recorded hm sent.
func (f *fleet) recordedCommand(e *item) {
	if e.kind == itemStart {
		s := e.rest.start
		f.startedByRecorded[place{app.Key{Droplet: s.Droplet, Version: s.Version}, s.Index}] = true
		return
	}
	guid := e.rest.stop.Instance
	for _, d := range f.deas {
		for _, i := range d.recorded.Instances {
			if i.GUID == guid {
				i.State = actual.Running
				d.added = append(slices.Clone(d.added), i)
				return
			}
		}
	}
}

// endRecording begins the time after the end of the recording.
func (f *fleet) endRecording(now app.Time) {
	f.over = true
	for _, d := range f.deas {
		if !f.silent(d, now) {
			f.turns = append(f.turns, d)
		}
	}
	slices.SortFunc(f.turns, func(a, b *simulatedDEA) int {
		return cmp.Or(cmp.Compare(a.sentAt, b.sentAt), cmp.Compare(a.id, b.id))
	})
}

// wantRead begins a read of the desired state. Before the end of the recording the recording has the reads.
func (f *fleet) wantRead(now app.Time) {
	if f.over && f.readEnds == 0 {
		f.readBegan, f.readEnds = now, now+readDuration
	}
}

// readApp has the reads after the end of the recording return the newest rows of an app, too.
func (f *fleet) readApp(droplet app.GUID, rows []desired.App) {
	if f.read == nil {
		return
	}
	apps := slices.DeleteFunc(slices.Clone(f.read.Apps), func(a desired.App) bool { return a.Key.Droplet == droplet })
	if read, err := desired.NewRead(f.read.Source, append(apps, rows...)); err == nil {
		read.Unreadable = f.read.Unreadable
		f.read = &read
	}
}

// next is when the next heartbeat or the end of a read is due after the end of the recording.
func (f *fleet) next() app.Time {
	if !f.over {
		return never
	}
	next := never
	if len(f.turns) > 0 {
		next = f.turns[0].sentAt.Add(f.period)
	}
	if f.readEnds != 0 {
		next = min(next, f.readEnds)
	}
	return next
}

// run sends the heartbeats and ends the read that are due.
func (f *fleet) run(p *player) {
	for len(f.turns) > 0 && f.turns[0].sentAt.Add(f.period) <= p.now {
		d := f.turns[0]
		f.turns = append(f.turns[1:], d)
		d.sentAt = p.now
		p.receive(f.heartbeat(d, p.now))
	}
	if f.readEnds == 0 || f.readEnds > p.now {
		return
	}
	f.readEnds = 0
	var err error
	if f.read != nil {
		err = p.readEnded(*f.read, f.readBegan, nil)
	} else {
		err = p.readEnded(desired.Read{}, f.readBegan, errors.New("the last read of the recording failed"))
	}
	if err != nil {
		p.failed = err
	}
}
