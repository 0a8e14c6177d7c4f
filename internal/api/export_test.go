package api

import (
	"hm/internal/app"
	"hm/raftfsm"
)

// FitBulk is fitBulk, for tests.
func FitBulk(view *raftfsm.State, wall Wall, keys []app.Key, limit int) []byte {
	answer, _ := fitBulk(view, wall, keys, limit)
	return answer
}
