package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// DataDirError is why a node does not start on a data_dir in which nothing is damaged.
type DataDirError struct {
	Err  error
	Hint string // what to do about it
}

// Error tells why.
func (u *DataDirError) Error() string { return u.Err.Error() }

// Unwrap gives the cause.
func (u *DataDirError) Unwrap() error { return u.Err }

// Remedy says what to do about it.
func (u *DataDirError) Remedy() string { return u.Hint }

// explainAccess adds to the error of a start what to do about a data_dir that this process may not use.
func explainAccess(dataDir string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		who := strconv.Itoa(os.Geteuid())
		if u, lookup := user.LookupId(who); lookup == nil {
			who = u.Username
		}
		return &DataDirError{err, fmt.Sprintf("hm runs as the user %s, who must be able to read and write %s and all that is in it: give it to that user (chown -R %s %s), or run hm as its owner",
			who, dataDir, who, dataDir)}
	case errors.Is(err, syscall.EROFS):
		return &DataDirError{err, fmt.Sprintf("%s is on a file system that is mounted read-only: mount it writable; if the system did that by itself, look at the disk first", dataDir)}
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		return &DataDirError{err, fmt.Sprintf("in %s there is something else where hm keeps raft/raft.db and the directory raft/snapshots: move it away", dataDir)}
	}
	return err
}
