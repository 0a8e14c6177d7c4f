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
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"hm/internal/notify"
)

const (
	retainSnapshots = 2
	lockTimeout     = time.Second // for the store's file lock; a store in use is told of instead of waited for
	cachedEntries   = maxAppend   // times MaxEntry they keep at most 16 MiB in memory
)

// stores are the files under data_dir/raft: raft.db with the log, the term and the vote, and snapshots/.
type stores struct {
	dir       string
	bolt      *boltstore.BoltStore
	disk      *disk       // over bolt: what raft reads and writes goes through it
	log       *checkedLog // over a cache of the newest entries, which every follower is about to ask for
	values    checkedValues
	snapshots *checkedSnapshots
	blank     bool               // the log holds no entry: the node is new, or its log was lost
	newest    *raft.SnapshotMeta // nil if there is none
}

// openFiles opens the files; openStores has looked at them before.
func openFiles(o Options, log *sampledLog) (_ *stores, err error) {
	s := &stores{dir: filepath.Join(o.DataDir, "raft")}
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		return nil, fmt.Errorf("node.data_dir: %w", err)
	}
	if err := checkSpace(s.dir); err != nil {
		return nil, err
	}
	path := filepath.Join(s.dir, "raft.db")
	s.bolt, err = boltstore.New(boltstore.Options{
		Path:                    path,
		BoltOptions:             &bbolt.Options{Timeout: lockTimeout, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType},
		MsgpackUseNewTimeFormat: true,
	})
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, errInUse(s.dir)
	case err != nil:
		return nil, fmt.Errorf("node.data_dir: opening the raft store in %s: %w", s.dir, explainFull(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.bolt.Close())
		}
	}()
	inner, err := openSnapshots(s.dir, log)
	if err != nil {
		return nil, fmt.Errorf("node.data_dir: opening the snapshots in %s: %w", s.dir, explainFull(err))
	}
	s.snapshots = &checkedSnapshots{SnapshotStore: inner, dir: filepath.Join(s.dir, "snapshots"), log: log, lost: notify.New()}
	var under raftStore = boltLog{s.bolt}
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
	return fmt.Errorf("node.data_dir: the raft store in %s is in use: another hm runs on it", dir)
}

// alone reports whether the node has no peer, by its configuration and by what is recorded.
func (s *stores) alone(peers []Peer) bool {
	return len(peers) == 1 && (s.newest == nil || len(s.newest.Configuration.Servers) <= 1)
}

// found fills a log without entries. In a new node it writes the first entry, which names the members; every node
// writes the same one, so it does not matter who is first. Where a snapshot is, the log was lost: nothing may be
// founded anew beside what the snapshot holds, but raft must not begin in a term before the snapshot's. A term is stored
// in any case, so that raft finds nothing to write when it starts, where it could only panic.
func (s *stores) found(peers []Peer, log *slog.Logger) error {
	values := checkedValues{s.bolt} // past the disk's care: an error ends the start
	term, err := values.GetUint64(keyCurrentTerm)
	if err != nil && !isNotFound(err) {
		return fmt.Errorf("node.data_dir: reading the term from %s: %w", s.dir, err)
	}
	begin := uint64(1)
	if s.newest != nil {
		begin = s.newest.Term
	}
	if s.blank && s.newest != nil {
		say := log.Warn
		if s.alone(peers) {
			say = log.Error
		}
		say(s.lossOf(peers), "module", "cluster", "dir", s.dir, "snapshot", s.newest.ID, "index", s.newest.Index, "term", s.newest.Term)
	}
	if term < begin {
		if err := values.SetUint64(keyCurrentTerm, begin); err != nil {
			return fmt.Errorf("node.data_dir: writing the first term into %s: %w", s.dir, explainFull(err))
		}
	}
	if !s.blank || s.newest != nil {
		return nil
	}
	var c raft.Configuration
	for _, p := range peers {
		c.Servers = append(c.Servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Address)})
	}
	entry := raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c)}
	sealEntry(&entry)
	if err := s.bolt.StoreLog(&entry); err != nil {
		return fmt.Errorf("node.data_dir: writing the first entry into %s: %w", s.dir, explainFull(err))
	}
	return nil
}

func (s *stores) lossOf(peers []Peer) string {
	if s.alone(peers) {
		return "the log of this node was lost, and no peer has it: it starts from its newest snapshot, and WHATEVER WAS RECORDED AFTER THAT IS LOST"
	}
	return "the log of this node was lost: it starts from its newest snapshot and fetches what is missing from its peers"
}

// keyCurrentTerm is raft's name for the term in its stable store.
var keyCurrentTerm = []byte(valueTerm)

// isNotFound tells a key that is not stored from a store that cannot be read, as raft does.
func isNotFound(err error) bool { return err.Error() == boltstore.ErrKeyNotFound.Error() }

func (s *stores) close() error { return s.bolt.Close() }
