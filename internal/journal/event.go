// Package journal keeps what happened and why: on each node, in a file of its own, bounded, and never in the way of the
// replicated log. The log says what happened to the cluster, so every node has the same history of it. What only one
// node knows, such as the state of its own NATS link, is marked as that node's own.
package journal

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"hm/internal/app"
)

// Kind says what happened. Kinds are stable names: clients filter by them. A kind has a subject and, after a dot, what
// happened to it; a filter by the subject alone selects all its kinds.
type Kind string

// The kinds of the cluster's events. They follow from the log, so every node has the same ones.
const (
	LeaderChanged    Kind = "leader.changed"    // Name leads now; Detail says why, as far as the new leader knows
	CommandScheduled Kind = "command.scheduled" // with Rule; Due says when it may be sent
	CommandSent      Kind = "command.sent"      // Delay since it was due
	CommandDecided   Kind = "command.decided"   // as sent, but shadow mode publishes nothing
	CommandConfirmed Kind = "command.confirmed" // its effect was heard; Delay since it was sent
	CommandExpired   Kind = "command.expired"   // it had no effect in time
	CommandDropped   Kind = "command.dropped"   // it was no longer needed before it was sent, or a person cancelled it
	CommandAbandoned Kind = "command.abandoned" // it may not have been sent
	DEANew           Kind = "dea.new"           // heard for the first time
	DEALost          Kind = "dea.lost"          // silent for its time to live; Counts has its instances
	DEABack          Kind = "dea.back"          // heard again after it was lost
	DEAForgotten     Kind = "dea.forgotten"     // its record is removed
	DEADoubled       Kind = "dea.doubled"       // two DEAs use one id
	DEASingle        Kind = "dea.single"        // only one DEA uses the id again
	DEAUnreadable    Kind = "dea.unreadable"    // some of its entries cannot be read
	DEAReadable      Kind = "dea.readable"      // all of its entries can be read again
	DEAEvacuating    Kind = "dea.evacuating"    // its instances are leaving
	InstanceCrashed  Kind = "instance.crashed"  // by a heartbeat or by droplet.exited
	DesiredRead      Kind = "desired.read"      // a complete read changed the record; Counts has the changes
	HoldSet          Kind = "hold.set"          // Name is the hold; By is a person, or hm for a guard
	HoldReleased     Kind = "hold.released"     // Name is the hold
	AdminDone        Kind = "admin.done"        // By did over the API what needs the role admin; Reason says how it is known, Counts has the HTTP status
	AdminRefused     Kind = "admin.refused"     // as done, but the role of By is too low for it
	PictureFresh     Kind = "picture.fresh"     // the leader's gate opened after it was closed; Counts has what waits
	QueueDrained     Kind = "queue.drained"     // nothing waits any more; Counts has what healed by itself, what was sent
)

// The kinds of a node's own events.
const (
	LinkLost   Kind = "link.lost"   // this node's NATS link
	LinkBack   Kind = "link.back"   // Delay: how long it was lost
	GateClosed Kind = "gate.closed" // Reason has the reasons
	GateOpen   Kind = "gate.open"   // Delay: how long it was closed
	OtherStart Kind = "other.start" // shadow mode: another health manager published a start
	OtherStop  Kind = "other.stop"  // shadow mode: another health manager published a stop
	// OtherListening: shadow mode: this node hears the commands of another health manager from now on.
	OtherListening Kind = "listening.began"
	// OtherUnheard: it does not hear them any more; Reason says why: nats-down, nats-refused or closed.
	OtherUnheard Kind = "listening.ended"
	// OtherMissed: some were heard and not kept, because too many came at once; Counts has how many, Delay for how long.
	OtherMissed Kind = "listening.missed"
	HistoryGap  Kind = "history.gap" // events between two positions are not known here, and no other node had them
)

// Position orders the cluster's events: by the index of the log entry, then by their order in it.
type Position struct {
	Index   uint64
	Ordinal uint32
}

// compare gives -1, 0 or 1: whether p is before, at or after o.
func (p Position) compare(o Position) int {
	return cmp.Or(cmp.Compare(p.Index, o.Index), cmp.Compare(p.Ordinal, o.Ordinal))
}

// ID identifies an event. The cluster's events have the same ID on every node, so that a reader who changes the node
// goes on where it was. An event of a node's own has the position of the cluster's event before it, the node and the
// node's own count.
type ID struct {
	Position
	Node string // empty: the cluster's
	Own  uint64 // count of the node's own events, from 1; 0: the cluster's
}

// String gives the ID as clients see it: "48213.2", or "48213.2~17~hm-1" for the 17th own event of hm-1.
func (id ID) String() string {
	s := fmt.Sprintf("%d.%d", id.Index, id.Ordinal)
	if id.Node == "" {
		return s
	}
	return fmt.Sprintf("%s~%d~%s", s, id.Own, id.Node)
}

// ParseID reads what String gives.
func ParseID(s string) (ID, error) {
	bad := func() (ID, error) {
		return ID{}, fmt.Errorf("event id %.80q: want INDEX.ORDINAL or INDEX.ORDINAL~COUNT~NODE", s)
	}
	place, own, isOwn := strings.Cut(s, "~")
	index, ordinal, ok := strings.Cut(place, ".")
	if !ok {
		return bad()
	}
	var id ID
	var err error
	if id.Index, err = strconv.ParseUint(index, 10, 64); err != nil {
		return bad()
	}
	n, err := strconv.ParseUint(ordinal, 10, 32)
	if err != nil {
		return bad()
	}
	id.Ordinal = uint32(n)
	if !isOwn {
		return id, nil
	}
	count, node, ok := strings.Cut(own, "~")
	if id.Own, err = strconv.ParseUint(count, 10, 64); err != nil || !ok || node == "" || id.Own == 0 {
		return bad()
	}
	id.Node = node
	return id, nil
}

// Event is one thing that happened. Fields that do not belong to its kind are zero.
type Event struct {
	ID   ID
	At   app.Time // hm time
	Kind Kind

	App      app.Key // with an empty version where only the droplet is known
	Index    int     // of the instance; -1: the event is not about one index
	Instance app.GUID
	DEA      string

	Command string // id of the command
	Action  string // start or stop
	Reason  string // of the command: MISSING, CRASHED, ...; of a gate: its reasons, separated by ", "
	Rule    string // that asked for the command
	Due     app.Time
	DelayMS int64 // what Delay in the kind's comment says, in milliseconds

	// Of a command that has ended: when it was scheduled, when it was sent (0: it was not), and how urgent it was.
	Created  app.Time
	Sent     app.Time
	Priority float64

	Name   string  // of a hold, or of the node that leads
	By     string  // who caused it: a person, or hm for its own guards
	Detail string  // one sentence for people
	Counts []Count // sorted by name
}

// Count is a number that belongs to an event.
type Count struct {
	Name string
	N    int64
}

// Query selects events.
type Query struct {
	After ID       // only events after this one; zero: from the beginning
	Since app.Time // only events at or after this time; 0: all
	App   app.GUID // only of this droplet; zero: all
	DEA   string   // only of this DEA; empty: all
	Kinds []string // only of these kinds, or subjects of kinds; none: all
	Limit int      // at most so many
	// Newest gives the newest Limit events instead of the first. They are in the order in which they happened either way.
	Newest bool
}
