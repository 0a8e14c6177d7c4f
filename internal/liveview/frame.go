package liveview

import (
	"time"

	"hm/internal/api"
)

// Frame is everything that is shown at one time. Nobody changes its slices.
type Frame struct {
	Title     string        // the program: "hm dev"
	Dashboard string        // address of the dashboard; empty: there is none
	About     string        // what runs: "3 nodes, 20 DEAs, ..."
	Now       time.Time     // of the wall clock or of the recording; ages are relative to it
	Up        time.Duration // since the start
	Play      *Play         // how a recording is played; nil: this is live
	Places    []Place       // addresses, the most useful first

	Status *api.Status // of the leader, or of any node that answers; nil if none does
	Nodes  []Node      // of this process, sorted by id; Status has how they see each other
	Truth  *Truth      // nil if it is not known
	Faults []string    // that are injected at present

	Drift    History       // of Status.Drift
	Commands []api.Command // the newest first
	Events   []Event       // actions of the user, or events of the recording, the newest first

	Keys Keys // that do something
}

// Place is the address of a part, or the path of a file.
type Place struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// Node is one hm node of this process.
type Node struct {
	ID     string
	Down   bool          // closed by a fault
	BackIn time.Duration // until a closed node is opened again
}

// Truth is the state of the simulation, of which hm learns only through messages.
type Truth struct {
	Apps      int  `json:"apps"`      // that should run
	DEAs      int  `json:"deas"`      // that send heartbeats
	Desired   int  `json:"desired"`   // indices that should run
	Settled   int  `json:"settled"`   // of these, those with exactly one running instance
	Undesired int  `json:"undesired"` // instances that run unwanted
	Converged bool `json:"converged"` // desired and actual agree
	Needless  int  `json:"needless"`  // starts at an index that was live, ever
	Harmful   int  `json:"harmful"`   // stops of the only live instance of a wanted index, ever (I3)

	// What users see, if there is a router.
	Router         bool   `json:"router,omitempty"`
	Routes         int    `json:"routes,omitempty"`          // that the router knows
	Requests       uint64 `json:"requests,omitempty"`        // sent to all apps, ever
	RequestsFailed uint64 `json:"requests_failed,omitempty"` // of these, to an app that could be reached, ever
	RequestsLost   uint64 `json:"requests_lost,omitempty"`   // of these, to an app without an instance that served, ever
}

// Event is an action of the user, or an event of the recording.
type Event struct {
	At     time.Time
	Text   string
	Failed bool // the action failed, or the event is bad
}
