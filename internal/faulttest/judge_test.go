package faulttest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hm/internal/app"
)

// beat is the heartbeat period of the made-up records.
const beat = time.Second

// scene is a made-up record: one app with two instances on two DEAs, heard every period, and hm leads on hm-0.
type scene struct {
	*Record
	key app.Key
}

func newScene() scene {
	s := scene{key: app.Key{Droplet: app.MustGUID("droplet"), Version: app.MustGUID("v1")}}
	policy := Settings{Period: beat}.policy()
	policy.TTL = 3 * beat
	s.Record = &Record{Policy: policy, Rows: map[app.GUID][]RowChange{}, Lives: map[app.GUID]*Life{}, Nodes: map[string]*NodeRecord{},
		Healed: 100 * beat, Converged: 101 * beat, Hashes: map[string]Hash{}}
	for i := range nodeCount {
		s.Nodes[fmt.Sprint("hm-", i)] = &NodeRecord{}
		s.Hashes[fmt.Sprint("hm-", i)] = Hash{7, "aa"}
	}
	s.row(0, 2)
	for i := range uint32(2) {
		s.live(fmt.Sprint("one-", i), i, 0, 100*beat)
	}
	for at := beat / 4; at < 100*beat; at += beat / 4 {
		s.Beats = append(s.Beats, at)
	}
	return s
}

// row lets the Cloud Controller want a number of instances from a time on.
func (s scene) row(at time.Duration, instances uint32) {
	d := s.key.Droplet
	s.Rows[d] = append(s.Rows[d], RowChange{At: at, Exists: true, Version: s.key.Version, Instances: instances, Started: true, Staged: true})
}

// live adds an instance that lives and is heard every period.
func (s scene) live(guid string, index uint32, from, until time.Duration) *Life {
	l := &Life{App: s.key, Index: index, Born: from, Live: until, DEA: "dea-" + guid}
	if until < 100*beat {
		l.Ended = until + 20*time.Millisecond
	}
	for at := from + beat/2; at <= until; at += beat {
		l.Heard = append(l.Heard, Hearing{at, "RUNNING"})
	}
	s.Lives[app.MustGUID(guid)] = l
	return l
}

func (s scene) start(at time.Duration, index uint32) *Command {
	s.Commands = append(s.Commands, Command{At: at, ID: fmt.Sprint("id-", len(s.Commands)), App: s.key, Index: index, Node: "hm-0", LinkAge: 50 * beat, Arrived: at, Accepted: true})
	return &s.Commands[len(s.Commands)-1]
}

func (s scene) stop(at time.Duration, guid string) *Command {
	c := s.start(at, 0)
	c.Stop, c.Instance = true, app.MustGUID(guid)
	if l := s.Lives[c.Instance]; l != nil {
		c.Index = l.Index
	}
	return c
}

func (s scene) crash(at time.Duration, guid string) {
	l := s.Lives[app.MustGUID(guid)]
	l.Live, l.Ended = at, at+20*time.Millisecond
	for i := range l.Heard {
		if l.Heard[i].At > at {
			l.Heard[i].State = "CRASHED"
		}
	}
	s.Exits = append(s.Exits, Exit{At: at, App: l.App, Index: l.Index, Instance: app.MustGUID(guid), Reason: "CRASHED"})
}

// silence lets nobody hear an instance any more from a time on.
func (s scene) silence(at time.Duration, guid string) *Life {
	l := s.Lives[app.MustGUID(guid)]
	for i, h := range l.Heard {
		if h.At > at {
			l.Heard = l.Heard[:i]
			break
		}
	}
	return l
}

func TestJudge(t *testing.T) {
	const at = 40 * beat
	for _, tc := range []struct {
		name  string
		scene func(s scene)
		want  string // the invariants that are broken, in the order of time
	}{
		{"nothing happens", func(scene) {}, ""},
		{"a crashed index is started at once", func(s scene) { s.crash(at, "one-1"); s.start(at+beat/10, 1) }, ""},
		{"a start beside a live instance", func(s scene) { s.start(at, 1) }, "needless"},
		{"a start beside one that was only just heard for the first time", func(s scene) {
			s.crash(at, "one-1")
			s.live("new", 1, at+3*beat, 100*beat)
			s.start(at+4*beat, 1)
		}, ""},
		{"a start beside one that is silent for less than a time to live and a grace", func(s scene) { s.silence(at, "one-1"); s.start(at+5*beat, 1) }, "needless"},
		{"a start beside one that is silent for longer", func(s scene) { s.silence(at, "one-1"); s.start(at+7*beat, 1) }, ""},
		{"a start after a silence of the time to live, where another instance crashed", func(s scene) {
			s.live("other", 1, at-9*beat, at)
			s.crash(at+beat, "other")
			s.silence(at, "one-1")
			s.start(at+4*beat, 1)
		}, ""},
		{"after an outage all times to live begin anew", func(s scene) {
			s.silence(at, "one-1")
			for _, n := range s.Nodes {
				n.Weak, n.Deaf = []Span{{at, at + 20*beat}}, []Span{{at, at + 19*beat}}
			}
			s.Outages = []Span{{at, at + 19*beat}}
			s.start(at+24*beat, 1)
		}, "needless"},
		{"an outage brings nobody back who was gone before it", func(s scene) {
			s.silence(at, "one-1")
			for _, n := range s.Nodes {
				n.Weak, n.Deaf = []Span{{at + 4*beat, at + 20*beat}}, []Span{{at + 4*beat, at + 19*beat}}
			}
			s.Outages = []Span{{at + 4*beat, at + 19*beat}}
			s.start(at+23*beat, 1)
		}, ""},
		{"an outage that begins before the time to live ends", func(s scene) {
			s.silence(at, "one-1")
			for _, n := range s.Nodes {
				n.Weak, n.Deaf = []Span{{at + 2*beat, at + 20*beat}}, []Span{{at + 2*beat, at + 19*beat}}
			}
			s.Outages = []Span{{at + 2*beat, at + 19*beat}}
			s.start(at+23*beat, 1)
		}, "needless"},
		{"a start of what a DEA with a doubled id had told of before it fell silent", func(s scene) {
			s.silence(at, "one-1")
			s.Doubled = []Doubling{{Span{at - 2*beat, at + beat}, "dea-one-1"}}
			s.start(at+3*beat, 1)
		}, ""},
		{"a start of what a DEA with a doubled id tells of", func(s scene) {
			s.Doubled = []Doubling{{Span{at - 2*beat, at + beat}, "dea-one-1"}}
			s.start(at, 1)
		}, "needless"},
		{"a start just after its DEA was heard again", func(s scene) {
			l := s.silence(at, "one-1")
			l.Heard = append(l.Heard, Hearing{at + 7*beat - beat/10, "RUNNING"})
			s.start(at+7*beat, 1)
		}, ""},
		{"a start while no DEA is heard any more, and not for long", func(s scene) {
			s.silence(at, "one-1")
			for n, b := range s.Beats {
				if b > at+6*beat {
					s.Beats = append(s.Beats[:n], at+20*beat)
					break
				}
			}
			s.start(at+7*beat, 1)
		}, ""},
		{"while all nodes are restarted, no time to live runs", func(s scene) {
			s.silence(at, "one-1")
			for _, n := range s.Nodes {
				n.Weak, n.Deaf = []Span{{at - beat, at + 10*beat}}, []Span{{at - beat, at + 9*beat}}
			}
			s.start(at+14*beat, 1)
		}, "needless"},
		{"an instance that no majority heard is not known", func(s scene) {
			for _, n := range s.Nodes {
				n.Weak = []Span{{0, at}}
			}
			s.silence(at-1, "one-1")
			s.start(at+beat, 1)
		}, ""},
		{"and after a silence of all DEAs", func(s scene) {
			s.silence(at, "one-1")
			s.silence(at, "one-0")
			s.Beats = s.Beats[:0]
			for b := beat / 4; b < 100*beat; b += beat / 4 {
				if b < at || b > at+10*beat {
					s.Beats = append(s.Beats, b)
				}
			}
			s.start(at+15*beat, 1)
		}, "needless"},
		{"a minority that hears nothing changes nothing", func(s scene) {
			s.silence(at, "one-1")
			s.Nodes["hm-1"].Weak = []Span{{at, 0}}
			s.start(at+7*beat, 1)
		}, ""},
		{"a start of what is not wanted", func(s scene) { s.row(at, 1); s.crash(at, "one-1"); s.start(at+20*beat, 1) }, "I6"},
		{"a start of what was wanted when it was last read", func(s scene) { s.row(at, 1); s.crash(at, "one-1"); s.start(at+5*beat, 1) }, ""},
		{"a start while NATS is down", func(s scene) {
			s.crash(at, "one-1")
			s.Outages = []Span{{at, at + 10*beat}}
			s.start(at+5*beat, 1)
		}, "I4"},
		{"a start within the freshness window", func(s scene) {
			s.crash(at, "one-1")
			s.Outages = []Span{{at, at + 10*beat}}
			s.start(at+12*beat, 1)
		}, "I4"},
		{"a start over a new link", func(s scene) { s.crash(at, "one-1"); s.start(at+beat, 1).LinkAge = 2 * beat }, "I1"},
		{"a start by a node without a lease", func(s scene) {
			s.crash(at, "one-1")
			s.Nodes["hm-0"].CutOff = []Span{{at, 0}}
			s.start(at+beat, 1)
		}, "I1"},
		{"a start during a pause", func(s scene) { s.crash(at, "one-1"); s.Paused = []Span{{at, 0}}; s.start(at+beat, 1) }, "I1"},
		{"one message id twice", func(s scene) {
			s.crash(at, "one-1")
			s.start(at+beat, 1)
			s.start(at+beat+beat/100, 1).ID = "id-0"
		}, "I2"},
		{"two starts within half a grace", func(s scene) { s.crash(at, "one-1"); s.start(at+beat, 1); s.start(at+2*beat, 1) }, "I2"},
		{"two starts within a grace, of which the first crashed", func(s scene) {
			s.crash(at, "one-1")
			s.start(at+beat, 1)
			s.live("new", 1, at+beat, at+2*beat)
			s.crash(at+2*beat, "new")
			s.start(at+2*beat+beat/10, 1)
		}, ""},
		{"two starts, a grace apart", func(s scene) { s.crash(at, "one-1"); s.start(at+beat, 1); s.start(at+4*beat, 1) }, ""},
		{"one instance stopped twice", func(s scene) { s.row(at, 1); s.stop(at+beat, "one-1"); s.stop(at+2*beat, "one-1") }, "I2"},
		{"a stop of a wanted instance", func(s scene) { s.stop(at, "one-1").Harmful = true }, "I6"},
		{"a stop of what was unwanted a moment ago", func(s scene) { s.row(at-beat, 1); s.row(at, 2); s.stop(at+beat, "one-1") }, ""},
		{"a stop of what was unwanted before it was born", func(s scene) {
			s.row(at-4*beat, 1)
			s.crash(at-4*beat, "one-1")
			s.row(at-3*beat, 2)
			s.live("new", 1, at-2*beat, 100*beat)
			s.stop(at, "new")
		}, "I6"},
		{"a stop of one of two", func(s scene) { s.live("two-1", 1, at-20*beat, 100*beat); s.stop(at, "two-1") }, ""},
		{"a stop of one whose copy ended long ago", func(s scene) {
			s.live("two-1", 1, at-20*beat, at-10*beat)
			s.stop(at, "one-1").Harmful = true
		}, "I6"},
		{"a stop of one whose copy ended just now", func(s scene) {
			s.live("two-1", 1, at-20*beat, at-beat)
			s.stop(at, "one-1").Harmful = true
		}, ""},
		{"a stop that ends the last one, although another seemed to live", func(s scene) {
			s.live("two-1", 1, at-20*beat, 100*beat)
			s.stop(at, "one-1").Harmful = true
		}, "I3"},
		{"a stop of one that evacuates", func(s scene) { s.Lives[app.MustGUID("one-1")].Evacuating = at - beat; s.stop(at, "one-1") }, ""},
		{"a stop of a deleted app", func(s scene) {
			s.Rows[s.key.Droplet] = append(s.Rows[s.key.Droplet], RowChange{At: at})
			s.stop(at+beat, "one-1")
		}, ""},
		{"starts soon after most instances were lost", func(s scene) {
			s.lose(at)
			s.start(at+7*beat, 5)
		}, "hold"},
		{"starts long after most instances were lost", func(s scene) {
			s.lose(at)
			s.start(at+16*beat, 5)
		}, ""},
		{"no agreement in the end", func(s scene) { s.Converged, s.Watched = 0, s.Healed+s.Policy.Bound+1 }, "I9"},
		{"no agreement, and the machine stood still again and again", func(s scene) {
			s.Converged, s.Watched = 0, s.Healed+2*s.Policy.Bound
			s.Stalls = []Span{{s.Healed + s.Policy.Bound, s.Healed + s.Policy.Bound + beat}}
		}, ""},
		{"agreement too late", func(s scene) { s.Converged = s.Healed + s.Policy.Bound + 1 }, "I9"},
		{"agreement late, after the machine stood still", func(s scene) {
			s.Converged = s.Healed + s.Policy.Bound + 1
			s.Stalls = []Span{{s.Healed, s.Healed + beat}}
		}, ""},
		{"one instance stopped twice, that was not heard for a while", func(s scene) {
			l := s.silence(at-4*beat, "one-1")
			l.Heard = append(l.Heard, Hearing{at + beat + beat/2, "RUNNING"})
			s.row(at, 1)
			s.stop(at+beat, "one-1")
			s.stop(at+2*beat, "one-1")
		}, ""},
		{"different states", func(s scene) { s.Hashes["hm-1"] = Hash{7, "bb"} }, "I7"},
		{"different states at different indices", func(s scene) { s.Hashes["hm-1"] = Hash{8, "bb"} }, ""},
		{"a request that nobody answered", func(s scene) { s.Refused = []Refusal{{at, s.key.Droplet, "404 unknown_route"}} }, "requests"},
		{"a request that an instance took with it", func(s scene) { s.Refused = []Refusal{{at, s.key.Droplet, "502 endpoint_failure"}} }, ""},
		{"a request to an app whose DEAs are cut off", func(s scene) {
			s.silence(at-3*beat, "one-0")
			s.silence(at-3*beat, "one-1")
			s.Refused = []Refusal{{at, s.key.Droplet, "404"}}
		}, ""},
		{"a node that ended by itself", func(s scene) { s.Nodes["hm-2"].Ended = []string{"panic: oh"} }, "I10"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newScene()
			tc.scene(s)
			var got []string
			found := Judge(s.Record)
			for _, v := range found {
				got = append(got, v.Invariant)
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("found %v, want %q", found, tc.want)
			}
		})
	}
}

// lose makes the app large, on five DEAs, and lets four of these fall silent.
func (s scene) lose(at time.Duration) {
	s.Rows[s.key.Droplet][0].Instances = 10
	for i := uint32(2); i < 10; i++ {
		guid := fmt.Sprint("one-", i)
		s.live(guid, i, 0, 100*beat).DEA = fmt.Sprint("dea-", i%4)
		s.silence(at, guid)
	}
}

func TestAtOnce(t *testing.T) {
	nodes := map[string][]Span{"a": {{1, 5}, {4, 7}}, "b": {{3, 6}, {9, 0}}, "c": {{8, 10}}}
	want := []Span{{3, 6}, {9, 10}}
	if got := atOnce(nodes, 2); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}
