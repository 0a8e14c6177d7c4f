package cluster

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"hm/internal/app"
	"hm/raftfsm"
)

// A number that cannot be true is ignored and counted; the rest of the message is used.
func TestNumbersThatCannotBeTrue(t *testing.T) {
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	c.converged()
	lead := c.leader()
	n := c.nodes[(c.index(lead)+1)%3]
	from := lead.opts.ID
	now := n.Now()
	const minute = 60_000
	for _, tt := range []struct {
		name string
		told PeerInfo
		want PeerInfo // as it is taken in
		bad  uint64
	}{
		{"the present", PeerInfo{DesiredReadBegan: now, DesiredReadEnded: now + 1, DesiredReadApps: 7}, PeerInfo{DesiredReadBegan: now, DesiredReadEnded: now + 1, DesiredReadApps: 7}, 0},
		{"a little ahead", PeerInfo{DesiredReadBegan: now + 5000}, PeerInfo{DesiredReadBegan: now + 5000}, 0},
		{"a read that began far ahead", PeerInfo{API: "a:1", DesiredReadBegan: now + minute, DesiredReadEnded: now, DesiredReadApps: 7}, PeerInfo{API: "a:1"}, 1},
		{"a read that ended far ahead", PeerInfo{DesiredReadBegan: now, DesiredReadEnded: now + minute, DesiredReadApps: 7}, PeerInfo{DesiredReadBegan: now, DesiredReadApps: 7}, 1},
		{"the end of time", PeerInfo{DesiredReadBegan: raftfsm.MaxTime, DesiredReadEnded: raftfsm.MaxTime}, PeerInfo{}, 2},
		{"of a node that is further along", PeerInfo{AppliedIndex: 1 << 40, DesiredReadBegan: now + minute}, PeerInfo{AppliedIndex: 1 << 40}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := n.Stats().BadNumbers
			m := message{From: from, State: stateFollower, Term: n.raft.CurrentTerm(), Info: &tt.told}
			n.peerStatus.dropFalseNumbers(&m)
			if *m.Info != tt.want {
				t.Errorf("the info is %+v, want %+v", *m.Info, tt.want)
			}
			if got := n.Stats().BadNumbers - before; got != tt.bad {
				t.Errorf("%d numbers were counted as ignored, want %d", got, tt.bad)
			}
		})
	}

	eventually(t, "a leader ignores an applied index beyond its own log", func() bool {
		lead := c.leader()
		m := message{From: n.opts.ID, State: stateFollower, Term: lead.raft.CurrentTerm(), Info: &PeerInfo{AppliedIndex: 1 << 40}}
		lead.peerStatus.dropFalseNumbers(&m)
		return m.Info.AppliedIndex == 0 || lead != c.leader()
	})
	lead = c.leader()
	later := message{From: n.opts.ID, State: stateLeader, Term: 1 << 40, Info: &PeerInfo{AppliedIndex: 1 << 40}}
	if lead.peerStatus.dropFalseNumbers(&later); later.Info.AppliedIndex != 1<<40 {
		t.Error("a leader of a past term ignores the applied index of a later term")
	}
}

// TestReadsOfANodeWithAnotherTime: hm time of a node that was restarted is behind that of the others, until the next
// entry. They take each other's reads by their age.
func TestReadsOfANodeWithAnotherTime(t *testing.T) {
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	c.converged()
	lead := c.leader()
	n := c.nodes[(c.index(lead)+1)%3]
	ps, now := n.peerStatus, n.Now()
	const older = -1 // its version does not tell its time
	take := func(ahead, began, ended int64, last peerMessage) PeerInfo {
		m := message{From: lead.opts.ID, State: stateLeader, Time: 0, Info: &PeerInfo{DesiredReadBegan: app.Time(began), DesiredReadEnded: app.Time(ended), DesiredReadApps: 7}}
		if ahead != older {
			m.Time = n.Now() + app.Time(ahead)
		}
		ps.toOwnTime(&m, last)
		ps.dropFalseNumbers(&m)
		return *m.Info
	}
	const hour = 3_600_000
	at := int64(now)
	near := func(got app.Time, want int64) bool { return int64(got) <= want+5000 && int64(got) >= want-5000 }
	if i := take(hour, at+hour-2000, at+hour-1000, peerMessage{}); !near(i.DesiredReadBegan, at-2000) || !near(i.DesiredReadEnded, at-1000) || i.DesiredReadApps != 7 {
		t.Errorf("a read two seconds ago on a node that is an hour ahead: %+v at %d", i, at)
	}
	first := take(hour, at+hour-2000, 0, peerMessage{})
	last := peerMessage{message: message{Info: &first}, began: app.Time(at + hour - 2000)}
	time.Sleep(20 * time.Millisecond) // the message takes longer
	if i := take(hour-20, at+hour-2000, 0, last); i.DesiredReadBegan > first.DesiredReadBegan {
		t.Errorf("the same read became newer: %d, before %d", i.DesiredReadBegan, first.DesiredReadBegan)
	}
	if i := take(-hour, at-hour-2000, at-hour-1000, peerMessage{}); !near(i.DesiredReadBegan, at-2000) || !near(i.DesiredReadEnded, at-1000) {
		t.Errorf("a read two seconds ago on a node that is an hour behind: %+v at %d", i, at)
	}
	if i := take(10, at-2000, at-1000, peerMessage{}); int64(i.DesiredReadBegan) != at-2000 || int64(i.DesiredReadEnded) != at-1000 {
		t.Errorf("a read on a node with the same time: %+v at %d", i, at)
	}
	if i := take(older, at+hour, at+hour, peerMessage{}); i.DesiredReadBegan != 0 {
		t.Errorf("a node of an older version tells of a read in the future: %+v at %d", i, at)
	}
}

// A node that shows the wall clock's time cannot check a peer's times; it uses them after it has applied an entry.
func TestJoiningNodeIgnoresTimes(t *testing.T) {
	c := newCluster(t, 3, nil)
	n := c.start(0) // alone: nothing is applied
	told := PeerInfo{DesiredReadBegan: app.TimeOf(time.Now()), NATSUp: true}
	m := message{From: "hm-1", State: stateLeader, Info: new(PeerInfo)}
	*m.Info = told
	if n.peerStatus.dropFalseNumbers(&m); m.Info.DesiredReadBegan != 0 || !m.Info.NATSUp || n.Stats().BadNumbers != 0 {
		t.Errorf("the info is %+v, with %d ignored numbers", m.Info, n.Stats().BadNumbers)
	}
	c.start(1)
	c.start(2)
	c.propose(dea(1))
	c.converged()
	*m.Info = PeerInfo{DesiredReadBegan: n.Now()}
	if n.peerStatus.dropFalseNumbers(&m); m.Info.DesiredReadBegan == 0 {
		t.Error("a node that has applied an entry ignores a peer's times")
	}
}

// A forged message in a leader's name must not set a time in the future: this one once stopped all reads.
func TestForgedTimeInTheFuture(t *testing.T) {
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	c.converged()
	lead := c.leader()
	n := c.nodes[(c.index(lead)+1)%3]
	for _, began := range []string{"99999999999999", "7258118399999", "-1", "1e30"} {
		conn, err := net.Dial("tcp", n.opts.Listen)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		forged := fmt.Sprintf(`{"from":%q,"state":"leader","term":1,"info":{"api":"evil.example:80","desired_read_began":%s}}`, lead.opts.ID, began)
		if _, err := conn.Write(append([]byte{carriesStatus}, frame(forged)...)); err != nil {
			t.Fatal(err)
		}
		if _, err := readReply(conn); err != nil {
			t.Error(err)
		}
		for _, m := range n.Members() {
			if m.Info.DesiredReadBegan > n.Now().Add(aheadSlack) {
				t.Errorf("%s has begun a read at %s", m.ID, m.Info.DesiredReadBegan)
			}
		}
	}
	eventually(t, "the refusals are counted", func() bool { s := n.Stats(); return s.BadNumbers >= 1 && s.BadMessages >= 3 })
}

func TestNumbersOutOfRange(t *testing.T) {
	for _, body := range []string{
		`{"from":"a","state":"leader","term":9007199254740993}`,
		`{"from":"a","state":"leader","term":-1}`,
		`{"from":"a","state":"leader","info":{"applied":9007199254740993}}`,
		`{"from":"a","state":"leader","info":{"applied":18446744073709551615}}`,
		`{"from":"a","state":"leader","info":{"kinds":4294967295}}`,
		`{"from":"a","state":"leader","info":{"desired_read_began":7258118400000}}`,
		`{"from":"a","state":"leader","info":{"desired_read_ended":-1}}`,
		`{"from":"a","state":"leader","info":{"desired_read_apps":2147483648}}`,
		`{"from":"a","state":"leader","info":{"api":"evil.example/x"}}`,
	} {
		if _, err := decodeMessage([]byte(body)); err == nil || !strings.Contains(err.Error(), "a peer's message: ") {
			t.Errorf("%s: the error is %v", body, err)
		}
	}
}
