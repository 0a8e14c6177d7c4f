package reconcile

import (
	"time"

	"hm/commands"
	"hm/internal/app"
)

// Observer takes measured times in seconds, for a histogram. It does not block and allocates nothing.
type Observer interface{ Observe(seconds float64) }

// Times are told how long things took on this node. Those that are nil are not told. A core measures in hm time, so a
// replay need not tell anybody.
type Times struct {
	HeartbeatRecorded Observer // from hearing a heartbeat until this leader recorded what it changes
	ExitRecorded      Observer // the same for an exit
	// From when a command was due, the gate open and the limit not used up, until it was published.
	StartPublished, StopPublished Observer
	StartConfirmed, StopConfirmed Observer // from sending a command until its effect was heard
	Step                          Observer // one step of the loop
	ReadComplete, ReadFailed      Observer // a read of the whole desired state
}

func observe(o Observer, took time.Duration) {
	if o != nil {
		o.Observe(max(0, took.Seconds()))
	}
}

// observeRecorded sets who is told how long it took until heartbeats were recorded.
func (i *Intake) observeRecorded(by Observer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.recorded = by
}

// observePublished tells how long a command waited for this leader alone. The limit allowed it at allowed; 0: the limit
// was not used up.
func (c *Core) observePublished(cmd commands.Command, allowed, now app.Time) {
	to := c.opts.Times.StartPublished
	if cmd.Action == commands.Stop {
		to = c.opts.Times.StopPublished
	}
	observe(to, now.Sub(max(cmd.DueAt, c.gateSince, allowed)))
}

// observeEnded tells how long it took until the effect of a command was heard.
func (c *Core) observeEnded(cmd commands.Command, at app.Time) {
	if cmd.State != commands.Confirmed || cmd.ClaimedAt == 0 {
		return
	}
	to := c.opts.Times.StartConfirmed
	if cmd.Action == commands.Stop {
		to = c.opts.Times.StopConfirmed
	}
	observe(to, at.Sub(cmd.ClaimedAt))
}
