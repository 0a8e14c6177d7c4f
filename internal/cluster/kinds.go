package cluster

import (
	"errors"
	"fmt"

	"hm/raftfsm"
)

// commonKind is the highest kind of record that all releases of hm know.
const commonKind = raftfsm.KindClusterNamed

// ErrKind says that a proposal is refused because some voter could not apply its records: that voter would stop.
var ErrKind = errors.New("not every voter knows this kind of record")

// Knows reports whether every voter can apply records of kind k. For a voter that is away its last message counts. A
// voter that has sent no message since this node started counts as one of the first release.
func (n *Node) Knows(k raftfsm.Kind) bool { return n.checkKind(k) == nil }

// checkKind gives an ErrKind that names a voter which does not know the kind.
func (n *Node) checkKind(k raftfsm.Kind) error {
	if k <= n.opts.commonKind {
		return nil
	}
	servers := n.voters()
	if len(servers) == 0 {
		return fmt.Errorf("%w: %s (%d), and the members cannot be read", ErrKind, k, k)
	}
	for _, s := range servers {
		id := string(s.ID)
		knows := n.opts.commonKind
		if id == n.opts.ID {
			knows = raftfsm.MaxKind
		} else if m, ok := n.peerStatus.latestFrom(id); ok && m.message.Info != nil {
			knows = max(knows, raftfsm.Kind(m.message.Info.Kinds))
		}
		if knows < k {
			return fmt.Errorf("%w: %s (%d); %s knows kinds up to %d: run a version of hm on it that knows this kind",
				ErrKind, k, k, id, knows)
		}
	}
	return nil
}

// checkKinds refuses records that some voter could not apply. Records that a voter may skip are no matter.
func (n *Node) checkKinds(recs []raftfsm.Record) error {
	highest := raftfsm.Kind(0)
	for _, r := range recs {
		if r != nil && !r.Kind().Ignorable() {
			highest = max(highest, r.Kind())
		}
	}
	if highest > raftfsm.MaxKind {
		return nil // this node does not know it either: encoding the entry will fail
	}
	return n.checkKind(highest)
}
