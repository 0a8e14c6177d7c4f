package recording

import (
	"time"

	"hm/internal/config"
)

// Header is the first line of a recording, and of each further part of one.
type Header struct {
	Started   time.Time
	Part      int    // of a recording that was rotated: 1, 2, ...; 0 if it is in one part
	Note      string // what it shows, for people
	Node      string // of which node it was taken, whose hm time it goes by; empty: by somebody who listened
	ID        string // by which the node knows it while it is under way
	Restarted bool   // of a further part: the recorder was started anew, and heard nothing between the part before and this one
	// Config holds the settings that it was recorded under, by key: a replay's defaults.
	Config     map[string]string
	Anonymized bool
}

// replayed are the sections of the configuration that a recording carries and a replay goes by.
var replayed = []string{"policy.", "guard.", "desired.poll_interval", "desired.ttl", "commands.mode", "commands.claim_lease"}

// IsHeaderKey reports whether a key of the configuration has a bearing on a replay.
func IsHeaderKey(key string) bool {
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
		if IsHeaderKey(k.Name) && !k.IsDefault(&cfg) {
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
