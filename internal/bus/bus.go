// Package bus is a node's link to NATS. A Link tries to connect for ever, knows since when it has received everything
// without a gap (State), passes messages to subscribers, and publishes at once or not at all.
//
// While the link is up it uses one nats.Conn that never reconnects by itself: when it breaks, the link opens a new one.
// So nothing that was given to a broken connection can be sent over a later one. An error from the server that nats.go
// does not know ends the connection, but not the link. And a server that is away at the start is like one that goes
// away later.
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
	"hm/internal/tlsfiles"
)

// Limits of the link's own behaviour.
const (
	connectTimeout = 2 * time.Second // for the dial to one address, and for the handshake that follows
	maxWait        = 2 * time.Second // longest pause between two rounds of attempts
	minWait        = 50 * time.Millisecond
	maxPingsOut    = 1 // unanswered pings that are allowed: the next one takes the link down
	drainTimeout   = 5 * time.Second
	logEvery       = 10 * time.Second
)

// Options says where the servers are and how to authenticate. At most one way may be given, besides a client
// certificate; a user and password in a server's URL are for that server.
type Options struct {
	// Servers are tried in this order; after a loss, the attempts begin with the one after the lost server. Those that did
	// not answer at their last attempt come last. The order is not random, and servers that NATS itself announces are not used. nats:// or tls://, or just host:port.
	Servers []string
	// Username with Password, or Token, or Creds: the path of a NATS credentials file, which is read at each attempt.
	Username, Password, Token, Creds string
	TLS                              TLS
	// TLSFiles reads the files of TLS again when they change; nil: they are read once.
	TLSFiles *tlsfiles.Watcher
	// PingInterval is the time between two pings to the server. A silent link is down after maxPingsOut+1 = 2 of them at
	// the latest. Default 2 s.
	PingInterval time.Duration
	Name         string // what the server shows for this client
	Logger       *slog.Logger
}

// TLS holds paths of PEM files. If one is set, TLS is required.
type TLS struct {
	CA        string // authorities to trust instead of the system's
	Cert, Key string // the client's own certificate, both or none
}

// Link is one node's link to NATS, with everything that must survive the loss of a connection. All methods are safe for
// concurrent use.
type Link struct {
	opts    Options
	servers []address
	silent  []bool // servers that did not answer at the last attempt; only run uses it
	auth    []nats.Option
	tls     *tlsfiles.Set // nil: no TLS, unless the address asks for it
	logger  *slog.Logger
	log     *sampled.Log

	stop    context.Context // ended by Close
	cancel  context.CancelFunc
	loops   sync.WaitGroup // the owner and the publisher
	calls   sync.WaitGroup // open requests
	ended   chan struct{}  // closed when Close is done
	jobs    chan *job
	changed notify.Signal

	marker atomic.Pointer[Marker] // nil: the lag is not measured
	began  time.Time
	heard  atomic.Int64 // when a message was last delivered, in ns since began

	live atomic.Pointer[session] // the connection whose messages count; set before its subscriptions are made

	overlap atomic.Pointer[overlap] // of the newest move to another server; nil: it is over

	subMu sync.Mutex // held while subscriptions are made; guards subs
	subs  []*subscription

	mu       sync.Mutex
	state    State
	up       *session // nil while the link is down
	unlogged int      // drops that are counted and not yet logged
	refused  refusals
	closed   bool
}

// session is one connection, from its handshake to its end.
type session struct {
	nc        *nats.Conn
	server    string
	at        int           // number of the server in Options.Servers
	gone      chan struct{} // closed when nc is closed for good
	shutsDown chan struct{} // receives when the server says that it shuts down
	active    []*activeSub  // guarded by Link.mu

	hold    chan struct{} // messages wait until it is closed; nil: they do not
	refuses atomic.Bool   // the server refuses something that the live session's does not

	handled handledErrors
	retry   retry // guarded by Link.subMu
}

// activeSub is a subscription on the connection of one session.
type activeSub struct {
	sub     *nats.Subscription
	s       *subscription
	dropped int // messages, as last counted
}

// Validate returns the error that Open would return for the options. It reads their files and connects to nothing.
func (o Options) Validate() error {
	if _, err := parseServers(o.Servers); err != nil {
		return err
	}
	if _, err := loadTLS(o.TLS, nil); err != nil {
		return err
	}
	_, err := authOptions(o)
	return err
}

// Open starts a link. It returns at once, whether a server can be reached or not, and fails only for options that can
// never work: no server, a bad address or file, two ways of authentication. Neither its errors nor what a link logs
// contain passwords or tokens. The caller must Close it.
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
	files, err := loadTLS(o.TLS, o.TLSFiles)
	if err != nil {
		return nil, err
	}
	l := &Link{
		opts: o, servers: servers, silent: make([]bool, len(servers)), auth: auth, tls: files, logger: o.Logger, log: sampled.New(o.Logger, logEvery, 1),
		ended: make(chan struct{}), jobs: make(chan *job), changed: notify.New(),
		state: State{Since: time.Now()}, refused: newRefusals(), began: time.Now(),
	}
	l.stop, l.cancel = context.WithCancel(context.Background())
	l.loops.Go(l.run)
	l.loops.Go(l.publisher)
	return l, nil
}

// run owns the connection: it opens one, watches it until it is closed, and starts again.
func (l *Link) run() {
	var retry backoff
	for next := 0; ; {
		ses := l.connect(next, &retry)
		if ses == nil {
			return
		}
		l.setUp(ses)
		began := time.Now()
		for now := ses; now != nil; now = l.setDown(ses) {
			ses = now
			l.watch(ses)
			if l.stop.Err() != nil {
				return // Close handles the pending messages
			}
		}
		next = (ses.at + 1) % len(l.servers)
		if time.Since(began) >= maxWait {
			retry.reset()
		}
	}
}

// watch counts drops and retries refused subscriptions, until the session ends, another one has taken over, or the link
// is to stop.
func (l *Link) watch(ses *session) {
	moving, cancel := context.WithCancel(l.stop)
	defer cancel()
	tick := time.NewTicker(min(max(l.opts.PingInterval/4, 10*time.Millisecond), 500*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ses.gone:
			return
		case <-l.stop.Done():
			return
		case <-ses.shutsDown:
			l.loops.Go(func() { l.moveFrom(moving, ses) })
		case <-tick.C:
			if l.current() != ses {
				return
			}
			if o := l.overlap.Load(); o != nil && o.over() {
				l.overlap.CompareAndSwap(o, nil)
			}
			l.countDrops()
			l.retryRefused(ses)
		}
	}
}

// Close stops publishing, lets the subscribers handle the messages received so far, and waits until every subscriber has
// returned and every goroutine of the link has ended. If that takes longer than drainTimeout, the remaining messages are
// lost, and Close returns an error. It must not be called by a subscriber.
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
	if ses := l.live.Load(); ses != nil {
		if err = ses.drain(); err == nil {
			l.subMu.Lock()
			l.flushNewest()
			l.subMu.Unlock()
		}
	}
	l.live.Store(nil)
	l.calls.Wait()
	l.subMu.Lock()
	for _, s := range l.subs {
		s.turn.Lock() // waits for a handler that still runs
		s.ended = true
		s.turn.Unlock()
	}
	l.subMu.Unlock()
	l.setClosed()
	return err
}

// drain lets the session's subscribers finish and closes the connection.
func (ses *session) drain() error {
	if err := ses.nc.Drain(); err != nil {
		ses.nc.Close()
		<-ses.gone
		return nil // it was down already; nothing is pending on a closed connection
	}
	<-ses.gone // nats.go closes after its DrainTimeout at the latest
	if errors.Is(ses.nc.LastError(), nats.ErrDrainTimeout) {
		return errors.New("the nats link was closed before its subscribers had handled all messages: " +
			"they took longer than " + drainTimeout.String())
	}
	return nil
}
