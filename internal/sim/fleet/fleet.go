package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"hm/actual"
	"hm/internal/app"
	"hm/internal/sim/wire"
)

// ExitStyle says which exits the DEAs announce, which depends on their age (N11).
type ExitStyle int

// The exit styles.
const (
	ExitsCrashes     ExitStyle = iota // only CRASHED: DEAs after June 2016
	ExitsEvacuations                  // CRASHED and DEA_EVACUATION: December 2013 to June 2016
	ExitsAll                          // also STOPPED and DEA_SHUTDOWN: before December 2013
)

// MaxDEAs bounds the DEAs of one fleet, dead ones included, against a mistyped figure.
const MaxDEAs = 100_000

// Options describe a fleet. All fields must be set; zero durations and counts mean zero.
type Options struct {
	Seed              uint64
	HeartbeatPeriod   time.Duration
	StartDelay        time.Duration // STARTING to RUNNING
	StartJitter       time.Duration // at most this much is added to StartDelay
	RestartDelay      time.Duration // how long a restarting DEA is away
	EvacuationBailOut time.Duration // an evacuating DEA leaves after this at the latest (N31)
	AdvertiseTTL      time.Duration // how long the Cloud Controller still places on a DEA that fell silent (N28)
	CrashLifetime     time.Duration // how long a DEA lists a crash (N34)
	Exits             ExitStyle
	Connections       int  // NATS connections that the DEAs share
	ConnectionPerDEA  bool // one NATS connection for each DEA instead
	Partition         string
	Post              *Posting      // nil: heartbeats go over NATS
	Serve             bool          // running instances serve HTTP, and the DEAs register their routes
	RegisterInterval  time.Duration // how often they do until a router asks for another interval
	Logger            *slog.Logger

	Dial  func(name string) (*nats.Conn, error)   // opens a connection to NATS
	After func(delay time.Duration, event func()) // calls event once delay has passed
}

// Fleet is all DEAs and everything that runs on them: the truth that heartbeats report. Its methods are safe for
// concurrent use.
type Fleet struct {
	opts Options
	log  *slog.Logger

	mu           sync.Mutex
	ids          wire.IDGenerator
	deas         []*dea // every DEA that ever was, in order of creation
	byID         map[string]*dea
	apps         map[app.GUID]*presence
	changed      []*presence // to be counted again
	pool         pool
	startFailure float64              // share of starting instances that crash instead of running
	unrest       Unrest               // what happens by itself
	closing      bool                 // no endpoint is opened any more
	ending       chan struct{}        // closed with closing
	hosts        hosts                // the addresses of the DEAs
	endpoints    int                  // instances that serve HTTP
	resting      map[uint16]time.Time // ports that stopped instances had, and until when they are not used again

	answered, astray atomic.Uint64 // requests that instances answered; of these, those for another app

	ctx    context.Context // of the goroutines; set by Start
	cancel context.CancelFunc
	wg     sync.WaitGroup

	connMu      sync.Mutex // guards the rest
	connections []*connection
	closed      bool
}

// New makes a fleet without DEAs.
func New(o Options) *Fleet {
	f := &Fleet{opts: o, log: o.Logger, ids: wire.NewIDGenerator(o.Seed, "fleet"), byID: map[string]*dea{},
		apps: map[app.GUID]*presence{}, resting: map[uint16]time.Time{}, ending: make(chan struct{})}
	if o.Serve {
		f.hosts = newHosts()
	}
	return f
}

// Wanted is an app of which the instances 0 to Instances-1 run from the start.
type Wanted struct {
	App       app.Key
	Instances int
	URIs      []string
}

// LayOut makes the first DEAs, whose heartbeats are spread evenly over the period. It puts the wanted instances on
// them in turn, already running.
func (f *Fleet) LayOut(deas int, wanted []Wanted) error {
	connections, err := f.open(deas)
	if err != nil {
		return err
	}
	f.connMu.Lock()
	f.connections = connections
	f.connMu.Unlock()
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range deas {
		phase := time.Duration(float64(f.opts.HeartbeatPeriod) * float64(i) / float64(deas))
		f.addDEA(connections[i%len(connections)], now.Add(phase))
	}
	if len(f.deas) == 0 {
		return nil
	}
	next := 0
	for _, w := range wanted {
		f.presence(w.App.Droplet).setURIs(f, w.URIs)
		for i := range w.Instances {
			in := f.add(f.deas[next%len(f.deas)], w.App, uint32(i), actual.Running)
			in.since = now.UnixMicro() - f.ids.Int64N(int64(24*time.Hour/time.Microsecond))
			f.serve(in)
			next++
		}
	}
	return nil
}

// Start runs the fleet until ctx ends or Close is called. If NATS is up, every DEA receives start messages when
// Start returns.
func (f *Fleet) Start(ctx context.Context) error {
	f.ctx, f.cancel = context.WithCancel(ctx)
	f.connMu.Lock()
	connections := f.connections
	f.connections = nil
	f.connMu.Unlock()
	return f.run(connections)
}

// open makes the connections for n more DEAs: the shared ones, or one each.
func (f *Fleet) open(n int) ([]*connection, error) {
	inbox := 65536
	if f.opts.ConnectionPerDEA {
		inbox = 1024
	} else {
		n = f.opts.Connections
	}
	var connections []*connection
	for i := range n {
		nc, err := f.opts.Dial(fmt.Sprintf("hm-sim DEAs %d", i))
		if err != nil {
			for _, c := range connections {
				c.nc.Close()
			}
			return nil, err
		}
		c := newConnection(f, inbox)
		c.nc = nc
		connections = append(connections, c)
	}
	return connections, nil
}

// run starts the connections' goroutines and waits until their DEAs receive messages, if NATS is up.
func (f *Fleet) run(connections []*connection) error {
	f.connMu.Lock()
	if f.closed {
		f.connMu.Unlock()
		for _, c := range connections {
			c.nc.Close()
		}
		return wire.ErrClosed
	}
	f.connections = append(f.connections, connections...)
	for _, c := range connections {
		f.wg.Go(func() { c.send(f.ctx) })
		f.wg.Go(func() { c.receive(f.ctx) })
	}
	f.connMu.Unlock()
	for _, c := range connections {
		select {
		case <-c.ready:
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
	return nil
}

// Close ends the fleet and waits for its goroutines. It may be called more than once, and without Start.
func (f *Fleet) Close() {
	f.connMu.Lock()
	f.closed = true
	connections := f.connections
	f.connMu.Unlock()
	if f.cancel != nil {
		f.cancel()
	}
	f.mu.Lock()
	if !f.closing {
		f.closing = true
		close(f.ending)
	}
	for _, d := range f.deas {
		f.die(d)
	}
	f.mu.Unlock()
	f.wg.Wait()
	f.mu.Lock()
	for _, d := range f.deas {
		if d.poster != nil {
			d.poster.close()
		}
	}
	f.mu.Unlock()
	for _, c := range connections {
		c.nc.Close()
	}
}

func (f *Fleet) connectionsNow() []*connection {
	f.connMu.Lock()
	defer f.connMu.Unlock()
	return f.connections
}

// SetStartFailure sets the share, 0 to 1, of starting instances that crash instead of running.
func (f *Fleet) SetStartFailure(share float64) {
	f.mu.Lock()
	f.startFailure = share
	f.mu.Unlock()
}

// AppChanged marks an app to be counted again: the Cloud Controller changed its row.
func (f *Fleet) AppChanged(droplet app.GUID) {
	f.mu.Lock()
	f.touch(f.presence(droplet))
	f.mu.Unlock()
}

// Place chooses the DEA for one new instance, the one with the fewest instances. dea is empty if no DEA takes new
// instances.
func (f *Fleet) Place() (dea string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d := f.pool.pick(time.Now()); d != nil {
		return d.id
	}
	return ""
}

// IndexOf gives the index of an instance of an app; -1 if no DEA has it.
func (f *Fleet) IndexOf(droplet, instance app.GUID) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.apps[droplet]; p != nil {
		for _, in := range p.instances {
			if in.guid == instance {
				return int(in.index)
			}
		}
	}
	return -1
}

// LiveAt counts the instances of an app that are live at an index, on DEAs that are not cut off, besides the given
// one, and reports whether that one is live there itself.
func (f *Fleet) LiveAt(key app.Key, index uint32, instance app.GUID) (others int, itself bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.apps[key.Droplet]
	if p == nil {
		return 0, false
	}
	for _, in := range p.instances {
		switch {
		case in.version != key.Version || in.index != index || !in.state.Live() || !in.dea.connected():
		case !instance.IsZero() && in.guid == instance:
			itself = true
		default:
			others++
		}
	}
	return others, itself
}
