package liveview

import (
	"cmp"
	"slices"
	"time"

	"hm/internal/api"
)

// NewestCommands joins outstanding and ended commands, and returns the n that changed last, the newest first.
func NewestCommands(outstanding, ended []api.Command, n int) []api.Command {
	all := slices.Concat(outstanding, ended)
	slices.SortFunc(all, func(a, b api.Command) int {
		return cmp.Or(lastChange(b).Compare(lastChange(a)), cmp.Compare(a.ID, b.ID))
	})
	// A command that ended between the two requests is in both lists. Keep its newer state.
	seen := make(map[string]bool, len(all))
	all = slices.DeleteFunc(all, func(c api.Command) bool {
		twice := seen[c.ID]
		seen[c.ID] = true
		return twice
	})
	return slices.Clip(all[:min(max(n, 0), len(all))])
}

// lastChange returns when a command changed last.
func lastChange(c api.Command) time.Time {
	last := c.CreatedAt.Time
	for _, t := range []time.Time{c.SentAt.Time, c.EndedAt.Time} {
		if t.After(last) {
			last = t
		}
	}
	return last
}
