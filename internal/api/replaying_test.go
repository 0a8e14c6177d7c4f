package api_test

import (
	"testing"
	"time"

	"hm/internal/api/apitest"
)

// TestTheFirstStatusWaitsForTheLog: a node that replays its log lacks a part of the record. In a large fleet its first
// status waits, in a small one it does not.
func TestTheFirstStatusWaitsForTheLog(t *testing.T) {
	w := apitest.Fleet()
	w.Replays = true
	s, base := serveWith(t, w.Options())
	s.SetSmallFleet(1)
	began := time.Now()
	time.AfterFunc(100*time.Millisecond, func() {
		w.Lock()
		defer w.Unlock()
		w.Replays = false
	})
	if resp, raw := ask(t, "GET", base+"/v1/status", ""); resp.StatusCode != 200 || time.Since(began) < 100*time.Millisecond {
		t.Errorf("after %v: %d %s", time.Since(began), resp.StatusCode, raw)
	}
	w.Lock()
	w.Replays = true // which happens to no node: a node replays only at its start
	w.Unlock()
	began = time.Now()
	if ask(t, "GET", base+"/v1/status", ""); time.Since(began) > time.Second {
		t.Errorf("a later status took %v", time.Since(began))
	}

	small := apitest.Fleet()
	small.Replays = true
	began = time.Now()
	if ask(t, "GET", serve(t, small.Options())+"/v1/status", ""); time.Since(began) > time.Second {
		t.Errorf("the first status of a small fleet took %v", time.Since(began))
	}
}
