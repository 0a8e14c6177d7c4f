package dashboard

import (
	"context"
	"net/http"
	"time"

	"hm/internal/api"
)

// Sandbox is a simulated Cloud Foundry around the node, as in hm dev. Its methods are safe for concurrent use.
type Sandbox interface {
	// Actions are the faults and changes that can be made, in the order in which to offer them.
	Actions() []SandboxAction
	// Do starts one and does not wait for it. The name is one of Actions.
	Do(ctx context.Context, name string) error
	// State says what runs and what is broken at present.
	State() SandboxState
}

// SandboxAction is a fault or a change.
type SandboxAction struct {
	Name string // as in the address of its form
	Key  string // of hm dev's live view
	Text string // as in the live view
}

// SandboxState is what the simulation knows and hm learns only from messages.
type SandboxState struct {
	About                       string // what runs
	Converged                   bool   // what runs is what should run
	Desired, Settled, Undesired int    // indices; of these with exactly one running instance; instances that run unwanted
	Needless, Harmful           int    // starts of what ran; stops of the only instance of a wanted index; ever
	Router                      bool   // there are users that send requests
	Requests, RequestsFailed    uint64
	Faults                      []string // that last
	Done                        []SandboxEvent
	Places                      []SandboxPlace
}

// SandboxEvent is something that was done. The newest come first.
type SandboxEvent struct {
	At     time.Time
	Text   string
	Failed bool
}

// SandboxPlace is the address of a part.
type SandboxPlace struct{ Name, Address string }

// sandboxPage shows the simulation and offers to break it.
type sandboxPage struct {
	Actions []SandboxAction
	State   SandboxState
}

func (d *Dashboard) sandbox(*asked) (content, error) {
	if d.opts.Sandbox == nil {
		return content{}, &api.Problem{
			Status: http.StatusNotFound, Title: "There is no sandbox", Detail: "only hm dev runs hm in a simulated Cloud Foundry",
			Hint: "run hm dev on your own machine",
		}
	}
	return content{Title: "Sandbox", Every: time.Second, Data: sandboxPage{d.opts.Sandbox.Actions(), d.opts.Sandbox.State()}}, nil
}

// breakSandbox answers POST /do/sandbox.
func (d *Dashboard) breakSandbox(_ http.ResponseWriter, r *http.Request) (told, error) {
	if d.opts.Sandbox == nil {
		return told{}, &api.Problem{Status: http.StatusNotFound, Detail: "there is no sandbox", Hint: "run hm dev on your own machine"}
	}
	name := r.PostFormValue("action")
	if err := d.opts.Sandbox.Do(r.Context(), name); err != nil {
		return told{}, err
	}
	return told{}, nil
}
