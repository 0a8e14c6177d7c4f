//go:build linux || darwin

package boltfile

import "syscall"

// FreeSpace gives how many bytes can be written in the file system of dir; false if that is not known.
func FreeSpace(dir string) (bytes uint64, ok bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil || st.Bsize <= 0 {
		return 0, false
	}
	return st.Bavail * uint64(st.Bsize), true
}
