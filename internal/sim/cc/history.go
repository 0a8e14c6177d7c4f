package cc

import (
	"time"

	"hm/internal/app"
)

// The actions of a Command.
const (
	ActionStart = "start"
	ActionStop  = "stop"
)

// Why an accepted start was sent to no DEA.
const (
	FailedNoRoom    = "no-room"    // no DEA takes new instances
	FailedNoPackage = "no-package" // the app's package is not found
)

// Command is one command of a health manager, with the Cloud Controller's decision.
type Command struct {
	Seq       uint64    `json:"seq"` // from 1, in the order of arrival
	At        time.Time `json:"at"`
	Via       string    `json:"via"`        // the subject, or "http"
	MessageID string    `json:"message_id"` // empty: messages of HealthManager 2.0 have none
	Action    string    `json:"action"`     // start or stop
	App       app.GUID  `json:"app"`
	Version   app.GUID  `json:"version"`
	Index     int       `json:"index"`             // -1: unknown, since a health.stop says none, and no DEA has the instance
	Instance  app.GUID  `json:"instance,omitzero"` // of a stop
	Duplicate bool      `json:"is_duplicate,omitempty"`

	Accepted bool   `json:"accepted"`
	Check    string `json:"check,omitempty"`  // the check that decided, see CheckUnknownApp and the others
	DEA      string `json:"dea,omitempty"`    // that an accepted start was sent to; empty if it Failed
	Failed   string `json:"failed,omitempty"` // why an accepted start was sent to no DEA: FailedNoRoom or FailedNoPackage
	Lost     bool   `json:"lost,omitempty"`   // an accepted start that a fault dropped on its way to the DEA
	// Live is the number of live instances at the index when the command arrived, without the one to be stopped. Only the
	// fleet knows it: the Cloud Controller decides without it.
	Live int `json:"live"`
	// Needless marks an accepted start for an index that was live already.
	Needless bool `json:"needless,omitempty"`
	// Harmful marks an accepted stop of a live instance at a wanted, staged index with no other live one (I3).
	Harmful bool `json:"harmful,omitempty"`
}

// Counts are the commands by outcome.
type Counts struct {
	StartsAccepted uint64            `json:"starts_accepted"`
	StartsRefused  uint64            `json:"starts_refused"`
	StopsAccepted  uint64            `json:"stops_accepted"`
	StopsRefused   uint64            `json:"stops_refused"`
	Malformed      uint64            `json:"malformed"`
	Unheard        uint64            `json:"unheard"`         // dropped because of Faults.RespondentDeaf
	Lost           uint64            `json:"lost"`            // accepted starts that a fault dropped
	Unplaced       uint64            `json:"unplaced"`        // accepted starts that were sent to no DEA: see Command.Failed
	Repeated       uint64            `json:"repeated"`        // commands whose message_id was not new
	Needless       uint64            `json:"needless_starts"` // see Command.Needless
	Harmful        uint64            `json:"harmful_stops"`   // see Command.Harmful
	Checks         map[string]uint64 `json:"checks"`          // "start:version-differs" and so on; only checks that decided
}

// history keeps the newest commands and counts all. Not safe for concurrent use.
type history struct {
	ring   []Command
	limit  int
	next   uint64
	seen   map[string]uint64 // message_id to the newest Seq with it, for the commands in the ring
	counts Counts
}

func newHistory(limit int) *history {
	return &history{limit: limit, seen: map[string]uint64{}, counts: Counts{Checks: map[string]uint64{}}}
}

func (h *history) record(c Command) Command {
	h.next++
	c.Seq = h.next
	if c.MessageID != "" {
		if h.seen[c.MessageID] > 0 {
			h.counts.Repeated++
		}
		h.seen[c.MessageID] = c.Seq
	}
	if len(h.ring) < h.limit {
		h.ring = append(h.ring, c)
	} else {
		slot := &h.ring[(c.Seq-1)%uint64(h.limit)]
		if slot.MessageID != "" && h.seen[slot.MessageID] == slot.Seq {
			delete(h.seen, slot.MessageID)
		}
		*slot = c
	}
	n := &h.counts
	switch {
	case c.Action == ActionStart && c.Accepted:
		n.StartsAccepted++
	case c.Action == ActionStart:
		n.StartsRefused++
	case c.Accepted:
		n.StopsAccepted++
	default:
		n.StopsRefused++
	}
	if c.Check != CheckNone {
		n.Checks[c.Action+":"+c.Check]++
	}
	for _, flag := range []struct {
		set   bool
		count *uint64
	}{
		{c.Lost, &n.Lost}, {c.Action == ActionStart && c.Accepted && c.DEA == "", &n.Unplaced},
		{c.Needless, &n.Needless}, {c.Harmful, &n.Harmful},
	} {
		if flag.set {
			*flag.count++
		}
	}
	return c
}

// since gives at most n kept commands with a Seq above seq, oldest first.
func (h *history) since(seq uint64, n int) []Command {
	oldest := h.next - uint64(len(h.ring)) // the Seq before the oldest one kept
	from := max(seq, oldest)
	if from >= h.next || n <= 0 {
		return []Command{}
	}
	out := make([]Command, 0, min(uint64(n), h.next-from))
	for s := from + 1; s <= h.next && len(out) < n; s++ {
		out = append(out, h.ring[(s-1)%uint64(h.limit)])
	}
	return out
}

func (h *history) total() Counts {
	c := h.counts
	c.Checks = make(map[string]uint64, len(h.counts.Checks))
	for k, v := range h.counts.Checks {
		c.Checks[k] = v
	}
	return c
}
