package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/raft"
	boltstore "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"hm/internal/boltfile"
)

// raftFile is raft.db. While raft reads and writes it can be replaced by a copy without free pages: see compact.
type raftFile struct {
	path string

	writing sync.Mutex   // held by every write; and by compact, so that nothing is written meanwhile
	reading sync.RWMutex // held by every read; and alone by compact while bolt changes
	bolt    *boltstore.BoltStore

	// With writing held:
	cuts   uint64 // deletions of entries
	broken error  // it is not known which file the next start finds: nothing may be written
}

// openRaftFile opens raft.db, or makes a new one. It removes the copy that a killed process left.
func openRaftFile(path string) (*raftFile, error) {
	if err := removeFile(path + copySuffix); err != nil {
		return nil, err
	}
	store, err := openBolt(path)
	if err != nil {
		return nil, err
	}
	return &raftFile{path: path, bolt: store}, nil
}

// openBolt opens a file of bbolt and makes sure that the file has its name: another process may have replaced it while
// this one waited for its lock.
func openBolt(path string) (*boltstore.BoltStore, error) {
	var file *os.File
	store, err := boltstore.New(boltstore.Options{
		Path: path,
		BoltOptions: &bbolt.Options{
			Timeout: lockTimeout, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
			OpenFile: func(name string, flag int, mode os.FileMode) (_ *os.File, err error) {
				file, err = os.OpenFile(name, flag, mode)
				return file, err
			},
		},
		MsgpackUseNewTimeFormat: true,
	})
	if err != nil {
		return nil, err
	}
	opened, err := file.Stat()
	named, errNamed := os.Stat(path)
	switch {
	case err != nil || errNamed != nil:
		return nil, errors.Join(err, errNamed, store.Close())
	case !os.SameFile(opened, named):
		return nil, errors.Join(bbolterrors.ErrTimeout, store.Close())
	}
	return store, nil
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// use gives how much of the file is free.
func (f *raftFile) use() (boltfile.Use, error) {
	f.reading.RLock()
	defer f.reading.RUnlock()
	return boltfile.UseOf(f.path, f.bolt.Stats())
}

func (f *raftFile) read(do func(*boltstore.BoltStore) error) error {
	f.reading.RLock()
	defer f.reading.RUnlock()
	return do(f.bolt)
}

// write does one write. bolt changes only with the lock held that is held here.
func (f *raftFile) write(do func(*boltstore.BoltStore) error) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.broken != nil {
		return f.broken
	}
	return do(f.bolt)
}

// FirstIndex is part of raft.LogStore.
func (f *raftFile) FirstIndex() (index uint64, err error) {
	err = f.read(func(b *boltstore.BoltStore) error { index, err = b.FirstIndex(); return err })
	return index, err
}

// LastIndex is part of raft.LogStore.
func (f *raftFile) LastIndex() (index uint64, err error) {
	err = f.read(func(b *boltstore.BoltStore) error { index, err = b.LastIndex(); return err })
	return index, err
}

// GetLog is part of raft.LogStore.
func (f *raftFile) GetLog(index uint64, l *raft.Log) error {
	return f.read(func(b *boltstore.BoltStore) error { return b.GetLog(index, l) })
}

// StoreLog is part of raft.LogStore.
func (f *raftFile) StoreLog(l *raft.Log) error { return f.StoreLogs([]*raft.Log{l}) }

// StoreLogs is part of raft.LogStore.
func (f *raftFile) StoreLogs(logs []*raft.Log) error {
	return f.write(func(b *boltstore.BoltStore) error { return b.StoreLogs(logs) })
}

// DeleteRange is part of raft.LogStore.
func (f *raftFile) DeleteRange(from, to uint64) error {
	return f.write(func(b *boltstore.BoltStore) error {
		f.cuts++
		return b.DeleteRange(from, to)
	})
}

// Set is part of raft.StableStore.
func (f *raftFile) Set(key, value []byte) error {
	return f.write(func(b *boltstore.BoltStore) error { return b.Set(key, value) })
}

// SetUint64 is part of raft.StableStore.
func (f *raftFile) SetUint64(key []byte, value uint64) error {
	return f.write(func(b *boltstore.BoltStore) error { return b.SetUint64(key, value) })
}

// Get is part of raft.StableStore.
func (f *raftFile) Get(key []byte) (value []byte, err error) {
	err = f.read(func(b *boltstore.BoltStore) error { value, err = b.Get(key); return err })
	return value, err
}

// GetUint64 is part of raft.StableStore.
func (f *raftFile) GetUint64(key []byte) (value uint64, err error) {
	err = f.read(func(b *boltstore.BoltStore) error { value, err = b.GetUint64(key); return err })
	return value, err
}

// Close closes the file.
func (f *raftFile) Close() error {
	f.writing.Lock()
	defer f.writing.Unlock()
	return f.bolt.Close()
}

// directory is the file's directory.
func (f *raftFile) directory() string { return filepath.Dir(f.path) }
