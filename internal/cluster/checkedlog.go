package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
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

// checkedValues is a stable store, of raft's term and vote, of which every value carries a checksum.
type checkedValues struct{ inner raft.StableStore }

// The names under which raft stores its term and its vote. It stores nothing else.
const (
	valueTerm     = "CurrentTerm"
	valueVoteTerm = "LastVoteTerm"
	valueVoteFor  = "LastVoteCand"
)

// Set stores a value.
func (c checkedValues) Set(key, value []byte) error {
	return guarded(func() error { return c.inner.Set(key, sealValue(key, value)) })
}

// Get reads a value.
func (c checkedValues) Get(key []byte) (value []byte, err error) {
	err = guarded(func() error {
		stored, err := c.inner.Get(key)
		if err == nil {
			value, err = openValue(key, stored)
		}
		return err
	})
	return value, err
}

// SetUint64 stores a number.
func (c checkedValues) SetUint64(key []byte, value uint64) error {
	return c.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 reads a number.
func (c checkedValues) GetUint64(key []byte) (uint64, error) {
	value, err := c.Get(key)
	if err != nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, damagef("the stored value %q has %d bytes, a number has 8", key, len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

// raftLog and raftValues are the stores as raft's own goroutines see them. Raft panics, and the process with it, when an
// entry that it needs cannot be read. Instead fail is told, and the goroutine ends as it would by a return: whoever waits
// for it sees it end, and nothing goes on without the entry.
type raftLog struct {
	*checkedLog
	fail func(error)
}

type raftValues struct {
	checkedValues
	fail func(error)
}

func endIfDamaged(err error, fail func(error)) error {
	if errors.Is(err, errDamaged) {
		fail(err)
		runtime.Goexit()
	}
	return err
}

// GetLog reads an entry.
func (l raftLog) GetLog(index uint64, to *raft.Log) error {
	return endIfDamaged(l.checkedLog.GetLog(index, to), l.fail)
}

// StoreLog stores an entry.
func (l raftLog) StoreLog(log *raft.Log) error { return l.StoreLogs([]*raft.Log{log}) }

// StoreLogs stores entries.
func (l raftLog) StoreLogs(logs []*raft.Log) error {
	return endIfDamaged(l.checkedLog.StoreLogs(logs), l.fail)
}

// DeleteRange deletes entries.
func (l raftLog) DeleteRange(from, to uint64) error {
	return endIfDamaged(l.checkedLog.DeleteRange(from, to), l.fail)
}

// FirstIndex is the number of the first entry.
func (l raftLog) FirstIndex() (uint64, error) {
	index, err := l.checkedLog.FirstIndex()
	return index, endIfDamaged(err, l.fail)
}

// LastIndex is the number of the last entry.
func (l raftLog) LastIndex() (uint64, error) {
	index, err := l.checkedLog.LastIndex()
	return index, endIfDamaged(err, l.fail)
}

// Set stores a value.
func (v raftValues) Set(key, value []byte) error {
	return endIfDamaged(v.checkedValues.Set(key, value), v.fail)
}

// Get reads a value.
func (v raftValues) Get(key []byte) ([]byte, error) {
	value, err := v.checkedValues.Get(key)
	return value, endIfDamaged(err, v.fail)
}

// SetUint64 stores a number.
func (v raftValues) SetUint64(key []byte, value uint64) error {
	return endIfDamaged(v.checkedValues.SetUint64(key, value), v.fail)
}

// GetUint64 reads a number.
func (v raftValues) GetUint64(key []byte) (uint64, error) {
	value, err := v.checkedValues.GetUint64(key)
	return value, endIfDamaged(err, v.fail)
}
