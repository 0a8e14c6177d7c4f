package recorder

import (
	"hm/internal/api"
	"hm/internal/app"
	"hm/raftfsm"
)

// NodeInfoOf returns what a node's status says that NATS does not carry.
func NodeInfoOf(s api.Status) NodeInfo {
	info := NodeInfo{Term: s.Cluster.Term}
	if s.Cluster.Leader == "" {
		info.Term = 0 // between two leaders
	}
	for _, h := range s.Holds {
		hold := raftfsm.Hold{Name: h.Name, Reason: h.Reason, By: h.By}
		if !h.Until.IsZero() {
			hold.Until = app.TimeOf(h.Until.Time)
		}
		info.Holds = append(info.Holds, hold)
	}
	return info
}
