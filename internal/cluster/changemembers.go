package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"hm/internal/config/limits"
)

// MaxMembers is how many members a cluster may have. Five are enough; two more have room while others are replaced.
const MaxMembers = 7

// Refusal says why a change of the members is refused. Nothing was changed.
type Refusal struct {
	Text string
	Hint string
	// Forced says that the change is made if the caller insists.
	Forced bool
}

// Error gives the text.
func (r *Refusal) Error() string { return r.Text }

func refusal(hint, format string, args ...any) *Refusal {
	return &Refusal{Text: fmt.Sprintf(format, args...), Hint: hint}
}

func (r *Refusal) unlessForced() *Refusal {
	r.Forced = true
	return r
}

// changeTimeout bounds the exchange with a node that is to be added.
const changeTimeout = 3 * time.Second

// Add makes a node a member; this node must lead. A new member votes as soon as it has caught up, see tendMembers. For a
// member that has another address, Add changes the address. force leaves out the question whether the node answers at the
// address. Add reports whether it changed something.
func (n *Node) Add(ctx context.Context, id, address string, force bool) (changed bool, err error) {
	if err := limits.NodeID(id); err != nil {
		return false, fmt.Errorf("%w: the id %.80q %w", ErrMember, id, err)
	}
	if _, _, err := limits.Reachable(address); err != nil {
		return false, fmt.Errorf("%w: the address %.200q %w", ErrMember, address, err)
	}
	err = n.change(ctx, func(servers []raft.Server, index uint64) (func() raft.IndexFuture, error) {
		at := slices.IndexFunc(servers, func(s raft.Server) bool { return string(s.ID) == id })
		if at >= 0 && string(servers[at].Address) == address {
			return nil, nil
		}
		if err := n.mayAdd(ctx, servers, at, Peer{id, address}, force); err != nil {
			return nil, err
		}
		changed = true
		return func() raft.IndexFuture {
			if at >= 0 && servers[at].Suffrage == raft.Voter {
				return n.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(address), index, changeTimeout)
			}
			return n.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(address), index, changeTimeout)
		}, nil
	})
	if err != nil {
		return false, fmt.Errorf("adding %s=%s: %w", id, address, err)
	}
	return changed, nil
}

// mayAdd gives the reason why a node must not be added, or must not get another address. at is its place among the
// members; -1 if it is none.
func (n *Node) mayAdd(ctx context.Context, servers []raft.Server, at int, p Peer, force bool) error {
	for i, s := range servers {
		switch {
		case i != at && string(s.Address) == p.Address:
			return refusal("give each node an address of its own", "%s has the address %s", s.ID, p.Address)
		case i != at && s.Suffrage != raft.Voter && at < 0:
			return refusal("wait until it votes, or run hm cluster remove "+string(s.ID), "%s is being added, and one node is added at a time", s.ID)
		}
	}
	if at < 0 && len(servers) >= MaxMembers {
		return refusal("remove a node first", "the cluster has %d members, and no more are allowed", len(servers))
	}
	if !limits.Loopback(p.Address) && !n.opts.TLS.Enabled() && !n.opts.Insecure {
		return refusal("set raft.tls.cert, raft.tls.key and raft.tls.ca on every node, or raft.insecure: true if the network lets only the nodes in",
			"%s is beyond loopback, and this cluster has no TLS: whoever reaches its port could change the record", p.Address)
	}
	if at >= 0 && n.isSelf(servers[at]) {
		if p.Address != n.opts.Advertise {
			return refusal("start it with raft.advertise set to the new address first, or hand over with hm cluster transfer",
				"%s leads, and says that it is reached at %s, not at %s", p.ID, n.opts.Advertise, p.Address)
		}
		return nil
	}
	if force {
		return nil
	}
	return n.probe(ctx, p)
}

// probe asks whether a node answers at an address, and is free to become a member.
func (n *Node) probe(ctx context.Context, p Peer) error {
	const hint = "start the node with raft.join: true, and without data of another cluster; --force adds it all the same"
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	conn, err := n.port.dialAs(p, changeTimeout, carriesStatus)
	if err != nil {
		return refusal(hint, "no node answers at %s: %v", p.Address, err).unlessForced()
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(changeTimeout)); err != nil {
		return err
	}
	if err := writeMessage(conn, n.peerStatus.messageTo(p.ID)); err != nil {
		return refusal(hint, "%s at %s does not take a message: %v", p.ID, p.Address, err).unlessForced()
	}
	r, err := readReply(conn)
	switch {
	case err != nil:
		return refusal(hint, "%s at %s does not answer: %v", p.ID, p.Address, err).unlessForced()
	case r.From != "" && r.From != p.ID:
		return refusal("give the id that its configuration has as node.id", "%s answers at %s", r.From, p.Address)
	case r.Stranger && r.Members != "" && !slices.Contains(strings.Split(r.Members, ","), n.opts.ID):
		return refusal("stop it, move its node.data_dir away, and start it with raft.join: true",
			"%s is a member of another cluster, of %s", p.ID, strings.ReplaceAll(r.Members, ",", ", "))
	case r.Refused != "" && !r.Stranger:
		return refusal(hint, "%s at %s refuses this node: %s", p.ID, p.Address, r.Refused).unlessForced()
	}
	return nil
}

// ErrMember says that a request for a change of the members makes no sense.
var ErrMember = errors.New("this cannot be a member")

// ErrHandedOver says that this node has handed over its leadership, because it is to be removed: the new leader removes
// it.
var ErrHandedOver = errors.New("this node led and is to be removed: it has handed over, and the new leader can remove it")

// Remove makes a node no member any more; this node must lead. It refuses what would leave the rest without a majority
// that is healthy, unless force is set, and in any case what would leave no voter. If the node is this one, it hands over
// first and fails with ErrHandedOver.
func (n *Node) Remove(ctx context.Context, id string, force bool) error {
	handOver := false
	err := n.change(ctx, func(servers []raft.Server, index uint64) (func() raft.IndexFuture, error) {
		if err := n.mayRemove(servers, id, force); err != nil {
			return nil, err
		}
		if id == n.opts.ID {
			handOver = true
			return nil, nil
		}
		return func() raft.IndexFuture { return n.raft.RemoveServer(raft.ServerID(id), index, changeTimeout) }, nil
	})
	if err == nil && handOver {
		if _, err = n.HandOver(ctx, ""); err == nil {
			return ErrHandedOver
		}
	}
	if err != nil {
		return fmt.Errorf("removing %s: %w", id, err)
	}
	return nil
}

// mayRemove gives the reason why a member must not be removed; nil if it may.
func (n *Node) mayRemove(servers []raft.Server, id string, force bool) error {
	at := slices.IndexFunc(servers, func(s raft.Server) bool { return string(s.ID) == id })
	if at < 0 {
		return fmt.Errorf("%w: %.80q is no member; the members are %s", ErrNoMember, id, strings.Join(idsOf(servers), ", "))
	}
	if servers[at].Suffrage != raft.Voter {
		return nil
	}
	state := map[string]Member{}
	for _, m := range n.Members() {
		state[m.ID] = m
	}
	voters, healthy := 0, 0
	var ill []string
	for i, s := range servers {
		if i == at || s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if m := state[string(s.ID)]; m.Healthy && !m.Joining {
			healthy++
		} else {
			ill = append(ill, m.ID)
		}
	}
	switch {
	case voters == 0:
		return refusal("to end the cluster, stop the node", "%s is the only voter: without it there is no cluster", id)
	case healthy < voters/2+1 && !force:
		return refusal("bring them back, or remove them first; --force removes "+id+" all the same, if a majority still confirms it",
			"without %s, %d of %d voters would be healthy, and a majority needs %d: %s %s not healthy", id, healthy, voters, voters/2+1,
			strings.Join(ill, ", "), map[bool]string{true: "is", false: "are"}[len(ill) == 1]).unlessForced()
	}
	return nil
}

// ErrNoMember says that a node is not a member of the cluster.
var ErrNoMember = errors.New("not a member of the cluster")

// change makes one change of the members. decide gets the members and the entry that names them, and gives the request to
// raft; nil if there is nothing to change.
func (n *Node) change(ctx context.Context, decide func([]raft.Server, uint64) (func() raft.IndexFuture, error)) error {
	if !n.Leadership().Leader {
		return n.notLeader()
	}
	w := &n.membership
	select {
	case w.changing <- struct{}{}:
	case <-time.After(changeTimeout):
		return refusal("wait until it is made, and try again", "another change of the members is under way")
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-w.changing }()
	f := n.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return err
	}
	request, err := decide(slices.Clone(f.Configuration().Servers), f.Index())
	if err != nil || request == nil {
		return err
	}
	if err := n.askRaft(ctx, func() raft.Future { return request() }); err != nil {
		return n.changeError(ctx, err)
	}
	n.peerStatus.recheckMembers()
	return nil
}

// changeError translates raft's error about a change of the members.
func (n *Node) changeError(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errDiskStalled), errors.Is(err, ErrClosed):
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	case strings.HasPrefix(err.Error(), "configuration changed since"):
		return refusal("see hm cluster status, and try again", "the members have changed meanwhile")
	}
	return outcomeError(err)
}

// recheckMembers makes run look at the members at once.
func (ps *peerStatus) recheckMembers() { ps.recheckJoining.Notify() }

// tendMembers writes down who the members are, and, while this node leads, gives each new member its vote when it has
// caught up.
func (n *Node) tendMembers() {
	ticker := time.NewTicker(statusEvery)
	defer ticker.Stop()
	ctx := n.peerStatus.ctx
	committed := n.raft.CommitIndex() // at the last tick
	differs := map[string]int{}       // for how many ticks the voters of a member differ
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		n.writeMembers()
		if n.Leadership().Leader {
			n.promote(ctx, committed)
			n.nameAgain(ctx, differs)
		} else {
			clear(differs)
		}
		committed = n.raft.CommitIndex()
	}
}

// promote gives the members that have caught up with an entry their votes, one at a time.
func (n *Node) promote(ctx context.Context, committed uint64) {
	for _, m := range n.Members() {
		if m.Voter || m.State == stateRemoved || !m.Healthy || m.Joining || m.LastIndex < committed || time.Since(m.LastContact) > staleAfter {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, changeTimeout)
		promoted := false
		err := n.change(ctx, func(servers []raft.Server, index uint64) (func() raft.IndexFuture, error) {
			at := slices.IndexFunc(servers, func(s raft.Server) bool { return string(s.ID) == m.ID && s.Suffrage != raft.Voter })
			if at < 0 {
				return nil, nil
			}
			promoted = true
			return func() raft.IndexFuture {
				return n.raft.AddVoter(servers[at].ID, servers[at].Address, index, changeTimeout)
			}, nil
		})
		cancel()
		switch {
		case err != nil:
			n.log.log(slog.LevelWarn, "promote "+m.ID, "a member that has caught up did not get its vote", "member", m.ID, "error", err)
		case promoted:
			n.opts.Logger.Info("a new member has caught up, and votes from now on", "module", "cluster", "member", m.ID)
		}
		return
	}
}

// nameAgain writes the members into the log once more if a member that has everything takes others for voters: the first
// entry of its log, which it wrote itself from raft.peers, names others.
func (n *Node) nameAgain(ctx context.Context, differs map[string]int) {
	own := n.voterMark()
	for _, s := range n.servers() {
		id := string(s.ID)
		m, ok := n.peerStatus.latestFrom(id)
		if !ok || time.Since(m.at) > staleAfter || m.message.Voters == "" || m.message.Voters == own || m.message.Last.Index < n.raft.CommitIndex() {
			delete(differs, id)
			continue
		}
		if differs[id]++; differs[id] < nameAgainAfter {
			continue
		}
		clear(differs)
		ctx, cancel := context.WithTimeout(ctx, changeTimeout)
		defer cancel()
		err := n.change(ctx, func(servers []raft.Server, index uint64) (func() raft.IndexFuture, error) {
			at := slices.IndexFunc(servers, n.isSelf)
			if at < 0 {
				return nil, nil
			}
			return func() raft.IndexFuture {
				return n.raft.AddVoter(servers[at].ID, servers[at].Address, index, changeTimeout)
			}, nil
		})
		n.log.log(slog.LevelWarn, "name again", "a member had other voters in its log, so the leader wrote the members into the log again", "member", id, "error", err)
		return
	}
}

// nameAgainAfter is for how many ticks of tendMembers the voters of a member must differ.
const nameAgainAfter = 4
