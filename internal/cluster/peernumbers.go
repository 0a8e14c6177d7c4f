package cluster

import (
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"hm/internal/app"
)

// aheadSlack is how far a peer's time may lie ahead of this node's hm time. The times of two nodes differ by the
// duration of a commit, and by the drift of their clocks since the newest entry.
const aheadSlack = 10 * time.Second

// smallOffset is a difference between the hm times of two nodes that does not matter.
const smallOffset = 50 * time.Millisecond

// toOwnTime converts the times of a read in a message to this node's hm time, if the sender's differs. hm time counts no
// time in which a node did not run, until the node applies the next entry, and in a fleet that does not change the next
// entry may be days away. Without this, a node that was restarted would take no read of a peer for true, and as the next
// leader it would have to read the whole desired state before its gate opens; and what it reads would look old to the
// others. last is the sender's message before.
func (ps *peerStatus) toOwnTime(m *message, last peerMessage) {
	i, now := m.Info, ps.node.Now()
	ahead := m.Time.Sub(now)
	if i.DesiredReadBegan == 0 || m.Time == 0 || ahead.Abs() <= smallOffset || !ps.node.clock.started.Load() {
		return
	}
	told := i.DesiredReadBegan
	began := told.Add(-ahead)
	if before := last.message.Info; before != nil && last.began == told && before.DesiredReadBegan != 0 && before.DesiredReadBegan != told {
		began = min(began, before.DesiredReadBegan) // the same read: a message that took longer does not make it newer
	}
	i.DesiredReadBegan = max(began, 1)
	if i.DesiredReadEnded != 0 {
		i.DesiredReadEnded = max(i.DesiredReadEnded.Add(-ahead), i.DesiredReadBegan)
	}
}

// dropFalseNumbers sets numbers of a message that cannot be true to 0, and counts them. The rest of the message stays
// valid: whether a peer is there, and whom it follows, does not depend on them.
//
// A node that has applied nothing yet shows the wall clock's time, and a node that catches up shows a time in the past.
// Such a node can neither check nor use the times of a peer. It drops them without a warning until it has the log's
// time.
func (ps *peerStatus) dropFalseNumbers(m *message) {
	i := m.Info
	if i == nil {
		return
	}
	n := ps.node
	if last := n.raft.LastIndex(); i.AppliedIndex > last && m.Term <= n.raft.CurrentTerm() && n.raft.State() == raft.Leader {
		// Nobody has applied what the leader does not have.
		ps.noteFalseNumber(m.From, "applied", i.AppliedIndex, last)
		i.AppliedIndex = 0
	}
	view := n.View()
	now := n.Now()
	limit := now.Add(aheadSlack + now.Sub(view.Time())>>slewShift)
	knowsTime := n.clock.started.Load()
	behind := i.AppliedIndex > view.Index()
	times := []struct {
		name string
		t    *app.Time
	}{{"desired_read_began", &i.DesiredReadBegan}, {"desired_read_ended", &i.DesiredReadEnded}}
	for _, f := range times {
		if *f.t == 0 || knowsTime && *f.t <= limit {
			continue
		}
		if knowsTime && !behind {
			ps.noteFalseNumber(m.From, f.name, *f.t, limit)
		}
		*f.t = 0
	}
	if i.DesiredReadBegan == 0 {
		i.DesiredReadEnded, i.DesiredReadApps = 0, 0
	}
}

func (ps *peerStatus) noteFalseNumber(from, field string, value, most any) {
	ps.node.stats.badNumbers.Add(1)
	ps.node.log.log(slog.LevelWarn, from+" "+field, "ignored a number of a peer that cannot be true",
		"peer", from, "field", field, "value", value, "most", most)
}
