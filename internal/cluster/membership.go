package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"hm/internal/notify"
)

// membership is what this node has noticed about the members of its cluster: that they changed, that they differ from
// raft.peers, and that this node is none of them. checkMembers keeps it up to date.
type membership struct {
	changing chan struct{} // has a value while this node makes a change, as leader

	mu         sync.Mutex
	file       memberFile // as written last
	unwritten  bool       // the file could not be written
	configured string     // how raft.peers differs; empty if it does not
	removed    string     // why this node is no member; empty if it is one
	changed    notify.Signal
}

// recall reads what this node knew about its cluster before, and refuses the data directory of another node.
func (o Options) recall() (Options, error) {
	dir := filepath.Join(o.DataDir, "raft")
	file, err := readMemberFile(dir)
	if err != nil {
		return o, fmt.Errorf("node.data_dir: %w", err)
	}
	if file.Node != "" && file.Node != o.ID {
		return o, fmt.Errorf("node.data_dir: %s belongs to the node %s, not to node.id %s: correct node.id or node.data_dir",
			dir, file.Node, o.ID)
	}
	o.known = file
	o.Join = o.Join || wasSetAside(dir)
	return o, nil
}

// checkOwnership refuses the data directory of another node. A node that was removed from its cluster starts: it says so,
// and can be added again.
func (n *Node) checkOwnership() error {
	servers, err := n.configuration()
	if err != nil {
		return err
	}
	if len(servers) > 0 && n.opts.known.Node == "" && !slices.ContainsFunc(servers, n.isSelf) {
		return fmt.Errorf("node.data_dir: %s belongs to a cluster of the nodes %v, and node.id %s is not one of them: correct node.id or node.data_dir, unless this node was removed",
			n.stores.dir, idsOf(servers), n.opts.ID)
	}
	if n.opts.known.Node == "" { // at once: a node that is added may have a part of the log that does not name it yet
		n.membership.file = memberFile{Node: n.opts.ID}
		if err := n.membership.file.write(n.stores.dir); err != nil {
			return fmt.Errorf("node.data_dir: %w", explainFull(err))
		}
	}
	return nil
}

// checkMembers notices changes of the members. It is called again and again.
func (n *Node) checkMembers() {
	w := &n.membership
	removed, configured := n.whyRemoved(), n.howConfigured()
	w.mu.Lock()
	removedBefore, configuredBefore := w.removed, w.configured
	w.removed, w.configured = removed, configured
	w.mu.Unlock()
	switch {
	case removed != "" && removedBefore == "":
		n.opts.Logger.Error("this node is no longer a member of its cluster: it records nothing, votes for nobody and sends no commands",
			"module", "cluster", "because", removed)
	case removed == "" && removedBefore != "":
		n.opts.Logger.Info("this node is a member of its cluster again", "module", "cluster")
	}
	switch {
	case configured != "" && configured != configuredBefore:
		n.opts.Logger.Warn("raft.peers differs from the members in the log; the members in the log count",
			"module", "cluster", "difference", configured)
	case configured == "" && configuredBefore != "":
		n.opts.Logger.Info("raft.peers agrees with the members in the log", "module", "cluster")
	}
	if removed != removedBefore || configured != configuredBefore {
		n.peerStatus.notifySenders()
	}
}

// writeMembers writes the members into the file if they have changed.
func (n *Node) writeMembers() {
	f := n.raft.GetConfiguration()
	servers := f.Configuration().Servers
	if f.Error() != nil || len(servers) == 0 || n.join.active.Load() {
		return
	}
	w := &n.membership
	w.mu.Lock()
	fresh := memberFile{Node: n.opts.ID, Index: f.Index(), Members: serversOf(servers), Lost: w.file.Lost}
	before := w.file
	unwritten := w.unwritten
	w.mu.Unlock()
	fresh.Lost = slices.DeleteFunc(slices.Clone(fresh.Lost), func(id string) bool {
		return slices.ContainsFunc(fresh.Members, func(s server) bool { return s.ID == id })
	})
	if !unwritten && fresh.Node == before.Node && slices.Equal(fresh.Members, before.Members) && slices.Equal(fresh.Lost, before.Lost) {
		return
	}
	err := fresh.write(n.stores.dir)
	if err != nil {
		n.log.log(slog.LevelWarn, "members", "cannot save who the members are", "file", filepath.Join(n.stores.dir, memberFileName), "error", err)
	}
	w.mu.Lock()
	w.file, w.unwritten = fresh, err != nil
	w.mu.Unlock()
	if len(before.Members) > 0 && !slices.Equal(fresh.Members, before.Members) {
		n.opts.Logger.Info("the members of the cluster have changed", "module", "cluster", "members", describe(fresh.Members))
	}
	w.changed.Notify()
}

// describe lists members for people.
func describe(list []server) string {
	words := make([]string, len(list))
	for i, s := range list {
		words[i] = s.ID + "=" + s.Address
		if !s.Voter {
			words[i] += " (no voter)"
		}
	}
	return strings.Join(words, ", ")
}

// whyRemoved says why this node is no member of its cluster; empty if it is one, or waits to be added.
func (n *Node) whyRemoved() string {
	servers, err := n.configuration()
	if err != nil || len(servers) == 0 || n.join.active.Load() {
		return ""
	}
	const remedy = ": stop it, or add it again with hm cluster add"
	if !slices.ContainsFunc(servers, n.isSelf) {
		return "it was removed from the cluster" + remedy
	}
	// It may have been away when it was removed. Then its log still names it, and the others tell.
	voters := slices.DeleteFunc(slices.Clone(servers), func(s raft.Server) bool { return s.Suffrage != raft.Voter })
	ps := n.peerStatus
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var say []string
	for _, v := range voters {
		if ps.rejectedBy[string(v.ID)] {
			say = append(say, string(v.ID))
		}
	}
	if _, leader := n.raft.LeaderWithID(); leader != "" || len(say) == 0 || 2*len(say) < len(voters) {
		return ""
	}
	slices.Sort(say)
	return strings.Join(say, ", ") + " say that it was removed from the cluster" + remedy
}

// Removed says why this node is no longer a member of its cluster; empty if it is one, or was never one.
func (n *Node) Removed() string {
	n.membership.mu.Lock()
	defer n.membership.mu.Unlock()
	return n.membership.removed
}

// howConfigured says how raft.peers differs from the members in the log; empty if it does not. raft.peers of a node with
// raft.join only serves to recognise members, so it may differ.
func (n *Node) howConfigured() string {
	servers, err := n.configuration()
	if err != nil || len(servers) == 0 || n.opts.Join {
		return ""
	}
	logged := make(map[string]string, len(servers))
	for _, s := range servers {
		logged[string(s.ID)] = string(s.Address)
	}
	var differ []string
	for _, p := range n.opts.Peers {
		switch address, ok := logged[p.ID]; {
		case !ok:
			differ = append(differ, p.ID+" is no member")
		case address != p.Address:
			differ = append(differ, fmt.Sprintf("%s is at %s, not at %s", p.ID, address, p.Address))
		}
		delete(logged, p.ID)
	}
	for id, address := range logged {
		differ = append(differ, fmt.Sprintf("%s=%s is missing", id, address))
	}
	slices.SortFunc(differ, cmp.Compare[string])
	text := strings.Join(differ, "; ")
	return text[:min(len(text), maxText/2)]
}

// Configured says how raft.peers of this node differs from the members in the log, which count; empty if it does not.
func (n *Node) Configured() string {
	n.membership.mu.Lock()
	defer n.membership.mu.Unlock()
	return n.membership.configured
}

// recognised are the members by whose addresses a certificate or a connection is recognised: those of raft.peers only as
// long as the log names nobody.
func (n *Node) recognised(members []raft.Server) []Peer {
	list := peersOf(members)
	if servers, err := n.configuration(); err == nil && len(servers) > 0 && !n.logIsBlank() {
		return list
	}
	for _, p := range n.opts.recognised() {
		if !slices.ContainsFunc(list, func(have Peer) bool { return have.ID == p.ID }) {
			list = append(list, p)
		}
	}
	return list
}

// errLostMember refuses a node that hm cluster recover left out.
var errLostMember = errors.New("hm cluster recover left this node out of the cluster: remove its data, and add it again")

// isLost reports whether hm cluster recover left a node out, and it was not added again.
func (n *Node) isLost(id string) bool {
	n.membership.mu.Lock()
	defer n.membership.mu.Unlock()
	return slices.Contains(n.membership.file.Lost, id)
}

// isAddedBy reports whether the sender of a message says that this node is a member of its cluster. Only a node that is
// joining believes it, because it may have forgotten.
func (n *Node) isAddedBy(m message) bool {
	return n.join.active.Load() && !n.isLost(m.From) &&
		slices.ContainsFunc(m.Members, func(s server) bool { return s.ID == n.opts.ID }) &&
		slices.ContainsFunc(m.Members, func(s server) bool { return s.ID == m.From })
}

// toldMembers are the members as a peer told this node, which is joining; nil if none did.
func (ps *peerStatus) toldMembers() []raft.Server {
	if ps == nil {
		return nil
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.told.servers
}

// toldServers are whom a peer takes for members.
type toldServers struct {
	term    uint64 // of the message
	at      time.Time
	servers []raft.Server
}

// takeMembers keeps whom a message names as members, if it names this node: those of the newest term, the newest first.
// The caller holds ps.mu.
func (ps *peerStatus) takeMembers(m message, now time.Time) {
	if len(m.Members) == 0 || m.Term < ps.told.term && now.Sub(ps.told.at) < staleAfter ||
		!slices.ContainsFunc(m.Members, func(s server) bool { return s.ID == ps.node.opts.ID }) {
		return
	}
	ps.told = toldServers{term: m.Term, at: now}
	for _, s := range m.Members {
		ps.told.servers = append(ps.told.servers, s.raft())
	}
}

// forgetMembers forgets what peers told: the log names the members again.
func (ps *peerStatus) forgetMembers() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.told = toldServers{}
}

// MembersChanged gets a value after the members in the log changed. It holds one value.
func (n *Node) MembersChanged() <-chan struct{} { return n.membership.changed.C() }

// Others gives the ids of the other members.
func (n *Node) Others() []string {
	return slices.DeleteFunc(idsOf(n.servers()), func(id string) bool { return id == n.opts.ID })
}
