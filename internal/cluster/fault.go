package cluster

import (
	"errors"
)

// Fault says what is wrong with a node.
type Fault struct {
	Kind   string `json:"kind"`
	Detail string `json:"detail,omitempty"`
}

// The kinds of Fault.
const (
	FaultStore   = "store-damaged" // the stored data is not what was written; the node has stopped
	FaultState   = "state-differs" // its state differs from that of its peers at the same index
	FaultTooOld  = "too-old"       // its version of hm cannot read what its leader sends
	FaultHealing = "healing"       // it set the damaged files aside and copies the record from its peers
)

// Fault says what is wrong with this node; false if nothing is. The record of a node with a fault must not be used.
func (n *Node) Fault() (Fault, bool) {
	var d *Damage
	if err := n.Err(); errors.As(err, &d) {
		return Fault{d.Kind, d.What}, true
	}
	if text := n.states.undecidedText(); text != "" {
		return Fault{FaultState, text}, true
	}
	if text := n.stores.snapshots.tooNew.Load(); text != nil {
		return Fault{FaultTooOld, *text + n.peerVersions()}, true
	}
	if n.healing != "" && n.join.active.Load() {
		return Fault{FaultHealing, n.healing}, true
	}
	return Fault{}, false
}

// StateDiffers reports whether this node's state differs from that of its peers, even if nobody can say whose is right.
func (n *Node) StateDiffers() bool {
	f, ok := n.Fault()
	return ok && f.Kind == FaultState
}
