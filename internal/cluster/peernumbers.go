package cluster

import (
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"hm/internal/app"
)

// aheadSlack is how far a time that a peer tells may lie ahead of this node's own hm time. Two nodes differ by what a
// commit takes, and by their crystals since the newest entry.
const aheadSlack = 10 * time.Second

// dropFalseNumbers takes out of a message what cannot be true, and counts it. The rest stays: that a peer is there, and whom
// it follows, does not depend on a wrong number. What is right the next message brings again.
//
// A node that has applied nothing yet shows the wall clock's time, and one that catches up shows a time gone by.
// Neither can judge, and neither has a use for the times: they are left out without a word, until the log's time is
// known here.
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
	known := n.clock.started.Load()
	behind := i.AppliedIndex > view.Index()
	times := []struct {
		name string
		t    *app.Time
	}{{"desired_read_began", &i.DesiredReadBegan}, {"desired_read_ended", &i.DesiredReadEnded}}
	for _, f := range times {
		if *f.t == 0 || known && *f.t <= limit {
			continue
		}
		if known && !behind {
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
	ps.node.log.log(slog.LevelWarn, from+" "+field, "passed over a number that a peer cannot rightly tell", "peer", from, "field", field, "value", value, "most", most)
}
