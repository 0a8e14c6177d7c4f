package api

import (
	"math"
	"sync/atomic"
	"time"
)

// disbelief is why what is recorded may not be told as the actual state: "" if it may.
type disbelief string

// The reasons for which app.state, app.state.bulk and POST /bulk_app_state are answered with {}.
const (
	believed        disbelief = ""
	staleFault      disbelief = "fault"        // its store is damaged, or its state is not that of its peers
	staleActual     disbelief = "actual-stale" // this node's own picture is not fresh
	staleUnrecorded disbelief = "unrecorded"   // it has heard what is not recorded a whole heartbeat period later
	staleNoLeader   disbelief = "no-leader"    // nobody has led for a whole time to live
	staleBehind     disbelief = "catching-up"  // it is joining, or has not caught up with the log
)

var disbeliefs = [...]disbelief{staleFault, staleActual, staleUnrecorded, staleNoLeader, staleBehind}

// believe looks whether what this node has recorded may be told as the actual state. The record of a node that is cut
// off from the leader grows old while the node itself hears everything.
func (s *Server) believe(n now) disbelief {
	heard := s.opts.Loop.Heard()
	switch {
	case s.fault() != nil:
		return staleFault
	case !heard.Fresh || !s.opts.Link.State().Up:
		return staleActual
	case n.lead.LeaderID == "" && s.leaderless() >= s.opts.HeartbeatTTL:
		return staleNoLeader
	case s.opts.Node.Joining() || !s.caughtUp(n):
		return staleBehind
	case heard.Behind:
		return staleUnrecorded
	}
	return believed
}

// caughtUp reports whether the record has everything but the newest entries that any member has told of.
func (s *Server) caughtUp(n now) bool {
	switch {
	case n.lead.Leader:
		return true
	case n.lead.LeaderID == s.opts.ID:
		return false // elected, and not yet through with what was committed before
	}
	for _, m := range s.opts.Node.Members() {
		switch {
		case m.ID == s.opts.ID:
		case !m.HasInfo && m.ID == n.lead.LeaderID, m.HasInfo && m.Info.AppliedIndex > n.view.Index()+readyLag:
			return false
		}
	}
	return true
}

// answerable is look, for a question about the actual state: fresh says whether it may be answered. One that may not be
// is counted.
func (s *Server) answerable() (n now, fresh bool) {
	n = s.look()
	why := s.believe(n)
	s.unanswered.count(why)
	return n, why == believed
}

// unanswered counts the questions that were answered with {} because the record could not be believed.
type unanswered [len(disbeliefs)]atomic.Uint64

func (u *unanswered) count(why disbelief) {
	for i, d := range disbeliefs {
		if d == why {
			u[i].Add(1)
		}
	}
}

func (u *unanswered) each(fn func(disbelief, uint64)) {
	for i, d := range disbeliefs {
		fn(d, u[i].Load())
	}
}

// leaderless is for how long this node, which knows of no leader, has had no word from one; before the first word, for
// ever. Leadership.Since does not tell: it begins anew with each election that nobody wins.
func (s *Server) leaderless() time.Duration {
	at := s.opts.Node.LeaderContact()
	if at.IsZero() {
		return math.MaxInt64
	}
	return time.Since(at)
}
