package faulttest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"hm/actual/feed"
	"hm/commands/natspub"
	"hm/internal/app"
	"hm/internal/sim"
	"hm/internal/sim/cc"
)

// observer writes down what happens. Its own connection to NATS goes through no proxy: no fault cuts it but an end of the
// server, and the server accepts nobody else before the observer is back.
type observer struct {
	began time.Time

	mu    sync.Mutex
	rec   *Record
	heard map[string]Command // by id: commands that were heard on NATS
	rows  map[app.GUID]RowChange
	seen  time.Duration // begin of the newest sample
	whole time.Duration // when everything had started
}

func newObserver(seed uint64, p Policy) *observer {
	o := &observer{began: time.Now(), heard: map[string]Command{}, rows: map[app.GUID]RowChange{}}
	o.rec = &Record{Seed: seed, Policy: p, Rows: map[app.GUID][]RowChange{}, Lives: map[app.GUID]*Life{},
		Nodes: map[string]*NodeRecord{}, Hashes: map[string]Hash{}}
	return o
}

func (o *observer) now() time.Duration { return time.Since(o.began) }

// wall converts a time that a process on this machine gave.
func (o *observer) wall(t time.Time) time.Duration { return t.Sub(o.began.Round(0)) }

// begin notes that a span begins now, and gives a function that ends it.
func (o *observer) begin(spans *[]Span) (end func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(*spans)
	*spans = append(*spans, Span{From: o.now()})
	var once sync.Once
	return func() {
		once.Do(func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			(*spans)[n].Until = o.now()
		})
	}
}

// doubled notes that somebody else uses the id of a DEA, and gives a function that ends that.
func (o *observer) doubled(dea string) (end func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(o.rec.Doubled)
	o.rec.Doubled = append(o.rec.Doubled, Doubling{Span{From: o.now()}, dea})
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.rec.Doubled[n].Until = o.now()
	}
}

func (o *observer) node(id string) *NodeRecord {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.rec.Nodes[id]
	if n == nil {
		n = &NodeRecord{}
		o.rec.Nodes[id] = n
	}
	return n
}

func (o *observer) nodeEnded(id, how string) {
	n := o.node(id)
	o.mu.Lock()
	defer o.mu.Unlock()
	n.Ended = append(n.Ended, how)
}

// sent notes a message that a node published.
func (o *observer) sent(node string, p published) {
	c, ok := decodeCommand(p.Subject, p.Data)
	if !ok {
		return
	}
	c.At, c.Node, c.LinkAge = p.At, node, p.LinkAge
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rec.Commands = append(o.rec.Commands, c)
}

func decodeCommand(subject string, data []byte) (Command, bool) {
	switch subject {
	case natspub.SubjectStart:
		s, err := natspub.DecodeStart(data)
		return Command{ID: s.MessageID, App: app.Key{Droplet: s.Droplet, Version: s.Version}, Index: s.Index}, err == nil
	case natspub.SubjectStop:
		s, err := natspub.DecodeStop(data)
		return Command{ID: s.MessageID, Stop: true, App: app.Key{Droplet: s.Droplet, Version: s.Version}, Index: s.Index,
			Instance: s.Instance}, err == nil
	}
	return Command{}, false
}

// subscribe listens to everything that the judge needs.
func (o *observer) subscribe(nc *nats.Conn) error {
	for _, subject := range []string{feed.SubjectHeartbeat, feed.SubjectExited, natspub.SubjectStart, natspub.SubjectStop} {
		if _, err := nc.Subscribe(subject, o.message); err != nil {
			return err
		}
	}
	return nil
}

func (o *observer) message(m *nats.Msg) {
	now := o.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	switch m.Subject {
	case feed.SubjectHeartbeat:
		hb, err := feed.DecodeHeartbeat(m.Data)
		if err != nil {
			return
		}
		o.rec.Beats = append(o.rec.Beats, now)
		for _, i := range hb.Instances {
			l := o.life(i.GUID, i.App, i.Index, now)
			l.DEA, l.Heard = hb.DEA, append(l.Heard, Hearing{now, i.State.String()})
		}
	case feed.SubjectExited:
		if e, err := feed.DecodeExit(m.Data); err == nil {
			o.rec.Exits = append(o.rec.Exits, Exit{At: now, App: e.App, Index: e.Index, Instance: e.Instance, Reason: e.Reason.String()})
		}
	default:
		if c, ok := decodeCommand(m.Subject, m.Data); ok {
			c.At = now
			o.heard[c.ID] = c
		}
	}
}

func (o *observer) life(guid app.GUID, key app.Key, index uint32, now time.Duration) *Life {
	l := o.rec.Lives[guid]
	if l == nil {
		l = &Life{App: key, Index: index, Born: now}
		o.rec.Lives[guid] = l
	}
	return l
}

// sample asks the Cloud Controller and the DEAs what is, again and again until ctx ends.
func (o *observer) sample(ctx context.Context, control *control) {
	tick := time.NewTicker(max(sampleAtLeast, o.rec.Policy.Period/10))
	defer tick.Stop()
	for {
		began := o.now()
		var apps []sim.AppView
		if err := control.get(ctx, "/apps?limit=10000", &apps); err == nil {
			o.sampled(began, apps)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

const sampleAtLeast = 20 * time.Millisecond

// sampled notes what the Cloud Controller and the DEAs said, in an answer to a question that was asked at began.
func (o *observer) sampled(began time.Duration, apps []sim.AppView) {
	now := o.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	there := map[app.GUID]bool{}
	live := map[app.GUID]bool{}
	for _, a := range apps {
		there[a.GUID] = true
		row := RowChange{Exists: true, Version: a.Version, Instances: uint32(a.Instances), Started: a.State == "STARTED",
			Staged: a.PackageState == "STAGED", Failed: a.PackageState == "FAILED"}
		if a.Diego {
			row.Exists = false
		}
		if o.rows[a.GUID] != row {
			o.rows[a.GUID] = row
			row.At = max(0, o.wall(a.UpdatedAt))
			o.rec.Rows[a.GUID] = append(o.rec.Rows[a.GUID], row)
		}
		for _, i := range a.Running {
			l := o.life(i.GUID, app.Key{Droplet: i.App, Version: i.Version}, i.Index, now)
			switch {
			case Hearing{State: i.State}.live():
				live[i.GUID] = true
				l.Born, l.Live = min(l.Born, o.wall(i.Since)), began
			case i.State == "EVACUATING" && l.Evacuating == 0:
				l.Evacuating = o.wall(i.Since)
			}
		}
	}
	for guid, row := range o.rows {
		if row.Exists && !there[guid] {
			o.rows[guid] = RowChange{}
			o.rec.Rows[guid] = append(o.rec.Rows[guid], RowChange{At: o.seen})
		}
	}
	for guid, l := range o.rec.Lives {
		if l.Live != 0 && l.Ended == 0 && !live[guid] && there[l.App.Droplet] {
			l.Ended = now
		}
	}
	o.seen = began
}

// watch measures how late this process is, until ctx ends.
func (o *observer) watch(ctx context.Context) {
	const every = 5 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for last := o.now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := o.now()
		o.mu.Lock()
		if now-last > 4*every {
			o.rec.Stalls = append(o.rec.Stalls, Span{last, now})
		}
		o.mu.Unlock()
		last = now
	}
}

// requests notes what became of the users' requests.
func (o *observer) requests(v sim.RouterView) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rec.Requests = v.Requests.Sent
	for _, f := range v.Failures {
		if at := o.wall(f.At); !f.Excused && at > o.whole+time.Second {
			o.rec.Refused = append(o.rec.Refused, Refusal{at, f.App, f.Detail})
		}
	}
}

// finish gives the record with what the Cloud Controller did with each command. The observer must not be used any more.
func (o *observer) finish(arrived []cc.Command) *Record {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.rec
	at := map[string]cc.Command{}
	for _, c := range arrived {
		if _, again := at[c.MessageID]; !again {
			at[c.MessageID] = c
		}
	}
	for _, c := range r.Commands {
		delete(o.heard, c.ID)
	}
	r.Commands = slices.AppendSeq(r.Commands, maps.Values(o.heard)) // that no proxy saw
	slices.SortStableFunc(r.Commands, func(a, b Command) int { return cmp.Compare(a.At, b.At) })
	for i := range r.Commands {
		c := &r.Commands[i]
		if a, ok := at[c.ID]; ok {
			c.Arrived, c.Accepted, c.Harmful = o.wall(a.At), a.Accepted, a.Harmful
		}
	}
	return r
}
