package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// raftStore is what raft keeps in raft.db.
type raftStore interface {
	raft.LogStore
	raft.StableStore
}

// disk stands between raft and raft.db, and knows what has no outcome yet. Raft itself waits for its stores without
// end, and while it waits its heartbeats go on: a leader whose disk hangs would lead for ever and record nothing. And it
// panics where a term cannot be stored.
//
// Nothing of raft.db is written through it before raft runs: see stores.found.
//
// An operation that has no outcome within limit makes the disk stalled. The node then leads no more, by its own word and
// in the eyes of its peers: see Node.Leadership and guardedTransport. When every such operation has ended the node
// takes part again.
//
// A write that finds no room counts as one that has not ended: it is tried again until there is room. It also makes the
// disk tight, until there is as much room as a node needs to start: what little there is may be gone with the next
// write. A node with a tight disk follows and votes, and does not stand for election: it would lead now and then.
//
// Any other failed
// write makes the disk failed, for good. Above all a failed sync is never tried again, not even for want of room: the
// system may have thrown away what it could not write, and a second sync would say that all is well.
type disk struct {
	store   raftStore
	path    string
	limit   time.Duration
	log     *sampledLog
	changed func() // the disk is about to be stalled, or well again; called with the mutex held

	stalled atomic.Bool
	tight   atomic.Bool
	room    func() bool // whether there is enough
	closing chan struct{}
	failed  chan struct{}

	mu     sync.Mutex
	under  map[*operation]struct{} // under way
	signal chan struct{}           // closed when the disk becomes stalled; another one when it is well again
	since  time.Time               // when the oldest of the operations that made it stalled was begun
	err    error                   // why it failed
	full   time.Time               // when a write found no room last
	closed bool
}

// operation is one read or write of raft.db.
type operation struct {
	what  string
	began time.Time
	err   error // why it was not done at the last try
}

const (
	stallTimeouts = 4               // election timeouts without an outcome make a disk stalled,
	stallAtLeast  = 2 * time.Second // but so long it may take in any case
	retryFirst    = 50 * time.Millisecond
	retryMost     = time.Second
	sayAgain      = 10 * time.Second
)

var (
	errDiskStalled = errors.New("the disk does not answer")
	errDiskClosed  = errors.New("the node was closed before there was room on the disk")
	errDiskTight   = fmt.Errorf("the disk is almost full: this node follows, and does not lead until %d KiB are free", minFree>>10)
)

func newDisk(store raftStore, path string, limit time.Duration, log *sampledLog) *disk {
	return &disk{
		store: store, path: path, limit: limit, log: log, changed: func() {}, room: func() bool { return hasRoom(filepath.Dir(path)) },
		closing: make(chan struct{}), failed: make(chan struct{}), under: map[*operation]struct{}{}, signal: make(chan struct{}),
	}
}

// watch looks at what is under way until done is closed.
func (d *disk) watch(done <-chan struct{}) {
	ticker := time.NewTicker(max(d.limit/16, 10*time.Millisecond))
	defer ticker.Stop()
	var said time.Time
	for {
		select {
		case <-done:
			return
		case now := <-ticker.C:
			if d.tight.Load() {
				d.loosen(now)
			}
			if d.look(now) && now.Sub(said) > sayAgain {
				said = now
				d.log.log(slog.LevelError, "disk", "the disk does not answer: this node records nothing, and does not lead", "error", d.trouble())
			}
		}
	}
}

// look finds out whether the disk is stalled.
func (d *disk) look(now time.Time) (stalled bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	op := d.oldest()
	if d.err == nil && op != nil && now.Sub(op.began) > d.limit && !d.stalled.Load() {
		d.stall(op.began)
	}
	return d.stalled.Load()
}

// tighten notes that a write found no room.
func (d *disk) tighten() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full = time.Now(); !d.tight.Load() {
		d.tight.Store(true)
		d.changed()
	}
}

// loosen ends the tightness if there is enough room again.
func (d *disk) loosen(now time.Time) {
	if !d.room() {
		return
	}
	d.mu.Lock()
	over := now.Sub(d.full) > d.limit && d.tight.CompareAndSwap(true, false) // a quota shows in no file system's numbers
	if over {
		d.changed()
	}
	d.mu.Unlock()
	if over {
		d.log.log(slog.LevelWarn, "disk", "there is room on the disk again: this node may lead", "file", d.path)
	}
}

// complaint says what is wrong with the disk, or that there is too little room on it to lead; nil if nothing is.
func (d *disk) complaint() error {
	if err := d.trouble(); err != nil || !d.tight.Load() {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Errorf("%w: a write to %s found no room %s ago", errDiskTight, d.path, time.Since(d.full).Round(10*time.Millisecond))
}

// stall is called with the mutex held.
func (d *disk) stall(since time.Time) {
	d.since = since
	d.stalled.Store(true)
	d.changed() // before anybody is told
	close(d.signal)
}

func (d *disk) oldest() (oldest *operation) {
	for op := range d.under {
		if oldest == nil || op.began.Before(oldest.began) {
			oldest = op
		}
	}
	return oldest
}

func (d *disk) begin(what string) *operation {
	op := &operation{what: what, began: time.Now()}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.under[op] = struct{}{}
	return op
}

func (d *disk) end(op *operation) {
	d.mu.Lock()
	delete(d.under, op)
	well := d.stalled.Load() && d.err == nil
	if well {
		oldest := d.oldest()
		well = oldest == nil || time.Since(oldest.began) <= d.limit
	}
	lasted := time.Since(d.since)
	if well {
		d.changed()
		d.stalled.Store(false)
		d.signal = make(chan struct{})
	}
	d.mu.Unlock()
	if well {
		d.log.log(slog.LevelWarn, "disk", "the disk answers again", "file", d.path, "after", lasted)
	}
}

// untilStalled gives a channel that is closed when the disk becomes stalled, or is.
func (d *disk) untilStalled() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.signal
}

// trouble says what is wrong with the disk; nil if nothing is.
func (d *disk) trouble() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch op := d.oldest(); {
	case d.err != nil:
		return d.err
	case !d.stalled.Load() || op == nil:
		return nil
	case op.err != nil:
		return fmt.Errorf("%s in %s has failed for %s: %w", op.what, d.path, time.Since(op.began).Round(10*time.Millisecond), op.err)
	default:
		return fmt.Errorf("%w: %s in %s has no outcome after %s", errDiskStalled, op.what, d.path, time.Since(op.began).Round(10*time.Millisecond))
	}
}

// stalledFor is how long the disk has not answered; 0 if it does.
func (d *disk) stalledFor() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.stalled.Load() {
		return 0
	}
	return time.Since(d.since)
}

// write does one write. It comes back when that is done, cannot be done, or the node is closed. If optional, a write
// that finds no room is given up: whoever asked does it another time.
func (d *disk) write(what string, optional bool, do func() error) error {
	op := d.begin(what)
	defer d.end(op)
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		err := do()
		switch {
		case err == nil:
			return nil
		case !isFull(err):
			d.fail(fmt.Errorf("%s in %s: %w", what, d.path, err))
			return err
		}
		if d.tighten(); optional {
			return err
		}
		d.mu.Lock()
		op.err = err
		d.mu.Unlock()
		d.log.log(slog.LevelError, what, "there is no room on the disk: this node waits for some", "doing", what, "file", d.path, "error", err)
		select {
		case <-d.closing:
			return errDiskClosed
		case <-time.After(pause):
		}
	}
}

// must is write for what raft ends the process over. It does not come back without success: raft's goroutine stands
// still until the node is closed, and then ends.
func (d *disk) must(what string, do func() error) error {
	err := d.write(what, false, do)
	if err != nil {
		<-d.closing
		runtime.Goexit()
	}
	return nil
}

// fail makes the disk failed.
func (d *disk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil || d.closed {
		return
	}
	d.err = err
	if !d.stalled.Load() {
		d.stall(time.Now())
	}
	close(d.failed)
}

// close gives up whatever waits for room.
func (d *disk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.closed = true
		close(d.closing)
	}
}
