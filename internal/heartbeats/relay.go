package heartbeats

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hm/internal/sampled"
)

const (
	maxRelayWait = time.Second // how long a DEA's answer waits for the peers at most; the DEA waits for 5 s
	minRelayWait = 10 * time.Millisecond
	minBackoff   = 100 * time.Millisecond
	maxBackoff   = 2 * time.Second
	dialTimeout  = 2 * time.Second
)

// Wait is how long a heartbeat that arrived over HTTPS may take to the peers: half a heartbeat period, a second at most.
// The DEA gets its answer when all peers have it, or when this time is over; a peer drops what it gets later. So a DEA's
// next heartbeat is never overtaken by the one before, whichever node gets it.
func Wait(period time.Duration) time.Duration { return min(maxRelayWait, max(period/2, minRelayWait)) }

// followEvery is how often a Relay looks who the other nodes are.
const followEvery = 250 * time.Millisecond

// Peers reaches the other nodes. They may change.
type Peers interface {
	IDs() []string
	Dial(ctx context.Context, id string) (net.Conn, error) // to a peer that calls ServePeer with the connection
}

// Relay passes heartbeats on to the other nodes. Its methods are safe for concurrent use.
type Relay struct {
	wait   time.Duration
	peers  atomic.Pointer[[]*peer] // replaced as a whole when the other nodes change
	log    *sampled.Log
	stats  relayStats
	cancel context.CancelFunc
	ended  context.Context
	wg     sync.WaitGroup
}

// peer is one of the other nodes.
type peer struct {
	id      string
	gone    context.Context // ends when it is no other node any more, or the Relay is closed
	cancel  context.CancelFunc
	session atomic.Pointer[session] // nil while there is no connection
}

// NewRelay starts to connect to the peers. wait is how long Tell takes at most: see Wait.
func NewRelay(peers Peers, wait time.Duration, logger *slog.Logger) *Relay {
	r := &Relay{wait: wait, log: sampled.New(logger, logEvery, 1)}
	r.ended, r.cancel = context.WithCancel(context.Background())
	r.peers.Store(&[]*peer{})
	r.setPeers(peers)
	r.wg.Go(func() { r.follow(peers) })
	return r
}

// follow keeps one connection to each of the other nodes, whoever they are.
func (r *Relay) follow(peers Peers) {
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		select {
		case <-r.ended.Done():
			return
		case <-ticker.C:
			r.setPeers(peers)
		}
	}
}

// setPeers connects to nodes that are new, and ends the connections to those that are gone.
func (r *Relay) setPeers(peers Peers) {
	ids := peers.IDs()
	before := *r.peers.Load()
	now := make([]*peer, 0, len(ids))
	for _, p := range before {
		if slices.Contains(ids, p.id) {
			now = append(now, p)
		} else {
			p.cancel()
		}
	}
	kept := len(now)
	for _, id := range ids {
		if slices.ContainsFunc(before, func(p *peer) bool { return p.id == id }) {
			continue
		}
		p := &peer{id: id}
		p.gone, p.cancel = context.WithCancel(r.ended)
		now = append(now, p)
		r.wg.Go(func() { r.keepConnected(p, peers) })
	}
	if kept != len(before) || kept != len(now) {
		r.peers.Store(&now)
	}
}

// Close ends the connections. Every Tell returns.
func (r *Relay) Close() {
	r.cancel()
	r.wg.Wait()
}

// Connected is how many peers are connected.
func (r *Relay) Connected() (n int) {
	for _, p := range *r.peers.Load() {
		if p.session.Load() != nil {
			n++
		}
	}
	return n
}

// Tell passes a heartbeat on to every peer that is connected, and waits until all of them have it, at most for the time
// that NewRelay was given. Nobody may change body afterwards.
func (r *Relay) Tell(body []byte) {
	began := time.Now()
	peers := *r.peers.Load()
	answered := make(chan byte, len(peers)) // kinds of reply; it has room for all
	var told []*telling
	for _, p := range peers {
		if t := p.tell(body, began, r.wait, answered); t != nil {
			told = append(told, t)
		} else {
			r.stats.unreached.Add(1)
		}
	}
	timer := time.NewTimer(r.wait) // it ends after every deadline
	defer timer.Stop()
	open := len(told)
	for ; open > 0; open-- {
		select {
		case kind := <-answered:
			r.count(kind)
			continue
		case <-timer.C:
		case <-r.ended.Done():
		}
		break
	}
	for _, t := range told {
		t.session.forget(t)
	}
	r.stats.late.Add(uint64(open))
}

func (r *Relay) count(kind byte) {
	switch kind {
	case saysTaken:
		r.stats.told.Add(1)
	case saysRefused:
		r.stats.refused.Add(1)
	default:
		r.stats.late.Add(1)
	}
}

// tell queues a heartbeat for the peer; nil if the peer does not answer, or if too much waits for it.
func (p *peer) tell(body []byte, now time.Time, wait time.Duration, answered chan<- byte) *telling {
	s := p.session.Load()
	if s == nil {
		return nil
	}
	return s.tell(body, now, wait, answered)
}

// keepConnected connects to a peer again and again until it is gone, or the Relay is closed.
func (r *Relay) keepConnected(p *peer, peers Peers) {
	for backoff := minBackoff; p.gone.Err() == nil; {
		began := time.Now()
		err := r.connect(p, peers)
		if p.gone.Err() != nil {
			return
		}
		r.log.Log(slog.LevelInfo, p.id, "heartbeats that arrive over HTTPS do not reach a peer",
			func() []any { return []any{"peer", p.id, "error", err} })
		if time.Since(began) > 2*maxBackoff {
			backoff = minBackoff // the connection had worked
		}
		select {
		case <-p.gone.Done():
		case <-time.After(backoff/2 + rand.N(backoff/2)):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// connect opens one connection to a peer and uses it until it fails.
func (r *Relay) connect(p *peer, peers Peers) error {
	ctx, cancel := context.WithTimeout(p.gone, dialTimeout)
	conn, err := peers.Dial(ctx, p.id)
	cancel()
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(p.gone, func() { _ = conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	key, err := readGreeting(conn)
	if err != nil {
		return err
	}
	s := newSession(conn, key, r.wait, &r.stats)
	first, err := readReply(conn) // the peer gives its clock at once
	if err != nil {
		return err
	}
	s.take(first, time.Now())
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	p.session.Store(s)
	var writer sync.WaitGroup
	var writing error
	writer.Go(func() {
		if writing = s.write(); writing != nil {
			_ = conn.Close() // so that read ends
		}
	})
	err = s.read()
	p.session.Store(nil)
	s.end()
	writer.Wait()
	return errors.Join(writing, err)
}
