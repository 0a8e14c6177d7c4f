package cluster

import (
	"fmt"
	"path/filepath"
)

// Damage is the error that stops a node whose stores or state are not what they should be.
type Damage struct {
	Dir   string // of the stores
	What  string // what is damaged
	Kind  string // FaultStore or FaultState
	Alone bool   // there is no peer to copy the record from
	// Snapshot is the last entry of the newest usable snapshot; 0 if there is none.
	Snapshot uint64
}

// Error says what is damaged.
func (d *Damage) Error() string {
	switch {
	case d.Kind == FaultState:
		return d.What
	case d.Alone:
		return fmt.Sprintf("node.data_dir: the Raft store in %s is damaged, and no other node has a copy: %s",
			d.Dir, d.What)
	}
	return fmt.Sprintf("node.data_dir: the Raft store in %s is damaged: %s", d.Dir, d.What)
}

// Remedy says what to do about the damage.
func (d *Damage) Remedy() string {
	const rest = "and learns the rest from the DEAs and the Cloud Controller"
	switch {
	case d.Alone && d.Snapshot > 0:
		return fmt.Sprintf("restore a backup of %s; or move %s away: hm then starts from its snapshot of entry %d, without what it recorded later, %s",
			d.Dir, filepath.Join(d.Dir, "raft.db"), d.Snapshot, rest)
	case d.Alone:
		return fmt.Sprintf("restore a backup of %s; or move it away: hm then starts empty, without its holds and crash series, %s",
			d.Dir, rest)
	}
	return fmt.Sprintf("start the node again: it sets the damaged files aside and copies the record from its peers, if a majority of the nodes is undamaged; "+
		"if not, restore backups of %s until a majority is", d.Dir)
}
