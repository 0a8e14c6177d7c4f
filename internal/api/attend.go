package api

import (
	"context"
	"time"

	"hm/internal/bus"
)

// staleKnowsLess is the reason of a node that believes its record, and whose peers know more.
const staleKnowsLess disbelief = "knows-less"

// attendance is whether a node is in the queue group that answers a Cloud Controller. In it every node gets its share
// of the questions: one that knows less than the others would tell now and then what is not so.
type attendance struct {
	in     bool
	joined time.Time // zero: it has not left yet
	known  time.Time // since when it has known enough; zero while it does not
}

// consider decides anew at now. knows says that the node knows enough to answer, peer that another one does. A node
// leaves at once, but at most once in a period, and comes back when it has known enough for a period. When nobody else
// can answer it comes back at once: an answer that says that nothing is known is better than none.
func (a *attendance) consider(now time.Time, knows, peer bool, period time.Duration) {
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

// attendEvery is how often a node looks whether it should answer; askEvery how often it asks over NATS, while it knows
// too little and no peer tells that it knows more.
const (
	attendEvery = 250 * time.Millisecond
	askEvery    = time.Second
	askTimeout  = 500 * time.Millisecond
)

// attend has the node leave the queue group and come back, until Close.
func (q *Queries) attend() {
	s := q.server
	period := s.opts.Policy.HeartbeatPeriod
	tick := time.NewTicker(max(min(attendEvery, period/4), time.Millisecond))
	defer tick.Stop()
	a, ready, asked := attendance{in: true}, false, askedPeers{}
	for {
		why := s.knowing()
		if knows := why == believed; knows != ready {
			ready = knows
			q.join(ready, subjectReady)
		}
		peer := s.peerAnswers()
		if !ready && !peer {
			peer = asked.answer(q.ctx, q.link)
		}
		a.consider(time.Now(), ready, peer, period)
		if was := s.answering.Swap(a.in); was != a.in {
			q.join(a.in, subjectAppState, subjectAppStateBulk)
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

// join has the link take messages of the group on subjects, or leave them to the other members.
func (q *Queries) join(in bool, subjects ...string) {
	for _, subject := range subjects {
		if in {
			q.link.Rejoin(subject, queryGroup)
		} else {
			q.link.Leave(subject, queryGroup)
		}
	}
}

// ready answers a member of the group that knows too little. Only a member that knows enough listens.
func (q *Queries) ready(m bus.Msg) { _ = q.link.Answer(m, emptyObject) } // whoever asked will ask again

// askedPeers is the newest answer to the question whether another member of the group knows enough. It is asked over
// NATS, since a node that hears no peer may be cut off from all of them, while a Cloud Controller reaches them well.
type askedPeers struct {
	at  time.Time
	yes bool
}

func (p *askedPeers) answer(ctx context.Context, link QueryLink) bool {
	if time.Since(p.at) < askEvery {
		return p.yes
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err := link.Request(ctx, subjectReady, emptyObject)
	p.at, p.yes = time.Now(), err == nil
	return p.yes
}

// knowing looks whether this node knows enough to answer, and remembers it for Answers.
func (s *Server) knowing() disbelief {
	why := s.believe(s.look())
	if why == believed && s.opts.KnowsLess() {
		why = staleKnowsLess
	}
	s.knows.Store(why == believed)
	return why
}

// Answers reports whether this node knows enough to tell a Cloud Controller what runs, for its peers.
func (s *Server) Answers() bool { return s.knows.Load() }

// peerAnswers reports whether another node tells over the cluster's own channel that it knows enough.
func (s *Server) peerAnswers() bool {
	for _, m := range s.opts.Node.Members() {
		if m.ID != s.opts.ID && m.HasInfo && m.Healthy && m.InfoAge <= maxPeerAge && m.Info.NATSUp && m.Info.Answers {
			return true
		}
	}
	return false
}

// maxPeerAge is how old a peer's word may be: they come four times a second.
const maxPeerAge = time.Second
