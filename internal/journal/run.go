package journal

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// batchEvents bounds what one transaction stores, so that it takes milliseconds.
const batchEvents = 4_000

// run is the journal's goroutine: it opens the file, stores what comes in, and prunes.
func (j *Journal) run(ctx context.Context) {
	defer close(j.ended)
	defer j.closeFile()
	defer j.input.close()
	j.fail(j.openFile())
	close(j.opened)
	timer := time.NewTimer(0)
	defer timer.Stop()
	look := time.NewTicker(j.opts.compactAfter / 20)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			for j.db.Load() != nil { // the last events
				if more, err := j.step(); err != nil || !more {
					return
				}
			}
			return
		case f := <-j.fills:
			f.done <- j.takeFill(f)
			continue
		case <-j.damaged.C():
			j.replaceFile(ctx, errDamaged)
		case now := <-look.C:
			j.compactIfItPays(ctx, now)
			continue
		case <-timer.C:
		case <-j.input.wake.C():
			sleep(ctx, j.opts.linger)
		}
		if j.db.Load() == nil {
			if err := j.openFile(); err != nil {
				timer.Reset(j.fail(err))
				sleep(ctx, j.retry) // what comes in meanwhile waits, or is lost
				continue
			}
		}
		began := time.Now()
		more, err := j.step()
		switch {
		case err != nil:
			timer.Reset(j.fail(err))
			sleep(ctx, j.retry)
		case more:
			j.fail(nil)
			timer.Reset(0)
		case j.overQuota():
			j.fail(nil)
			timer.Reset(pruneEvery)
		default:
			j.fail(nil)
			j.pause(ctx, min(storePause, j.opts.linger*25)-time.Since(began))
		}
	}
}

// fail notes the outcome of an access to the file, and gives when to try again.
func (j *Journal) fail(err error) (retry time.Duration) {
	if err == nil {
		j.retry = 0
		j.trouble.Store(nil)
		return 0
	}
	j.trouble.Store(&err)
	j.stats.failures.Add(1)
	j.retry = min(max(2*j.retry, retryAfter), longestRetry)
	j.log.Warn("store", "the journal cannot store events; what does not fit into memory meanwhile is lost, and commands go on",
		func() []any { return []any{"path", j.opts.Path, "error", err, "lost", j.stats.lost.Load()} })
	j.notifyChanged() // AwaitStored gives up
	return j.retry
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// pause waits for d, or until ctx ends. Meanwhile it stores what peers give.
func (j *Journal) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case f := <-j.fills:
			f.done <- j.takeFill(f)
		}
	}
}

// openFile opens the file. It sets a damaged one aside and begins a new one.
func (j *Journal) openFile() error {
	if err := os.Remove(j.opts.Path + copySuffix); err != nil && !errors.Is(err, os.ErrNotExist) { // a killed process left it
		return err
	}
	db, m, err := openFile(j.opts.Path)
	if errors.Is(err, errDamaged) {
		cause := err
		kept, err := setAside(j.opts.Path)
		if err != nil {
			return errors.Join(cause, err)
		}
		j.stats.replaced.Add(1)
		j.opts.Logger.Error("the journal's file cannot be used: it was set aside, and a new one begins",
			"path", j.opts.Path, "kept_as", kept, "error", cause)
		if db, m, err = openFile(j.opts.Path); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if known := j.meta.stored; known > m.stored { // an earlier file had more
		m.skip(known)
		j.seenFrom = known + 1
	}
	m.own = max(m.own, j.meta.own)
	if j.meta.position.compare(m.position) > 0 {
		m.position = j.meta.position
	}
	j.meta, j.saved = m, m
	j.stored.Store(m.stored)
	j.stats.set(&m)
	j.db.Store(db)
	j.notifyChanged()
	return nil
}

func (j *Journal) closeFile() {
	if db := j.db.Swap(nil); db != nil {
		if err := guarded(db.Close); err != nil {
			j.opts.Logger.Warn("closing the journal's file failed", "path", j.opts.Path, "error", err)
		}
	}
}

// replaceFile sets the file aside while the journal runs.
func (j *Journal) replaceFile(ctx context.Context, cause error) {
	j.closeFile()
	if ctx.Err() != nil {
		return
	}
	kept, err := setAside(j.opts.Path)
	if err != nil {
		j.fail(err)
		return
	}
	j.stats.replaced.Add(1)
	j.opts.Logger.Error("the journal's file cannot be used: it was set aside, and a new one begins",
		"path", j.opts.Path, "kept_as", kept, "error", cause)
}

// step takes in what waits and stores it. more reports that there is more to do at once.
func (j *Journal) step() (more bool, err error) {
	again := len(j.batch) > 0 // the last attempt to store failed
	if !again {
		items, reached := j.input.take(batchEvents)
		for i := range items {
			if err := j.take(&items[i]); err != nil {
				return false, err
			}
		}
		j.reached(reached)
		more = reached == 0 && len(items) > 0
	}
	want := j.want.Load() > j.saved.stored && j.meta.stored > j.saved.stored
	gapsChanged := !slices.Equal(j.meta.gaps, j.saved.gaps)
	if len(j.batch) == 0 && !want && !gapsChanged && !j.overQuota() {
		return more, nil
	}
	if err := j.store(); err != nil {
		if errors.Is(err, errDamaged) {
			j.replaceFile(context.Background(), err)
		}
		return false, err
	}
	return more || again, nil
}

// take adds an item to the batch.
func (j *Journal) take(it *item) error {
	m := &j.meta
	switch it.kind {
	case itemRestored, itemLost:
		m.skip(it.index)
		j.seenFrom = max(j.seenFrom, it.index+1)
	case itemOwn:
		m.own++
		e := &it.own
		e.ID = ID{Position: m.position, Node: j.opts.Node, Own: m.own}
		j.add(e)
	case itemEntry:
		if it.index <= m.newest.index && (it.at > m.newest.at || it.index == m.newest.index && it.term != m.newest.term) {
			return j.otherLog(it)
		}
		if it.index <= m.stored && !m.missing(it.index) {
			return nil // it is applied again after a restart
		}
		j.addEntry(it)
		if it.index > m.stored {
			m.stored, m.newest = it.index, mark{it.index, it.term, it.at}
		}
	}
	return nil
}

// addEntry adds the events of an entry to the batch.
func (j *Journal) addEntry(it *item) {
	events := EventsOf(it.facts, it.at)
	for n := range events {
		e := &events[n]
		e.ID = ID{Position: Position{it.index, uint32(n)}}
		j.add(e)
		if p := e.ID.Position; p.compare(j.meta.position) > 0 {
			j.meta.position = p
		}
	}
}

func (j *Journal) add(e *Event) {
	r := record{class: classOf(e.Kind), value: appendEvent(nil, e)}
	appendKey(r.key[:0], e.ID)
	j.batch = append(j.batch, r)
}

// reached notes how far the log is known, once everything that waited is taken in. What was applied again after a
// restart fills the gaps that it covers.
func (j *Journal) reached(index uint64) {
	if index >= j.seenFrom {
		j.meta.stored = max(j.meta.stored, index)
		j.meta.fill(span{j.seenFrom, index})
	}
}

// otherLog begins a new file: the events in this one are of another log, such as that of a cluster that was made anew.
func (j *Journal) otherLog(it *item) error {
	kept := j.opts.Path + ".other-log"
	j.closeFile()
	if err := renameFile(j.opts.Path, kept); err != nil {
		return err
	}
	j.stats.replaced.Add(1)
	j.opts.Logger.Warn("the journal's events are of another log: its file was set aside, and a new one begins",
		"path", j.opts.Path, "kept_as", kept, "entry", it.index)
	j.batch, j.meta, j.saved, j.seenFrom = nil, meta{own: j.meta.own}, meta{}, it.index
	if err := j.openFile(); err != nil {
		return err
	}
	j.meta.skip(it.index - 1)
	return j.take(it)
}

// store writes the batch and prunes, in one transaction. After an error the batch stays.
func (j *Journal) store() error {
	db := j.db.Load()
	next := j.meta
	err := guarded(func() error {
		return db.Update(func(tx *bbolt.Tx) error {
			var buckets [classes]*bbolt.Bucket
			for c := range buckets {
				buckets[c] = tx.Bucket(bucketNames[c])
				buckets[c].FillPercent = fillPercent
			}
			for i := range j.batch {
				r := &j.batch[i]
				b := buckets[r.class]
				if old := b.Get(r.key[:]); old != nil {
					next.count(r.class, -1, len(old))
				}
				if err := b.Put(r.key[:], r.value); err != nil {
					return err
				}
				next.count(r.class, 1, len(r.value))
			}
			if err := j.prune(&next, &buckets, max(2*len(j.batch), pruneStep)); err != nil {
				return err
			}
			return tx.Bucket(metaBucket).Put(stateKey, next.encode())
		})
	})
	if err != nil {
		return err
	}
	added := len(j.batch)
	j.meta, j.saved, j.batch = next, next, nil
	j.stored.Store(next.stored)
	j.stats.set(&next)
	j.stats.added.Add(uint64(added))
	j.notifyChanged()
	return nil
}

func (m *meta) count(c class, by, valueLen int) {
	size := keyLen + valueLen
	m.entries[c] = uint64(max(int64(m.entries[c])+int64(by), 0))
	m.bytes[c] = uint64(max(int64(m.bytes[c])+int64(by*size), 0))
}
