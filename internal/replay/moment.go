package replay

import (
	"fmt"
	"strings"

	"hm/commands"
	"hm/diff"
	"hm/internal/app"
)

// MomentKind says what a Moment is about.
type MomentKind string

// The kinds of moments.
const (
	MomentGate    MomentKind = "gate"
	MomentLink    MomentKind = "link"
	MomentLeader  MomentKind = "leader"
	MomentDesired MomentKind = "desired"
	MomentFinding MomentKind = "finding" // drift appears, or is gone
	MomentCommand MomentKind = "command"
	MomentState   MomentKind = "state" // what was recorded when the recording began
	MomentHold    MomentKind = "hold"  // a person set or released one
	MomentApp     MomentKind = "app"   // of the trail of one app
)

// Moment is one thing of the timeline.
type Moment struct {
	At      app.Time
	Kind    MomentKind
	Text    string
	Command *Command // of MomentCommand
}

func gateText(g GateChange) string {
	if g.Open {
		return "open"
	}
	return "closed: " + strings.Join(g.Reasons, ", ")
}

func linkText(e *Event) string {
	switch {
	case e.Gap:
		return "messages were lost"
	case e.Up:
		return "NATS is up"
	}
	return "NATS is lost"
}

func desiredText(e *Event) string {
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
	if c.Action == diff.Stop {
		text += " instance " + c.Instance.String()
	}
	return text
}
