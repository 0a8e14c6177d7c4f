package api

import (
	"context"
	"time"

	"hm/internal/bus"
)

// distrustKnowsLess is the reason of a node that trusts its record, and whose peers know more.
const distrustKnowsLess distrust = "knows-less"

// groupMembership says whether a node is in the queue group that answers a Cloud Controller. Each node in the group
// gets a share of the questions, so a node that knows less than the others would sometimes give a wrong answer.
type groupMembership struct {
	in     bool
	joined time.Time // zero: it has not left yet
	known  time.Time // since when it has known enough; zero while it does not
}

// update decides again at now. knows says that the node knows enough to answer, peer that another node does. A node
// leaves at once, but at most once in a period, and comes back when it has known enough for a period. If no other
// node can answer it comes back at once: an answer that says that nothing is known is better than no answer.
func (a *groupMembership) update(now time.Time, knows, peer bool, period time.Duration) {
	switch {
	case !knows:
		a.known = time.Time{}
	case a.known.IsZero():
		a.known = now
	}
	switch {
	case !a.in && (!peer || knows && now.Sub(a.known) >= period):
		a.in, a.joined = true, now
	case a.in && !knows && peer && now.Sub(a.joined) >= period:
		a.in = false
	}
}

// membershipInterval is how often a node checks whether it should be in the group; askInterval how often it asks over
// NATS while it knows too little and no peer reports that it knows more.
const (
	membershipInterval = 250 * time.Millisecond
	askInterval        = time.Second
	askTimeout         = 500 * time.Millisecond
)

// keepMembership lets the node leave the queue group and come back, until Close.
func (q *Queries) keepMembership() {
	s := q.server
	period := s.opts.Policy.HeartbeatPeriod
	tick := time.NewTicker(max(min(membershipInterval, period/4), time.Millisecond))
	defer tick.Stop()
	a, ready, asked := groupMembership{in: true}, false, peerReadiness{}
	for {
		why := s.updateKnows()
		if knows := why == trusted; knows != ready {
			ready = knows
			q.join(ready, subjectReady)
		}
		_, peer := s.answeringPeer()
		if !ready && !peer {
			peer = asked.answer(q.ctx, q.link)
		}
		a.update(time.Now(), ready, peer, period)
		if was := s.answering.Swap(a.in); was != a.in {
			q.join(a.in, questionSubjects[:]...)
			if a.in {
				q.logger.Info("this node answers for the state of apps again", "knows", ready)
			} else {
				q.logger.Info("this node leaves it to the others to answer for the state of apps, as it knows less than they do", "reason", string(why))
			}
		}
		select {
		case <-tick.C:
		case <-q.ctx.Done():
			return
		}
	}
}

// join makes the link take the group's messages on subjects, or leave them to the other members.
func (q *Queries) join(in bool, subjects ...string) {
	for _, subject := range subjects {
		if in {
			q.link.Rejoin(subject, queryGroup)
		} else {
			q.link.Leave(subject, queryGroup)
		}
	}
}

// ready answers a member of the group that knows too little. Only members that know enough are subscribed.
func (q *Queries) ready(m bus.Msg) { _ = q.link.Answer(m, emptyObject) } // after an error the member asks again

// peerReadiness is the newest answer to the question whether another member of the group knows enough. The question
// goes over NATS: a node that is cut off from its peers cannot ask them directly, while a Cloud Controller still
// reaches them.
type peerReadiness struct {
	at  time.Time
	yes bool
}

func (p *peerReadiness) answer(ctx context.Context, link QueryLink) bool {
	if time.Since(p.at) < askInterval {
		return p.yes
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err := link.Request(ctx, subjectReady, emptyObject)
	p.at, p.yes = time.Now(), err == nil
	return p.yes
}

// updateKnows checks whether this node knows enough to answer, and stores that for Answers.
func (s *Server) updateKnows() distrust {
	why := s.distrustOf(s.snapshot())
	if why == trusted && s.opts.KnowsLess() {
		why = distrustKnowsLess
	}
	s.knows.Store(why == trusted)
	return why
}

// Answers reports whether this node knows enough to tell a Cloud Controller what runs. The node tells its peers.
func (s *Server) Answers() bool { return s.knows.Load() }
