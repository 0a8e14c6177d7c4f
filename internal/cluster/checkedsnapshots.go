package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"hm/internal/notify"
)

// checkedSnapshots is raft's snapshot store. What is in a snapshot has checksums already. Beside it raft writes
// meta.json: which index and term the snapshot is of, and who the members are. That gets a checksum here, in a file of
// its own, after everything else is on disk: a snapshot without it is none.
type checkedSnapshots struct {
	raft.SnapshotStore
	dir string // of the snapshots
	log *sampledLog

	newest atomic.Uint64 // the entry that the newest snapshot ends with that was seen, or written
	lost   notify.Signal // that one is not there any more, or is damaged
}

// look notes the newest snapshot there is. If it is not the newest that there was, that one is lost.
func (s *checkedSnapshots) look(newest uint64) {
	for {
		known := s.newest.Load()
		if newest < known {
			s.lost.Notify()
			return
		}
		if s.newest.CompareAndSwap(known, newest) {
			return
		}
	}
}

// List gives the snapshots, the newest first, without those whose description is damaged.
func (s *checkedSnapshots) List() ([]*raft.SnapshotMeta, error) {
	all, err := s.SnapshotStore.List()
	if err != nil {
		return nil, err
	}
	var sound []*raft.SnapshotMeta
	for _, m := range all {
		if _, err := readSnapshotMeta(filepath.Join(s.dir, m.ID)); err != nil {
			s.log.log(slog.LevelError, m.ID, "a snapshot is not used", "snapshot", m.ID, "error", err)
			continue
		}
		sound = append(sound, m)
	}
	if len(sound) > 0 {
		s.look(sound[0].Index)
	} else {
		s.look(0)
	}
	return sound, nil
}

// Open opens a snapshot. One that is damaged is set aside: raft would try to send it to a peer for ever.
func (s *checkedSnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	if _, err := readSnapshotMeta(filepath.Join(s.dir, id)); err != nil {
		return nil, nil, err
	}
	meta, r, err := s.SnapshotStore.Open(id)
	if err == nil {
		return meta, r, nil
	}
	if _, damage := checkSnapshot(filepath.Join(s.dir, id)); errors.Is(damage, errDamaged) {
		kept, failed := setAside(filepath.Join(s.dir, id), filepath.Join(filepath.Dir(s.dir), "snapshot"))
		s.log.log(slog.LevelError, id, "a snapshot is damaged and was set aside", "snapshot", id, "damage", damage, "kept_as", kept, "error", failed)
		s.lost.Notify()
		return nil, nil, damage
	}
	return nil, nil, err
}

// Create begins a snapshot.
func (s *checkedSnapshots) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, at uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.SnapshotStore.Create(version, index, term, c, at, trans)
	if err != nil {
		return nil, err
	}
	return &checkedSink{SnapshotSink: sink, dir: filepath.Join(s.dir, sink.ID()), written: func() { s.look(index) }}, nil
}

type checkedSink struct {
	raft.SnapshotSink
	dir  string
	done bool

	written func()
}

// Cancel drops the snapshot.
func (s *checkedSink) Cancel() error {
	s.done = true
	return s.SnapshotSink.Cancel()
}

// Close ends the snapshot, and makes it count.
func (s *checkedSink) Close() error {
	if s.done {
		return s.SnapshotSink.Close()
	}
	s.done = true
	if err := s.SnapshotSink.Close(); err != nil {
		return err
	}
	if err := sealSnapshot(s.dir); err != nil {
		return errors.Join(fmt.Errorf("writing the checksum of a snapshot: %w", err), os.RemoveAll(s.dir))
	}
	s.written()
	return nil
}
