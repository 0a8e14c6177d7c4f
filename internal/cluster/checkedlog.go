package cluster

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
	bbolterrors "go.etcd.io/bbolt/errors"

	"hm/raftfsm"
)

// checkedLog is a log store in which every entry has a checksum. An entry that this node makes gets its checksum when
// it is stored; a received entry is checked before it is stored; every entry is checked when it is read.
type checkedLog struct {
	inner raft.LogStore
	raft  atomic.Pointer[raft.Raft] // nil until raft runs

	// The entries first to last are stored without a gap. Raft leaves a gap when it installs a snapshot, but only below
	// the snapshot.
	mu          sync.Mutex
	first, last uint64 // both 0 if there is no entry
	cut         bool   // the end of the log was deleted, and nothing was stored since
}

// setSpan says which entries are stored without a gap.
func (c *checkedLog) setSpan(first, last uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.first, c.last = first, last
}

// span gives the entries that are stored without a gap, both 0 if there is none.
func (c *checkedLog) span() (first, last uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first, c.last
}

// GetLog reads an entry. It fails with errDamaged if the entry is not what was stored, or if it is missing.
func (c *checkedLog) GetLog(index uint64, l *raft.Log) error {
	*l = raft.Log{} // decoding does not touch fields whose names are damaged in the stored entry
	err := guarded(func() error { return c.inner.GetLog(index, l) })
	switch {
	case err == nil:
		return verifyEntry(index, l)
	case errors.Is(err, raft.ErrLogNotFound):
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.first <= index && index <= c.last {
			return damagef("entry %d of the Raft log is missing", index)
		}
	}
	return err
}

// boltLog is the store itself. It distinguishes an entry that cannot be decoded from a store that cannot be read.
type boltLog struct{ raftStore }

// GetLog reads an entry. The file is mapped into memory, so any other error comes from the entry's bytes.
func (b boltLog) GetLog(index uint64, l *raft.Log) error {
	err := guarded(func() error { return b.raftStore.GetLog(index, l) })
	switch {
	case err == nil, errors.Is(err, raft.ErrLogNotFound), errors.Is(err, bbolterrors.ErrDatabaseNotOpen), errors.Is(err, errDamaged):
		return err
	}
	return damagef("entry %d of the Raft log cannot be decoded: %v", index, err)
}

// StoreLog stores an entry.
func (c *checkedLog) StoreLog(l *raft.Log) error { return c.StoreLogs([]*raft.Log{l}) }

// StoreLogs stores entries. Entries that this node makes as the leader have no checksum yet and get it here.
func (c *checkedLog) StoreLogs(logs []*raft.Log) error {
	r := c.raft.Load()
	for _, l := range logs {
		// Raft is the leader whenever its one goroutine makes entries, and never when it stores received ones.
		if len(l.Extensions) == 0 && (r == nil || r.State() == raft.Leader) {
			sealEntry(l)
		} else if err := verifyEntry(l.Index, l); err != nil {
			return c.refusal(err)
		}
	}
	if err := guarded(func() error { return c.inner.StoreLogs(logs) }); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = false
	for _, l := range logs {
		if l.Index != c.last+1 || c.first == 0 {
			c.first = l.Index
		}
		c.last = l.Index
	}
	return nil
}

// refusal gives the error for an entry that arrived damaged. Usually the leader sends it again. But if raft has just
// deleted the end of the log to replace it, raft would ask for the deleted entries for ever; so this is damage, and the
// node must start again.
func (c *checkedLog) refusal(err error) error {
	if errors.Is(err, raftfsm.ErrNewer) {
		return fmt.Errorf("a peer sent an entry that this version of hm cannot read: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return damagef("the end of the Raft log was deleted, and a peer sent a damaged entry in its place: %v", err)
	}
	return fmt.Errorf("%w: %s", errArrivedDamaged, err)
}

// errArrivedDamaged says that an entry of a peer is damaged, and nothing here is.
var errArrivedDamaged = errors.New("a peer sent a damaged entry")

// DeleteRange deletes entries.
func (c *checkedLog) DeleteRange(from, to uint64) error {
	c.mu.Lock() // before the deletion: a reader must not take a deleted entry for a missing one
	switch {
	case c.last == 0:
	case to >= c.last && from <= c.last: // the end
		c.last = from - 1
		c.cut = true
		if c.first > c.last {
			c.first, c.last = 0, 0
		}
	case to >= c.first:
		c.first = to + 1
	}
	c.mu.Unlock()
	return guarded(func() error { return c.inner.DeleteRange(from, to) })
}

// FirstIndex is the number of the first entry, 0 if there is none.
func (c *checkedLog) FirstIndex() (index uint64, err error) {
	err = guarded(func() error { index, err = c.inner.FirstIndex(); return err })
	return index, err
}

// LastIndex is the number of the last entry, 0 if there is none.
func (c *checkedLog) LastIndex() (index uint64, err error) {
	err = guarded(func() error { index, err = c.inner.LastIndex(); return err })
	return index, err
}

// guarded turns a panic into an errDamaged: bbolt panics on a damaged page, or reads memory where a damaged page
// points.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damagef("the pages of raft.db are damaged: %v", p)
		}
	}()
	return f()
}
