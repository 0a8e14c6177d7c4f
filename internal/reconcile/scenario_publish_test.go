package reconcile

import (
	"context"
	"testing"
	"time"

	"hm/commands"
	"hm/raftfsm"
)

// TestI1TheGateIsLookedAtAgainBeforeThePublish: if the gate closes between the decision and the
// publish, the command is not sent. It is sent once when the gate opens.
func TestI1TheGateIsLookedAtAgainBeforeThePublish(t *testing.T) {
	for name, c := range map[string]struct {
		interfere func(cf *simCF)
		after     func(cf *simCF)
	}{
		"a pause is recorded before the claim": {
			func(cf *simCF) { cf.pause(10 * hb) },
			func(cf *simCF) { cf.run(10 * hb) },
		},
		"the link has a gap":   {func(cf *simCF) { cf.spell(true) }, func(*simCF) {}},
		"the link goes down":   {func(cf *simCF) { cf.spell(false) }, func(cf *simCF) { cf.spell(true) }},
		"the lease is gone":    {func(cf *simCF) { cf.leaseErr = errTest }, func(cf *simCF) { cf.leaseErr = nil }},
		"the read grows old":   {func(cf *simCF) { cf.core.reads.began = cf.now.Add(-cf.opts.DesiredTTL) }, func(*simCF) {}},
		"nobody speaks at all": {func(cf *simCF) { cf.intake.live.Link(true, cf.now.Add(-time.Hour)) }, func(cf *simCF) { cf.spell(true) }},
		"the machine is suspended": {
			func(cf *simCF) { cf.suspended += time.Hour }, func(*simCF) {},
		},
	} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 4, 10, testOptions())
			m := &interferer{simCF: cf, before: func() { c.interfere(cf) }}
			cf.core = NewCore(cf.opts, m, cf, cf.intake, cf.endedCommands)
			cf.core.Learn(cf.now, cf.now)
			cf.lose(1)
			for i := 0; m.before != nil; i++ {
				if cf.run(time.Second); i == 100 {
					t.Fatal("nothing was claimed")
				}
			}
			if name != "the machine is suspended" {
				cf.wantSent(name, 0, 0)
			}
			c.after(cf)
			cf.run(15 * hb)
			cf.wantSent("afterwards", 1, 0)
		})
	}
}

// TestI2ASuspensionAbandonsTheClaim: hm time stands still while the machine is suspended, so it
// does not show the stall.
func TestI2ASuspensionAbandonsTheClaim(t *testing.T) {
	cf := steadyFleet(t, 4, 10, testOptions())
	l := suspendedAtClaim{cf}
	cf.core = NewCore(cf.opts, l, cf, cf.intake, cf.endedCommands)
	cf.core.Learn(cf.now, cf.now)
	cf.lose(1)
	cf.run(6 * hb) // checkCommand holds each publish against its claim's age
	cf.wantSent("every claim is followed by a suspension", 0, 0)
}

// suspendedAtClaim is a simulation whose machine is suspended after each claim.
type suspendedAtClaim struct{ *simCF }

func (l suspendedAtClaim) Suspended() time.Duration {
	l.suspended += time.Minute
	return l.suspended
}

// TestACancelledCommandIsDecidedAnew: a person cancels a command that is due and waits for the
// limit. The drift remains.
func TestACancelledCommandIsDecidedAnew(t *testing.T) {
	opts := testOptions()
	opts.StartLimit = 1
	cf := steadyFleet(t, 8, 10, opts)
	cf.lose(1)
	cf.lose(2)
	cf.lose(3)
	for len(cf.sent) == 0 || len(cf.core.ready.apps) == 0 {
		cf.run(time.Second)
	}
	cancelled := 0
	for c := range cf.View().AllCommands() {
		if _, ready := cf.core.ready.apps[c.ID]; ready {
			cf.must(raftfsm.CommandsResolved{Outcomes: []raftfsm.Outcome{{ID: c.ID, State: commands.Dropped}}})
			cancelled++
		}
	}
	if cancelled == 0 {
		t.Fatal("no command waits for the limit")
	}
	cf.run(10 * hb)
	cf.wantSent("commands were cancelled", 3, 0)
}

// TestI2AnOldConfirmationOfTheLeaseIsAskedForAgain: the leader stalls after a majority has confirmed that it leads, for
// less than the claim's lease. Another node may lead by then. internal/claimmodel shows what happens if it does.
func TestI2AnOldConfirmationOfTheLeaseIsAskedForAgain(t *testing.T) {
	for name, c := range map[string]struct {
		stall time.Duration
		lost  bool // another node leads after the stall
		sent  int
		asked int
	}{
		"a short stall":                             {stall: 249 * time.Millisecond, sent: 1, asked: 1},
		"a longer stall, and it still leads":        {stall: 250 * time.Millisecond, sent: 1, asked: 2},
		"a longer stall, and another node leads":    {stall: 250 * time.Millisecond, lost: true, asked: 2},
		"a stall for longer than the claim's lease": {stall: testOptions().ClaimLease, asked: 1},
	} {
		t.Run(name, func(t *testing.T) {
			opts := testOptions()
			opts.LeaseHolds = 250 * time.Millisecond
			cf := steadyFleet(t, 4, 10, opts)
			l := &stallAfterLease{simCF: cf, stall: c.stall, lost: c.lost}
			cf.core = NewCore(cf.opts, l, cf, cf.intake, cf.endedCommands)
			cf.core.Learn(cf.now, cf.now)
			cf.lose(1)
			for i := 0; l.asked == 0; i++ {
				if cf.run(time.Second); i == 100 {
					t.Fatal("nothing was claimed")
				}
			}
			cf.wantSent(name, c.sent, 0)
			if l.asked != c.asked {
				t.Errorf("a majority was asked %d times, want %d", l.asked, c.asked)
			}
		})
	}
}

// stallAfterLease is a log whose node stalls after the first confirmation of the lease.
type stallAfterLease struct {
	*simCF
	stall time.Duration
	lost  bool
	asked int
}

func (l *stallAfterLease) VerifyLease(ctx context.Context, term uint64) error {
	l.asked++
	switch {
	case l.asked == 1:
		l.now = l.now.Add(l.stall)
	case l.lost:
		return errTest
	}
	return l.simCF.VerifyLease(ctx, term)
}
