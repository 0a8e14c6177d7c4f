package api

import (
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
	answer, _ := fitBulk(view, wall, spelled, limit)
	return answer
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
