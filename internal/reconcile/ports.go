// Package reconcile is the leader's loop: it takes in what is heard and read, records the changes,
// finds the drift, and claims and publishes commands while the gate is open. Core is a step
// function without goroutines and without a clock, so that a replay runs the same code; Loop drives
// it in the daemon.
package reconcile

import (
	"context"
	"errors"
	"time"

	"hm/commands"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// Log is where changes are recorded: the Raft log in the daemon, a plain state machine in a replay.
type Log interface {
	// Propose records the given records in this order and returns when all are applied, with one
	// result for each entry they took. An error means that some or all may still be applied.
	Propose(ctx context.Context, records ...raftfsm.Record) ([]raftfsm.Result, error)
	// View is the newest applied state, frozen.
	View() *raftfsm.State
	// Leading reports whether this node still leads in term, as far as it knows without asking the
	// others.
	Leading(term uint64) bool
	// VerifyLease returns nil if a majority confirmed, after the call, that this node leads in term
	// (I1).
	VerifyLease(ctx context.Context, term uint64) error
	// Now is hm time.
	Now() app.Time
	// Suspended is for how long the machine has been suspended in total. hm time does not count it.
	Suspended() time.Duration
}

// Publisher sends commands to the Cloud Controller.
type Publisher interface {
	// Publish sends each command at most once, and only while the link's epoch is the given one:
	// there was no gap. It returns one error for each command: nil if it was sent, ErrNotSent if it
	// was certainly not, ErrRefused if the server refused it, ErrNoEffect if it was sent in vain,
	// another error if that is not known.
	Publish(ctx context.Context, epoch uint64, cmds []commands.Command) []error
}

// ErrNotSent says that a command was certainly not published, so that it may be claimed anew.
var ErrNotSent = errors.New("the command was not sent")

// ErrRefused says that the server refused a command, and would refuse it again: a permission is
// missing, or the command is too large. It stays claimed until its time is over, like a command
// without effect.
var ErrRefused = errors.New("the command was refused")

// ErrNoEffect says that a command was sent, and that the Cloud Controller answered that it does
// nothing. It counts as sent until its time is over.
var ErrNoEffect = errors.New("the command was sent and has no effect")

// Source reads the desired state.
type Source interface {
	// Read makes one complete read, or fails.
	Read(ctx context.Context) (desired.Read, error)
}

// Lead is what a node knows of the leadership.
type Lead struct {
	Leader bool   // this node leads, and has applied everything that earlier leaders committed
	Term   uint64 // of the leadership
	Known  bool   // some node is known to lead
}
