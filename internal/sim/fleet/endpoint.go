package fleet

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/internal/sim/wire"
)

// MaxEndpoints bounds the instances that serve HTTP: each one listens on a port of its own.
const MaxEndpoints = 10_000

const (
	linger    = 50 * time.Millisecond  // how long a stopped instance still takes requests, until routers know of its end
	drain     = 500 * time.Millisecond // how long it may then take to end the requests that it has
	restingHB = 60                     // heartbeats in which a port is not used again, so that no late route leads astray
)

// endpoint is the HTTP server of one running instance.
type endpoint struct {
	host string
	port uint16
	app  string
	srv  *http.Server

	told  atomic.Int64 // when router.register was first sent, in Unix nanoseconds; 0: not yet
	known atomic.Int64 // when it was sent again, a heartbeat period later or more: by then the routers know it
}

// registered notes that router.register was sent.
func (e *endpoint) registered(now time.Time, period time.Duration) {
	if e.told.CompareAndSwap(0, now.UnixNano()) {
		return
	}
	if now.UnixNano()-e.told.Load() >= int64(period) {
		e.known.CompareAndSwap(0, now.UnixNano())
	}
}

// Answer is what an instance answers to every request.
type Answer struct {
	App      app.GUID `json:"app"`
	Version  app.GUID `json:"version"`
	Index    uint32   `json:"index"`
	Instance app.GUID `json:"instance"`
}

func (e *endpoint) address() string { return net.JoinHostPort(e.host, strconv.Itoa(int(e.port))) }

// serve opens the endpoint of a running instance. Fleet.mu is held, here and below.
func (f *Fleet) serve(in *instance) {
	if !f.opts.Serve || f.closing || in.endpoint != nil || len(in.app.uris) == 0 {
		return
	}
	if f.endpoints >= MaxEndpoints {
		f.log.Warn("an instance serves no HTTP: too many do", "limit", MaxEndpoints)
		return
	}
	host := f.hosts.of(in.dea)
	listener, err := f.freshPort(host, time.Now())
	if err != nil {
		f.log.Error("an instance serves no HTTP", "app", in.app.droplet.String(), "error", err)
		return
	}
	answer := wire.MustJSON(Answer{App: in.app.droplet, Version: in.version, Index: in.index, Instance: in.guid})
	e := &endpoint{host: host, port: uint16(listener.Addr().(*net.TCPAddr).Port), app: in.app.droplet.String()}
	e.srv = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f.answered.Add(1)
			if to := r.Header.Get("X-CF-ApplicationID"); to != "" && !strings.EqualFold(to, e.app) {
				f.astray.Add(1)
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(answer)
		}),
		ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
	}
	in.endpoint = e
	f.endpoints++
	f.wg.Go(func() { _ = e.srv.Serve(listener) }) // ends by hangUp, which closes the listener, too
}

// freshPort listens on a port of a host that no instance used a short while ago.
func (f *Fleet) freshPort(host string, now time.Time) (net.Listener, error) {
	var unfit []net.Listener
	defer func() {
		for _, l := range unfit {
			_ = l.Close()
		}
	}()
	for range 100 {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return nil, err
		}
		port := uint16(l.Addr().(*net.TCPAddr).Port)
		free, rests := f.resting[port]
		if !rests || now.After(free) {
			delete(f.resting, port)
			return l, nil
		}
		unfit = append(unfit, l)
	}
	return nil, errors.New("every port was in use a short while ago")
}

// hangUp closes an instance's endpoint. After a stop, which takes a DEA a moment, the routers have time to hear of it,
// and requests that the instance already has are answered; a crash breaks them off.
func (f *Fleet) hangUp(in *instance, stopped bool) {
	e := in.endpoint
	if e == nil {
		return
	}
	in.endpoint = nil
	f.endpoints--
	f.resting[e.port] = time.Now().Add(restingHB * f.opts.HeartbeatPeriod)
	if !stopped || f.closing {
		_ = e.srv.Close()
		return
	}
	f.wg.Go(func() {
		select {
		case <-time.After(linger):
		case <-f.ending:
		}
		ctx, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		if e.srv.Shutdown(ctx) != nil {
			_ = e.srv.Close()
		}
	})
}

// ServedSince reports whether an instance of the app has served without a break since t, and the routers have been told
// of it by then.
func (f *Fleet) ServedSince(droplet app.GUID, t time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.apps[droplet]; p != nil {
		for _, in := range p.instances {
			if e := in.endpoint; e != nil && (in.state == actual.Running || in.state == actual.Evacuating) {
				if known := e.known.Load(); known != 0 && known < t.UnixNano() {
					return true
				}
			}
		}
	}
	return false
}

// Endpoint is where a running instance serves HTTP.
type Endpoint struct {
	App      app.GUID
	Instance app.GUID
	Address  string // host:port
}

// Endpoints gives the endpoints of all instances that serve, in no order.
func (f *Fleet) Endpoints() []Endpoint {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]Endpoint, 0, f.endpoints)
	for _, p := range f.apps {
		for _, in := range p.instances {
			if in.endpoint != nil {
				all = append(all, Endpoint{App: p.droplet, Instance: in.guid, Address: in.endpoint.address()})
			}
		}
	}
	return all
}
