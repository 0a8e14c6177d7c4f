package api

import (
	"strings"
	"testing"
	"time"

	"hm/internal/app"
	"hm/raftfsm"
)

// FitBulk is fitBulk, for tests.
func FitBulk(view *raftfsm.State, wall Wall, keys []app.Key, limit int) []byte {
	var spelled []spelledKey
	for _, k := range keys {
		spelled = append(spelled, spelledKey{Key: k})
	}
	answer, _ := AppObjects{View: view, Wall: wall}.fitBulk(spelled, limit)
	return answer
}

// AppState is AppObjects.One with the default options.
func AppState(view *raftfsm.State, fresh bool, wall Wall, request []byte) []byte {
	return AppObjects{View: view, Wall: wall}.One(fresh, request)
}

// AppStateBulk is AppObjects.Bulk with the default options.
func AppStateBulk(view *raftfsm.State, fresh bool, wall Wall, request []byte) []byte {
	return AppObjects{View: view, Wall: wall}.Bulk(fresh, request)
}

// MaxFollowers is maxFollowers.
const MaxFollowers = maxFollowers

// SetEventPatience changes for the time of a test how long a client of a stream may read nothing, and how often
// something is sent.
func SetEventPatience(t *testing.T, idle, heartbeat time.Duration) {
	oldIdle, oldHeartbeat := eventIdle, eventHeartbeat
	eventIdle, eventHeartbeat = idle, heartbeat
	t.Cleanup(func() { eventIdle, eventHeartbeat = oldIdle, oldHeartbeat })
}

// Followers counts the streams of events under way.
func (s *Server) Followers() int { return len(s.followers) }

// DropSelections drops what is kept for further pages.
func (s *Server) DropSelections() {
	s.selections.mu.Lock()
	defer s.selections.mu.Unlock()
	s.selections.kept = nil
}

// TakeSample takes a sample for GET /v1/series now.
func (s *Server) TakeSample() { s.samples.add(s.sample()) }

// DropPass drops the newest pass over the fleet and the sorted keys.
func (s *Server) DropPass() {
	s.fleet.mu.Lock()
	s.fleet.current, s.fleet.lists = nil, nil
	s.fleet.newest.Store(nil)
	s.fleet.mu.Unlock()
	s.keys.mu.Lock()
	s.keys.keys = nil
	s.keys.mu.Unlock()
}

// SetPatience changes for the time of a test how long a client may take to send the header of a request, and all of it.
func SetPatience(t *testing.T, header, request time.Duration) {
	old := patience
	patience.header, patience.request = header, request
	t.Cleanup(func() { patience = old })
}

// SetElectionPatience changes for the time of a test how long a write waits for a leader that is being elected.
func SetElectionPatience(t *testing.T, d time.Duration) {
	old := patience.election
	patience.election = d
	t.Cleanup(func() { patience.election = old })
}

// SetSmallFleet changes how many desired apps make a fleet large. Nothing may have been asked yet.
func (s *Server) SetSmallFleet(apps int) { s.fleet.small = apps }

// BeBusy takes every slot for lists and for scans, and lets further ones wait for a while only. The function that it returns
// gives the slots back.
func (s *Server) BeBusy(wait time.Duration) (idle func()) {
	gates := []*gate{s.gates[classList], s.selections.scans}
	for _, g := range gates {
		g.wait = wait
		for range cap(g.slots) {
			g.slots <- struct{}{}
		}
	}
	return func() {
		for _, g := range gates {
			for range cap(g.slots) {
				<-g.slots
			}
		}
	}
}

// Operation is what tests need of an operation: how it is asked, and a value for each parameter that it must refuse.
type Operation struct {
	Method, Path string
	Wrong        map[string]string
	Lenient      bool // it ignores parameters that it does not have
}

// Operations gives every operation.
func Operations() (out []Operation) {
	for _, o := range table() {
		method, path, _ := strings.Cut(o.pattern, " ")
		x := Operation{Method: method, Path: path, Wrong: map[string]string{}, Lenient: o.class == classProbe || o.class == classScrape || o.class == classBulk}
		for _, p := range o.query() {
			x.Wrong[p.name] = p.wrong
		}
		out = append(out, x)
	}
	return out
}
