package api

import (
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
