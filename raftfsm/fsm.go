package raftfsm

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// Applied tells of one applied entry, or of a restored snapshot.
type Applied struct {
	Index, Term uint64
	Entry       Entry  // empty after a restore
	Result      Result // empty after a restore
	Hash        Hash   // of the state that it led to
	Restored    bool   // the whole state was replaced by a snapshot
	// Replayed says that an earlier process of this node had the entry already: it tells nothing new.
	Replayed bool
}

// FSM puts a State behind hashicorp/raft. Raft calls Apply, Snapshot and Restore from one goroutine; View may be
// called from any.
type FSM struct {
	onApply func(Applied)

	view atomic.Pointer[State] // frozen; nil when an entry was applied since

	mu    sync.Mutex // guards state
	state *State
}

var _ raft.FSM = (*FSM)(nil)

// NewFSM starts with an empty state. onApply, which may be nil, is called on Raft's apply goroutine after each
// entry and each restore, and must be quick.
func NewFSM(onApply func(Applied)) *FSM {
	if onApply == nil {
		onApply = func(Applied) {}
	}
	return &FSM{onApply: onApply, state: NewState()}
}

// Apply applies one log entry; its response is a Result. An entry that cannot be understood panics: a node that
// skipped it would diverge from the others, which is worse than one that stops.
func (f *FSM) Apply(l *raft.Log) any {
	e, err := DecodeEntry(l.Data)
	if err != nil {
		panic(fmt.Sprintf("log entry %d of term %d cannot be applied: %v; it was written by a newer hm or is damaged: "+
			"run the version that the other nodes run, or restore this node from a snapshot", l.Index, l.Term, err))
	}
	f.mu.Lock()
	res := f.state.Apply(l.Index, l.Term, e)
	hash := f.state.Hash()
	f.view.Store(nil)
	f.mu.Unlock()
	f.onApply(Applied{Index: l.Index, Term: l.Term, Entry: e, Result: res, Hash: hash})
	return res
}

// View gives the newest applied state, frozen. Until the next entry every call gives the same value.
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

// Snapshot freezes the state, which takes microseconds; Persist writes it while further entries are applied.
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) { return fsmSnapshot{f.View()}, nil }

// Restore replaces the state by that of a snapshot. After an error the state is what it was.
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
		_ = sink.Cancel() // the write error is the one to tell
		return fmt.Errorf("writing snapshot %s: %w", sink.ID(), err)
	}
	return sink.Close()
}

// Release has nothing to do: the frozen state goes with the last reference.
func (fsmSnapshot) Release() {}
