package cluster

import (
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"hm/raftfsm"
)

// otherRecord applies another record than the log has, after it was armed.
type otherRecord struct {
	raft.FSM
	armed *atomic.Bool
}

func (f otherRecord) Apply(l *raft.Log) any {
	if l.Type == raft.LogCommand && f.armed.CompareAndSwap(true, false) {
		e, err := raftfsm.DecodeEntry(l.Data)
		if err != nil {
			panic(err)
		}
		data, err := raftfsm.EncodeEntry(raftfsm.Entry{At: e.At, Records: []raftfsm.Record{dea(1 << 19)}})
		if err != nil {
			panic(err)
		}
		other := *l
		other.Data = data
		l = &other
	}
	return f.FSM.Apply(l)
}

// tampered starts a cluster in which each node can be made to record something else than the log says.
func tampered(t *testing.T, size int) (*testCluster, []atomic.Bool) {
	arm := make([]atomic.Bool, size)
	c := startCluster(t, size, func(i int, o *Options) {
		o.wrapFSM = func(f raft.FSM) raft.FSM { return otherRecord{f, &arm[i]} }
	})
	return c, arm
}

// The leader's state differs: it stops, another one leads, and after a restart its state is that of the others.
func TestLeaderWithAnotherStateStops(t *testing.T) {
	t.Parallel()
	c, arm := tampered(t, 3)
	c.propose(dea(1))
	c.converged()
	wrong := c.leader()
	at := c.index(wrong)
	arm[at].Store(true)
	c.propose(dea(2))
	for range 3 { // a new leader may have been elected in between, and then the wrong one is a follower: the same holds
		c.propose(dea(3))
	}
	select {
	case <-wrong.Failed():
	case <-bounded(t).Done():
		t.Fatal("the node did not notice")
	}
	var d *Damage
	if err := wrong.Err(); !errors.As(err, &d) || d.Kind != FaultState || strings.Contains(err.Error(), "\n") {
		t.Errorf("it ends with %v", err)
	}
	if wrong.Leadership().Leader || !wrong.StateDiffers() {
		t.Error("it leads, or does not report that its state differs")
	}
	eventually(t, "another node leads", func() bool {
		for i, n := range c.nodes {
			if i != at && n.Leadership().Leader {
				return true
			}
		}
		return false
	})
	eventually(t, "its peers show the fault", func() bool {
		f := member(c.nodes[(at+1)%3], wrong.opts.ID).Fault
		return f != nil && f.Kind == FaultState
	})
	for i, n := range c.nodes {
		if i != at && (n.StateDiffers() || n.Err() != nil) {
			t.Errorf("%s stops, too", n.opts.ID)
		}
	}
	c.close(at)
	c.propose(dea(4))
	n := c.start(at)
	if f, _ := n.Fault(); f.Kind != FaultHealing {
		t.Errorf("after its start the fault is %+v", f)
	}
	eventually(t, "the node has healed", func() bool { _, faulty := n.Fault(); return !faulty && !n.join.active.Load() })
	c.propose(dea(5))
	c.converged() // compares the hashes
	if _, err := os.Stat(c.file(at, differsMarker)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the marker is still there: %v", err)
	}
}

// Two nodes are left and their states differ: nobody can say who is right, and both report it. The third node decides
// when it is back.
func TestTwoNodesThatDifferBothReportIt(t *testing.T) {
	t.Parallel()
	c, arm := tampered(t, 3)
	c.propose(dea(1))
	c.converged()
	away := (c.index(c.leader()) + 1) % 3
	c.close(away)
	at := (away + 1) % 3
	arm[at].Store(true)
	c.propose(dea(2))
	for i, n := range c.nodes {
		if i != away {
			eventually(t, "both report that their states differ", n.StateDiffers)
		}
	}
	for i, n := range c.nodes {
		if i != away && n.Err() != nil {
			t.Errorf("%s stops, although nobody can say that it is wrong: %v", n.opts.ID, n.Err())
		}
	}
	if err := c.proposeAny(dea(3)); err != nil { // recording goes on
		t.Error(err)
	}
	c.start(away)
	wrong := c.nodes[at]
	select {
	case <-wrong.Failed():
	case <-bounded(t).Done():
		t.Fatal("the third node has not decided")
	}
	c.close(at)
	c.start(at)
	for _, n := range c.nodes {
		eventually(t, "no node has a fault", func() bool { _, faulty := n.Fault(); return !faulty })
	}
	c.propose(dea(4))
	c.converged()
}

// proposeAny proposes a record to any leader.
func (c *testCluster) proposeAny(recs ...raftfsm.Record) error {
	_, n := c.propose(recs...)
	if n == nil {
		return errors.New("nobody leads")
	}
	return nil
}

func hashOf(b byte) raftfsm.Hash { return raftfsm.Hash{b} }

// comparisonUpTo is the comparison of a node with the states 1 to upTo, all with the hash 1; the voters are a, b and c.
func comparisonUpTo(upTo uint64) *stateComparison {
	w := &stateComparison{}
	for i := uint64(1); i <= upTo; i++ {
		w.applied(i, hashOf(1))
	}
	return w
}

func TestCompareStates(t *testing.T) {
	now := time.Now()
	three := []string{"a", "b", "c"}
	present := func(ids ...string) func(string) bool {
		return func(id string) bool { return strings.Contains(strings.Join(ids, " "), id) }
	}
	at := func(index uint64, hash byte) []stateAt { return []stateAt{{index, hashOf(hash)}} }
	type told struct {
		by     string
		states []stateAt
		ago    time.Duration
	}
	for name, tc := range map[string]struct {
		voters  []string
		told    []told
		present func(string) bool
		wrong   bool
		open    bool
	}{
		"nobody speaks":                           {three, nil, present(), false, false},
		"all agree":                               {three, []told{{"b", at(9, 1), 0}, {"c", at(9, 1), 0}}, present("b", "c"), false, false},
		"a majority agrees on another state":      {three, []told{{"b", at(9, 2), 0}, {"c", at(9, 2), 0}}, present("b", "c"), true, false},
		"the others are ahead":                    {three, []told{{"b", at(99, 2), 0}, {"c", at(99, 2), 0}}, present("b", "c"), false, false},
		"one accuses, the other has yet to speak": {three, []told{{"b", at(9, 2), 0}}, present("b", "c"), false, false},
		"one accuses, and the other keeps silent": {three, []told{{"b", at(9, 2), 3 * time.Second}}, present("b", "c"), false, true},
		"one accuses, and the other is away":      {three, []told{{"b", at(9, 2), 0}}, present("b"), false, true},
		"one accuses, the other agrees":           {three, []told{{"b", at(9, 2), 3 * time.Second}, {"c", at(9, 1), 0}}, present("b", "c"), false, false},
		"one accuses, the other agrees later":     {three, []told{{"b", at(8, 2), 3 * time.Second}, {"c", at(9, 1), 0}}, present("b", "c"), false, false},
		"one accuses later than the other agrees": {three, []told{{"b", at(9, 2), 0}, {"c", at(8, 1), 0}}, present("b", "c"), false, false},
		"three states":                            {three, []told{{"b", at(9, 2), 3 * time.Second}, {"c", at(9, 3), 3 * time.Second}}, present("b", "c"), false, true},
		"the accusation is old":                   {three, []told{{"b", at(9, 2), time.Minute}}, present(), false, false},
		"the accuser is no voter":                 {[]string{"a", "c"}, []told{{"b", at(9, 2), 0}}, present("b", "c"), false, false},
		"two voters differ":                       {[]string{"a", "b"}, []told{{"b", at(9, 2), 0}}, present("b"), false, true},
		"a single voter":                          {[]string{"a"}, []told{{"b", at(9, 2), 0}}, present("b"), false, false},
		"two of five accuse":                      {[]string{"a", "b", "c", "d", "e"}, []told{{"b", at(9, 2), 5 * time.Second}, {"c", at(9, 2), 5 * time.Second}, {"d", at(9, 1), 0}, {"e", at(9, 1), 0}}, present("b", "c", "d", "e"), false, false},
		"three of five accuse":                    {[]string{"a", "b", "c", "d", "e"}, []told{{"b", at(9, 2), 0}, {"c", at(9, 2), 0}, {"d", at(9, 2), 0}, {"e", at(9, 1), 0}}, present("b", "c", "d", "e"), true, false},
	} {
		w := comparisonUpTo(10)
		for _, s := range tc.told {
			w.take(s.by, s.states, now.Add(-s.ago))
			if s.ago < claimAge {
				w.take(s.by, s.states, now) // it is told again and again
			}
		}
		wrong, _ := w.compare("a", tc.voters, tc.present, now)
		if (wrong != nil) != tc.wrong || (w.undecidedText() != "") != tc.open {
			t.Errorf("%s: wrong %v, undecided %q", name, wrong, w.undecidedText())
		}
	}
}

// One peer claims another state at every entry that this node applies. The other peer agrees with this node, but always
// at an older entry.
func TestOnePeerThatDiffersStopsNobody(t *testing.T) {
	w := &stateComparison{}
	now := time.Now()
	for i := uint64(1); i < 2000; i++ {
		now = now.Add(250 * time.Millisecond)
		w.applied(2*i, hashOf(1))
		w.applied(2*i+1, hashOf(1))
		w.take("b", []stateAt{{2*i + 1, hashOf(2)}, {2 * i, hashOf(3)}, {1 << 60, hashOf(4)}}, now)
		w.take("c", []stateAt{{2 * i, hashOf(1)}}, now)
		wrong, differing := w.compare("a", []string{"a", "b", "c"}, func(string) bool { return true }, now)
		if wrong != nil || w.undecidedText() != "" {
			t.Fatalf("entry %d: wrong %v, undecided %q", i, wrong, w.undecidedText())
		}
		if len(differing) != 1 || differing[0] != "b" {
			t.Fatalf("entry %d: the peers that differ are %v", i, differing)
		}
		if len(w.claimed["b"]) > keptClaims {
			t.Fatalf("%d claims are kept", len(w.claimed["b"]))
		}
	}
}

// The same with real nodes: false claims arrive in the name of the third node while the other two are busy.
func TestFalseClaimsOfOnePeerStopNobody(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	c.converged()
	liar := (c.index(c.leader()) + 1) % 3
	c.close(liar)
	end := time.Now().Add(3 * undecidedAfter / 2)
	old := c.converged().Index()
	lie := func() {
		for _, n := range c.running() {
			lies := []stateClaim{{n.View().Index(), hashOf(2).String()}, {n.View().Index() + 1, hashOf(3).String()}, {old, hashOf(4).String()}}
			if err := n.peerStatus.takeMessage(message{From: c.opts[liar].ID, State: stateFollower, States: lies, HashVersion: raftfsm.HashVersion}, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := 0; time.Now().Before(end); i++ {
		lie()
		c.propose(dea(i % 100))
		for _, n := range c.running() {
			eventually(t, "the false claims have no effect", func() bool { lie(); return !n.StateDiffers() }) // they have one only if the machine stalls
			if n.Err() != nil {
				t.Fatalf("%s stops because of the false claims: %v", n.opts.ID, n.Err())
			}
		}
	}
}

// After the state was replaced, earlier states do not count.
func TestReplacedStateForgetsEarlierClaims(t *testing.T) {
	w := comparisonUpTo(10)
	now := time.Now()
	for _, id := range []string{"b", "c"} {
		w.take(id, []stateAt{{9, hashOf(2)}}, now)
	}
	w.reset()
	if wrong, _ := w.compare("a", []string{"a", "b", "c"}, func(string) bool { return true }, now); wrong != nil || len(w.claims()) != 0 {
		t.Errorf("wrong %v, claims %v", wrong, w.claims())
	}
	w.applied(11, hashOf(1))
	if claims := w.claims(); len(claims) != 1 || claims[0].Index != 11 {
		t.Errorf("claims %v", claims)
	}
}

func TestClaimsOfPeers(t *testing.T) {
	good := stateClaim{1, hashOf(1).String()}
	if _, err := checkClaims([]stateClaim{good, good}); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]stateClaim{make([]stateClaim, maxClaims+1), {{1, "zz"}}, {{1, "00"}}, {{1, good.Hash + "00"}}} {
		if _, err := checkClaims(bad); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
	w := comparisonUpTo(40_001)
	if claims := w.claims(); len(claims) != 4 || claims[3].Index != 36864 || claims[0].Index != 40_001 {
		t.Errorf("claims %v", claims)
	}
}
