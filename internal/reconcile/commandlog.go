package reconcile

import (
	"log/slog"
	"time"

	"hm/commands"
	"hm/internal/app"
	"hm/internal/sampled"
)

// CommandEvent tells that this leader sent a command, or that one ended.
type CommandEvent struct {
	// Command's State says what happened: Sent, or the outcome. Claimed: it was decided and, in
	// shadow mode, not sent.
	commands.Command
	Rule   string   // that asked for it; empty if this leader does not know it
	Detail string   // why it ended, or why it may not have been sent; for people
	At     app.Time // when it happened, in hm time
}

// In a storm the log has so many lines of each kind (sent, and each outcome) in a period, and how
// many were left out.
const (
	commandLogLines  = 50
	commandLogPeriod = 10 * time.Second
)

// commandLog writes a line for each command that this node, while it leads, sends, and for each
// that ends.
type commandLog struct{ log *sampled.Log }

func newCommandLog(logger *slog.Logger) commandLog {
	return commandLog{sampled.New(logger, commandLogPeriod, commandLogLines)}
}

// write logs one event.
func (l commandLog) write(e CommandEvent) {
	msg := "command ended"
	switch e.State {
	case commands.Sent:
		msg = "command sent"
	case commands.Claimed:
		msg = "command decided, not sent in shadow mode"
	}
	l.log.Log(slog.LevelInfo, e.State.String(), msg, e.attributes)
}

// leftOut logs how many lines a storm that is over left out.
func (l commandLog) leftOut() {
	l.log.LeftOut(slog.LevelInfo, "there were more commands than the log has lines for")
}

func (e CommandEvent) attributes() []any {
	attrs := []any{
		"command", e.ID.String(), "action", e.Action.String(),
		"app", e.App.Droplet.String(), "version", e.App.Version.String(), "index", e.Index,
	}
	add := func(key string, value any, is bool) {
		if is {
			attrs = append(attrs, key, value)
		}
	}
	add("instance", e.Instance.String(), !e.Instance.IsZero())
	add("reason", e.Reason.String(), true)
	add("rule", e.Rule, e.Rule != "")
	add("due", e.DueAt.String(), true)
	add("delay", e.ClaimedAt.Sub(e.DueAt), e.ClaimedAt != 0) // from when it was due until it was sent
	add("outcome", e.State.String(), !e.State.Outstanding())
	add("took", e.At.Sub(e.ClaimedAt), e.ClaimedAt != 0 && !e.State.Outstanding())
	add("detail", e.Detail, e.Detail != "")
	return attrs
}
