package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	boltstore "github.com/hashicorp/raft-boltdb/v2"
	bbolterrors "go.etcd.io/bbolt/errors"

	"hm/internal/notify"
)

const (
	retainSnapshots = 2
	lockTimeout     = time.Second // for the store's file lock; after that the start fails
	cachedEntries   = maxAppend   // in memory: with MaxEntry bytes each, at most 16 MiB
)

// stores are the files in data_dir/raft: raft.db with the log, the term and the vote, and snapshots/.
type stores struct {
	dir       string
	file      *raftFile
	disk      *disk       // on top of file: raft reads and writes through it
	log       *checkedLog // on top of disk and a cache of the newest entries, which the followers will ask for
	values    checkedValues
	snapshots *checkedSnapshots
	blank     bool               // the log holds no entry: the node is new, or its log was lost
	newest    *raft.SnapshotMeta // nil if there is none
}

// openFiles opens the files. openUndamaged has checked them before.
func openFiles(o Options, log *sampledLog) (_ *stores, err error) {
	s := &stores{dir: filepath.Join(o.DataDir, "raft")}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("node.data_dir: %w", err)
	}
	// Raft's snapshots can be read by everybody who reaches the directory.
	if err := os.Chmod(s.dir, 0o700); err != nil {
		log.log(slog.LevelWarn, "mode", "cannot keep other users out of the directory with the record", "error", err)
	}
	if err := checkSpace(s.dir); err != nil {
		return nil, err
	}
	path := filepath.Join(s.dir, "raft.db")
	s.file, err = openRaftFile(path)
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, errInUse(s.dir)
	case err != nil:
		return nil, fmt.Errorf("node.data_dir: opening the Raft store in %s: %w", s.dir, explainFull(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.file.Close())
		}
	}()
	inner, err := openSnapshots(s.dir, log)
	if err != nil {
		return nil, fmt.Errorf("node.data_dir: opening the snapshots in %s: %w", s.dir, explainFull(err))
	}
	s.snapshots = &checkedSnapshots{SnapshotStore: inner, dir: filepath.Join(s.dir, "snapshots"), log: log, lost: notify.New()}
	var under raftStore = boltLog{s.file}
	if o.store != nil {
		under = o.store(under)
	}
	s.disk = newDisk(under, path, max(stallTimeouts*o.ElectionTimeout, stallAtLeast), log)
	cache, err := raft.NewLogCache(cachedEntries, s.disk)
	if err != nil {
		return nil, err
	}
	s.log, s.values = &checkedLog{inner: cache}, checkedValues{s.disk}
	return s, nil
}

func errInUse(dir string) error {
	return fmt.Errorf("node.data_dir: the Raft store in %s is in use by another hm process: stop it, or use another directory",
		dir)
}

// alone reports whether the node has no peer, neither in the newest snapshot nor as far as it knew before.
func (s *stores) alone(o Options) bool {
	return o.alone() && (s.newest == nil || len(s.newest.Configuration.Servers) <= 1)
}

// initialize prepares a log without entries. In a new node it writes the first entry, which names the members. Every
// node writes the same entry, so it does not matter who is first. A node that waits to be added writes none. If there is
// a snapshot the log was lost: then it writes no entry, but raft must not start in a term before the snapshot's. It
// stores a term in any case, so that raft has nothing to write when it starts: there raft would panic if the write
// failed.
func (s *stores) initialize(o Options, log *slog.Logger) error {
	values := checkedValues{s.file} // not through disk: an error ends the start
	term, err := values.GetUint64(keyCurrentTerm)
	if err != nil && !isNotFound(err) {
		return fmt.Errorf("node.data_dir: reading the term from %s: %w", s.dir, err)
	}
	begin := uint64(1)
	if s.newest != nil {
		begin = s.newest.Term
	}
	if s.blank && s.newest != nil {
		s.logLoss(o, log)
	}
	if term < begin {
		if err := values.SetUint64(keyCurrentTerm, begin); err != nil {
			return fmt.Errorf("node.data_dir: writing the first term into %s: %w", s.dir, explainFull(err))
		}
	}
	if !s.blank || s.newest != nil || o.Join {
		return nil
	}
	var c raft.Configuration
	for _, p := range o.members() {
		c.Servers = append(c.Servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Address)})
	}
	entry := raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c)}
	sealEntry(&entry)
	if err := s.file.StoreLog(&entry); err != nil {
		return fmt.Errorf("node.data_dir: writing the first entry into %s: %w", s.dir, explainFull(err))
	}
	return nil
}

// logLoss logs that the log was lost and a snapshot is left.
func (s *stores) logLoss(o Options, log *slog.Logger) {
	about := []any{"module", "cluster", "dir", s.dir, "snapshot", s.newest.ID, "index", s.newest.Index, "term", s.newest.Term}
	if s.alone(o) {
		log.Error("the log of this node was lost, and no peer has it: the node starts from its newest snapshot, and EVERYTHING RECORDED LATER IS LOST",
			about...)
		return
	}
	log.Warn("the log of this node was lost: the node starts from its newest snapshot and copies the rest from its peers",
		about...)
}

// keyCurrentTerm is raft's name for the term in its stable store.
var keyCurrentTerm = []byte(valueTerm)

// isNotFound reports whether the error says that a key is not stored, as raft itself tests it.
func isNotFound(err error) bool { return err.Error() == boltstore.ErrKeyNotFound.Error() }

func (s *stores) close() error { return s.file.Close() }
