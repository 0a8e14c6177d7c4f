package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"hm/internal/app"
	"hm/internal/boltfile"
	"hm/internal/notify"
	"hm/internal/sampled"
)

// Options are what a journal is made of.
type Options struct {
	Path     string // of the file; its directory must exist
	Node     string // id of this node
	Entries  int    // most commands and most crashes that are kept; of all else half as many (commands.journal_entries)
	MaxBytes int64  // of keys and events that are kept; 0: 256 MiB
	Logger   *slog.Logger
	Now      func() app.Time // hm time
	Peers    Peers           // whose journals fill the gaps in this one; nil: they stay

	askEvery time.Duration // tests ask the peers sooner
	linger   time.Duration // how long to gather events before they are stored; tests set it

	compactAfter time.Duration // tests compact the file sooner,
	compactFree  int64         // and with less of it free
}

const (
	defaultMaxBytes = 256 << 20
	// One event is stored soon; many are stored together, so that the disk is not asked more than twice a second.
	defaultLinger = 20 * time.Millisecond
	storePause    = 500 * time.Millisecond
	// After a failure the disk is tried again after a while that doubles.
	retryAfter   = time.Second
	longestRetry = 30 * time.Second
	closeTimeout = 5 * time.Second
)

// Journal keeps events in a file. Its goroutine alone writes the file. All methods may be called from any goroutine.
type Journal struct {
	opts Options
	log  *sampled.Log

	input input
	db    atomic.Pointer[bbolt.DB] // nil while the file is not open

	stored  atomic.Uint64 // everything up to this index of the log is in the file
	trouble atomic.Pointer[error]
	opened  chan struct{} // closed after the first attempt to open the file
	fills   chan fill     // from backfill
	damaged notify.Signal // a reader found the file damaged
	want    atomic.Uint64 // index that AwaitStored waits for
	stats   counters

	changed struct {
		sync.Mutex
		c chan struct{} // closed when events are stored, and replaced
	}

	// Only the goroutine uses these:
	meta     meta     // with the batch
	batch    []record // not stored yet
	saved    meta     // as in the file
	seenFrom uint64   // this process has taken in all entries from this index on
	retry    time.Duration
	slack    boltfile.Slack

	cancel context.CancelFunc
	asking sync.WaitGroup // backfill
	ended  chan struct{}
	once   sync.Once
	err    error // of Close
}

// record is an encoded event that is about to be stored.
type record struct {
	key   [keyLen]byte
	class class
	value []byte
}

// ErrUnavailable says that the journal's file cannot be used now. The journal goes on trying.
var ErrUnavailable = errors.New("the journal cannot be read now")

// New makes a journal that takes in events; Start begins to store them. It fails only on invalid options. The caller must
// close the journal.
func New(o Options) (*Journal, error) {
	if o.Path == "" || o.Node == "" || o.Entries < 1 || o.MaxBytes < 0 || o.Now == nil {
		return nil, fmt.Errorf("journal: the options need a path, a node, a number of entries from 1 and a clock")
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.linger == 0 {
		o.linger = defaultLinger
	}
	if o.askEvery == 0 {
		o.askEvery = firstAsk
	}
	if o.compactAfter == 0 {
		o.compactAfter = boltfile.CalmFor
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With("module", "journal")
	j := &Journal{
		opts: o, log: sampled.New(o.Logger, time.Minute, 3), input: newInput(),
		opened: make(chan struct{}), fills: make(chan fill), damaged: notify.New(), ended: make(chan struct{}),
		slack: boltfile.Slack{AtLeast: o.compactFree},
	}
	j.changed.c = make(chan struct{})
	return j, nil
}

// Start begins to store events. It does no I/O itself: the journal's goroutine opens the file, and tries again if that
// fails, so neither a full nor a broken disk keeps a node from starting. It must be called at most once, before Close.
func (j *Journal) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	j.cancel = cancel
	go j.run(ctx)
	if j.opts.Peers != nil {
		j.asking.Go(func() { j.backfill(ctx) })
	}
}

// Close stores what waits, and closes the file. If the disk does not respond, Close returns an error after 5 s; the
// goroutine then ends when the disk responds.
func (j *Journal) Close() error {
	j.once.Do(func() {
		if j.cancel == nil {
			return // it was never started
		}
		j.cancel()
		j.asking.Wait()
		select {
		case <-j.ended:
		case <-time.After(closeTimeout):
			j.err = fmt.Errorf("closing the journal: the disk of %s did not respond within %v", j.opts.Path, closeTimeout)
		}
	})
	return j.err
}

// Changed gives a channel that is closed when further events are stored. A reader takes the channel, then reads, then
// waits: so it misses nothing. Any number of readers may wait.
func (j *Journal) Changed() <-chan struct{} {
	j.changed.Lock()
	defer j.changed.Unlock()
	return j.changed.c
}

func (j *Journal) notifyChanged() {
	j.changed.Lock()
	defer j.changed.Unlock()
	close(j.changed.c)
	j.changed.c = make(chan struct{})
}

// AwaitStored waits until the file has every event up to an index of the log. It fails when ctx ends, and at once if the
// file cannot be written.
func (j *Journal) AwaitStored(ctx context.Context, index uint64) error {
	for {
		changed := j.Changed()
		if j.stored.Load() >= index {
			return nil
		}
		if err := j.unavailable(); err != nil {
			return err
		}
		for w := j.want.Load(); w < index && !j.want.CompareAndSwap(w, index); w = j.want.Load() {
		}
		j.input.wake.Notify()
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting until the journal has stored the events up to entry %d: %w", index, ctx.Err())
		case <-j.ended:
			return fmt.Errorf("%w: it is closed", ErrUnavailable)
		}
	}
}

// unavailable gives what is wrong with the file, nil if nothing is known to be.
func (j *Journal) unavailable() error {
	if err := j.trouble.Load(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, *err)
	}
	return nil
}
