package dashboard

import "context"

// Sandbox is a simulated Cloud Foundry around the node, as in hm dev.
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
	About  string   // what runs
	Faults []string // that last
	Events []string // what was done, the newest first
}
