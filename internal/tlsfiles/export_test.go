package tlsfiles

import "time"

// Look looks at all files at a time, as Run does.
func (w *Watcher) Look(now time.Time) { w.look(now, false) }

// Often makes Run look much more often.
func (w *Watcher) Often() { w.every = time.Millisecond }
