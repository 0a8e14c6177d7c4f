package server

import (
	"context"
	"time"

	"hm/internal/app"
	"hm/internal/cluster"
	"hm/internal/reconcile"
)

// replicatedLog is the cluster's log as the reconcile loop uses it.
type replicatedLog struct{ *cluster.Node }

// Leading reports whether this node leads in the given term and is not handing over, with a state that does not differ
// from its peers' state.
func (l replicatedLog) Leading(term uint64) bool {
	lead := l.Leadership()
	return lead.Leader && lead.Term == term && !l.HandingOver() && !l.StateDiffers()
}

// VerifyLease returns nil if a majority confirms that this node leads in the given term.
func (l replicatedLog) VerifyLease(ctx context.Context, term uint64) error {
	if err := l.Node.VerifyLease(ctx); err != nil {
		return err
	}
	if !l.Leading(term) {
		return cluster.ErrNotLeader
	}
	return nil
}

// Lead tells who leads.
func (l replicatedLog) Lead() reconcile.Lead {
	lead := l.Leadership()
	return reconcile.Lead{Leader: lead.Leader, Term: lead.Term, Known: lead.LeaderID != ""}
}

// intakeLog is the log as the intake uses it. Its clock starts with the process and runs on the monotonic time, so it
// jumps neither with the wall clock nor with the log.
type intakeLog struct {
	replicatedLog
	start time.Time
}

func (l intakeLog) Now() app.Time { return app.TimeOf(l.start).Add(time.Since(l.start)) }
