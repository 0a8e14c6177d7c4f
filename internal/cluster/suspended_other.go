//go:build !linux

package cluster

import "time"

// Suspended is for how long in all the machine has been suspended since it booted, where that can be told: not here.
func (n *Node) Suspended() time.Duration { return 0 }
