package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"hm/internal/boltfile"
	"hm/internal/config/limits"
	"hm/internal/tlsfiles"
	"hm/raftfsm"
)

// Defaults and limits of Options.
const (
	DefaultHeartbeatTimeout  = 500 * time.Millisecond
	DefaultElectionTimeout   = 500 * time.Millisecond
	DefaultLeaseTimeout      = 250 * time.Millisecond
	DefaultSnapshotInterval  = 2 * time.Minute
	DefaultSnapshotThreshold = 8192

	maxPeers = 31
)

// Peer is one member as the configuration names it ("id=address" in raft.peers).
type Peer struct{ ID, Address string }

// TLS names PEM files, all three or none. The certificate serves both directions. Every peer must have a certificate
// that the CA signed.
type TLS struct{ Cert, Key, CA string }

// Enabled reports whether any of the files is named.
func (t TLS) Enabled() bool { return t != TLS{} }

// Options say who a node is and which nodes form its cluster. A duration or SnapshotThreshold of 0 means the default.
type Options struct {
	ID        string // node.id: see limits.NodeID
	DataDir   string // node.data_dir; the node's files are in DataDir/raft
	Listen    string // raft.listen, host:port
	Advertise string // raft.advertise: the address under which peers reach Listen; empty means Listen itself
	// Peers are raft.peers: the members of a new cluster, this node too, the same on every node; empty means a single
	// node. Once the log has entries it names the members, and Peers are only compared with them.
	Peers []Peer
	// Join is raft.join: this node never founds a cluster; it waits until it is added to one. Peers may then be empty, or
	// be the members that it is to recognise by the hosts of their certificates.
	Join     bool
	TLS      TLS  // raft.tls
	Insecure bool // raft.insecure: reach peers, and be reached, beyond loopback without TLS
	// TLSFiles reads the files of TLS again when they change; nil: they are read once.
	TLSFiles *tlsfiles.Watcher

	HeartbeatTimeout  time.Duration // raft.heartbeat_timeout: how long a follower waits for a leader
	ElectionTimeout   time.Duration // raft.election_timeout: how long a candidate waits; at least HeartbeatTimeout
	LeaseTimeout      time.Duration // raft.lease_timeout: how long a leader leads without contact; at most HeartbeatTimeout
	SnapshotInterval  time.Duration // raft.snapshot_interval: how often to look whether a snapshot is due
	SnapshotThreshold uint64        // raft.snapshot_threshold: a snapshot is due after so many entries; as many stay in the log

	// OnApply is called after each entry and each restored snapshot, in order, on the goroutine that applies entries:
	// the log waits while it runs. It may be called before Open returns. It may be nil.
	OnApply func(raftfsm.Applied)
	// BeforeSnapshot is called before a snapshot with the entries up to an index is written, on a goroutine on which no
	// entry waits. The entries may leave the log once the snapshot is written. It must return soon. It may be nil.
	BeforeSnapshot func(index uint64)
	// ObserveApply and ObserveProposal, if not nil, are told how long it took to apply an entry, and from a call of
	// Propose until its records were applied here, in seconds. They do not block.
	ObserveApply, ObserveProposal func(seconds float64)
	Logger                        *slog.Logger // nil discards
	Version                       string       // of this program, which it notes in DataDir

	known         memberFile                // what Open found in the data directory
	listener      net.Listener              // tests listen first, so that every port is known before the first node opens
	compactAfter  time.Duration             // tests compact raft.db sooner,
	compactFree   int64                     // and with less of it free
	snapshotBytes int64                     // tests have a snapshot taken sooner
	trailingLogs  uint64                    // tests keep less of the log than a snapshot's worth
	wrapFSM       func(raft.FSM) raft.FSM   // tests make a node's state differ
	commonKind    raftfsm.Kind              // tests let later kinds begin earlier
	store         func(raftStore) raftStore // tests put a store that hangs or fails in between
}

// Validate reports all errors in the options, each with its configuration key. It opens nothing and reads no file.
func (o Options) Validate() error {
	_, err := o.complete()
	return err
}

// complete fills in the defaults and reports all errors, each with its configuration key.
func (o Options) complete() (Options, error) {
	o.HeartbeatTimeout = cmp.Or(o.HeartbeatTimeout, DefaultHeartbeatTimeout)
	o.ElectionTimeout = cmp.Or(o.ElectionTimeout, DefaultElectionTimeout)
	o.LeaseTimeout = cmp.Or(o.LeaseTimeout, DefaultLeaseTimeout)
	o.SnapshotInterval = cmp.Or(o.SnapshotInterval, DefaultSnapshotInterval)
	o.SnapshotThreshold = cmp.Or(o.SnapshotThreshold, DefaultSnapshotThreshold)
	o.snapshotBytes = cmp.Or(o.snapshotBytes, snapshotBytes)
	o.trailingLogs = cmp.Or(o.trailingLogs, o.SnapshotThreshold)
	o.compactAfter = cmp.Or(o.compactAfter, boltfile.CalmFor)
	o.commonKind = cmp.Or(o.commonKind, commonKind)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if err := limits.NodeID(o.ID); err != nil {
		wrong("node.id %q %w", o.ID, err)
	}
	if o.DataDir == "" {
		wrong("node.data_dir is empty: name the directory that is to hold the node's state")
	}
	for _, d := range []struct {
		key string
		val time.Duration
	}{
		{"raft.heartbeat_timeout", o.HeartbeatTimeout}, {"raft.election_timeout", o.ElectionTimeout}, {"raft.lease_timeout", o.LeaseTimeout},
	} {
		if d.val < limits.MinRaftTimeout || d.val > limits.MaxRaftTimeout {
			wrong("%s is %s: it must lie between %s and %s", d.key, d.val, limits.MinRaftTimeout, limits.MaxRaftTimeout)
		}
	}
	if o.SnapshotInterval < limits.MinSnapshotInterval {
		wrong("raft.snapshot_interval is %s: it must be at least %s", o.SnapshotInterval, limits.MinSnapshotInterval)
	}
	if o.ElectionTimeout < o.HeartbeatTimeout {
		wrong("raft.election_timeout is %s: it must be at least raft.heartbeat_timeout (%s)",
			o.ElectionTimeout, o.HeartbeatTimeout)
	}
	if o.LeaseTimeout > o.HeartbeatTimeout {
		wrong("raft.lease_timeout is %s: it must be at most raft.heartbeat_timeout (%s), or two nodes could lead at once",
			o.LeaseTimeout, o.HeartbeatTimeout)
	}
	if t := o.TLS; t.Enabled() && (t.Cert == "" || t.Key == "" || t.CA == "") {
		wrong("raft.tls needs cert, key and ca: each peer shows a certificate to each other peer")
	}

	switch host, port, err := limits.HostPort(o.Listen); {
	case err != nil:
		wrong("raft.listen %q %w", o.Listen, err)
	case port == 0:
		wrong("raft.listen %q has the port \"0\": a number from 1 to 65535 is needed", o.Listen)
	case o.Advertise == "" && limits.Wildcard(host):
		wrong("raft.listen is %s, a wildcard, to which no peer can connect: set raft.advertise", o.Listen)
	}
	if o.Advertise == "" {
		o.Advertise = o.Listen
	} else if _, _, err := limits.Reachable(o.Advertise); err != nil {
		wrong("raft.advertise %q %w", o.Advertise, err)
	}
	errs = append(errs, o.checkPeers()...)
	if key := o.exposed(); key != "" && !o.TLS.Enabled() && !o.Insecure {
		wrong("%s reaches beyond loopback, and without TLS whoever can reach the port can change the record: set raft.tls.cert, raft.tls.key and raft.tls.ca, "+
			"or raft.insecure: true if the network lets only the nodes in", key)
	}
	if len(errs) > 0 {
		return o, errors.Join(errs...)
	}

	if len(o.Peers) == 0 && !o.Join {
		o.Peers = []Peer{{o.ID, o.Advertise}}
	}
	// The same order on every node, so that every node writes the same first entry.
	o.Peers = slices.Clone(o.Peers)
	slices.SortFunc(o.Peers, func(a, b Peer) int { return strings.Compare(a.ID, b.ID) })
	return o, nil
}

// exposed gives the key whose address is beyond loopback; empty if there is none.
func (o Options) exposed() (key string) {
	switch {
	case !limits.Loopback(o.Listen):
		return "raft.listen"
	case !limits.Loopback(o.Advertise):
		return "raft.advertise"
	case slices.ContainsFunc(o.Peers, func(p Peer) bool { return !limits.Loopback(p.Address) }):
		return "raft.peers"
	}
	return ""
}

// members are the members as far as they are known before the log is read: those that this node knew last, or else
// those of a new cluster. A node that waits to be added knows none.
func (o Options) members() []Peer {
	if len(o.known.Members) > 0 {
		list := make([]Peer, 0, len(o.known.Members))
		for _, s := range o.known.Members {
			list = append(list, Peer{s.ID, s.Address})
		}
		return list
	}
	if o.Join {
		return nil
	}
	return o.Peers
}

// recognised are the members by whose addresses a certificate is recognised before the log is read.
func (o Options) recognised() []Peer {
	list := o.members()
	for _, p := range append([]Peer{{o.ID, o.Advertise}}, o.Peers...) {
		if !slices.ContainsFunc(list, func(have Peer) bool { return have.ID == p.ID }) {
			list = append(slices.Clone(list), p)
		}
	}
	return list
}

// alone reports whether this node has no peer, as far as members says.
func (o Options) alone() bool {
	list := o.members()
	return len(list) == 1 && list[0].ID == o.ID
}

func (o Options) checkPeers() (errs []error) {
	if len(o.Peers) == 0 {
		return nil
	}
	if len(o.Peers) > maxPeers {
		return []error{fmt.Errorf("raft.peers names %d members, at most %d are allowed", len(o.Peers), maxPeers)}
	}
	own := -1
	ids, addresses := map[string]bool{}, map[string]string{}
	for i, p := range o.Peers {
		entry := p.ID + "=" + p.Address
		if err := limits.NodeID(p.ID); err != nil {
			errs = append(errs, fmt.Errorf("raft.peers: the id of %q %w", entry, err))
		}
		if _, _, err := limits.Reachable(p.Address); err != nil {
			errs = append(errs, fmt.Errorf("raft.peers: the address of %q %w", entry, err))
		}
		if ids[p.ID] {
			errs = append(errs, fmt.Errorf("raft.peers names %s twice", p.ID))
		}
		if other, ok := addresses[p.Address]; ok && other != p.ID {
			errs = append(errs, fmt.Errorf("raft.peers gives %s and %s the same address %s", other, p.ID, p.Address))
		}
		ids[p.ID], addresses[p.Address] = true, p.ID
		if p.ID == o.ID {
			own = i
		}
	}
	switch {
	case o.Join:
	case own < 0:
		errs = append(errs, fmt.Errorf("raft.peers does not name this node: node.id is %q, and the list must be the same on every node, each included",
			o.ID))
	case o.Peers[own].Address != o.Advertise:
		errs = append(errs, fmt.Errorf("raft.peers says that %s is reached at %s, but raft.advertise (or raft.listen, where that is empty) says %s: make them agree",
			o.ID, o.Peers[own].Address, o.Advertise))
	}
	return errs
}
