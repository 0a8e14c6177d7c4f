package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// snapshotStore is raft's store of snapshots with two changes. It removes the directories of unfinished snapshots when
// it is opened, because raft leaves them behind. It begins no snapshot on a disk that is almost full, because the log
// needs the room more; raft tries again later.
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

// clear removes the directories of unfinished snapshots. No snapshot may be under way.
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
		return nil, fmt.Errorf("the disk of %s is full: %d KiB are left, and a snapshot needs %d KiB",
			s.dir, free>>10, minFree>>10)
	}
	return s.FileSnapshotStore.Create(version, index, term, members, membersIndex, trans)
}
