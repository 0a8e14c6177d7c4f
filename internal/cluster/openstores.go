package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/hashicorp/raft"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// openStores opens the stores. It looks at all of them first. Of what is damaged it keeps nothing but the name: with
// peers to take the record from the node joins them as one that lost its disk, else it does not start.
func openStores(o Options, log *sampledLog) (*stores, error) {
	dir := filepath.Join(o.DataDir, "raft")
	alone := len(o.Peers) == 1
	if err := dropDifferingState(dir, alone, log); err != nil {
		return nil, fmt.Errorf("node.data_dir: %w", err)
	}
	s, err := openSound(o, log, false)
	if !errors.Is(err, errDamaged) {
		return s, err
	}
	what := damageText(err)
	if alone {
		return nil, &Damage{Dir: dir, What: what, Kind: FaultStore, Alone: true, Snapshot: usableSnapshot(dir)}
	}
	if err := writeSynced(filepath.Join(dir, joiningMarker), healingWord+what+"\n"); err != nil { // first: a crash must not make it vote
		return nil, fmt.Errorf("node.data_dir: %w", err)
	}
	kept, err := setAside(filepath.Join(dir, "raft.db"), filepath.Join(dir, "raft.db"))
	if err != nil {
		return nil, fmt.Errorf("node.data_dir: setting aside the damaged raft.db: %w", err)
	}
	log.log(slog.LevelError, "", "the raft store is damaged: it was set aside, and this node joins its cluster anew", "damage", what, "kept_as", kept)
	s, err = openSound(o, log, true)
	if errors.Is(err, errDamaged) {
		return nil, &Damage{Dir: dir, What: damageText(err), Kind: FaultStore}
	}
	return s, err
}

// openSound opens the stores if they can be used as they are, and fails with errDamaged if not; then nothing is changed.
// aside tells that the log was set aside just now, so that it may be empty.
func openSound(o Options, log *sampledLog, aside bool) (_ *stores, err error) {
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
		return nil, fmt.Errorf("node.data_dir: checking the raft store in %s: %w", dir, err)
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
	solid, last, err := s.checkEntries(content)
	if err != nil {
		return nil, err
	}
	if err := reaches(found, solid, last, aside); err != nil {
		return nil, err
	}
	s.log.span(solid, last)
	for _, path := range found.damaged {
		kept, err := setAside(path, filepath.Join(dir, "snapshot"))
		if err != nil {
			return nil, fmt.Errorf("node.data_dir: setting aside a damaged snapshot: %w", err)
		}
		log.log(slog.LevelError, path, "a snapshot is damaged and was set aside", "damage", damageText(found.why), "kept_as", kept)
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

// checkEntries reads every entry and every value of the store. It gives the longest stretch of entries without a gap at
// the end of the log.
func (s *stores) checkEntries(content boltContent) (solid, last uint64, err error) {
	var l raft.Log
	for _, index := range content.entries {
		if err := s.log.GetLog(index, &l); errors.Is(err, raft.ErrLogNotFound) {
			return 0, 0, damagef("entry %d of the raft log is missing", index)
		} else if err != nil {
			return 0, 0, err
		}
		if index != last+1 || solid == 0 {
			solid = index
		}
		last = index
	}
	for _, name := range content.values {
		if _, err := s.values.Get([]byte(name)); err != nil {
			return 0, 0, err
		}
	}
	if last > 0 && !slices.Contains(content.values, valueTerm) {
		return 0, 0, damagef("the raft store has entries and no term")
	}
	return solid, last, nil
}

// reaches checks that snapshot and log together make the whole record.
func reaches(found foundSnapshots, solid, last uint64, aside bool) error {
	switch {
	case found.newest == nil && last == 0 && found.why != nil && !aside:
		return damagef("no snapshot can be used and the log is empty: %s", damageText(found.why))
	case found.newest == nil && last > 0 && solid > 1 && found.why != nil:
		return damagef("no snapshot can be used and the log begins with entry %d: %s", solid, damageText(found.why))
	case found.newest == nil && last > 0 && solid > 1:
		return damagef("there is no snapshot and the log begins with entry %d", solid)
	case found.newest != nil && last > found.newest.Index && solid > found.newest.Index+1:
		text := ""
		if found.why != nil {
			text = ": " + damageText(found.why)
		}
		return damagef("the newest snapshot that can be used ends with entry %d and the log begins with entry %d%s", found.newest.Index, solid, text)
	}
	return nil
}

// usableSnapshot gives the entry that the newest snapshot that can be used ends with, 0 if there is none.
func usableSnapshot(dir string) uint64 {
	found, err := findSnapshots(filepath.Join(dir, "snapshots"))
	if err != nil || found.newest == nil {
		return 0
	}
	return found.newest.Index
}
