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
	"hm/raftfsm"
)

// checkedSnapshots is raft's snapshot store with one more checksum. The state in a snapshot has checksums already.
// Beside it raft writes meta.json with the index, the term and the members. That file gets a checksum in a file of its
// own, after everything else is on disk. A snapshot without this checksum does not count.
type checkedSnapshots struct {
	raft.SnapshotStore
	dir string // of the snapshots
	log *sampledLog

	newest atomic.Uint64          // last entry of the newest snapshot that was ever listed or written
	lost   notify.Signal          // notifies that this snapshot is gone or damaged
	tooNew atomic.Pointer[string] // why the newest snapshot that a leader sent cannot be read; nil: it can
}

// noteNewest notes the newest snapshot that there is now. If a newer one was there before, that one is lost.
func (s *checkedSnapshots) noteNewest(newest uint64) {
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

// List gives the snapshots, the newest first, without those whose meta.json is damaged.
func (s *checkedSnapshots) List() ([]*raft.SnapshotMeta, error) {
	all, err := s.SnapshotStore.List()
	if err != nil {
		return nil, err
	}
	var usable []*raft.SnapshotMeta
	for _, m := range all {
		if _, err := readSnapshotMeta(filepath.Join(s.dir, m.ID)); err != nil {
			s.log.log(slog.LevelError, m.ID, "a snapshot is ignored", "snapshot", m.ID, "error", err)
			continue
		}
		usable = append(usable, m)
	}
	if len(usable) > 0 {
		s.noteNewest(usable[0].Index)
	} else {
		s.noteNewest(0)
	}
	return usable, nil
}

// Open opens a snapshot. It sets a damaged one aside, because raft would try to send it to a peer for ever.
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
		s.log.log(slog.LevelError, id, "a snapshot is damaged and was set aside",
			"snapshot", id, "damage", damage, "kept_as", kept, "error", failed)
		s.lost.Notify()
		return nil, nil, damage
	}
	return nil, nil, err
}

// noteStart notes why a snapshot that a leader sends cannot be read.
func (s *checkedSnapshots) noteStart(err error) {
	text := "the leader sends a snapshot that this node cannot read: " + err.Error()
	s.tooNew.Store(&text)
	s.log.log(slog.LevelError, "too new", "the leader sends a snapshot that this version of hm cannot read: run the version of hm that the leader runs on this node",
		"error", err)
}

// Create begins a snapshot.
func (s *checkedSnapshots) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, at uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.SnapshotStore.Create(version, index, term, c, at, trans)
	if err != nil {
		return nil, err
	}
	return &checkedSink{SnapshotSink: sink, dir: filepath.Join(s.dir, sink.ID()), checked: s.noteStart, written: func() { s.tooNew.Store(nil); s.noteNewest(index) }}, nil
}

// checkedSink writes one snapshot.
type checkedSink struct {
	raft.SnapshotSink
	dir     string
	start   []byte // the first bytes, until there are enough to see the format
	checked func(error)
	done    bool
	written func() // called when the snapshot counts
}

// Write writes a part of the snapshot. It fails at the first part of one that this version cannot read: it would take
// the place of one that it can.
func (s *checkedSink) Write(b []byte) (int, error) {
	if missing := raftfsm.SnapshotStart - len(s.start); missing > 0 {
		s.start = append(s.start, b[:min(missing, len(b))]...)
		if len(s.start) == raftfsm.SnapshotStart {
			if err := raftfsm.CheckSnapshotStart(s.start); errors.Is(err, raftfsm.ErrNewer) {
				s.checked(err)
				return 0, err
			}
		}
	}
	return s.SnapshotSink.Write(b)
}

// Cancel drops the snapshot.
func (s *checkedSink) Cancel() error {
	s.done = true
	return s.SnapshotSink.Cancel()
}

// Close ends the snapshot and writes its checksum, so that it counts.
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
