package api

import (
	"fmt"
	"strings"
	"time"

	"hm/commands/compare"
)

// Comparison is the answer to GET /v1/commands/compare: what hm decided in shadow mode beside what another health manager
// published.
type Comparison struct {
	Since     Timestamp         `json:"since"`
	Until     Timestamp         `json:"until"`
	WindowMS  int64             `json:"window_ms"` // the longest time between two commands that are taken for one decision
	Listening Listening         `json:"listening"`
	Summary   ComparisonSummary `json:"summary"`
	Verdict   string            `json:"verdict"`            // a summary in a line, for people
	Items     []ComparedCommand `json:"items"`              // sorted by time
	LeftOut   int               `json:"left_out,omitempty"` // items before the first one that limit leaves out
	Basis     Basis             `json:"basis"`
}

// Listening says when the answering node has heard the other's commands.
type Listening struct {
	Shadow bool `json:"shadow"` // commands.mode is shadow: only then the node listens
	Now    bool `json:"now"`
	// Reason says why it does not hear them now: enforce, no-leader, nats-down, nats-refused or
	// closed.
	Reason string         `json:"reason,omitempty"`
	Since  Timestamp      `json:"since"` // since when it has heard them without a gap; null if it does not
	Gaps   []ListeningGap `json:"gaps"`  // the newest ones in the time that is compared, oldest first
	// Unreadable counts messages of the other that could not be read since the node started.
	Unreadable uint64 `json:"unreadable,omitempty"`
}

// ListeningGap is a time in which the node did not hear the other's commands.
type ListeningGap struct {
	From  Timestamp `json:"from"`  // null: from the beginning
	Until Timestamp `json:"until"` // null: it lasts
	Why   string    `json:"why"`
}

// ComparisonSummary counts the commands, each decision once.
type ComparisonSummary struct {
	Agree      bool `json:"agree"` // neither side issued a command that the other did not
	Both       int  `json:"both"`
	OtherFirst int  `json:"other_first"` // of both: hm had scheduled it, and it was not due yet
	OnlyHM     int  `json:"only_hm"`
	OnlyOther  int  `json:"only_other"`
	Held       int  `json:"held"`  // of only_other: hm held all commands at that time
	Later      int  `json:"later"` // of the rest of only_other: hm had scheduled it for a time beyond the window
	// Hindsight counts what the other issued before hm knew; hm's record says by now that it was right.
	Hindsight int `json:"hindsight"`
	Open      int `json:"open"`    // issued by one side so recently that the other may follow
	Unknown   int `json:"unknown"` // issued by one side while the other's were not known
	// HMRepeats and OtherRepeats count how often each side issued a command again because it had no effect.
	HMRepeats    int           `json:"hm_repeats"`
	OtherRepeats int           `json:"other_repeats"`
	Delay        DelaySummary  `json:"delay"`
	ByAction     []ActionCount `json:"by_action"`
}

// DelaySummary says how long after hm's commands the other's were published; negative where the other was first. It is of
// both, in milliseconds.
type DelaySummary struct {
	MinMS    int64 `json:"min_ms"`
	P10MS    int64 `json:"p10_ms"`
	MedianMS int64 `json:"median_ms"`
	P90MS    int64 `json:"p90_ms"`
	MaxMS    int64 `json:"max_ms"`
}

// ActionCount counts the commands of one action.
type ActionCount struct {
	Action    string `json:"action"`
	Both      int    `json:"both"`
	OnlyHM    int    `json:"only_hm"`
	OnlyOther int    `json:"only_other"`
}

// ComparedCommand is one decision of hm, of the other, or of both.
type ComparedCommand struct {
	Class    string `json:"class"` // both, only-hm, only-other, hindsight, open or unknown
	Action   string `json:"action"`
	App      string `json:"app"`
	Version  string `json:"version"`
	Index    int    `json:"index"`    // -1: the other's stop does not say it
	Instance string `json:"instance"` // of a stop
	Reason   string `json:"reason,omitempty"`
	Rule     string `json:"rule,omitempty"`

	HM      *ComparedSide `json:"hm"`    // null: only the other's
	Other   *ComparedSide `json:"other"` // null: only hm's
	DelayMS int64         `json:"delay_ms"`
	HeldBy  []string      `json:"held_by"` // of a command without hm's: why hm held all commands at that time
	Why     string        `json:"why"`     // for people: how hm's ended, or why hm did not issue it
}

// ComparedSide is the command of one side.
type ComparedSide struct {
	At      Timestamp `json:"at"` // when hm decided it, or the other published it
	ID      string    `json:"id,omitempty"`
	DueAt   Timestamp `json:"due_at,omitzero"`   // of hm's
	State   string    `json:"state,omitempty"`   // of hm's: pending, claimed, confirmed, expired, dropped, abandoned
	EndedAt Timestamp `json:"ended_at,omitzero"` // of hm's
	Repeats int       `json:"repeats,omitempty"`
}

// Told reports whether something could be compared: this node has heard the other, and nothing was missed.
func (c Comparison) Told() bool { return c.Summary.Unknown == 0 && !c.Listening.Since.IsZero() }

// verdict sums a comparison up.
func (s ComparisonSummary) verdict(over time.Duration, l Listening) string {
	var b strings.Builder
	fmt.Fprintf(&b, "in %s: ", Span(over))
	if s.Both+s.OnlyHM+s.OnlyOther+s.Hindsight+s.Open+s.Unknown == 0 {
		b.WriteString("neither hm nor another health manager issued a command")
	} else {
		fmt.Fprintf(&b, "%d issued by both", s.Both)
		if s.Both > 0 {
			fmt.Fprintf(&b, " (hm %s at the median", apart(time.Duration(s.Delay.MedianMS)*time.Millisecond))
			if s.OtherFirst > 0 {
				fmt.Fprintf(&b, "; %d by the other before hm's were due", s.OtherFirst)
			}
			b.WriteString(")")
		}
		fmt.Fprintf(&b, ", %d only by hm, %d only by the other", s.OnlyHM, s.OnlyOther)
		if s.Held > 0 {
			fmt.Fprintf(&b, " (%d while hm held commands)", s.Held)
		}
	}
	if s.Hindsight > 0 {
		fmt.Fprintf(&b, "; %d by the other before hm knew", s.Hindsight)
	}
	if s.Open > 0 {
		fmt.Fprintf(&b, "; %d too recent to tell", s.Open)
	}
	if s.Unknown > 0 {
		fmt.Fprintf(&b, "; %d cannot be told, because commands of one side were missed", s.Unknown)
	}
	if l.Since.IsZero() && len(l.Gaps) > 0 {
		fmt.Fprintf(&b, "; this node does not hear the other (%s)", l.Gaps[len(l.Gaps)-1].Why)
	}
	return b.String()
}

// apart says by how much hm was earlier or later.
func apart(d time.Duration) string {
	switch {
	case d < 0:
		return Span(-d) + " later"
	case d == 0:
		return "at the same time"
	}
	return Span(d) + " earlier"
}

func delaySummary(s compare.Summary) DelaySummary {
	ms := func(p int) int64 { return s.Percentile(p).Milliseconds() }
	return DelaySummary{MinMS: ms(0), P10MS: ms(10), MedianMS: ms(50), P90MS: ms(90), MaxMS: ms(100)}
}
