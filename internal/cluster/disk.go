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

// disk stands between raft and raft.db and watches every read and write. Raft itself waits for its stores without a
// time limit, and goes on with its heartbeats: a leader whose disk hangs would lead for ever and record nothing. And
// raft panics if it cannot store a term. Before raft runs, raft.db is written without the disk: see stores.initialize.
//
// The disk is in one of four states:
//   - Well.
//   - Stalled: an operation took longer than limit. The node does not lead, and its peers do not take it for the
//     leader: see Node.Leadership and guardedTransport. When all such operations have ended the node takes part again.
//   - Tight: a write found no room. The write counts as unfinished and is tried again until there is room, so the disk
//     may be stalled as well. It stays tight until there is as much room as a node needs to start, because a little
//     room may be gone with the next write. The node follows and votes, but does not stand for election: it would lead
//     only now and then.
//   - Failed: a write failed in another way. This is final. Above all a failed sync is never repeated, not even if the
//     disk was full: the system may have dropped what it could not write, and a second sync would succeed without it.
type disk struct {
	store   raftStore
	path    string
	limit   time.Duration
	log     *sampledLog
	changed func() // called just before stalled or tight changes, with the mutex held

	stalled atomic.Bool
	tight   atomic.Bool
	hasRoom func() bool
	closing chan struct{}
	failed  chan struct{}

	mu       sync.Mutex
	running  map[*operation]struct{}
	stalling chan struct{} // closed when the disk stalls; a new channel when it responds again
	since    time.Time     // when the oldest operation that stalled the disk began
	err      error         // why it failed
	full     time.Time     // when a write last found no room
	closed   bool
}

// operation is one read or write of raft.db.
type operation struct {
	what  string
	began time.Time
	err   error // why the last try failed
}

const (
	stallTimeouts = 4               // an operation may take this many election timeouts,
	stallAtLeast  = 2 * time.Second // and at least so long
	retryFirst    = 50 * time.Millisecond
	retryMost     = time.Second
	logEvery      = 10 * time.Second // while the disk is stalled
)

var (
	errDiskStalled = errors.New("the disk does not respond")
	errDiskClosed  = errors.New("the node was closed before there was room on the disk")
	errDiskTight   = fmt.Errorf("the disk is almost full: this node follows, and does not lead until %d KiB are free",
		minFree>>10)
)

func newDisk(store raftStore, path string, limit time.Duration, log *sampledLog) *disk {
	return &disk{
		store: store, path: path, limit: limit, log: log, changed: func() {}, hasRoom: func() bool { return hasRoom(filepath.Dir(path)) },
		closing: make(chan struct{}), failed: make(chan struct{}), running: map[*operation]struct{}{}, stalling: make(chan struct{}),
	}
}

// watch finds out again and again whether the disk is stalled or tight, until done is closed.
func (d *disk) watch(done <-chan struct{}) {
	ticker := time.NewTicker(max(d.limit/16, 10*time.Millisecond))
	defer ticker.Stop()
	var logged time.Time
	for {
		select {
		case <-done:
			return
		case now := <-ticker.C:
			if d.tight.Load() {
				d.loosen(now)
			}
			if d.checkStalled(now) && now.Sub(logged) > logEvery {
				logged = now
				d.log.log(slog.LevelError, "disk", "the disk does not respond: this node records nothing and does not lead",
					"error", d.trouble())
			}
		}
	}
}

// checkStalled finds out whether the disk is stalled.
func (d *disk) checkStalled(now time.Time) (stalled bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	op := d.oldest()
	if d.err == nil && op != nil && now.Sub(op.began) > d.limit && !d.stalled.Load() {
		d.stall(op.began)
	}
	return d.stalled.Load()
}

// tighten makes the disk tight: a write found no room.
func (d *disk) tighten() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full = time.Now(); !d.tight.Load() {
		d.tight.Store(true)
		d.changed()
	}
}

// loosen ends the tight state if there is enough room again.
func (d *disk) loosen(now time.Time) {
	if !d.hasRoom() {
		return
	}
	d.mu.Lock()
	over := now.Sub(d.full) > d.limit && d.tight.CompareAndSwap(true, false) // hasRoom does not see a quota
	if over {
		d.changed()
	}
	d.mu.Unlock()
	if over {
		d.log.log(slog.LevelWarn, "disk", "there is room on the disk again: this node may lead", "file", d.path)
	}
}

// problem says why the disk is stalled, failed or tight; nil if it is well.
func (d *disk) problem() error {
	if err := d.trouble(); err != nil || !d.tight.Load() {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Errorf("%w: a write to %s found no room %s ago",
		errDiskTight, d.path, time.Since(d.full).Round(10*time.Millisecond))
}

// stall makes the disk stalled. The caller holds the mutex.
func (d *disk) stall(since time.Time) {
	d.since = since
	d.stalled.Store(true)
	d.changed() // before anybody is notified
	close(d.stalling)
}

func (d *disk) oldest() (oldest *operation) {
	for op := range d.running {
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
	d.running[op] = struct{}{}
	return op
}

func (d *disk) end(op *operation) {
	d.mu.Lock()
	delete(d.running, op)
	well := d.stalled.Load() && d.err == nil
	if well {
		oldest := d.oldest()
		well = oldest == nil || time.Since(oldest.began) <= d.limit
	}
	lasted := time.Since(d.since)
	if well {
		d.changed()
		d.stalled.Store(false)
		d.stalling = make(chan struct{})
	}
	d.mu.Unlock()
	if well {
		d.log.log(slog.LevelWarn, "disk", "the disk responds again", "file", d.path, "after", lasted)
	}
}

// untilStalled gives a channel that is closed when the disk stalls, or if it is stalled.
func (d *disk) untilStalled() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stalling
}

// trouble says why the disk is stalled or failed; nil if it is neither.
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
		return fmt.Errorf("%w: %s in %s has not ended after %s",
			errDiskStalled, op.what, d.path, time.Since(op.began).Round(10*time.Millisecond))
	}
}

// stalledFor is how long the disk has been stalled; 0 if it is not.
func (d *disk) stalledFor() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.stalled.Load() {
		return 0
	}
	return time.Since(d.since)
}

// write does one write. It returns when the write succeeded, when it failed, or when the node is closed. A write that
// finds no room is tried again, unless it is optional: then the caller tries it another time.
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
		d.log.log(slog.LevelError, what, "there is no room on the disk: this node waits for room",
			"doing", what, "file", d.path, "error", err)
		select {
		case <-d.closing:
			return errDiskClosed
		case <-time.After(pause):
		}
	}
}

// must is write for values without which raft would panic. It returns only after success: otherwise raft's goroutine
// waits until the node is closed, and then ends.
func (d *disk) must(what string, do func() error) error {
	err := d.write(what, false, do)
	if err != nil {
		<-d.closing
		runtime.Goexit()
	}
	return nil
}

// fail makes the disk failed, for good.
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

// close ends the writes that wait for room.
func (d *disk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.closed = true
		close(d.closing)
	}
}
