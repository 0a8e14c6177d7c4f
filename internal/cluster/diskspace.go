package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"hm/internal/boltfile"
)

// minFree is the room that a start needs, in bytes: for a term, a vote and a full entry, and a little more.
const minFree = 4 << 20

// checkSpace refuses a start if there is too little room for the first writes.
func checkSpace(dir string) error {
	if hasRoom(dir) {
		return nil
	}
	free, _ := freeSpace(dir)
	return fmt.Errorf("node.data_dir: the disk is full: the file system of %s has %d KiB left, and a node needs %d KiB to start: make room and start the node again",
		dir, free>>10, minFree>>10)
}

// hasRoom reports whether there is as much room as a start needs. It is true if the free space is not known.
func hasRoom(dir string) bool {
	free, ok := freeSpace(dir)
	return !ok || free >= minFree
}

// freeSpace gives how many bytes can be written in the file system of dir; false if that is not known.
func freeSpace(dir string) (bytes uint64, ok bool) { return boltfile.FreeSpace(dir) }

// explainFull adds what to do to an error of the start that comes from a full disk.
func explainFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || err != nil && isFull(err) {
		return fmt.Errorf("%w: the disk is full: make room and start the node again", err)
	}
	return err
}

// isFull reports whether a write found no room and may be tried again, because it has changed nothing yet.
func isFull(err error) bool {
	if text := err.Error(); strings.HasPrefix(text, "file resize error:") || strings.HasPrefix(text, "file sync error:") {
		// Bbolt could not make the file larger. It writes into the file only afterwards.
		return strings.Contains(text, syscall.ENOSPC.Error()) || strings.Contains(text, syscall.EDQUOT.Error())
	}
	var write *fs.PathError // a failed sync of bbolt gives the bare number
	return errors.As(err, &write) && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT))
}
