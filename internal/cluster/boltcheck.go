package cluster

import (
	"encoding/binary"
	"errors"
	"os"
	"slices"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"hm/internal/boltfile"
)

// boltContent is what checkBoltFile finds in a raft.db.
type boltContent struct {
	entries []uint64 // indices of the log entries, ascending
	values  []string // names of the stored values
	bytes   int64    // number of bytes read
}

// checkBoltFile reads all pages of a raft.db and fails with errDamaged if one is damaged. Bbolt itself trusts every
// page: a damaged page makes it panic, even on a goroutine of its own, recurse without end, or skip stored data. This
// check does not decode the entries. A file that does not exist or is empty has no content.
func checkBoltFile(path string) (content boltContent, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		return boltContent{}, nil
	}
	if err != nil {
		return boltContent{}, err
	}
	// This takes the file's lock, so that no other process writes. A read-only bbolt reads nothing but the first two
	// pages.
	var lock *bbolt.DB
	err = guarded(func() (err error) {
		lock, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, ReadOnly: true})
		return err
	})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return boltContent{}, err
	}
	openErr := err // the check below may find the cause and give a better error
	if lock != nil {
		defer func() { err = errors.Join(err, lock.Close()) }()
	}
	f, err := os.Open(path)
	if err != nil {
		return boltContent{}, err
	}
	defer f.Close()
	if content, err = readContent(f); err != nil {
		return boltContent{}, err
	}
	return content, openErr
}

// readContent reads what a raft.db has, and checks that it is a Raft store.
func readContent(f *os.File) (c boltContent, err error) {
	var buckets []string
	c.bytes, err = boltfile.Check(f, func(bucket string, key, _ []byte) error {
		switch {
		case key == nil:
			buckets = append(buckets, bucket)
		case bucket == "logs" && len(key) == 8:
			c.entries = append(c.entries, binary.BigEndian.Uint64(key))
		case bucket == "logs":
			return damagef("raft.db has a log entry with the invalid key %.40q", key)
		case !slices.Contains([]string{valueTerm, valueVoteTerm, valueVoteFor}, string(key)):
			return damagef("raft.db has a value %.40q, which is not one of raft's", key)
		default:
			c.values = append(c.values, string(key))
		}
		return nil
	})
	if errors.Is(err, boltfile.ErrDamaged) {
		return boltContent{}, damagef("%v", err)
	}
	if err != nil {
		return boltContent{}, err
	}
	if len(buckets) > 0 && !slices.Equal(buckets, []string{"conf", "logs"}) { // none: it was created, and nothing was stored
		return boltContent{}, damagef("raft.db does not have the buckets of a Raft store")
	}
	return c, nil
}
