package liveview

import (
	"time"

	"hm/internal/api"
)

// Frame is everything that is shown at one moment. Its slices are only read.
type Frame struct {
	Title  string        // the program: "hm dev"
	About  string        // what runs: "3 nodes, 20 DEAs, ..."
	Now    time.Time     // the wall clock, or the recording's time; ages count from it
	Up     time.Duration // since the start
	Play   *Play         // how a recording is played; nil: all this happens now
	Places []Place       // where things listen, the most useful first

	Status *api.Status // of the leader, or of any node that answers; nil if none does
	Nodes  []Node      // as the program runs them, sorted by id; Status tells how they see each other
	Truth  *Truth      // nil if nobody knows it
	Faults []string    // what is broken on purpose at present

	Drift    History       // of Status.Drift
	Commands []api.Command // the newest first
	Events   []Event       // what was done here, or happened in the recording, the newest first

	Keys Keys // that do something
}

// Place is where something listens or is kept.
type Place struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// Node is one hm node of this process.
type Node struct {
	ID     string
	Down   bool          // closed on purpose
	BackIn time.Duration // until a closed one is opened again
}

// Truth is what the simulation knows and hm can only hear about.
type Truth struct {
	Apps      int  `json:"apps"`      // that should run
	DEAs      int  `json:"deas"`      // that speak
	Desired   int  `json:"desired"`   // indices that should run
	Settled   int  `json:"settled"`   // of these, those with exactly one running instance
	Undesired int  `json:"undesired"` // instances that run unwanted
	Converged bool `json:"converged"` // nothing is left to do
	Needless  int  `json:"needless"`  // starts at an index that was live, ever
	Harmful   int  `json:"harmful"`   // stops of the only live instance of a wanted index, ever (I3)
}

// Event is one thing that was done, and to what; or one that happened.
type Event struct {
	At     time.Time
	Text   string
	Failed bool // it could not be done, or is bad news
}
