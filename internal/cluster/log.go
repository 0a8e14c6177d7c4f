package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// How much of one repeating message gets through: so many in a window, then silence until the next window, whose
// first message says how many were left out.
const (
	sampleWindow = 10 * time.Second
	sampleBurst  = 3
	sampleKeys   = 512
)

// sampledLog writes to a slog.Logger, but does not let one message flood it. Messages are told apart by their
// constant text and a subject.
type sampledLog struct {
	to *slog.Logger

	mu   sync.Mutex
	seen map[string]*sample
}

type sample struct {
	from     time.Time
	n, quiet int
}

func newSampledLog(to *slog.Logger) *sampledLog {
	return &sampledLog{to: to, seen: map[string]*sample{}}
}

func (l *sampledLog) log(level slog.Level, subject, msg string, args ...any) {
	if !l.to.Enabled(context.Background(), level) {
		return
	}
	pass, quiet := l.admit(msg+"\x00"+subject, time.Now())
	if !pass {
		return
	}
	if quiet > 0 {
		args = append(args, "left_out", quiet)
	}
	l.to.Log(context.Background(), level, msg, args...)
}

func (l *sampledLog) admit(key string, now time.Time) (pass bool, quiet int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.seen[key]
	if s == nil {
		if len(l.seen) >= sampleKeys { // some messages of raft's hold variable text
			clear(l.seen)
		}
		s = &sample{from: now}
		l.seen[key] = s
	}
	if now.Sub(s.from) >= sampleWindow {
		quiet = s.quiet
		*s = sample{from: now}
	}
	s.n++
	if s.n > sampleBurst {
		s.quiet++
		return false, 0
	}
	return true, quiet
}

// forRaft gives raft a logger that ends in l: the intercept logger of hclog itself prints nothing and hands
// everything to its one sink.
func (l *sampledLog) forRaft() hclog.Logger {
	logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
	logger.RegisterSink(hclogSink{l})
	return logger
}

type hclogSink struct{ log *sampledLog }

// Accept takes one message of raft's.
func (s hclogSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case hclog.Info:
		to = slog.LevelInfo
	case hclog.Warn:
		to = slog.LevelWarn
	case hclog.Error:
		to = slog.LevelError
	}
	for _, a := range args {
		if err, ok := a.(error); ok && errors.Is(err, net.ErrClosed) {
			to = slog.LevelDebug // this node closed the connection itself
		}
	}
	if !s.log.to.Enabled(context.Background(), to) {
		return // before anything is formatted
	}
	for i, a := range args {
		switch a := a.(type) {
		case hclog.Format:
			if format, ok := a[0].(string); ok {
				args[i] = fmt.Sprintf(format, a[1:]...)
			}
		case fmt.Stringer:
			args[i] = a.String()
		}
	}
	s.log.log(to, "raft", msg, args...)
}
