package replay

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"hm/desired"
	"hm/internal/app"
	"hm/internal/config"
	"hm/raftfsm"
)

// Format is the number of the recording format that this version writes and the only one that it reads.
const Format = 1

// Limits on a recording. What exceeds one is refused with file and line.
const (
	MaxLine = 16 << 20       // bytes of a line
	MaxGap  = 24 * time.Hour // between two events: the clock runs through it step by step
	maxApps = 5_000_000      // in one read of the desired state

	maxState = 512 << 20 // bytes of a state's snapshot; 1,000,000 instances take 40 MiB
)

// Type says what a line tells.
type Type uint8

// The types of lines behind the header.
const (
	TypeNATS    Type = 1 // a message was heard
	TypeDesired Type = 2 // an attempt to read the desired state ended
	TypeLink    Type = 3 // NATS was lost, is back, or lost messages
	TypeLeader  Type = 4 // another node leads, or none does
	TypeState   Type = 5 // what was recorded when the recording began
	TypeHold    Type = 6 // a person set or released a hold
)

var typeWords = map[string]Type{
	"nats": TypeNATS, "desired": TypeDesired, "link": TypeLink, "leader": TypeLeader, "state": TypeState, "hold": TypeHold,
}

// Event is one thing that happened. Which fields count depends on Type.
type Event struct {
	At   time.Time
	Type Type

	Subject string // of TypeNATS
	Data    []byte // of TypeNATS: the payload as it was heard. A Reader's next call overwrites it
	// Repeat, in place of Data, is the DEA that said again what it had said last: byte for byte its last dea.heartbeat.
	Repeat string

	Only      app.GUID     // of TypeDesired: the read was of this app alone, and Read holds nothing else
	Read      desired.Read // of TypeDesired
	Began     time.Time    // when the read was begun
	Failed    string       // the read failed, and why; Read is empty then
	Unchanged bool         // the read equals the last complete one of the recording; Read is empty then
	// Again: nothing of its own. A later part of a recording repeats what the part before ended with: the newest read, that
	// no node leads, the state.
	Again bool

	Up  bool // of TypeLink
	Gap bool // of TypeLink: it was up all along, and messages were lost

	Lost bool // of TypeLeader: no node leads, until another line says that one does

	State []byte // of TypeState: a snapshot, as raftfsm.State.WriteSnapshot writes it

	Hold     raftfsm.Hold // of TypeHold
	Released bool         // of TypeHold: it was released, and of Hold only the name counts

	line []byte // of a heartbeat that was only looked at from outside: Data is not known to be JSON
}

// Header is the first line of a recording, and of each further part of one.
type Header struct {
	Started time.Time
	Part    int    // of a recording that was rotated: 1, 2, ...; 0 if it is in one part
	Note    string // what it shows, for people
	Node    string // of which node it was taken, whose hm time it goes by; empty: by somebody who listened
	ID      string // by which the node knows it while it is under way
	Anew    bool   // of a further part: the recorder was started anew, and heard nothing between the part before and this one
	// Config holds the settings that it was recorded under, by key: a replay's defaults.
	Config     map[string]string
	Anonymized bool
}

// replayed are the sections of the configuration that a recording carries and a replay goes by.
var replayed = []string{"policy.", "guard.", "desired.poll_interval", "desired.ttl", "commands.mode", "commands.claim_lease"}

// Replayed reports whether a key of the configuration has a bearing on a replay.
func Replayed(key string) bool {
	for _, p := range replayed {
		if len(key) >= len(p) && key[:len(p)] == p {
			return true
		}
	}
	return false
}

// ConfigOf gives the settings in cfg that a replay goes by and that are not the defaults.
func ConfigOf(cfg config.Config) map[string]string {
	set := map[string]string{}
	for _, k := range config.Keys() {
		if Replayed(k.Name) && !k.IsDefault(&cfg) {
			set[k.Name] = k.Text(&cfg)
		}
	}
	return set
}

// Configure puts the header's settings into cfg, except those for which keep is true.
func (h Header) Configure(cfg *config.Config, keep func(key string) bool) error {
	var problems config.Problems
	for _, k := range config.Keys() {
		text, ok := h.Config[k.Name]
		if !ok || keep != nil && keep(k.Name) {
			continue
		}
		if p := k.SetText(cfg, text); p != nil {
			p.Want += " (from the recording's header)"
			problems = append(problems, *p)
		}
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// line is a line of any type as JSON has it. Members that it does not name are passed over.
type line struct {
	T       *time.Time      `json:"t,omitempty"`
	Type    string          `json:"type"`
	Format  *int            `json:"format,omitempty"`
	Started *time.Time      `json:"started,omitempty"`
	Part    int             `json:"part,omitempty"`
	Note    string          `json:"note,omitempty"`
	Node    string          `json:"node,omitempty"`
	ID      string          `json:"id,omitempty"`
	Anew    bool            `json:"anew,omitempty"`
	Config  json.RawMessage `json:"config,omitempty"`
	Anon    bool            `json:"anonymized,omitempty"`

	Subject string          `json:"subject,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	Base64  []byte          `json:"base64,omitempty"`
	Repeat  string          `json:"repeat,omitempty"`

	Apps       *[]appRow  `json:"apps,omitempty"`
	More       bool       `json:"more,omitempty"`
	Unreadable []app.GUID `json:"unreadable,omitempty"`
	Source     string     `json:"source,omitempty"`
	Began      *time.Time `json:"began,omitempty"`
	Error      string     `json:"error,omitempty"`
	Unchanged  bool       `json:"unchanged,omitempty"`
	Again      bool       `json:"again,omitempty"`

	App      *app.GUID `json:"app,omitempty"`
	Snapshot []byte    `json:"snapshot,omitempty"`

	Name   string     `json:"name,omitempty"`
	Set    *bool      `json:"set,omitempty"`
	Until  *time.Time `json:"until,omitempty"`
	Reason string     `json:"reason,omitempty"`
	By     string     `json:"by,omitempty"`

	Up     *bool `json:"up,omitempty"`
	Gap    bool  `json:"gap,omitempty"`
	Change *bool `json:"change,omitempty"`
	Lost   bool  `json:"lost,omitempty"`
}

// appRow is a desired app as a recording has it.
type appRow struct {
	ID        app.GUID `json:"id"`
	Version   app.GUID `json:"version"`
	Instances *uint32  `json:"instances"`
	State     string   `json:"state"`
	Package   string   `json:"package_state"`
}

func rowOf(a desired.App) appRow {
	return appRow{a.Key.Droplet, a.Key.Version, &a.Instances, a.State.String(), a.Package.String()}
}

func (r appRow) app() (desired.App, error) {
	a := desired.App{Key: app.Key{Droplet: r.ID, Version: r.Version}}
	if r.ID.IsZero() || r.Version.IsZero() {
		return a, errors.New("an app has no id or no version")
	}
	if r.Instances == nil || *r.Instances > desired.MaxInstances {
		return a, fmt.Errorf("app %s: instances must be a number from 0 to %d", r.ID, desired.MaxInstances)
	}
	a.Instances = *r.Instances
	var err error
	if a.State, err = desired.ParseRunState(r.State); err != nil {
		return a, fmt.Errorf("app %s: %w", r.ID, err)
	}
	if a.Package, err = desired.ParsePackageState(r.Package); err != nil {
		return a, fmt.Errorf("app %s: %w", r.ID, err)
	}
	return a, nil
}

// Error says what is wrong with a recording, and where.
type Error struct {
	File string
	Line int // from 1; 0 if it is not about a line
	Err  error
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }
