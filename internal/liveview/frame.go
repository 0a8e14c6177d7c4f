package liveview

import (
	"time"

	"hm/internal/api"
	"hm/internal/words"
)

// Frame is everything that is known at one time, whatever of it a screen shows. Nobody changes its slices.
type Frame struct {
	Title     string        // the program: "hm dev"
	Dashboard string        // address of the dashboard; empty: there is none
	About     string        // what runs: "3 nodes, 20 DEAs, ..."
	Now       time.Time     // of the answer or of the recording; ages are relative to it
	Up        time.Duration // since the start
	Play      *Play         // how a recording is played; nil: this is live
	Source    *Source       // where the numbers come from; nil: from a recording
	Places    []Place       // addresses, the most useful first

	Status *api.Status // of the leader, or of any node that answers; nil if none ever did
	Nodes  []Node      // of this process, sorted by id; Status has how they see each other
	Truth  *Truth      // nil if it is not known
	Faults []string    // that are injected at present

	Drift    History       // of Status.Drift
	Rates    Rates         // of the commands
	Commands []api.Command // the newest first
	Events   []Event       // actions of the user, or events of the recording, the newest first
	Happened []Event       // events of the cluster, the newest first

	// What a screen asked for; see Query.
	Apps   List[api.AppItem]
	DEAs   List[api.DEA]
	App    Answer[api.Explanation]
	DEA    Answer[api.DEA]
	Detail List[Event] // events of one app or one DEA, the newest first

	Notice Notice // the outcome of the newest change
	By     string // as whom a change is recorded
	Keys   Keys   // that do something beside those of the screen
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

// Source says where the numbers of a frame come from, and how old they are.
type Source struct {
	Addr  string        // the address that answered last, or that is asked now
	Every time.Duration // how often it is asked
	At    time.Time     // when the newest answer came, by this machine's clock; zero: never
	Now   time.Time     // by the same clock
	Began time.Time     // when it was asked first, by the same clock
	Error string        // of the newest attempt; empty if it was answered
	Addrs int           // how many addresses are tried
}

// grace is how long an answer may be late before the numbers count as old.
const grace = 2 * time.Second

// Blind returns since when nothing has been heard, and false while the numbers are recent.
func (s *Source) Blind() (since time.Time, blind bool) {
	if s == nil || s.Error == "" && s.Now.Sub(s.last()) <= 2*s.Every+grace {
		return time.Time{}, false
	}
	return s.last(), true
}

func (s *Source) last() time.Time {
	if s.At.IsZero() {
		return s.Began
	}
	return s.At
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

// Event is an action of the user, an event of the recording, or one of the cluster.
type Event struct {
	At     time.Time
	Text   string
	Failed bool // the action failed, or the event is bad

	// Of an event of the cluster.
	ID, Kind string
	Tone     words.Tone
	App, DEA string // that it is about
}

// Notice is the outcome of a change that the user asked for.
type Notice struct {
	Text   string // empty: there is none
	Failed bool
	Number int // of the change: a later one has a higher number
}
