package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/hashicorp/raft"
	bbolterrors "go.etcd.io/bbolt/errors"

	"hm/raftfsm"
)

// openStores checks the stores and opens them. If they are damaged and the node has peers, it sets the damaged files
// aside and joins its peers like a node that lost its disk. Without peers the node does not start.
func openStores(o Options, log *sampledLog) (*stores, error) {
	dir := filepath.Join(o.DataDir, "raft")
	alone := o.alone()
	if err := dropDifferingState(dir, alone, log); err != nil {
		return nil, fmt.Errorf("node.data_dir: %w", err)
	}
	s, err := openUndamaged(o, log, false)
	if !errors.Is(err, errDamaged) {
		return s, err
	}
	what := damageText(err)
	if alone {
		return nil, &Damage{Dir: dir, What: what, Kind: FaultStore, Alone: true, Snapshot: usableSnapshot(dir)}
	}
	// The marker comes first: a node that crashes now must not vote after its next start.
	if err := writeSynced(filepath.Join(dir, joiningMarker), healingPrefix+what+"\n"); err != nil {
		return nil, fmt.Errorf("node.data_dir: %w", err)
	}
	kept, err := setAside(filepath.Join(dir, "raft.db"), filepath.Join(dir, "raft.db"))
	if err != nil {
		return nil, fmt.Errorf("node.data_dir: setting aside the damaged raft.db: %w", err)
	}
	log.log(slog.LevelError, "", "the Raft store is damaged: it was set aside, and this node joins its cluster again",
		"damage", what, "kept_as", kept)
	s, err = openUndamaged(o, log, true)
	if errors.Is(err, errDamaged) {
		return nil, &Damage{Dir: dir, What: damageText(err), Kind: FaultStore}
	}
	return s, err
}

// openUndamaged opens the stores. If they are damaged it fails with errDamaged and changes nothing. logSetAside says
// that the log was just set aside, so that it may be empty.
func openUndamaged(o Options, log *sampledLog, logSetAside bool) (_ *stores, err error) {
	dir := filepath.Join(o.DataDir, "raft")
	snapshots := filepath.Join(dir, "snapshots")
	found, err := findSnapshots(snapshots)
	if err != nil {
		return nil, fmt.Errorf("node.data_dir: %w", err)
	}
	content, err := checkBoltFile(filepath.Join(dir, "raft.db"))
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, errInUse(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("node.data_dir: checking the Raft store in %s: %w", dir, err)
	}
	s, err := openFiles(o, log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	applied := uint64(0) // what the snapshot has, no entry must be applied for
	if found.newest != nil {
		applied = found.newest.Index
	}
	first, last, err := s.checkEntries(content, applied)
	if err != nil {
		return nil, err
	}
	if err := checkComplete(found, first, last, logSetAside); err != nil {
		return nil, err
	}
	s.log.setSpan(first, last)
	for _, path := range found.damaged {
		kept, err := setAside(path, filepath.Join(dir, "snapshot"))
		if err != nil {
			return nil, fmt.Errorf("node.data_dir: setting aside a damaged snapshot: %w", err)
		}
		log.log(slog.LevelError, path, "a snapshot is damaged and was set aside",
			"damage", damageText(found.why), "kept_as", kept)
	}
	usable, err := s.snapshots.List()
	if err != nil {
		return nil, fmt.Errorf("node.data_dir: reading the snapshots in %s: %w", dir, err)
	}
	if s.blank = last == 0; len(usable) > 0 {
		s.newest = usable[0]
	}
	return s, nil
}

// checkEntries reads every entry and every value of the store. The entries first to last are the end of the log that
// has no gap. It fails with an ErrNewer at an entry after applied that this version cannot apply: a node must not take
// part in an election to find that out as the leader.
func (s *stores) checkEntries(content boltContent, applied uint64) (first, last uint64, err error) {
	var l raft.Log
	for _, index := range content.entries {
		if err := s.log.GetLog(index, &l); errors.Is(err, raft.ErrLogNotFound) {
			return 0, 0, damagef("entry %d of the Raft log is missing", index)
		} else if err != nil {
			return 0, 0, err
		}
		if l.Type == raft.LogCommand && index > applied {
			if err := raftfsm.CheckKinds(l.Data); err != nil {
				return 0, 0, fmt.Errorf("entry %d of the Raft log: %w", index, err)
			}
		}
		if index != last+1 || first == 0 {
			first = index
		}
		last = index
	}
	for _, name := range content.values {
		if _, err := s.values.Get([]byte(name)); err != nil {
			return 0, 0, err
		}
	}
	if last > 0 && !slices.Contains(content.values, valueTerm) {
		return 0, 0, damagef("the Raft store has entries but no term")
	}
	return first, last, nil
}

// checkComplete checks that the newest usable snapshot and the entries first to last have the whole record.
func checkComplete(found foundSnapshots, first, last uint64, logSetAside bool) error {
	switch {
	case found.newest == nil && last == 0 && found.why != nil && !logSetAside:
		return damagef("no snapshot is usable and the log is empty: %s", damageText(found.why))
	case found.newest == nil && last > 0 && first > 1 && found.why != nil:
		return damagef("no snapshot is usable and the log begins with entry %d: %s", first, damageText(found.why))
	case found.newest == nil && last > 0 && first > 1:
		return damagef("there is no snapshot and the log begins with entry %d", first)
	case found.newest != nil && last > found.newest.Index && first > found.newest.Index+1:
		text := ""
		if found.why != nil {
			text = ": " + damageText(found.why)
		}
		return damagef("the newest usable snapshot ends with entry %d and the log begins with entry %d%s",
			found.newest.Index, first, text)
	}
	return nil
}

// usableSnapshot gives the last entry of the newest usable snapshot; 0 if there is none.
func usableSnapshot(dir string) uint64 {
	found, err := findSnapshots(filepath.Join(dir, "snapshots"))
	if err != nil || found.newest == nil {
		return 0
	}
	return found.newest.Index
}
