package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// snapshotStore is raft's store of snapshots, which leaves a directory behind for each snapshot that it could not
// begin. A snapshot is not begun on a disk that is almost full: the log needs the room more, and the next one is taken
// when there is room.
type snapshotStore struct {
	*raft.FileSnapshotStore
	dir string
}

func openSnapshots(dir string, log *sampledLog) (*snapshotStore, error) {
	inner, err := raft.NewFileSnapshotStoreWithLogger(dir, retainSnapshots, log.forRaft())
	if err != nil {
		return nil, err
	}
	s := &snapshotStore{inner, filepath.Join(dir, "snapshots")}
	return s, s.clear()
}

// clear removes what snapshots that were never finished left behind. None may be under way.
func (s *snapshotStore) clear() error {
	left, err := filepath.Glob(filepath.Join(s.dir, "*.tmp"))
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// Create begins a snapshot.
func (s *snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, members raft.Configuration, membersIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	if free, ok := freeSpace(s.dir); ok && free < minFree {
		return nil, fmt.Errorf("the disk of %s is full: %d KiB are left, and a snapshot is begun when there are %d KiB", s.dir, free>>10, minFree>>10)
	}
	return s.FileSnapshotStore.Create(version, index, term, members, membersIndex, trans)
}
