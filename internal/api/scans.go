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

// scanGate bounds how many scans run in parallel.
type scanGate chan struct{}

func newScanGate() scanGate { return make(scanGate, max(1, runtime.GOMAXPROCS(0)/scansPerCPU)) }

// enter waits until a scan may begin. The caller must call leave after it. The error says that too many wait.
func (g scanGate) enter(ctx context.Context) (leave func(), err error) {
	leave = func() { <-g }
	select {
	case g <- struct{}{}:
		return leave, nil
	default:
	}
	late := time.NewTimer(scanWait)
	defer late.Stop()
	select {
	case g <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, errGone
	case <-late.C:
		p := problem(http.StatusServiceUnavailable, "busy", "this node is busy with other lists of the whole fleet", "try again in a moment, or ask another node")
		p.retryAfter = 2 * time.Second
		return nil, p
	}
}

// yield lets other goroutines run now and then. i counts the items of a scan.
func yield(i int) {
	if i%scanYield == scanYield-1 {
		runtime.Gosched()
	}
}
