//go:build !linux

package cluster

import "time"

// Suspended is how long the machine has been suspended since it booted, in all. It is not known on this system.
func (n *Node) Suspended() time.Duration { return 0 }
