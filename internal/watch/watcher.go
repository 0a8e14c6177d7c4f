package watch

import (
	"context"
	"slices"
	"sync"
	"time"

	"hm/internal/api"
	"hm/internal/liveview"
	"hm/internal/notify"
)

// Node is one address of the cluster.
type Node struct {
	Addr   string
	Name   string // the node's id; empty: not known yet
	Client *api.Client
}

// Options say what to watch, and how.
type Options struct {
	Title    string        // of the frames: "hm top"
	Nodes    []Node        // at least one; asked in turn
	Interval time.Duration // between two questions to a node; at least MinInterval
	Timeout  time.Duration // for one answer; 0: DefaultTimeout
	By       string        // as whom a change is recorded
}

// Limits of how often a node is asked.
const (
	MinInterval    = 100 * time.Millisecond
	firstPeriod    = 10 * time.Second // until a node says how long its periods are
	DefaultTimeout = 5 * time.Second  // for one answer
	changeTimeout  = 15 * time.Second // for one change, which may wait for an election
	listCost       = 10               // a list is asked for at most this share of the time
	nudgeGap       = 250 * time.Millisecond
	maxChanges     = 4 // that wait
)

// Limits of what is kept.
const (
	maxEvents        = 500
	maxItems         = 500 // of a list on its own page
	maxOverviewItems = 40
)

// Watcher is the view model of a cluster. Its methods are safe for concurrent use.
type Watcher struct {
	opts    Options
	began   time.Time
	changed notify.Signal        // there is something new to draw
	wake    notify.Signal        // the poll must ask at once
	changes chan liveview.Change // that wait
	names   []string             // of the nodes; used by the poll alone
	avoid   []time.Time          // until when each node is not asked while another one answers; used by the poll alone
	paces   map[string]*pace     // of the lists; used by the poll alone
	seeded  bool                 // the counts of the last periods were asked for; used by the poll alone

	mu       sync.Mutex
	query    liveview.Query
	at       int // which node is asked
	answered time.Time
	failure  string // of the newest attempt; empty if it was answered
	frame    liveview.Frame
	happened []liveview.Event // the oldest first
	known    map[string]bool  // the ids of happened
	rates    liveview.Rates
	history  liveview.History
	sampled  time.Time     // when the newest sample of the history was taken
	period   time.Duration // of the rates and the history
	sent     uint64        // commands ever, as of the newest status
	notice   liveview.Notice

	cancel context.CancelFunc
	owned  sync.WaitGroup
}

func newWatcher(o Options) *Watcher {
	o.Interval = max(o.Interval, MinInterval)
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	w := &Watcher{
		opts: o, began: time.Now(), changed: notify.New(), wake: notify.New(), paces: map[string]*pace{},
		changes: make(chan liveview.Change, maxChanges), known: map[string]bool{}, names: make([]string, len(o.Nodes)), avoid: make([]time.Time, len(o.Nodes)),
		rates: liveview.NewRates(firstPeriod), period: firstPeriod,
	}
	for i, n := range o.Nodes {
		w.names[i] = n.Name
	}
	w.frame.Title, w.frame.By = o.Title, o.By
	return w
}

// Open starts to watch. The caller must close the watcher.
func Open(o Options) *Watcher {
	w := newWatcher(o)
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	for _, run := range []func(context.Context){w.poll, w.follow, w.change, w.tick} {
		w.owned.Go(func() { run(ctx) })
	}
	return w
}

// Close ends all that the watcher does, and waits for it. It does not close the clients.
func (w *Watcher) Close() {
	w.cancel()
	w.owned.Wait()
}

// Frame returns what to draw now.
func (w *Watcher) Frame() liveview.Frame {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.frame
	f.Source = &liveview.Source{
		Addr: w.opts.Nodes[w.at].Addr, Every: w.opts.Interval, At: w.answered, Now: time.Now(), Began: w.began,
		Error: w.failure, Addrs: len(w.opts.Nodes),
	}
	if f.Status != nil {
		f.Now = f.Status.Basis.At.Time
	}
	f.Happened = slices.Clone(w.happened)
	slices.Reverse(f.Happened)
	f.Rates, f.Drift, f.Notice = w.rates, w.history, w.notice
	return f
}

// Keys returns no keys: those of the screen do everything.
func (w *Watcher) Keys() liveview.Keys { return nil }

// Do does nothing: a watcher has no actions of its own.
func (w *Watcher) Do(liveview.Action) {}

// Changed receives when there is something new to draw.
func (w *Watcher) Changed() <-chan struct{} { return w.changed.C() }

// Notify makes Changed receive: for who adds something to the frames.
func (w *Watcher) Notify() { w.changed.Notify() }

// Done always returns false.
func (w *Watcher) Done() bool { return false }

// Look sets what the screen needs from now on. It is asked for at once.
func (w *Watcher) Look(q liveview.Query) {
	w.mu.Lock()
	w.query = q
	w.mu.Unlock()
	w.wake.Notify()
}

// tick has the frames drawn while no answer comes, since they then say for how long.
func (w *Watcher) tick(ctx context.Context) {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		if _, blind := w.Frame().Source.Blind(); blind {
			w.changed.Notify()
		}
	}
}

// node returns the node that is asked at present.
func (w *Watcher) node() Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.opts.Nodes[w.at]
}
