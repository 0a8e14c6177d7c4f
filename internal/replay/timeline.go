package replay

import (
	"fmt"
	"strings"

	"hm/commands"
	"hm/internal/app"
	"hm/internal/recording"
)

// TimelineKind says what a TimelineEvent is about.
type TimelineKind string

// The kinds of timeline events.
const (
	TimelineGate    TimelineKind = "gate"
	TimelineLink    TimelineKind = "link"
	TimelineLeader  TimelineKind = "leader"
	TimelineDesired TimelineKind = "desired"
	TimelineFinding TimelineKind = "finding" // drift appears or ends
	TimelineCommand TimelineKind = "command"
	TimelineState   TimelineKind = "state" // what was recorded when the recording began
	TimelineHold    TimelineKind = "hold"  // a person set or released a hold
	TimelineApp     TimelineKind = "app"   // part of the history of one app
)

// TimelineEvent is something that happened in a replay.
type TimelineEvent struct {
	At      app.Time
	Kind    TimelineKind
	Text    string
	Command *Command // of TimelineCommand
}

func gateText(g GateChange) string {
	if g.Open {
		return "open"
	}
	return "closed: " + strings.Join(g.Reasons, ", ")
}

func linkText(e *recording.Event) string {
	switch {
	case e.Gap:
		return "messages were lost"
	case e.Up:
		return "NATS is up"
	}
	return "NATS is lost"
}

func desiredText(e *recording.Event) string {
	if e.Failed != "" {
		return "a read failed: " + e.Failed
	}
	apps, instances := e.Read.Wanted()
	if e.Unchanged {
		return fmt.Sprintf("read: unchanged, wanted apps %d, instances %d", apps, instances)
	}
	return fmt.Sprintf("read: wanted apps %d, instances %d", apps, instances)
}

func commandText(c commands.Command) string {
	text := fmt.Sprintf("%s %s/%d %s", c.Action, c.App.Droplet, c.Index, c.Reason)
	if c.Action == commands.Stop {
		text += " instance " + c.Instance.String()
	}
	return text
}
