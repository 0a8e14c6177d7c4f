//go:build !linux && !darwin

package boltfile

// FreeSpace is not known on this system.
func FreeSpace(string) (bytes uint64, ok bool) { return 0, false }
