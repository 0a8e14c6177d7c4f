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
