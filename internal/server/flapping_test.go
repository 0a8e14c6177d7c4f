package server

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"hm/internal/cluster"
	"hm/internal/reconcile"
)

// The tests of this file run the decision to hand over in virtual time, on three nodes whose NATS links come and go.

const (
	linkStep   = 50 * time.Millisecond // of virtual time
	linkWindow = 30 * time.Second      // the freshness window
	linkEvery  = 250 * time.Millisecond
)

// simLink is one node's link to NATS, and what the node knows of it.
type simLink struct {
	alive     bool      // messages pass
	deadSince time.Time // if not alive
	halfOpen  bool      // nothing tells the node that its link is dead but its pings
	notice    time.Time // when the pings fail, or the node is connected again

	up      bool // as the node knows it
	since   time.Time
	heard   time.Time // when anything last arrived
	proved  time.Time // when the newest marker was sent that came back
	waiting time.Time // when the first marker was sent that has not come back and after which nothing arrived
}

type simLinkNode struct {
	id       string
	link     simLink
	decides  handsOver
	trying   time.Time                 // when the handover began that it tries
	told     map[string]cluster.Member // what it knows of the others; InfoAge is not set
	toldAt   map[string]time.Time
	nextTell time.Time
	nextMark time.Time
	restarts time.Time        // it does not run before
	list     []cluster.Member // of members
}

// linkWorld is a cluster in virtual time. At most one node leads.
type linkWorld struct {
	rnd    *rand.Rand
	start  time.Time
	now    time.Time
	nodes  []*simLinkNode
	leader int // -1: none
	led    time.Time
	to     int // the node that a transfer, or an election, makes the leader at electAt
	from   int // the node that hands over to it; -1: it is an election
	elect  time.Time
	fails  float64 // share of the transfers that fail

	moves []time.Time
	trace []string
	bad   string // the first property that does not hold
}

func newLinkWorld(seed uint64) *linkWorld {
	w := &linkWorld{rnd: rand.New(rand.NewPCG(seed, 11)), start: time.Unix(1_800_000_000, 0), from: -1, to: -1}
	w.now = w.start
	for i := range 3 {
		n := &simLinkNode{id: fmt.Sprintf("hm-%d", i), nextTell: w.now.Add(w.upTo(linkEvery)), nextMark: w.now.Add(w.upTo(linkEvery))}
		n.forgetAll()
		n.link = simLink{alive: true, up: true, since: w.now.Add(-linkWindow), heard: w.now}
		w.nodes = append(w.nodes, n)
	}
	w.run(2 * time.Second)
	return w
}

func (n *simLinkNode) forgetAll() {
	n.decides = handsOver{id: n.id, window: linkWindow, period: 10 * time.Second}
	n.told, n.toldAt, n.trying = map[string]cluster.Member{}, map[string]time.Time{}, time.Time{}
}

func (w *linkWorld) upTo(d time.Duration) time.Duration { return time.Duration(w.rnd.Int64N(int64(d))) }

func (w *linkWorld) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%8.2f ", w.now.Sub(w.start).Seconds())+fmt.Sprintf(format, args...))
}

func (w *linkWorld) fail(format string, args ...any) {
	w.note(format, args...)
	if w.bad == "" {
		w.bad = fmt.Sprintf(format, args...)
	}
}

// cut makes a link dead. With halfOpen only the pings of the node notice it, after 2 to 4 s.
func (w *linkWorld) cut(i int, halfOpen bool) {
	l := &w.nodes[i].link
	if !l.alive {
		return
	}
	w.note("hm-%d: link dead, half-open %v", i, halfOpen)
	l.alive, l.deadSince, l.halfOpen, l.notice = false, w.now, halfOpen, time.Time{}
	if halfOpen && l.up {
		l.notice = w.now.Add(2*time.Second + w.upTo(2*time.Second))
	}
}

// heal makes a link alive. A node that has noticed the loss is connected again within its back-off.
func (w *linkWorld) heal(i int) {
	l := &w.nodes[i].link
	if l.alive {
		return
	}
	w.note("hm-%d: link alive", i)
	l.alive, l.notice = true, time.Time{}
	if !l.up {
		l.notice = w.now.Add(w.upTo(2 * time.Second))
	}
}

func (w *linkWorld) stepLink(n *simLinkNode) {
	l := &n.link
	noticed := !l.notice.IsZero() && !w.now.Before(l.notice)
	switch {
	case !l.alive && l.up && (!l.halfOpen || noticed):
		l.up, l.since, l.waiting = false, w.now, time.Time{}
		w.note("%s: link down", n.id)
	case l.alive && !l.up && (l.notice.IsZero() || noticed):
		l.up, l.since, l.waiting = true, w.now, time.Time{}
		w.note("%s: link up", n.id)
	}
	if l.up && l.alive {
		l.heard, l.waiting = w.now, time.Time{} // other messages arrive all the time
	}
	if w.now.Before(n.nextMark) || !l.up {
		return
	}
	n.nextMark = n.nextMark.Add(linkEvery)
	switch {
	case l.alive:
		l.proved = w.now
	case l.waiting.IsZero():
		l.waiting = w.now
	}
}

func (w *linkWorld) tell(n *simLinkNode) {
	if w.now.Before(n.nextTell) || w.now.Before(n.restarts) {
		return
	}
	n.nextTell = n.nextTell.Add(linkEvery)
	gate := []string{reconcile.ReasonNotLeader}
	if !n.link.up {
		gate = append(gate, reconcile.ReasonNATSDown)
	}
	if !n.fresh(w.now) {
		gate = append(gate, reconcile.ReasonActualStale)
	}
	m := cluster.Member{ID: n.id, Voter: true, HasInfo: true, Info: cluster.PeerInfo{
		NATSUp: n.link.up, Gate: strings.Join(gate, ", "), NATSProved: cluster.AgoOf(n.link.proved, w.now), HandedOver: cluster.AgoOf(n.decides.newest, w.now), HandingOver: cluster.AgoOf(n.trying, w.now),
	}}
	for _, other := range w.nodes {
		if other != n {
			other.told[n.id], other.toldAt[n.id] = m, w.now.Add(w.upTo(20*time.Millisecond))
		}
	}
}

func (n *simLinkNode) fresh(now time.Time) bool {
	return n.link.up && now.Sub(n.link.since) >= linkWindow
}

func (n *simLinkNode) members(now time.Time) []cluster.Member {
	n.list = append(n.list[:0], cluster.Member{ID: n.id, Voter: true, Healthy: true})
	for id, m := range n.told {
		m.InfoAge = max(0, now.Sub(n.toldAt[id]))
		m.Healthy = m.InfoAge < time.Second
		n.list = append(n.list, m)
	}
	return n.list
}

func (n *simLinkNode) view(leads bool, led, now time.Time) leaderView {
	v := leaderView{Leads: leads, Since: led, LinkUp: n.link.up, LinkSince: n.link.since, LinkSilent: n.link.waiting, ActualFresh: n.fresh(now)}
	if !v.ActualFresh {
		v.Gate = []string{reconcile.ReasonActualStale}
	}
	return v
}

// run runs the world for a time.
func (w *linkWorld) run(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(linkStep) {
		for _, n := range w.nodes {
			w.stepLink(n)
			w.tell(n)
		}
		w.elections()
		for i, n := range w.nodes {
			if i != w.leader && w.now.UnixMilli()%1000 != 0 {
				continue // a follower only learns, and need not do that all the time
			}
			to, _ := n.decides.decide(n.view(i == w.leader, w.led, w.now), n.members(w.now), w.now)
			if to != "" && w.to < 0 {
				w.begin(i, to)
			}
		}
	}
}

// begin begins a transfer. It checks the properties of every handover.
func (w *linkWorld) begin(from int, to string) {
	at := int(to[len("hm-")] - '0')
	w.note("hm-%d: hands over to %s because of %s", from, to, w.nodes[from].decides.trouble.reason)
	if l := w.nodes[at].link; !l.alive && w.now.Sub(l.deadSince) > maxProofAge+2*linkEvery {
		w.fail("hm-%d hands over to %s, whose link has been dead for %v", from, to, w.now.Sub(l.deadSince))
	}
	if len(w.moves) > 0 && w.now.Sub(w.moves[len(w.moves)-1]) < linkWindow {
		w.fail("hm-%d hands over %v after the last handover", from, w.now.Sub(w.moves[len(w.moves)-1]))
	}
	w.nodes[from].trying = w.now
	w.from, w.to, w.elect = from, at, w.now.Add(w.upTo(400*time.Millisecond))
}

func (w *linkWorld) elections() {
	if w.to < 0 || w.now.Before(w.elect) {
		return
	}
	from, to := w.from, w.to
	w.from, w.to = -1, -1
	if from >= 0 {
		n := w.nodes[from]
		began := n.trying
		n.trying = time.Time{}
		if w.rnd.Float64() < w.fails {
			n.decides.failedTo(w.nodes[to].id, w.now)
			return
		}
		n.decides.succeeded(began)
		w.moves = append(w.moves, began)
	}
	w.leader, w.led = to, w.now
	w.note("hm-%d leads", to)
}

// crash restarts the leader: another node is elected, whatever its link.
func (w *linkWorld) crash() {
	n := w.nodes[w.leader]
	w.note("%s: crashes", n.id)
	n.forgetAll()
	n.link.up, n.link.proved = false, time.Time{}
	n.restarts = w.now.Add(2 * time.Second)
	if n.link.alive {
		n.link.notice = w.now.Add(2 * time.Second)
	}
	w.from, w.to, w.elect = -1, (w.leader+1+w.rnd.IntN(2))%3, w.now.Add(time.Second)
	w.leader = -1
}

// TestFlappingLinksMoveTheLeadershipAtMostOnceAWindow: links come and go at random, each by itself or all with NATS, and
// leaders crash. The leadership never moves twice within a freshness window and never to a node without a link.
func TestFlappingLinksMoveTheLeadershipAtMostOnceAWindow(t *testing.T) {
	total, seeds := 0, uint64(20)
	if n, err := strconv.ParseUint(os.Getenv("HM_TEST_SEEDS"), 10, 64); err == nil {
		seeds = n
	}
	for seed := range seeds {
		w := newLinkWorld(seed)
		w.fails = 0.2
		for range 60 {
			switch i := w.rnd.IntN(3); w.rnd.IntN(12) {
			case 0: // NATS itself
				halfOpen := w.rnd.IntN(2) == 0
				for n := range w.nodes {
					w.cut(n, halfOpen)
				}
			case 1:
				for n := range w.nodes {
					w.heal(n)
				}
			case 2:
				if w.leader >= 0 && w.to < 0 && (len(w.moves) == 0 || w.now.Sub(w.moves[len(w.moves)-1]) > time.Second) {
					w.crash()
				}
			case 3, 4, 5:
				w.run(linkWindow)
			case 6, 7, 8:
				w.cut(i, w.rnd.IntN(2) == 0)
			default:
				w.heal(i)
			}
			w.run(w.upTo(time.Duration(1+w.rnd.IntN(40)) * time.Second / 4))
		}
		total += len(w.moves)
		if w.bad != "" {
			t.Fatalf("seed %d: %s\n%s", seed, w.bad, strings.Join(w.trace, "\n"))
		}
	}
	if total < int(seeds) {
		t.Errorf("the leadership moved only %d times in all: this test shows nothing", total)
	}
	t.Logf("%d seeds, %d handovers", seeds, total)
}

// TestAnOutageOfNATSMovesNothing: all links are lost at the same time, and return one by one. Each loss is noticed at its
// own time. (A link that stalls for less than two pings, while the others are closed, is not lost.)
func TestAnOutageOfNATSMovesNothing(t *testing.T) {
	for seed := range uint64(60) {
		w := newLinkWorld(seed)
		for range 4 {
			mixed, halfOpen := w.rnd.IntN(2) == 0, w.rnd.IntN(2) == 0
			for n := range w.nodes {
				w.cut(n, halfOpen != (mixed && w.rnd.IntN(2) == 0))
			}
			w.run(w.upTo(time.Duration(1+w.rnd.IntN(60)) * time.Second))
			if mixed || halfOpen {
				w.run(4 * time.Second)
			}
			for n := range w.nodes {
				w.heal(n)
			}
			w.run(w.upTo(time.Minute))
		}
		if len(w.moves) > 0 || w.bad != "" {
			t.Fatalf("seed %d: %d handovers\n%s", seed, len(w.moves), strings.Join(w.trace, "\n"))
		}
	}
}

// TestTheLeadershipFollowsTheLinkAtOnce: only the leader's link is lost. Another node leads soon, also if the leader
// without a link has just been elected.
func TestTheLeadershipFollowsTheLinkAtOnce(t *testing.T) {
	const within = 2500 * time.Millisecond // at this level: the budget of the whole is 3 s
	for seed := range uint64(100) {
		w := newLinkWorld(seed)
		w.run(w.upTo(10 * time.Second))
		began := w.now
		if crash := w.rnd.IntN(2) == 0; crash {
			next := 1 + w.rnd.IntN(2)
			w.cut(next, w.rnd.IntN(2) == 0)
			w.run(w.upTo(10 * time.Second))
			if w.leader != 0 {
				t.Fatalf("seed %d: the loss of a follower's link moved the leadership", seed)
			}
			w.crash()
			w.to = next
			w.run(w.elect.Sub(w.now) + 2*linkStep)
			began = w.now
		} else {
			w.cut(0, w.rnd.IntN(2) == 0)
		}
		for len(w.moves) == 0 && w.now.Sub(began) < within {
			w.run(linkStep)
		}
		if len(w.moves) == 0 || !w.nodes[w.leader].fresh(w.now) {
			t.Fatalf("seed %d: after %v hm-%d leads\n%s", seed, within, w.leader, strings.Join(w.trace, "\n"))
		}
	}
}

// TestALinkThatReturnsAtOnceMovesNothing: the leader's link reconnects to another server of a NATS cluster.
func TestALinkThatReturnsAtOnceMovesNothing(t *testing.T) {
	for seed := range uint64(20) {
		w := newLinkWorld(seed)
		w.cut(0, false)
		w.run(w.upTo(settleTime - linkStep))
		w.heal(0)
		w.nodes[0].link.notice = time.Time{}
		w.run(2 * linkWindow)
		if len(w.moves) > 0 {
			t.Fatalf("seed %d: %d handovers\n%s", seed, len(w.moves), strings.Join(w.trace, "\n"))
		}
	}
}
