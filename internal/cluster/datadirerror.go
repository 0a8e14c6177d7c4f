package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"hm/raftfsm"
)

// DataDirError says why a node cannot use a node.data_dir in which nothing is damaged.
type DataDirError struct {
	Err  error
	Hint string // what to do about it
}

// Error says why.
func (e *DataDirError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *DataDirError) Unwrap() error { return e.Err }

// Remedy says what to do about it.
func (e *DataDirError) Remedy() string { return e.Hint }

// explainAccess adds to an error of the start what to do if this process may not use its data directory.
func explainAccess(dataDir string, err error) error {
	switch {
	case errors.Is(err, raftfsm.ErrNewer):
		return tooOld(dataDir, err)
	case errors.Is(err, fs.ErrPermission):
		who := strconv.Itoa(os.Geteuid())
		if u, lookup := user.LookupId(who); lookup == nil {
			who = u.Username
		}
		return &DataDirError{err, fmt.Sprintf("hm runs as the user %s, which must be able to read and write %s and everything in it: run chown -R %s %s, or run hm as the owner",
			who, dataDir, who, dataDir)}
	case errors.Is(err, syscall.EROFS):
		return &DataDirError{err, fmt.Sprintf("the file system of %s is mounted read-only: mount it writable; if the system made it read-only by itself, check the disk first",
			dataDir)}
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		return &DataDirError{err, fmt.Sprintf("raft/raft.db in %s must be a file and raft/snapshots a directory, and one of them is not: move it away",
			dataDir)}
	}
	return err
}
