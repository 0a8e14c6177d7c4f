package cluster

import (
	"fmt"
	"path/filepath"
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

// Remedy says what to do about it.
func (d *Damage) Remedy() string {
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
