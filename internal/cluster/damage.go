package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/raft"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// Damage is what stops a node: its stores, or its state, are not what they should be.
type Damage struct {
	Dir   string // of the stores
	What  string // is damaged
	Kind  string // FaultStore or FaultState
	Alone bool   // there is no peer to take the record from
	// Snapshot is the entry that the newest snapshot that can be used ends with, 0 if there is none.
	Snapshot uint64
}

// Error says what is damaged.
func (d *Damage) Error() string {
	switch {
	case d.Kind == FaultState:
		return d.What
	case d.Alone:
		return fmt.Sprintf("node.data_dir: the raft store in %s is damaged, and there is no other node to take the record from: %s", d.Dir, d.What)
	}
	return fmt.Sprintf("node.data_dir: the raft store in %s is damaged: %s", d.Dir, d.What)
}

// WayBack says what to do about it.
func (d *Damage) WayBack() string {
	const anew = "and records anew what the DEAs and the Cloud Controller tell"
	switch {
	case d.Alone && d.Snapshot > 0:
		return fmt.Sprintf("put back a copy of %s, or move %s away: hm then begins with its snapshot that ends with entry %d, without what it recorded later, %s",
			d.Dir, filepath.Join(d.Dir, "raft.db"), d.Snapshot, anew)
	case d.Alone:
		return fmt.Sprintf("put back a copy of %s, or move it away as a whole: hm then begins with nothing, without its holds and its memory of crashes, %s", d.Dir, anew)
	}
	return fmt.Sprintf("start the node again: it sets aside what is damaged and takes the record from its peers, of which a majority must be sound; "+
		"without one, put back copies of %s until there is one", d.Dir)
}

// keepDamaged is how many damaged files, and how many damaged snapshots, are kept for people to look at.
const keepDamaged = 3

// markDiffers tells the next start that this node's state is not that of a majority.
const markDiffers = "state-differs"

// joiningMarker is the file that says that this node has not yet caught up with its cluster.
const joiningMarker = "joining"

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

// usableSnapshot gives the entry that the newest snapshot that can be used ends with, 0 if there is none.
func usableSnapshot(dir string) uint64 {
	found, err := findSnapshots(filepath.Join(dir, "snapshots"))
	if err != nil || found.newest == nil {
		return 0
	}
	return found.newest.Index
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

// dropDifferingState sets aside everything if the node ended for having another state than a majority.
func dropDifferingState(dir string, alone bool, log *sampledLog) error {
	mark := filepath.Join(dir, markDiffers)
	text, err := readSmall(mark, 4<<10)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if alone {
		return fmt.Errorf("%s says that this node's state differs from that of its peers, and raft.peers names none: name them, or remove %s", mark, mark)
	}
	what := strings.TrimSpace(string(text))
	if err := writeSynced(filepath.Join(dir, joiningMarker), healingWord+what+"\n"); err != nil {
		return err
	}
	db, err := setAside(filepath.Join(dir, "raft.db"), filepath.Join(dir, "raft.db"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	snapshots, err := setAside(filepath.Join(dir, "snapshots"), filepath.Join(dir, "snapshots"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Remove(mark); err != nil {
		return err
	}
	log.log(slog.LevelError, "", "this node's state differed from that of a majority: the raft store was set aside, and this node joins its cluster anew",
		"difference", what, "kept_as", []string{db, snapshots})
	return syncDir(dir)
}

// setAside renames path to name.damaged-N, and deletes the oldest of those beyond keepDamaged.
func setAside(path, name string) (kept string, err error) {
	prefix := filepath.Base(name) + ".damaged-"
	entries, err := os.ReadDir(filepath.Dir(name))
	if err != nil {
		return "", err
	}
	var numbers []int
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), prefix); ok {
			if n, err := strconv.Atoi(rest); err == nil && n > 0 {
				numbers = append(numbers, n)
			}
		}
	}
	slices.Sort(numbers)
	next := 1
	if len(numbers) > 0 {
		next = numbers[len(numbers)-1] + 1
	}
	kept = name + ".damaged-" + strconv.Itoa(next)
	if err := os.Rename(path, kept); err != nil {
		return "", err
	}
	for len(numbers) >= keepDamaged {
		if err := os.RemoveAll(name + ".damaged-" + strconv.Itoa(numbers[0])); err != nil {
			return kept, err
		}
		numbers = numbers[1:]
	}
	return kept, errors.Join(syncDir(filepath.Dir(path)), syncDir(filepath.Dir(kept)))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// healingWord begins the joining marker of a node that joins because it was damaged.
const healingWord = "damaged: "

// healing tells why a node that is joining does: what was damaged; empty if it is new or lost its disk.
func healing(marker string) string {
	text, err := readSmall(marker, 4<<10)
	if err != nil {
		return ""
	}
	what, ok := strings.CutPrefix(strings.TrimSpace(string(text)), healingWord)
	if !ok {
		return ""
	}
	return what
}
