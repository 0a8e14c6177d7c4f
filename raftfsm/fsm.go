package raftfsm

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// Applied describes one applied entry, or a restored snapshot.
type Applied struct {
	Index, Term uint64
	Entry       Entry  // empty after a restore
	Result      Result // empty after a restore
	Hash        Hash   // of the state afterwards
	Restored    bool   // a snapshot replaced the whole state
	// Replayed is true if an earlier process of this node has applied the entry already.
	Replayed bool
}

// FSM connects a State to hashicorp/raft. Raft calls Apply, Snapshot and Restore from one goroutine; View may be
// called from any goroutine.
type FSM struct {
	onApply func(Applied)

	view atomic.Pointer[State] // frozen copy of state, older while an entry is applied; nil if one was applied since it was made

	mu    sync.Mutex // guards state
	state *State
}

var _ raft.FSM = (*FSM)(nil)

// NewFSM makes an FSM with an empty state. onApply may be nil. It is called on Raft's apply goroutine after each
// entry and each restore, so it must return soon.
func NewFSM(onApply func(Applied)) *FSM {
	if onApply == nil {
		onApply = func(Applied) {}
	}
	return &FSM{onApply: onApply, state: NewState()}
}

// Apply applies one log entry and returns a Result. It panics if the entry cannot be decoded: a node that skips an
// entry has another state than the others, which is worse than a node that stops.
func (f *FSM) Apply(l *raft.Log) any {
	e, err := DecodeEntry(l.Data)
	if err != nil {
		panic(fmt.Sprintf("log entry %d of term %d cannot be applied: %v; a newer hm wrote it, or it is damaged: "+
			"run the version that the other nodes run, or restore this node from a snapshot", l.Index, l.Term, err))
	}
	if slices.ContainsFunc(e.Records, takesLong) {
		f.View() // others have it while the entry is applied
	}
	f.mu.Lock()
	res := f.state.Apply(l.Index, l.Term, e)
	hash := f.state.Hash()
	f.view.Store(nil)
	f.mu.Unlock()
	f.onApply(Applied{Index: l.Index, Term: l.Term, Entry: e, Result: res, Hash: hash})
	return res
}

// takesLong reports whether a record may take seconds to apply: the first read of the desired state of a large fleet.
func takesLong(r Record) bool { return r.Kind() == KindDesiredCommit }

// View returns a frozen copy of the newest state. Until the next entry every call returns the same copy.
func (f *FSM) View() *State {
	if v := f.view.Load(); v != nil {
		return v
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if v := f.view.Load(); v != nil {
		return v
	}
	v := f.state.Freeze()
	f.view.Store(v)
	return v
}

// Snapshot freezes the state, which takes microseconds. Persist writes it while further entries are applied.
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) { return fsmSnapshot{f.View()}, nil }

// Restore replaces the state by the state in a snapshot. After an error the old state stays.
func (f *FSM) Restore(rc io.ReadCloser) error {
	defer rc.Close()
	s, err := RestoreState(rc)
	if err != nil {
		return fmt.Errorf("restoring the state: %w", err)
	}
	f.mu.Lock()
	f.state = s
	f.view.Store(nil)
	f.mu.Unlock()
	f.onApply(Applied{Index: s.Index(), Term: s.Term(), Hash: s.Hash(), Restored: true})
	return nil
}

type fsmSnapshot struct{ state *State }

// Persist writes the frozen state to sink.
func (s fsmSnapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.state.WriteSnapshot(sink); err != nil {
		_ = sink.Cancel() // the write error is the one to report
		return fmt.Errorf("writing snapshot %s: %w", sink.ID(), err)
	}
	return sink.Close()
}

// Release does nothing: the garbage collector frees the frozen state.
func (fsmSnapshot) Release() {}
