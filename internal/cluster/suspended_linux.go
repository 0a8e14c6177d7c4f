package cluster

import (
	"time"

	"golang.org/x/sys/unix"
)

// Suspended is how long the machine has been suspended since it booted, in all. Linux stops the monotonic clock, which
// hm time depends on, during that time.
func (n *Node) Suspended() time.Duration {
	var boot, mono unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - mono.Nano()).Truncate(time.Millisecond)
}
