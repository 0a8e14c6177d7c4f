package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/hashicorp/raft"
	boltstore "github.com/hashicorp/raft-boltdb/v2"
)

const (
	copySuffix = ".compact" // of the copy until it replaces raft.db

	copyEntries = 1024    // in one transaction of the copy,
	copyBytes   = 4 << 20 // and bytes of them
	// The last entries are copied while raft waits. If more than these few come again and again, raft writes too much for
	// a copy to pay.
	lastEntries = 64
	catchUps    = 20
)

var (
	errLogChanged = errors.New("entries were deleted meanwhile")
	errLogBusy    = errors.New("the log grows too fast")
	errNoCopyRoom = errors.New("there is too little room on the disk for a copy")
)

// replacedUnsure says that the copy replaced raft.db, but perhaps not for good.
type replacedUnsure struct{ error }

func (e replacedUnsure) Unwrap() error { return e.error }

// compact replaces raft.db by a copy without free pages. It copies the entries from first on, which must be stored
// without a gap up to the last one, and raft's values. Raft reads and writes meanwhile. Only the last few entries and
// the values are copied while writes wait: milliseconds, and two syncs.
//
// Whenever the process ends, the next start finds a whole file with everything that was acknowledged: until the copy
// has everything and is on disk, raft.db is the old file; nothing is written before the new name is on disk, too. An
// error leaves the old file, unless it is a replacedUnsure. stop is asked again and again: its error ends the copying.
func (f *raftFile) compact(first uint64, stop func() error) (err error) {
	use, err := f.use()
	if err != nil {
		return err
	}
	// What is used may double: the pages of a copy are half full, as those of the log are.
	if free, ok := freeSpace(f.directory()); ok && free < uint64(2*(use.Size-use.Free))+4*minFree {
		return errNoCopyRoom
	}
	name := f.path + copySuffix
	if err := removeFile(name); err != nil {
		return err
	}
	to, err := openBolt(name)
	if err != nil {
		return errors.Join(err, removeFile(name))
	}
	old := f.bolt // only this function changes it
	c := logCopy{from: old, to: to, next: first, stop: stop}
	replaced, err := f.replace(&c)
	if replaced {
		to = old
	}
	closed := to.Close()
	if !replaced {
		return errors.Join(err, closed, removeFile(name))
	}
	return errors.Join(err, closed)
}

// replace makes the copy and lets it take the place of raft.db.
func (f *raftFile) replace(c *logCopy) (replaced bool, err error) {
	f.writing.Lock()
	cuts := f.cuts
	f.writing.Unlock()
	if err := c.most(); err != nil {
		return false, err
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.cuts != cuts {
		return false, errLogChanged
	}
	if err := c.rest(); err != nil {
		return false, err
	}
	stepDone("copied")
	name := f.path + copySuffix
	fresh, err := os.Stat(name)
	if err != nil {
		return false, err
	}
	if err := os.Rename(name, f.path); err != nil {
		if named, statErr := os.Stat(f.path); statErr == nil && !os.SameFile(named, fresh) {
			return false, err
		}
		f.broken = replacedUnsure{fmt.Errorf("renaming %s: %w", name, err)}
		return false, f.broken
	}
	stepDone("renamed")
	if err := syncDir(f.directory()); err != nil {
		f.broken = replacedUnsure{fmt.Errorf("syncing %s: %w", f.directory(), err)}
		return false, f.broken
	}
	stepDone("synced")
	f.reading.Lock()
	f.bolt = c.to
	f.reading.Unlock()
	return true, nil
}

// stepDone is called after each step of compact. Tests kill the process there.
var stepDone = func(step string) {}

// logCopy copies a Raft store into an empty one.
type logCopy struct {
	from, to *boltstore.BoltStore
	next     uint64 // entry to copy
	stop     func() error
}

// most copies all entries but the last few. Further ones may be added meanwhile.
func (c *logCopy) most() error {
	for range catchUps {
		last, err := c.from.LastIndex()
		if err != nil {
			return err
		}
		if last < c.next+lastEntries {
			return nil
		}
		if err := c.entries(last, c.stop); err != nil {
			return err
		}
	}
	return errLogBusy
}

// rest copies what most has left, and the values. Nothing is written to the store meanwhile.
func (c *logCopy) rest() error {
	last, err := c.from.LastIndex()
	if err != nil {
		return err
	}
	if err := c.entries(last, func() error { return nil }); err != nil {
		return err
	}
	for _, key := range []string{valueTerm, valueVoteTerm, valueVoteFor} {
		value, err := c.from.Get([]byte(key))
		if err != nil && isNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		if err := c.to.Set([]byte(key), value); err != nil {
			return err
		}
		if got, err := c.to.Get([]byte(key)); err != nil || !bytes.Equal(got, value) {
			return fmt.Errorf("the copy of the value %s differs: %v", key, err)
		}
	}
	if got, err := c.to.LastIndex(); err != nil || got != last {
		return fmt.Errorf("the copy ends with entry %d, want %d: %v", got, last, err)
	}
	return nil
}

// entries copies entries up to one, checks each, and reads the copy again.
func (c *logCopy) entries(last uint64, stop func() error) error {
	for c.next <= last {
		if err := stop(); err != nil {
			return err
		}
		var batch []*raft.Log
		for size := 0; c.next <= last && len(batch) < copyEntries && size < copyBytes; c.next++ {
			l := new(raft.Log)
			if err := (boltLog{c.from}).GetLog(c.next, l); errors.Is(err, raft.ErrLogNotFound) {
				return errLogChanged
			} else if err != nil {
				return err
			}
			if err := verifyEntry(c.next, l); err != nil {
				return err
			}
			batch = append(batch, l)
			size += len(l.Data)
		}
		if err := guarded(func() error { return c.to.StoreLogs(batch) }); err != nil {
			return err
		}
		for _, l := range batch {
			var got raft.Log
			if err := (boltLog{c.to}).GetLog(l.Index, &got); err != nil {
				return err
			}
			if !sameEntry(l, &got) {
				return fmt.Errorf("the copy of entry %d differs", l.Index)
			}
		}
		stepDone("some")
	}
	return nil
}

func sameEntry(a, b *raft.Log) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && a.AppendedAt.Equal(b.AppendedAt) &&
		bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Extensions, b.Extensions)
}
