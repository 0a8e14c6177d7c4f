package cluster

// Joining reports whether this node began with an empty store and has not yet caught up with its cluster: what it shows
// may be less than it once acknowledged.
func (n *Node) Joining() bool { return n.join.active.Load() }
