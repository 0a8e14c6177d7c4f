package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Member is one member of the cluster as this node sees it.
type Member struct {
	ID      string
	Address string
	Voter   bool
	State   string // leader, follower or candidate; unreachable if it sent no message for a second; removed if it is no member any more
	Healthy bool   // it is this node or sent a message within a second, and has no Problem and no Fault
	Problem string // of its disk or its address, as it says itself or as this node sees it; empty if there is none
	// LastContact is when its last message arrived, with a monotonic reading; zero if none did since this node started.
	LastContact time.Time
	Info        PeerInfo      // the newest that it sent
	HasInfo     bool          // it has sent an Info
	InfoAge     time.Duration // since it was sent
	Fault       *Fault        // as it says itself; nil if there is none
	// LastIndex is how far its log reaches; 0 if that is not known.
	LastIndex uint64
	Joining   bool // it is not known to have everything that it may have acknowledged, and does not vote
	// Configured says how its raft.peers differs from the members in the log; empty if it does not.
	Configured string
}

// Members lists the members that the log names, sorted by id, with the newest status of each.
func (n *Node) Members() []Member {
	servers := n.servers()
	now := time.Now()
	_, leader := n.raft.LeaderWithID()
	members := make([]Member, 0, len(servers)+1)
	if removed := n.Removed(); removed != "" && !slices.ContainsFunc(servers, n.isSelf) {
		members = append(members, Member{ID: n.opts.ID, Address: n.opts.Advertise, State: stateRemoved, Problem: removed, LastContact: now})
	}
	for _, s := range servers {
		m := Member{ID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter, State: stateUnreachable}
		if m.ID == n.opts.ID {
			n.describeSelf(&m, now)
		} else {
			n.describePeer(&m, now, s.ID == leader)
		}
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	return members
}

// LeaderContact is when this node, a follower, was last in contact with a leader; zero if never.
func (n *Node) LeaderContact() time.Time { return n.raft.LastContact() }

func (n *Node) describeSelf(m *Member, now time.Time) {
	m.State, m.Healthy, m.LastContact = n.stateWord(), true, now
	m.LastIndex, m.Joining, m.Configured = n.raft.LastIndex(), n.join.active.Load(), n.Configured()
	if f, ok := n.Fault(); ok {
		m.Fault, m.Healthy = &f, false
	}
	if removed := n.Removed(); removed != "" {
		m.State, m.Healthy, m.Problem = stateRemoved, false, removed
	} else if err := n.stores.disk.problem(); err != nil {
		m.Healthy, m.Problem = false, err.Error()
	} else if text := n.peerStatus.unheardProblem(now); text != "" {
		m.Healthy, m.Problem = false, text
	}
	n.peerStatus.mu.Lock()
	defer n.peerStatus.mu.Unlock()
	if n.peerStatus.info != nil {
		m.Info, m.HasInfo = *n.peerStatus.info, true
	}
}

func (n *Node) describePeer(m *Member, now time.Time, leads bool) {
	latest, ok := n.peerStatus.latestFrom(m.ID)
	if ok {
		m.LastContact, m.Fault = latest.at, latest.message.Fault
		m.LastIndex, m.Joining, m.Configured = latest.message.Last.Index, latest.message.Joining, latest.message.Configured
		if latest.message.Info != nil {
			m.Info, m.HasInfo, m.InfoAge = *latest.message.Info, true, now.Sub(latest.at)
		}
	}
	if contact := n.raft.LastContact(); leads && contact.After(m.LastContact) {
		m.LastContact = contact
	}
	if m.LastContact.IsZero() || now.Sub(m.LastContact) > staleAfter {
		return
	}
	m.Problem = latest.message.Disk
	if m.Problem == "" {
		m.Problem = n.peerStatus.unreachableProblem(m.ID, m.Address, now)
	}
	m.Healthy = m.Problem == "" && m.Fault == nil
	switch {
	case leads:
		m.State = stateLeader
	case ok && latest.message.State == stateLeader && latest.message.Term < n.raft.CurrentTerm():
		m.State = stateFollower // its message is of a past term
	case ok:
		m.State = latest.message.State
	}
}

func (n *Node) configuration() ([]raft.Server, error) {
	f := n.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, fmt.Errorf("reading the members: %w", err)
	}
	return f.Configuration().Servers, nil
}

// servers are the members as this node knows them best: those that its log names. While it is joining its log may be out
// of date, so what its peers tell counts first.
func (n *Node) servers() []raft.Server {
	servers, _ := n.configuration()
	if len(servers) > 0 && !n.join.active.Load() {
		return servers
	}
	if told := n.peerStatus.toldMembers(); len(told) > 0 {
		return told
	}
	if len(servers) > 0 {
		return servers
	}
	for _, s := range n.opts.known.Members {
		servers = append(servers, s.raft())
	}
	return servers
}

func (n *Node) voters() []raft.Server {
	return slices.DeleteFunc(slices.Clone(n.servers()), func(s raft.Server) bool { return s.Suffrage != raft.Voter })
}

func (n *Node) isMember(id string) bool {
	return slices.ContainsFunc(n.servers(), func(s raft.Server) bool { return string(s.ID) == id })
}

func (n *Node) isSelf(s raft.Server) bool { return string(s.ID) == n.opts.ID }

// alone reports whether this node has no peer.
func (n *Node) alone() bool {
	if n.raft == nil {
		return n.opts.alone()
	}
	servers := n.servers()
	return len(servers) == 1 && n.isSelf(servers[0])
}

// voterMark is a short mark of who the voters are, without their addresses. Nodes with equal marks agree.
func (n *Node) voterMark() string {
	servers, err := n.configuration()
	if err != nil || len(servers) == 0 {
		return ""
	}
	h := sha256.New()
	for _, s := range serversOf(servers) {
		fmt.Fprintf(h, "%s %v\n", s.ID, s.Voter)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func idsOf(servers []raft.Server) []string {
	ids := make([]string, 0, len(servers))
	for _, s := range servers {
		ids = append(ids, string(s.ID))
	}
	slices.Sort(ids)
	return ids
}
