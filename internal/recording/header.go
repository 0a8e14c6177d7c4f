package recording

import (
	"slices"
	"strings"
	"time"

	"hm/internal/config"
)

// Header is the first line of a recording, and of each further part of it.
type Header struct {
	Started   time.Time
	Part      int    // 1, 2, ... of a recording in several parts; 0 if it is in one
	Note      string // what the recording shows, for people
	Node      string // the id of the recorded node, whose hm time the recording has; empty: recorded by listening
	ID        string // the node's name for the recording while it is under way
	Restarted bool   // of a further part: the recorder was restarted, and received nothing between the two parts
	// Config has the settings that differ from the defaults, by key. A replay uses them unless it is given others.
	Config     map[string]string
	Anonymized bool
}

// headerKeys are the configuration keys, or what they begin with, that a header has and a replay uses.
var headerKeys = []string{
	"policy.", "guard.", "desired.poll_interval", "desired.ttl", "commands.mode", "commands.claim_lease",
}

// IsHeaderKey reports whether a replay uses a configuration key, so that headers have it.
func IsHeaderKey(key string) bool {
	return slices.ContainsFunc(headerKeys, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
}

// ConfigOf returns the settings in cfg for a header.
func ConfigOf(cfg config.Config) map[string]string {
	set := map[string]string{}
	for _, k := range config.Keys() {
		if IsHeaderKey(k.Name) && !k.IsDefault(&cfg) {
			set[k.Name] = k.Text(&cfg)
		}
	}
	return set
}

// Configure puts the header's settings into cfg, except for those for which keep, if not nil, returns true.
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
