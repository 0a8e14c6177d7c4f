// Package sampled bounds how often a log line repeats. It is for events that outsiders can cause as often as they like,
// so that a flood of bad input does not become a flood of log lines.
package sampled

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// maxKinds bounds the kinds that are kept. A caller whose kinds have variable text can go beyond; all kinds are then
// forgotten, with their counts.
const maxKinds = 512

// Log writes to a slog.Logger, at most a few lines of each kind in a period. It is safe for concurrent use.
type Log struct {
	logger *slog.Logger
	every  time.Duration
	burst  int

	mu    sync.Mutex
	kinds map[string]*window
}

type window struct {
	from       time.Time // of the first line in the period (monotonic)
	lines      int       // written in the period
	suppressed uint64    // events that were not written in the period
}

// New makes a Log that writes at most burst lines of each kind in a period. A nil logger discards.
func New(logger *slog.Logger, every time.Duration, burst int) *Log {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Log{logger: logger, every: every, burst: burst, kinds: map[string]*window{}}
}

// Log counts one event of a kind, and writes it unless the period already has its lines. attrs is called only when the
// line is written; it may be nil. The first line of a period has an attribute "suppressed" with the number of events
// that were not written in the period before, unless that is 0.
func (l *Log) Log(level slog.Level, kind, msg string, attrs func() []any) {
	if !l.logger.Enabled(context.Background(), level) {
		return
	}
	write, suppressed := l.admit(kind, time.Now())
	if !write {
		return
	}
	var args []any
	if attrs != nil {
		args = attrs()
	}
	if suppressed > 0 {
		args = append(args, "suppressed", suppressed)
	}
	l.logger.Log(context.Background(), level, msg, args...)
}

func (l *Log) admit(kind string, now time.Time) (write bool, suppressed uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.kinds[kind]
	if w == nil {
		if len(l.kinds) >= maxKinds {
			clear(l.kinds)
		}
		w = &window{from: now}
		l.kinds[kind] = w
	}
	if now.Sub(w.from) >= l.every {
		suppressed = w.suppressed
		*w = window{from: now}
	}
	if w.lines >= l.burst {
		w.suppressed++
		return false, 0
	}
	w.lines++
	return true, suppressed
}

// LeftOut writes msg for each kind that suppressed events in a period that is over, with the kind and their number. So
// the count is written even if the kind has no further event.
func (l *Log) LeftOut(level slog.Level, msg string) {
	now := time.Now()
	left := map[string]uint64{}
	l.mu.Lock()
	for kind, w := range l.kinds {
		if w.suppressed > 0 && now.Sub(w.from) >= l.every {
			left[kind], w.suppressed = w.suppressed, 0
		}
	}
	l.mu.Unlock()
	for _, kind := range slices.Sorted(maps.Keys(left)) {
		l.logger.Log(context.Background(), level, msg, "kind", kind, "suppressed", left[kind])
	}
}

// Warn is Log at slog.LevelWarn.
func (l *Log) Warn(kind, msg string, attrs func() []any) { l.Log(slog.LevelWarn, kind, msg, attrs) }

// Error is Log at slog.LevelError.
func (l *Log) Error(kind, msg string, attrs func() []any) { l.Log(slog.LevelError, kind, msg, attrs) }
