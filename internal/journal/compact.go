package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/zeebo/xxh3"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"hm/internal/boltfile"
)

const (
	copySuffix = ".compact" // of the copy until it replaces the file
	copyBytes  = 4 << 20    // in one transaction of the copy
	spareBytes = 32 << 20   // that stay free on the disk beside a copy
)

var (
	errNoCopyRoom = errors.New("there is too little room on the disk for a copy")
	errCopyLate   = errors.New("the journal closes")
)

// compactIfItPays replaces the file by a copy if most of it has been free for a while. The journal's goroutine calls it
// again and again when nothing waits to be stored.
func (j *Journal) compactIfItPays(ctx context.Context, now time.Time) {
	if j.overQuota() {
		return // more will be free soon
	}
	before, err := j.fileUse()
	if err != nil || !j.slack.Pays(now, before, j.opts.compactAfter) {
		return
	}
	j.slack = boltfile.Slack{AtLeast: j.opts.compactFree}
	if err := guarded(func() error { return j.compact(ctx, before) }); errors.Is(err, errCopyLate) {
		return
	} else if err != nil {
		j.opts.Logger.Warn("the journal's file was not made smaller: it stays as it is, and hm tries again later",
			"path", j.opts.Path, "bytes", before.Size, "free", before.Free, "error", err)
		return
	}
	after, _ := j.fileUse()
	j.stats.compactions.Add(1)
	j.opts.Logger.Info("the journal's file was made smaller: most of it was free",
		"path", j.opts.Path, "bytes_before", before.Size, "bytes_after", after.Size, "took", time.Since(now))
}

// fileUse gives how much of the file is free.
func (j *Journal) fileUse() (boltfile.Use, error) {
	db := j.db.Load()
	if db == nil {
		return boltfile.Use{}, ErrUnavailable
	}
	return boltfile.UseOf(j.opts.Path, db.Stats())
}

// compact replaces the file by a copy without free pages. Only the journal's goroutine writes the file, so nothing is
// stored meanwhile: what comes in waits in memory. Readers go on. If the process ends at any moment, the next start finds
// the old file or the copy, and both have every event. An error leaves the old file.
func (j *Journal) compact(ctx context.Context, use boltfile.Use) (err error) {
	if free, ok := boltfile.FreeSpace(filepath.Dir(j.opts.Path)); ok && free < uint64(use.Size-use.Free)+spareBytes {
		return errNoCopyRoom
	}
	name := j.opts.Path + copySuffix
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(name) // the first error says more
		}
	}()
	old := j.db.Load()
	if err := writeCopy(ctx, old, name); err != nil {
		return err
	}
	fresh, m, err := openFile(name)
	if err != nil {
		return err
	}
	if err := j.sameContent(ctx, old, fresh, &m); err != nil {
		return errors.Join(err, fresh.Close())
	}
	stepDone("copied")
	if err := renameFile(name, j.opts.Path); err != nil {
		if _, left := os.Stat(name); left == nil {
			return errors.Join(err, fresh.Close())
		}
		// It has its new name, but perhaps not for good. The next start finds one of the two files; what the older one
		// lacks comes from the log or from a peer.
		j.opts.Logger.Warn("the new name of the journal's file may not be on disk", "path", j.opts.Path, "error", err)
	}
	stepDone("renamed")
	j.db.Store(fresh)
	return old.Close() // waits for readers
}

// stepDone is called after each step of compact. Tests kill the process there.
var stepDone = func(step string) {}

// writeCopy writes what a file has into another one, and waits until that is on disk.
func writeCopy(ctx context.Context, from *bbolt.DB, name string) (err error) {
	to, err := bbolt.Open(name, 0o600, &bbolt.Options{Timeout: lockTimeout, NoSync: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	size := 0
	tx, err := to.Begin(true)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	err = eachPair(ctx, from, func(bucket, key, value []byte) error {
		if size += len(key) + len(value); size > copyBytes {
			if err := tx.Commit(); err != nil {
				return err
			}
			stepDone("some")
			size = 0
			if tx, err = to.Begin(true); err != nil {
				return err
			}
		}
		b, err := tx.CreateBucketIfNotExists(bucket)
		if err != nil || key == nil {
			return err
		}
		b.FillPercent = fillPercent
		return b.Put(key, value)
	})
	if err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return to.Sync()
}

// eachPair calls do for each bucket, without a key, and each of its pairs, in order.
func eachPair(ctx context.Context, db *bbolt.DB, do func(bucket, key, value []byte) error) error {
	n := 0
	return db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			if err := do(name, nil, nil); err != nil {
				return err
			}
			return b.ForEach(func(k, v []byte) error {
				if n++; n%1024 == 0 && ctx.Err() != nil {
					return errCopyLate
				}
				return do(name, k, v)
			})
		})
	})
}

// sameContent checks that a copy has what the file has.
func (j *Journal) sameContent(ctx context.Context, old, fresh *bbolt.DB, m *meta) error {
	if !bytes.Equal(m.encode(), j.saved.encode()) {
		return errors.New("the copy has another record of its content")
	}
	var sums [2]uint64
	var pairs [2]int
	for i, db := range []*bbolt.DB{old, fresh} {
		h := xxh3.New()
		err := eachPair(ctx, db, func(bucket, key, value []byte) error {
			pairs[i]++
			for _, b := range [][]byte{bucket, key, value} {
				_, _ = fmt.Fprintf(h, "%d:", len(b)) // a hash takes everything
				_, _ = h.Write(b)
			}
			return nil
		})
		if err != nil {
			return err
		}
		sums[i] = h.Sum64()
	}
	if sums[0] != sums[1] || pairs[0] != pairs[1] {
		return fmt.Errorf("the copy has %d other pairs than the file, which has %d", pairs[1], pairs[0])
	}
	return nil
}

// view reads the file. A reader may find the file closed, because a copy has just replaced it: then it reads the copy.
func (j *Journal) view(do func(tx *bbolt.Tx) error) error {
	for {
		db := j.db.Load()
		if db == nil {
			return errors.Join(ErrUnavailable, j.unavailable())
		}
		err := guarded(func() error { return db.View(do) })
		if !errors.Is(err, bbolterrors.ErrDatabaseNotOpen) || j.db.Load() == db {
			return err
		}
	}
}
