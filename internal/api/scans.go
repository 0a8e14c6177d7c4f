package api

import (
	"context"
	"net/http"
	"runtime"
	"time"
)

// Bounds on scans: requests that look at every app, DEA or command.
const (
	scanWait    = 5 * time.Second // for which a request waits until it may scan
	scanYield   = 256             // after so many items a scan lets other goroutines run
	scansPerCPU = 4               // one scan at a time for so many processors, so that the loop always finds one free
)

// gate bounds how many requests of a kind are answered at a time. nil: no bound.
type gate struct {
	slots chan struct{}
	wait  time.Duration
	what  string // the requests, for the problem
}

func newGate(slots int, wait time.Duration, what string) *gate {
	if slots == 0 {
		return nil
	}
	return &gate{slots: make(chan struct{}, slots), wait: wait, what: what}
}

func newScanGate() *gate {
	return newGate(max(1, runtime.GOMAXPROCS(0)/scansPerCPU), scanWait, "lists of the whole fleet")
}

// retryAfter is when a client that was refused should ask again.
const retryAfter = 2 * time.Second

// enter waits for a free slot. The caller must call leave after it. The error says that too many wait.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	if g == nil {
		return func() {}, nil
	}
	leave = func() { <-g.slots }
	select {
	case g.slots <- struct{}{}:
		return leave, nil
	default:
	}
	late := time.NewTimer(g.wait)
	defer late.Stop()
	select {
	case g.slots <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, errGone
	case <-late.C:
		p := problem(http.StatusServiceUnavailable, "busy", "this node is busy with other "+g.what, "try again in a moment, or ask another node")
		p.retryAfter = retryAfter
		return nil, p
	}
}

// yield lets other goroutines run now and then. i counts the items of a scan.
func yield(i int) {
	if i%scanYield == scanYield-1 {
		runtime.Gosched()
	}
}

// admitted answers a request within the bounds of its class.
func (s *Server) admitted(c class, e endpoint, w http.ResponseWriter, r *http.Request) error {
	leave, err := s.gates[c].enter(r.Context())
	if err != nil {
		return err
	}
	defer leave()
	return e(w, r)
}
