package cluster

import (
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
	State   string // leader, follower or candidate; unreachable if it sent no message for a second
	Healthy bool   // it is this node or sent a message within a second, and has no Problem and no Fault
	Problem string // of its disk or its address, as it says itself or as this node sees it; empty if there is none
	// LastContact is when its last message arrived, with a monotonic reading; zero if none did since this node started.
	LastContact time.Time
	Info        PeerInfo      // the newest that it sent
	HasInfo     bool          // it has sent an Info
	InfoAge     time.Duration // since it was sent
	Fault       *Fault        // as it says itself; nil if there is none
}

// Members lists the members that the log names, sorted by id, with the newest status of each.
func (n *Node) Members() []Member {
	servers, err := n.configuration()
	if err != nil {
		return nil
	}
	now := time.Now()
	_, leader := n.raft.LeaderWithID()
	book := addressBook(n.opts.Peers)
	members := make([]Member, 0, len(servers))
	for _, s := range servers {
		m := Member{ID: string(s.ID), Address: book.of(s), Voter: s.Suffrage == raft.Voter, State: stateUnreachable}
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
	if f, ok := n.Fault(); ok {
		m.Fault, m.Healthy = &f, false
	}
	if err := n.stores.disk.problem(); err != nil {
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

func (n *Node) voters() []raft.Server {
	servers, err := n.configuration()
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(servers), func(s raft.Server) bool { return s.Suffrage != raft.Voter })
}

func (n *Node) isMember(id string) bool {
	servers, _ := n.configuration()
	return slices.ContainsFunc(servers, func(s raft.Server) bool { return string(s.ID) == id })
}

func memberIDs(servers []raft.Server) []string {
	ids := make([]string, 0, len(servers))
	for _, s := range servers {
		ids = append(ids, string(s.ID))
	}
	slices.Sort(ids)
	return ids
}
