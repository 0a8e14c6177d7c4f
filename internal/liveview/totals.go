package liveview

import (
	"fmt"
	"reflect"
	"strings"

	"hm/internal/api"
)

// Totals summarise a frame in one line, for people or as JSON.
type Totals struct {
	Leader      string   `json:"leader"` // node id; empty if there is none
	NodesUp     int      `json:"nodes_up"`
	GateOpen    bool     `json:"gate_open"`
	GateReasons []string `json:"gate_reasons"` // never null; why it is closed

	DEAs      int `json:"deas"`
	Apps      int `json:"apps"`
	Desired   int `json:"desired"` // instances
	Running   int `json:"running"`
	Starting  int `json:"starting"`
	Crashed   int `json:"crashed"`
	Drift     int `json:"drift"` // findings of every kind
	Missing   int `json:"missing"`
	Extra     int `json:"extra"`
	Duplicate int `json:"duplicate"`
	Undesired int `json:"undesired"`

	Commands api.CommandsStatus `json:"commands"`
	Truth    Truth              `json:"truth"`
}

// TotalsOf summarises a frame.
func TotalsOf(f Frame) Totals {
	t := Totals{GateReasons: []string{}}
	if f.Truth != nil {
		t.Truth = *f.Truth
	}
	for _, n := range f.Nodes {
		if !n.Down {
			t.NodesUp++
		}
	}
	s := f.Status
	if _, blind := f.Source.Blind(); s == nil || blind { // old numbers must not count as new
		return t
	}
	t.Leader, t.GateOpen, t.GateReasons = s.Cluster.Leader, s.Gate.Open, append(t.GateReasons, s.Gate.Reasons...)
	t.DEAs, t.Apps, t.Desired = s.Actual.DEAs, s.Desired.Apps, s.Desired.Instances
	t.Running, t.Starting, t.Crashed = s.Actual.Running, s.Actual.Starting, s.Actual.Crashed
	t.Drift, t.Missing, t.Extra, t.Duplicate, t.Undesired = s.Drift.Total(), s.Drift.Missing, s.Drift.Extra,
		s.Drift.Duplicate, s.Drift.Undesired
	t.Commands = s.Commands
	return t
}

// Equal reports whether two totals are equal but for the number of requests, which always grows.
func (t Totals) Equal(o Totals) bool {
	t.Truth.Requests = o.Truth.Requests
	return reflect.DeepEqual(t, o)
}

// String returns the totals in one line for people.
func (t Totals) String() string {
	gate := "open"
	if !t.GateOpen {
		gate = "closed (" + orElse(strings.Join(t.GateReasons, ", "), "no answer") + ")"
	}
	verdict := "converging"
	if t.Truth.Converged {
		verdict = "converged"
	}
	if t.Truth.Router {
		verdict = fmt.Sprintf("requests %d (%d failed, %d to apps that were down), %s", t.Truth.Requests,
			t.Truth.RequestsFailed, t.Truth.RequestsLost, verdict)
	}
	return fmt.Sprintf("gate %s, leader %s, %d nodes, %d DEAs, %d of %d running, drift %d (%d missing), starts %d + %d sent, stops %d + %d sent, %s",
		gate, orElse(t.Leader, "none"), t.NodesUp, t.DEAs, t.Running, t.Desired, t.Drift, t.Missing,
		t.Commands.PendingStarts, t.Commands.SentStarts, t.Commands.PendingStops, t.Commands.SentStops, verdict)
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
