package cluster

import (
	"errors"
)

// Fault is what is wrong with a node.
type Fault struct {
	Kind   string `json:"kind"`
	Detail string `json:"detail,omitempty"`
}

// The kinds of Fault.
const (
	FaultStore   = "store-damaged" // what is stored is not what was written; the node has stopped
	FaultState   = "state-differs" // its state is not that of its peers at the same index
	FaultHealing = "healing"       // it set aside what was damaged, and takes the record from its peers
)

// Fault tells what is wrong with this node. A node with a fault must not be believed, and must act on nothing.
func (n *Node) Fault() (Fault, bool) {
	var d *Damage
	if err := n.Err(); errors.As(err, &d) {
		return Fault{d.Kind, d.What}, true
	}
	if text := n.states.undecided(); text != "" {
		return Fault{FaultState, text}, true
	}
	if n.healing != "" && n.join.active.Load() {
		return Fault{FaultHealing, n.healing}, true
	}
	return Fault{}, false
}

// StateDiffers reports whether this node's state is not that of its peers, or nobody can tell whose is right.
func (n *Node) StateDiffers() bool {
	f, ok := n.Fault()
	return ok && f.Kind == FaultState
}
