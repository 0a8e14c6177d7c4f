package server

import (
	"context"
	"testing"
	"time"

	"hm/commands"
	"hm/internal/config"
)

// deadlines notes until when each publish may take.
type deadlines struct{ left []time.Duration }

func (d *deadlines) Publish(ctx context.Context, _ uint64, cmds []commands.Command) []error {
	end, bounded := ctx.Deadline()
	if !bounded {
		end = time.Now().Add(time.Hour)
	}
	d.left = append(d.left, time.Until(end))
	return make([]error, len(cmds))
}

// TestPublishEndsWithinTheGrace: a command that is published later than a grace after its claim may run beside the one
// that a successor has sent in its place.
func TestPublishEndsWithinTheGrace(t *testing.T) {
	for _, period := range []time.Duration{10 * time.Second, 100 * time.Millisecond} {
		cfg := config.Default()
		cfg.Policy.HeartbeatPeriod = period
		var d deadlines
		publisherOf(cfg, &d).Publish(t.Context(), 0, make([]commands.Command, 1))
		if len(d.left) != 1 || d.left[0] > min(2*time.Second, cfg.Grace()/2) {
			t.Errorf("with heartbeats of %v a publish may take %v, want at most half of a grace of %v", period, d.left, cfg.Grace())
		}
	}
}
