package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"hm/internal/app"
	"hm/internal/sim/cc"
	"hm/internal/sim/fleet"
	"hm/internal/sim/router"
	"hm/internal/sim/wire"
)

const (
	maxRequestRate  = 20_000           // requests a second
	requestPatience = 30 * time.Second // for one request
	maxFailures     = 100              // kept
)

// users sends requests through the router to all apps that should run, in turn, at a constant rate.
type users struct {
	sim  *Sim
	http *http.Client

	sent, answered, failed, excused, astray atomic.Uint64

	mu       sync.Mutex
	apps     []app.GUID
	turn     int
	failures []Failure // the oldest first
}

// Requests counts what users sent through the router and what became of it.
type Requests struct {
	Sent     uint64 `json:"sent"`
	Answered uint64 `json:"answered"` // by an instance of the app
	// Failed had no answer of the app, although an instance of it served all the while and the router had been told of it.
	Failed  uint64 `json:"failed"`
	Excused uint64 `json:"excused"` // had no answer, and no such instance
	Astray  uint64 `json:"astray"`  // part of Failed and Excused: another app answered
}

// Failure is a request that was not answered by its app.
type Failure struct {
	At      time.Time `json:"at"`
	App     app.GUID  `json:"app"`
	Detail  string    `json:"detail"`
	Excused bool      `json:"excused"` // no instance of the app served all the while
}

func newUsers(s *Sim) *users {
	return &users{sim: s, http: &http.Client{
		Timeout:   requestPatience,
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 10 * time.Second, DisableCompression: true},
	}}
}

// start sends requests until ctx ends.
func (u *users) start(ctx context.Context, wg *sync.WaitGroup) {
	rate := u.sim.opts.Requests
	if rate == 0 {
		return
	}
	u.learn()
	const perWorker = 50 // requests a second, so that a worker has time for a slow one
	workers := min(max(rate/perWorker, 1), 64)
	every := time.Duration(float64(time.Second) * float64(workers) / float64(rate))
	for i := range workers {
		wg.Go(func() { u.work(ctx, every, every*time.Duration(i)/time.Duration(workers)) })
	}
	wg.Go(func() {
		defer u.http.CloseIdleConnections()
		tick := time.NewTicker(u.sim.opts.HeartbeatPeriod)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				u.learn()
			}
		}
	})
}

// learn notes the apps that should run.
func (u *users) learn() {
	var apps []app.GUID
	u.sim.CC.Read(func(v cc.View) {
		for _, r := range v.Apps(0, fleet.MaxEndpoints) {
			if r.Startable() && r.Instances > 0 {
				apps = append(apps, r.GUID)
			}
		}
	})
	u.mu.Lock()
	u.apps = apps
	u.mu.Unlock()
}

func (u *users) work(ctx context.Context, every, first time.Duration) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(first):
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if guid, ok := u.next(); ok {
				u.request(ctx, guid)
			}
		}
	}
}

func (u *users) next() (guid app.GUID, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.apps) == 0 {
		return guid, false
	}
	u.turn = (u.turn + 1) % len(u.apps)
	return u.apps[u.turn], true
}

// request sends one request and counts what became of it.
func (u *users) request(ctx context.Context, guid app.GUID) {
	began := time.Now()
	astray, err := u.ask(ctx, guid)
	if ctx.Err() != nil {
		return // the simulation ends
	}
	u.sent.Add(1)
	if err == nil {
		u.answered.Add(1)
		return
	}
	f := Failure{At: began, App: guid, Detail: err.Error(), Excused: !u.sim.Fleet.ServedSince(guid, began)}
	if f.Excused {
		u.excused.Add(1)
	} else {
		u.failed.Add(1)
	}
	if astray {
		u.astray.Add(1)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.failures) >= maxFailures {
		u.failures = u.failures[1:]
	}
	u.failures = append(u.failures, f)
}

// ask sends one request. It returns an error unless an instance of the app answered; astray says that one of another app
// did.
func (u *users) ask(ctx context.Context, guid app.GUID) (astray bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.sim.Router.URL()+"/", nil)
	if err != nil {
		return false, err
	}
	req.Host = wire.AppURI(guid)
	res, err := u.http.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return false, fmt.Errorf("reading the answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return false, fmt.Errorf("status %d %s: %.300s", res.StatusCode, res.Header.Get(router.HeaderError), body)
	}
	var a fleet.Answer
	if err := json.Unmarshal(body, &a); err != nil {
		return false, fmt.Errorf("answer %.80q: %w", body, err)
	}
	if a.App != guid {
		return true, fmt.Errorf("app %s answered", a.App)
	}
	return false, nil
}

func (u *users) counts() Requests {
	return Requests{Sent: u.sent.Load(), Answered: u.answered.Load(), Failed: u.failed.Load(),
		Excused: u.excused.Load(), Astray: u.astray.Load()}
}

// Failures gives the newest requests that were not answered, the oldest first.
func (s *Sim) Failures() []Failure {
	if s.users == nil {
		return nil
	}
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	return append([]Failure{}, s.users.failures...)
}

// errNoRouter: the simulation has no router.
var errNoRouter = fmt.Errorf("%w: there is no router; give it an address", ErrNotFound)

// RouterView is the router and the users' requests.
type RouterView struct {
	Router   router.Status `json:"router"`
	Requests Requests      `json:"requests"`
	Failures []Failure     `json:"failures"` // the newest, the oldest of them first
}

func (s *Sim) routerView() (RouterView, error) {
	if s.Router == nil {
		return RouterView{}, errNoRouter
	}
	return RouterView{Router: s.Router.Status(), Requests: s.users.counts(), Failures: s.Failures()}, nil
}
