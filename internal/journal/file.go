package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"hm/internal/boltfile"
)

var (
	metaBucket = []byte("meta")
	formatKey  = []byte("format")
	stateKey   = []byte("state")
)

// errDamaged says that the file cannot be used any more. It is set aside, and a new one begins.
var errDamaged = errors.New("the file is damaged")

const (
	lockTimeout = time.Second // to wait for another process to close the file
	// The file is mapped with room to grow, so that a reader never waits for a larger mapping in the usual case.
	initialMap = 64 << 20
	// Only keys in order are added, so pages can be filled.
	fillPercent = 0.95
)

// openFile opens the file, or makes a new one. An error that wraps errDamaged says that the file must be set aside; after
// any other error it may work later.
func openFile(path string) (db *bbolt.DB, m meta, err error) {
	defer func() {
		if err != nil && db != nil {
			_ = db.Close() // the first error says more
			db = nil
		}
	}()
	if err := checkFile(path); err != nil {
		return nil, meta{}, err
	}
	err = guarded(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, InitialMmapSize: initialMap})
		return err
	})
	if err != nil {
		return db, meta{}, err
	}
	err = guarded(func() error {
		return db.Update(func(tx *bbolt.Tx) (err error) {
			m, err = begin(tx)
			return err
		})
	})
	return db, m, err
}

// checkFile reads all pages of the file, if there is one. Bbolt takes the lock first, so that no other process writes.
func checkFile(path string) (err error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	var lock *bbolt.DB
	err = guarded(func() (err error) {
		lock, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, ReadOnly: true})
		return err
	})
	if lock != nil {
		defer func() { err = errors.Join(err, lock.Close()) }()
	}
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = boltfile.Check(f, func(string, []byte, []byte) error { return nil })
	if errors.Is(err, boltfile.ErrDamaged) {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return err
}

// begin makes the buckets of a new file, and reads what an old one has.
func begin(tx *bbolt.Tx) (meta, error) {
	b := tx.Bucket(metaBucket)
	if b == nil {
		if k, _ := tx.Cursor().First(); k != nil {
			return meta{}, fmt.Errorf("%w: it is not a journal", errDamaged)
		}
		return create(tx)
	}
	if v := b.Get(formatKey); len(v) != 4 || binary.BigEndian.Uint32(v) != formatVersion {
		return meta{}, fmt.Errorf("%w: it has format %x, this version knows format %d", errDamaged, v, formatVersion)
	}
	for _, name := range bucketNames {
		if tx.Bucket(name) == nil {
			return meta{}, fmt.Errorf("%w: it has no bucket %s", errDamaged, name)
		}
	}
	m, err := decodeMeta(b.Get(stateKey))
	if err != nil {
		return meta{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return m, nil
}

func create(tx *bbolt.Tx) (meta, error) {
	b, err := tx.CreateBucket(metaBucket)
	if err != nil {
		return meta{}, err
	}
	var m meta
	err = errors.Join(b.Put(formatKey, binary.BigEndian.AppendUint32(nil, formatVersion)), b.Put(stateKey, m.encode()))
	for _, name := range bucketNames {
		_, more := tx.CreateBucket(name)
		err = errors.Join(err, more)
	}
	return m, err
}

// guarded calls f. A page that was damaged since the file was checked makes bbolt panic, and a file that was cut makes the
// processor fault. Both become an error that wraps errDamaged. So do bbolt's own errors about the file.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: reading it fails with %v", errDamaged, p)
		}
	}()
	err = f()
	for _, damage := range []error{
		bbolterrors.ErrInvalid, bbolterrors.ErrVersionMismatch, bbolterrors.ErrChecksum, bbolterrors.ErrInvalidMapping,
	} {
		if errors.Is(err, damage) {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
	}
	return err
}

// setAside gives a damaged file another name. Only the newest such file is kept.
func setAside(path string) (kept string, err error) {
	kept = path + ".damaged"
	return kept, renameFile(path, kept)
}

// renameFile renames a file if it exists, and makes that last.
func renameFile(from, to string) error {
	if err := os.Rename(from, to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	dir, err := os.Open(filepath.Dir(from))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
