package cluster

import (
	"errors"
	"runtime"

	"github.com/hashicorp/raft"

	"hm/raftfsm"
)

// raftLog and raftValues are the stores as raft's own goroutines see them. Raft panics if it cannot read an entry that
// it needs, and the process would end. Instead they call fail and end the goroutine, as a return would: those who wait
// for the goroutine see that it ends, and nothing goes on without the entry.
type raftLog struct {
	*checkedLog
	fail  func(error)
	clock *clock
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

// StoreLogs stores entries. The newest of them shows what the leader's clock is.
func (l raftLog) StoreLogs(logs []*raft.Log) error {
	now := l.clock.now()
	if err := l.checkedLog.StoreLogs(logs); err != nil {
		return endIfDamaged(err, l.fail)
	}
	if n := len(logs); n > 0 && logs[n-1].Type == raft.LogCommand {
		l.clock.arrived(raftfsm.EntryTime(logs[n-1].Data), logs[n-1].Term, now)
	}
	return nil
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
