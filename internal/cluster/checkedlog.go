package cluster

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
	boltstore "github.com/hashicorp/raft-boltdb/v2"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// checkedLog is a log store of which every entry carries a checksum: one made here gets it when it is stored, one
// received is checked before it is stored, and every one is checked when it is read.
type checkedLog struct {
	inner raft.LogStore
	raft  atomic.Pointer[raft.Raft] // nil until raft runs

	// The entries solid to last are there, without a gap. Raft leaves a gap when it installs a snapshot, but only below
	// the snapshot.
	mu          sync.Mutex
	solid, last uint64 // both 0: there is none
	cut         bool   // the end of the log was cut off, and nothing was stored since
}

// span sets which entries are there, without a gap.
func (c *checkedLog) span(solid, last uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.solid, c.last = solid, last
}

// GetLog reads an entry. It fails with errDamaged if it is not what was stored, or is missing.
func (c *checkedLog) GetLog(index uint64, l *raft.Log) error {
	*l = raft.Log{} // decoding leaves alone what the stored entry, being damaged, does not name
	err := guarded(func() error { return c.inner.GetLog(index, l) })
	switch {
	case err == nil:
		return verifyEntry(index, l)
	case errors.Is(err, raft.ErrLogNotFound):
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.solid <= index && index <= c.last {
			return damagef("entry %d of the raft log is missing", index)
		}
	}
	return err
}

// boltLog is the store itself. It tells an entry that cannot be decoded from a store that cannot be read.
type boltLog struct{ *boltstore.BoltStore }

// GetLog reads an entry. Since the file is mapped, nothing but the entry's bytes can make it fail.
func (b boltLog) GetLog(index uint64, l *raft.Log) error {
	err := guarded(func() error { return b.BoltStore.GetLog(index, l) })
	switch {
	case err == nil, errors.Is(err, raft.ErrLogNotFound), errors.Is(err, bbolterrors.ErrDatabaseNotOpen), errors.Is(err, errDamaged):
		return err
	}
	return damagef("entry %d of the raft log cannot be decoded: %v", index, err)
}

// StoreLog stores an entry.
func (c *checkedLog) StoreLog(l *raft.Log) error { return c.StoreLogs([]*raft.Log{l}) }

// StoreLogs stores entries. Those that this node makes as the leader have no checksum yet and get one here.
func (c *checkedLog) StoreLogs(logs []*raft.Log) error {
	r := c.raft.Load()
	for _, l := range logs {
		// Raft is the leader for as long as its one goroutine makes entries, and never while it takes some in.
		if len(l.Extensions) == 0 && (r == nil || r.State() == raft.Leader) {
			sealEntry(l)
		} else if err := verifyEntry(l.Index, l); err != nil {
			return c.refused(err)
		}
	}
	if err := guarded(func() error { return c.inner.StoreLogs(logs) }); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = false
	for _, l := range logs {
		if l.Index != c.last+1 || c.solid == 0 {
			c.solid = l.Index
		}
		c.last = l.Index
	}
	return nil
}

// refused gives the error for an entry that arrived damaged. The leader sends it again, unless raft has just cut off the
// end of the log to make room: then it would ask for what it cut off for ever, and must start anew.
func (c *checkedLog) refused(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return damagef("the raft log lacks its end: a peer sent an entry in its place that is refused: %v", err)
	}
	return fmt.Errorf("%w: %s", errArrivedDamaged, err)
}

// errArrivedDamaged says that nothing here is damaged: what a peer sent is.
var errArrivedDamaged = errors.New("a peer sent an entry that is refused")

// DeleteRange deletes entries.
func (c *checkedLog) DeleteRange(from, to uint64) error {
	c.mu.Lock() // first: who reads meanwhile must not take a deleted entry for a lost one
	switch {
	case c.last == 0:
	case to >= c.last && from <= c.last: // the end
		c.last = from - 1
		c.cut = true
		if c.solid > c.last {
			c.solid, c.last = 0, 0
		}
	case to >= c.solid:
		c.solid = to + 1
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

// guarded turns a panic into an error: bbolt panics on a page that it cannot make sense of, and reads where a damaged
// page points to.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damagef("the pages of raft.db make no sense: %v", p)
		}
	}()
	return f()
}
