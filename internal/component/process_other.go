//go:build !linux

package component

// processUsage gives 0: on this system hm does not know its memory and processor time.
func processUsage() (kib int64, percent float64) { return 0, 0 }
