package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"

	"hm/internal/sampled"
)

// How often one message may repeat.
const (
	sampleWindow = 10 * time.Second
	sampleBurst  = 3
)

// sampledLog writes to a slog.Logger, but does not let one message flood it. Messages are told apart by their constant
// text and a subject.
type sampledLog struct {
	to      *slog.Logger
	sampled *sampled.Log
}

func newSampledLog(to *slog.Logger) *sampledLog {
	return &sampledLog{to: to, sampled: sampled.New(to, sampleWindow, sampleBurst)}
}

func (l *sampledLog) log(level slog.Level, subject, msg string, args ...any) {
	if l.to.Enabled(context.Background(), level) { // before the key is put together
		l.sampled.Log(level, msg+"\x00"+subject, msg, func() []any { return args })
	}
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
