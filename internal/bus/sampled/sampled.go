// Package sampled logs what outsiders can make happen as often as they like: at most one line a period for each
// kind of event, with a count of what was left out, so that no flood of bad input becomes a flood of log.
package sampled

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Log writes to a slog.Logger, one line a period and kind. It is safe for concurrent use.
type Log struct {
	logger *slog.Logger
	every  time.Duration

	mu    sync.Mutex
	kinds map[string]*window
}

type window struct {
	opened     time.Time // when the newest line was written (monotonic)
	suppressed uint64    // events since then
}

// New makes a Log that writes at most one line in every `every` for each kind. A nil logger discards.
func New(logger *slog.Logger, every time.Duration) *Log {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Log{logger: logger, every: every, kinds: map[string]*window{}}
}

// Log counts one event of a kind, and writes it if the kind's period is over. kind must come from a fixed set, as
// each takes memory for good. attrs is called only when the line is written; it may be nil. A line that stands
// for more than itself says how many were left out since the line before, as "suppressed".
func (l *Log) Log(level slog.Level, kind, msg string, attrs func() []any) {
	now := time.Now()
	l.mu.Lock()
	w := l.kinds[kind]
	if w == nil {
		w = &window{}
		l.kinds[kind] = w
	} else if now.Sub(w.opened) < l.every {
		w.suppressed++
		l.mu.Unlock()
		return
	}
	left := w.suppressed
	w.opened, w.suppressed = now, 0
	l.mu.Unlock()

	var args []any
	if attrs != nil {
		args = attrs()
	}
	if left > 0 {
		args = append(args, "suppressed", left)
	}
	l.logger.Log(context.Background(), level, msg, args...)
}

// Warn is Log at slog.LevelWarn.
func (l *Log) Warn(kind, msg string, attrs func() []any) { l.Log(slog.LevelWarn, kind, msg, attrs) }

// Error is Log at slog.LevelError.
func (l *Log) Error(kind, msg string, attrs func() []any) { l.Log(slog.LevelError, kind, msg, attrs) }
