package api

import (
	"math"
	"sync/atomic"
	"time"
)

// distrust is the reason why the record must not be used to answer what runs; empty if it may be used.
type distrust string

// The reasons why app.state, app.state.bulk and POST /bulk_app_state are answered with {}.
const (
	trusted            distrust = ""
	distrustFault      distrust = "fault"        // its store is damaged, or its state differs from that of its peers
	distrustStale      distrust = "actual-stale" // what this node has heard is not fresh
	distrustUnrecorded distrust = "unrecorded"   // something that it heard is still not recorded a heartbeat period later
	distrustNoLeader   distrust = "no-leader"    // there has been no leader for a whole time to live
	distrustBehind     distrust = "catching-up"  // it is joining, or has not caught up with the log
)

var distrusts = [...]distrust{distrustFault, distrustStale, distrustUnrecorded, distrustNoLeader, distrustBehind}

// distrustOf gives the reason why the record of this node must not be used to answer what runs. The record of a node
// that is cut off from the leader grows old, even if the node hears every heartbeat.
func (s *Server) distrustOf(n snapshot) distrust {
	heard := s.opts.Loop.Freshness()
	switch {
	case s.fault() != nil:
		return distrustFault
	case !heard.Fresh || !s.opts.Link.State().Up:
		return distrustStale
	case n.lead.LeaderID == "" && s.leaderless() >= s.opts.HeartbeatTTL:
		return distrustNoLeader
	case s.opts.Node.Joining() || !s.caughtUp(n):
		return distrustBehind
	case heard.Behind:
		return distrustUnrecorded
	}
	return trusted
}

// caughtUp reports whether the record has every entry that any member reports, but for the newest few.
func (s *Server) caughtUp(n snapshot) bool {
	switch {
	case n.lead.Leader:
		return true
	case n.lead.LeaderID == s.opts.ID:
		return false // elected, and still applying what was committed before
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

// snapshotForQuery takes a snapshot for a question about what runs. fresh says whether it may be answered; a question
// that may not is counted.
func (s *Server) snapshotForQuery() (n snapshot, fresh bool) {
	n = s.snapshot()
	why := s.distrustOf(n)
	s.unanswered.count(why)
	return n, why == trusted
}

// unanswered counts the questions that were answered with {} because the record was not trusted.
type unanswered [len(distrusts)]atomic.Uint64

func (u *unanswered) count(why distrust) {
	for i, d := range distrusts {
		if d == why {
			u[i].Add(1)
		}
	}
}

func (u *unanswered) each(fn func(distrust, uint64)) {
	for i, d := range distrusts {
		fn(d, u[i].Load())
	}
}

// leaderless is for how long this node, which knows no leader, has not heard from one; the longest possible time if it
// never did. Leadership.Since is not it: that begins anew with each election that no node wins.
func (s *Server) leaderless() time.Duration {
	at := s.opts.Node.LeaderContact()
	if at.IsZero() {
		return math.MaxInt64
	}
	return time.Since(at)
}
