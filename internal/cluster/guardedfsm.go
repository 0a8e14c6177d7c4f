package cluster

import (
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/hashicorp/raft"

	"hm/raftfsm"
)

// guardedFSM is the state machine as raft sees it.
type guardedFSM struct {
	*raftfsm.FSM
	growth *logGrowth
	dir    string
	fail   func(error)
	logger *slog.Logger
	// beforeSnapshot is called before a snapshot with the entries up to an index is written. It must return soon.
	beforeSnapshot func(index uint64)
	versions       func() string         // the versions of the peers, for the hint; may be nil until raft runs
	observe        func(seconds float64) // is told how long it took to apply an entry; may be nil
	restore        error                 // of the first snapshot that could not be restored: raft only logs it, and tries an older one
}

// Apply applies an entry, and returns a *raftfsm.Result, which pendingEntry.outcome empties: raft holds on to the answer
// to the newest entry until the next one comes. The state machine panics at an entry that it does not know, because this node must not go on
// without it. Apply then ends the node, and not the process.
func (g *guardedFSM) Apply(l *raft.Log) any {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		g.logger.Error("an entry cannot be applied", "module", "cluster", "index", l.Index, "panic", p, "stack", string(debug.Stack()))
		g.fail(&DataDirError{
			Err:  fmt.Errorf("node.data_dir: the record in %s: %v", g.dir, p),
			Hint: "run the version of hm that the other nodes run: this version does not know an entry that they recorded" + g.versions(),
		})
		runtime.Goexit() // those who wait for the entry see that the node ends
	}()
	defer g.growth.applied(len(l.Data))
	began := time.Now()
	res := g.FSM.Apply(l).(raftfsm.Result)
	if g.observe != nil {
		g.observe(time.Since(began).Seconds())
	}
	return &res
}

// Snapshot freezes the state.
func (g *guardedFSM) Snapshot() (raft.FSMSnapshot, error) {
	index := g.View().Index()
	g.growth.frozen()
	s, err := g.FSM.Snapshot()
	if err != nil || g.beforeSnapshot == nil {
		return s, err
	}
	return &delayedSnapshot{s, func() { g.beforeSnapshot(index) }}, nil
}

// delayedSnapshot calls a function before it is written. Entries are applied meanwhile.
type delayedSnapshot struct {
	raft.FSMSnapshot
	before func()
}

// Persist writes the snapshot.
func (d *delayedSnapshot) Persist(sink raft.SnapshotSink) error {
	d.before()
	return d.FSMSnapshot.Persist(sink)
}

// Restore restores a snapshot.
func (g *guardedFSM) Restore(from io.ReadCloser) error {
	err := g.FSM.Restore(from)
	if g.restore == nil {
		g.restore = err
	}
	return err
}
