// Package bus is a node's link to NATS. A Link connects for ever, knows since when it has heard everything
// without a gap (State), hands messages to subscribers, and publishes at once or not at all.
//
// Each time the link is up it stands on one nats.Conn that never reconnects by itself: when it breaks, the link
// opens a new one. So nothing that was given to a broken connection can be sent over a later one, the states of
// nats.go that end a connection for good (an error from the server that it does not know) end nothing here, and a
// server that is away at boot is like one that goes away later.
package bus

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/notify"
	"hm/internal/sampled"
)

// Limits of the link's own behaviour.
const (
	connectTimeout = 2 * time.Second // for the dial to one address, and for the greeting that follows
	maxWait        = 2 * time.Second // longest pause between two rounds of the servers
	minWait        = 50 * time.Millisecond
	maxPingsOut    = 1 // unanswered pings after which the next one declares the link down: two at most go unanswered
	drainTimeout   = 5 * time.Second
	logEvery       = 10 * time.Second
)

// Options says where the servers are and how to get in. At most one way of authentication may be given, besides a
// client certificate; user and password inside a server's URL hold for that server.
type Options struct {
	// Servers are tried in this order, and after a loss from the one behind the lost server on; there is no
	// random order, and servers that NATS itself announces are not used. nats:// or tls://, or just host:port.
	Servers []string
	// Username with Password, or Token, or Creds: the path of a NATS credentials file, read anew at each attempt.
	Username, Password, Token, Creds string
	TLS                              TLS
	// PingInterval is how often the server is asked for a sign of life. A link that has gone silent is declared
	// down after maxPingsOut+1 = 2 of them at the latest. Default 2 s.
	PingInterval time.Duration
	Name         string // what the server shows for this client
	Logger       *slog.Logger
}

// TLS holds paths of PEM files, which are read anew at each attempt. Any of them set makes TLS a must.
type TLS struct {
	CA        string // authorities to trust instead of the system's
	Cert, Key string // the client's own certificate, both or none
}

// Link is one node's connection to NATS, with everything that must survive the loss of it. All methods are safe
// for concurrent use.
type Link struct {
	opts    Options
	servers []address
	auth    []nats.Option
	logger  *slog.Logger
	log     *sampled.Log

	stop    context.Context // ended by Close
	cancel  context.CancelFunc
	loops   sync.WaitGroup // the owner and the publisher
	calls   sync.WaitGroup // requests under way
	ended   chan struct{}  // closed when Close is done
	jobs    chan *job
	changed notify.Signal

	marker atomic.Pointer[Marker] // nil: the lag is not measured

	live atomic.Pointer[spell] // the connection whose messages count; from before its subscriptions are made

	subMu sync.Mutex // held while subscriptions are made; guards subs
	subs  []*subscription

	mu       sync.Mutex
	state    State
	up       *spell // nil while the link is down
	unlogged int    // drops that are counted and not yet logged
	refused  refusals
	closed   bool
}

// spell is one connection, from its greeting to its end.
type spell struct {
	nc     *nats.Conn
	server string
	gone   chan struct{} // closed when nc is closed for good
	taps   []*tap        // guarded by Link.mu

	verdicts verdicts
	retry    retry // guarded by Link.subMu
}

// tap is one subscription during one spell.
type tap struct {
	sub     *nats.Subscription
	s       *subscription
	dropped int // as last counted
}

// Validate reports what is wrong with the options. It reads the files that they name, and connects to nothing.
func (o Options) Validate() error {
	if _, err := parseServers(o.Servers); err != nil {
		return err
	}
	_, err := authOptions(o)
	return err
}

// Open starts a link. It returns at once, whether a server can be reached or not, and fails only for options that
// can never work: no server, an address or a file that is not what it should be, two ways of authentication. Its
// errors and everything that a link logs are free of passwords and tokens. The caller must Close it.
func Open(o Options) (*Link, error) {
	if o.PingInterval <= 0 {
		o.PingInterval = 2 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	servers, err := parseServers(o.Servers)
	if err != nil {
		return nil, err
	}
	auth, err := authOptions(o)
	if err != nil {
		return nil, err
	}
	l := &Link{
		opts: o, servers: servers, auth: auth, logger: o.Logger, log: sampled.New(o.Logger, logEvery, 1),
		ended: make(chan struct{}), jobs: make(chan *job), changed: notify.New(),
		state: State{Since: time.Now()}, refused: newRefusals(),
	}
	l.stop, l.cancel = context.WithCancel(context.Background())
	l.loops.Go(l.run)
	l.loops.Go(l.publisher)
	return l, nil
}

// run owns the connection: it makes one, watches it until it is gone, and starts over.
func (l *Link) run() {
	var retry backoff
	for next := 0; ; {
		sp, at := l.connect(next, &retry)
		if sp == nil {
			return
		}
		l.setUp(sp)
		began := time.Now()
		l.watch(sp)
		if l.stop.Err() != nil {
			return // Close drains what is left
		}
		l.setDown(sp)
		next = (at + 1) % len(l.servers)
		if time.Since(began) >= maxWait {
			retry.reset()
		}
	}
}

// watch looks for drops, and asks again for what is refused, until the spell ends or the link is to stop.
func (l *Link) watch(sp *spell) {
	tick := time.NewTicker(min(max(l.opts.PingInterval/4, 10*time.Millisecond), 500*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-sp.gone:
			return
		case <-l.stop.Done():
			return
		case <-tick.C:
			l.countDrops()
			l.askAgain(sp)
		}
	}
}

// Close stops publishing, lets the subscribers handle what has been received, and waits until the last of them
// has returned and every goroutine of the link has ended. Subscribers that need longer than drainTimeout for
// what is pending lose the rest, and Close says so. It must not be called by a subscriber.
func (l *Link) Close() error {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	if !first {
		<-l.ended
		return nil
	}
	defer close(l.ended)
	l.cancel()
	l.loops.Wait()

	var err error
	if sp := l.live.Load(); sp != nil {
		err = sp.drain()
	}
	l.live.Store(nil)
	l.calls.Wait()
	l.subMu.Lock()
	for _, s := range l.subs {
		s.turn.Lock() // waits for the handler that still runs
		s.ended = true
		s.turn.Unlock()
	}
	l.subMu.Unlock()
	l.setClosed()
	return err
}

// drain lets the spell's subscribers finish and closes the connection.
func (sp *spell) drain() error {
	if err := sp.nc.Drain(); err != nil {
		sp.nc.Close()
		<-sp.gone
		return nil // it was down already, and nothing is pending on a connection that is gone
	}
	<-sp.gone // nats.go closes after its DrainTimeout at the latest
	if errors.Is(sp.nc.LastError(), nats.ErrDrainTimeout) {
		return errors.New("nats link closed before its subscribers had handled all that was received: they took longer than " + drainTimeout.String())
	}
	return nil
}
