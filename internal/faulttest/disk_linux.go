package faulttest

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// diskSize is the size of a node's small file system.
const diskSize = "48m"

func mountSmall(dir string) error { return syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+diskSize) }

func unmount(dir string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) }

// fill leaves no room on a file system. It gives a function that makes the room again.
func fill(dir string) (free func() error, err error) {
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			return nil, err
		}
	}
	return func() error { return os.Remove(name) }, nil
}
