package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	boltstore "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
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
	log       *checkedLog // over a cache of the newest entries, which every follower is about to ask for
	values    checkedValues
	snapshots *checkedSnapshots
	blank     bool // there was nothing in them
}

// openFiles opens the files; openStores has looked at them before.
func openFiles(o Options, log *sampledLog) (_ *stores, err error) {
	s := &stores{dir: filepath.Join(o.DataDir, "raft")}
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		return nil, fmt.Errorf("node.data_dir: %w", err)
	}
	s.bolt, err = boltstore.New(boltstore.Options{
		Path:                    filepath.Join(s.dir, "raft.db"),
		BoltOptions:             &bbolt.Options{Timeout: lockTimeout, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType},
		MsgpackUseNewTimeFormat: true,
	})
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, errInUse(s.dir)
	case err != nil:
		return nil, fmt.Errorf("node.data_dir: opening the raft store in %s: %w", s.dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.bolt.Close())
		}
	}()
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(s.dir, retainSnapshots, log.forRaft())
	if err != nil {
		return nil, fmt.Errorf("node.data_dir: opening the snapshots in %s: %w", s.dir, err)
	}
	s.snapshots = &checkedSnapshots{SnapshotStore: snapshots, dir: filepath.Join(s.dir, "snapshots"), log: log}
	cache, err := raft.NewLogCache(cachedEntries, boltLog{s.bolt})
	if err != nil {
		return nil, err
	}
	s.log, s.values = &checkedLog{inner: cache}, checkedValues{s.bolt}
	return s, nil
}

func errInUse(dir string) error {
	return fmt.Errorf("node.data_dir: the raft store in %s is in use: another hm runs on it", dir)
}

// bootstrap writes the first entry, which names the members, into blank stores. Every node writes the same one, so
// it does not matter who is first.
func (s *stores) bootstrap(conf *raft.Config, trans raft.Transport, peers []Peer) error {
	if !s.blank {
		return nil
	}
	var c raft.Configuration
	for _, p := range peers {
		c.Servers = append(c.Servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Address)})
	}
	if err := raft.BootstrapCluster(conf, s.log, s.values, s.snapshots, trans, c); err != nil {
		return fmt.Errorf("writing the first entry into %s: %w", s.dir, err)
	}
	return nil
}

func (s *stores) close() error { return s.bolt.Close() }
