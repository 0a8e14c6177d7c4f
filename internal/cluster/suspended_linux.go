package cluster

import (
	"time"

	"golang.org/x/sys/unix"
)

// Suspended is for how long in all the machine has been suspended since it booted. Linux stops the monotonic clock, by
// which hm time runs, for as long.
func (n *Node) Suspended() time.Duration {
	var boot, mono unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - mono.Nano()).Truncate(time.Millisecond)
}
