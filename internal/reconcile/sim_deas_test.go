package reconcile

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/zeebo/xxh3"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
)

type simDEA struct {
	posts  bool // it sends its heartbeats over HTTPS
	id     string
	key    string // its first id
	jitter bool   // its heartbeats take long, each as long as chance will have it
	// nameless is how many entries of each heartbeat cannot be read and name no instance.
	nameless int
	list     []actual.Instance
	closed   bool // takes no new instances
	quiet    bool // alive or not, it is not heard
	omits    int  // its heartbeats leave out so many of what it has, from the front of its list
	garbles  bool // its messages cannot be decoded
	nextBeat app.Time
	excused  app.Time // when what it runs could last be taken for gone for a reason of its own
	unheard  app.Time // when it was last not heard by the leader

	heardSince app.Time // since when it has been heard without a break; 0: it is not heard
	decodedAt  app.Time // when a message of it last could be decoded
	disturbed  app.Time // when it began or ceased to share its id last, or to send what cannot be decoded
}

// message is a message on its way to one node.
type message struct {
	at      app.Time
	subject string
	from    string // messages of one subject from one sender keep their order
	to      *simNode
	hear    func(*Intake)
}

// obey does what a command asks for. It gives the life that a start began, nil if there is none.
func (cf *simCF) obey(c commands.Command) *life {
	if c.Action == commands.Stop {
		if l := cf.truth.lives[c.Instance]; l != nil {
			l.told = true
		}
		for _, d := range cf.deas {
			d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.GUID == c.Instance && i.State != actual.Crashed })
		}
		return nil
	}
	ids := slices.DeleteFunc(cf.deaKeys(), func(id string) bool { return cf.deas[id].quiet || cf.deas[id].closed })
	if len(ids) == 0 {
		return nil
	}
	least := slices.MinFunc(ids, func(a, b string) int { return len(cf.deas[a].list) - len(cf.deas[b].list) })
	inst := cf.instance(c.App, c.Index, actual.Running)
	l := cf.truth.lives[inst.GUID]
	l.started = cf.now
	if cf.onStart != nil {
		cf.onStart(&inst)
	}
	cf.deas[least].list = append(cf.deas[least].list, inst)
	return l
}

func (cf *simCF) instance(k app.Key, index uint32, s actual.State) actual.Instance {
	cf.instancesMade++
	guid := app.MustGUID(fmt.Sprintf("%032x", cf.instancesMade))
	cf.truth.born(cf, guid, k, index)
	return actual.Instance{App: k, GUID: guid, Index: index, State: s, Since: int64(cf.now) + cf.faults.clock()}
}

// deaKeys gives the keys of the DEAs, sorted. A key is the DEA's first id; DEAs that share an id
// have different keys.
func (cf *simCF) deaKeys() []string { return slices.Sorted(maps.Keys(cf.deas)) }

func (cf *simCF) addDEAs(n int) {
	for range n {
		id := fmt.Sprintf("dea-%03d", cf.nextDEA)
		cf.deas[id] = &simDEA{id: id, key: id, nextBeat: cf.now.Add(time.Duration(cf.nextDEA) * hb / 16 % hb)}
		cf.nextDEA++
	}
}

func (cf *simCF) heartbeat(d *simDEA) {
	cf.noteHeard(d)
	if d.quiet || !cf.linkUp || cf.now < cf.silentUntil {
		return
	}
	if d.garbles {
		cf.postBeat(d, func(in *Intake) { in.Garbled(d.id, "out of order, for a test") })
		return
	}
	d.decodedAt = cf.now
	tells := d.list[min(d.omits, len(d.list)):]
	hb := actual.Heartbeat{DEA: d.id, Instances: slices.Clone(tells), Rejected: d.nameless}
	hb.Instances = slices.DeleteFunc(hb.Instances, func(i actual.Instance) bool { return i.GUID == cf.unreadable })
	if n := len(tells) - len(hb.Instances); n > 0 {
		hb.Rejected += n
		hb.Unreadable = []app.GUID{cf.unreadable}
	}
	cf.applyMisreports(&hb)
	digest := digestOf(hb)
	cf.postBeat(d, func(in *Intake) {
		over := overNATS
		if d.posts {
			over = overHTTPS
		}
		if !in.unchanged(digest, over) {
			in.heartbeat(hb, digest, over)
		}
	})
}

// exit makes a DEA tell that an instance ended.
func (cf *simCF) exit(e actual.Exit) {
	if cf.linkUp && cf.now >= cf.silentUntil {
		cf.post("exit", func(in *Intake) { in.Exit(e) })
	}
}

// post delivers a message to every node: at once, or later by chance, but in the order of its
// subject.
func (cf *simCF) post(subject string, hear func(*Intake)) {
	delay := time.Duration(0)
	if cf.faults != nil {
		delay = cf.faults.delay()
	}
	cf.postAfter(delay, subject, "", hear)
}

// postBeat delivers a heartbeat of a DEA.
func (cf *simCF) postBeat(d *simDEA, hear func(*Intake)) {
	delay := time.Duration(0)
	if cf.faults != nil {
		delay = cf.faults.delay()
	}
	if d.jitter {
		delay = max(delay, cf.faults.jitter())
	}
	cf.postAfter(delay, "beat "+d.id, d.key, hear)
}

func (cf *simCF) postAfter(delay time.Duration, subject, from string, hear func(*Intake)) {
	for _, n := range cf.nodes {
		at := n.slow.arrives(cf.now, cf.now.Add(delay))
		switch {
		case n.misses(subject):
		case cf.faults == nil && at == cf.now:
			hear(n.intake)
		default:
			cf.send(message{at, subject, from, n, hear})
		}
	}
}

// send puts a message on its way. A heartbeat may take the place of the one before it of its DEA that still waits, as in
// the daemon when it is busy.
func (cf *simCF) send(l message) {
	if cf.supersedes(l) {
		return
	}
	for _, before := range cf.inFlight {
		if before.subject == l.subject && before.from == l.from && before.to == l.to {
			l.at = max(l.at, before.at)
		}
	}
	i, _ := slices.BinarySearchFunc(cf.inFlight, l.at+1, func(l message, at app.Time) int { return cmp.Compare(l.at, at) })
	cf.inFlight = slices.Insert(cf.inFlight, i, l)
}

// supersedes puts a heartbeat in the place of the newest one that waits under its DEA's id, by chance. If another DEA that
// uses the id has sent that one, both count.
func (cf *simCF) supersedes(l message) bool {
	if l.from == "" || cf.faults == nil {
		return false
	}
	for i, before := range slices.Backward(cf.inFlight) {
		if before.subject != l.subject || before.to != l.to {
			continue
		}
		if before.from != l.from || before.at <= cf.now || !cf.faults.chance(0.5) {
			return false
		}
		cf.faults.count("heartbeats superseded")
		cf.inFlight[i].hear = l.hear
		return true
	}
	return false
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
