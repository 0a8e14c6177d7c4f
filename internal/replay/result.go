package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"hm/commands"
	"hm/diff"
	"hm/internal/app"
)

// Result is what hm would have done. Its JSON is the same, byte for byte, for the same recording and policy.
type Result struct {
	Events            int          `json:"events"`             // lines without the headers
	Heartbeats        int          `json:"heartbeats"`         // of the events, those that the daemon accepts
	Instances         int          `json:"instances"`          // in all heartbeats together
	Rejected          int          `json:"rejected"`           // messages that the daemon drops
	RejectedInstances int          `json:"rejected_instances"` // entries that it drops from the accepted heartbeats
	Started           Time         `json:"started"`
	Ended             Time         `json:"ended"` // the end of the recording; the clock ran on after it
	Commands          []Command    `json:"commands"`
	Gate              []GateChange `json:"gate"`
	Drift             []DriftItem  `json:"drift"` // at the end
	StateHash         string       `json:"state_hash"`
	Totals            Totals       `json:"totals"`

	// Recorded are the commands of the recording, which the recorded hm sent.
	Recorded []Command `json:"-"`
}

// Command is a start or stop that would have been sent.
type Command struct {
	At       Time   `json:"at"`
	Action   string `json:"action"` // start or stop
	App      string `json:"app"`
	Version  string `json:"version"`
	Index    uint32 `json:"index"`
	Instance string `json:"instance"` // of a stop
	Reason   string `json:"reason"`
	ID       string `json:"id"` // its message id
}

// GateChange is the gate from At on. Reasons is empty if it is open.
type GateChange struct {
	At      Time     `json:"at"`
	Open    bool     `json:"open"`
	Reasons []string `json:"reasons"`
}

// DriftItem is a finding, in the form of hm drift.
type DriftItem struct {
	App      string   `json:"app"`
	Version  string   `json:"version"`
	Index    uint32   `json:"index"`
	Instance string   `json:"instance"`
	Kind     string   `json:"kind"`
	Rule     string   `json:"rule"`
	Action   string   `json:"action"`
	Due      *Time    `json:"due"`
	HeldBy   []string `json:"held_by"`
	Detail   string   `json:"detail"`
}

// Totals sum a replay up.
type Totals struct {
	Starts int `json:"starts"`
	Stops  int `json:"stops"`
	// MissingSeconds is how long indices that should be started had no live or evacuating instance, as far as hm knew,
	// all indices together, since the gate first opened.
	MissingSeconds float64 `json:"missing_seconds"`
	WorstBurst     int     `json:"worst_burst"` // the most commands within one heartbeat period
}

// Time is written as RFC 3339 in UTC with milliseconds.
type Time app.Time

// MarshalJSON writes t as a string.
func (t Time) MarshalJSON() ([]byte, error) { return []byte(`"` + t.String() + `"`), nil }

// UnmarshalJSON reads RFC 3339.
func (t *Time) UnmarshalJSON(b []byte) error {
	var at time.Time
	if err := json.Unmarshal(b, &at); err != nil {
		return fmt.Errorf("a time must be in RFC 3339: %w", err)
	}
	*t = Time(app.TimeOf(at))
	return nil
}

func (t Time) String() string { return app.Time(t).String() }

func commandOf(c commands.Command, at app.Time) Command {
	return Command{
		At: Time(at), Action: c.Action.String(), App: c.App.Droplet.String(), Version: c.App.Version.String(), Index: c.Index,
		Instance: c.Instance.String(), Reason: c.Reason.String(), ID: c.ID.String(),
	}
}

func driftOf(k app.Key, f *diff.Finding, held []string) DriftItem {
	item := DriftItem{
		App: k.Droplet.String(), Version: k.Version.String(), Index: f.Index, Instance: f.Instance.String(),
		Kind: f.Kind.String(), Rule: f.Rule, Action: f.Action.String(), HeldBy: []string{}, Detail: f.Why.String(),
	}
	if f.Action != commands.None {
		due := Time(f.Due)
		item.Due = &due
		if len(held) > 0 {
			item.HeldBy = held
		}
	}
	return item
}

// TotalsOf sums up commands, which must be in the order of time. It leaves MissingSeconds 0.
func TotalsOf(all []Command, period time.Duration) Totals {
	t := Totals{WorstBurst: worstBurst(all, period)}
	for i := range all {
		if all[i].Action == commands.Start.String() {
			t.Starts++
		} else {
			t.Stops++
		}
	}
	return t
}

// worstBurst returns the most commands within one period. all is in the order of time.
func worstBurst(all []Command, period time.Duration) (most int) {
	from := 0
	for to := range all {
		for app.Time(all[to].At).Sub(app.Time(all[from].At)) >= period {
			from++
		}
		most = max(most, to-from+1)
	}
	return most
}

// JSON returns r as an object with one command, gate change or finding on each line.
func (r Result) JSON() []byte {
	var b bytes.Buffer
	value := func(v any) {
		raw, err := json.Marshal(v)
		if err != nil {
			panic(err) // strings and numbers of hm's own
		}
		b.Write(raw)
	}
	b.WriteString("{")
	for _, n := range []struct {
		name string
		v    any
	}{
		{"events", r.Events}, {"heartbeats", r.Heartbeats}, {"instances", r.Instances},
		{"rejected", r.Rejected}, {"rejected_instances", r.RejectedInstances}, {"started", r.Started}, {"ended", r.Ended},
	} {
		fmt.Fprintf(&b, "%q:", n.name)
		value(n.v)
		b.WriteString(",")
	}
	b.WriteString("\n\"commands\":")
	list(&b, r.Commands, value)
	b.WriteString(",\n\"gate\":")
	list(&b, r.Gate, value)
	b.WriteString(",\n\"drift\":")
	list(&b, r.Drift, value)
	b.WriteString(",\n\"totals\":")
	value(r.Totals)
	b.WriteString(",\"state_hash\":")
	value(r.StateHash)
	b.WriteString("}\n")
	return b.Bytes()
}

func list[T any](b *bytes.Buffer, items []T, value func(any)) {
	b.WriteString("[")
	for i, item := range items {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString("\n ")
		value(item)
	}
	b.WriteString("]")
}
