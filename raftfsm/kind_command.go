package raftfsm

import "hm/commands"

// CommandsScheduled adds commands to the record, in state Pending and with CreatedAt the entry's time. A command is
// refused if an outstanding one has its id or its target: app, action and index for a start, app and instance for a
// stop. A start for a crash counts it in the index's crash record.
type CommandsScheduled struct{ Commands []commands.Command }

// Kind is KindCommandsScheduled.
func (CommandsScheduled) Kind() Kind { return KindCommandsScheduled }

// Claim is one leader's word that it will publish a command, once (I2).
type Claim struct {
	ID    commands.ID
	Term  uint64 // the claimant's Raft term
	Basis Basis  // what the decision rested on: State.Basis of the command's app and index
}

// CommandsClaimed claims commands. A claim is refused if its command is not Pending, if Term is not the term of the
// entry, or if Basis no longer holds.
type CommandsClaimed struct{ Claims []Claim }

// Kind is KindCommandsClaimed.
func (CommandsClaimed) Kind() Kind { return KindCommandsClaimed }

// Outcome is what became of a command.
type Outcome struct {
	ID     commands.ID
	State  commands.State // Sent keeps a claimed command outstanding; Confirmed, Expired, Dropped and Abandoned end it
	Detail string         // for people; not recorded, it goes into Result.Ended
}

// CommandsResolved moves commands on. An outcome for an id that is not outstanding is ignored.
type CommandsResolved struct{ Outcomes []Outcome }

// Kind is KindCommandsResolved.
func (CommandsResolved) Kind() Kind { return KindCommandsResolved }
