package raftfsm

import (
	"errors"
	"testing"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
)

// claimed returns a log in which app 0 is desired with 2 instances, two copies are at index 0, and a stop is scheduled
// for each of them (W02). It returns a claim for each stop, too.
func claimed(t *testing.T) (l *log, k app.Key, one, two Claim) {
	l, k = newLog(t), testKey(0)
	l.desire(row(k, 2))
	a, b := testInstance(k, 1, 0, actual.Running), testInstance(k, 2, 0, actual.Running)
	l.must(DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{a}}, DEAChanges{DEA: "dea-1", Upserts: []actual.Instance{b}})
	l.must(CommandsScheduled{Commands: []commands.Command{stop(1, k, 0, a.GUID), stop(2, k, 0, b.GUID)}})
	basis := l.Basis(k, 0)
	return l, k, Claim{ID: testID(1), Term: 1, Basis: basis}, Claim{ID: testID(2), Term: 1, Basis: basis}
}

func TestClaimIsRefusedWhenItsBasisChanged(t *testing.T) {
	k := testKey(0)
	for name, c := range map[string]struct {
		before Record
		change func(*Claim)
		want   error
	}{
		"nothing changed":          {nil, nil, nil},
		"unknown id":               {nil, func(c *Claim) { c.ID = testID(9) }, ErrNotOutstanding},
		"term of another election": {nil, func(c *Claim) { c.Term = 0 }, ErrTerm},
		"another fingerprint":      {nil, func(c *Claim) { c.Basis.Index++ }, ErrBasis},
		"another desired revision": {nil, func(c *Claim) { c.Basis.Desired++ }, ErrBasis},
		"dropped meanwhile":        {CommandsResolved{Outcomes: []Outcome{{ID: testID(1), State: commands.Dropped}}}, nil, ErrNotOutstanding},
		"claimed before":           {CommandsClaimed{}, nil, ErrNotPending}, // its claims are filled in below
		"copy went away":           {DEAChanges{DEA: "dea-1", Removes: []app.GUID{testInstance(k, 2, 0, 0).GUID}}, nil, ErrBasis},
		"copy crashed":             {InstanceExited{Exit: actual.Exit{App: k, Instance: testInstance(k, 2, 0, 0).GUID, Reason: actual.ExitCrashed}}, nil, ErrBasis},
		"another copy appeared":    {DEAChanges{DEA: "dea-2", Upserts: []actual.Instance{testInstance(k, 3, 0, actual.Starting)}}, nil, ErrBasis},
		"copy moved to a DEA":      {DEAChanges{DEA: "dea-2", Upserts: []actual.Instance{testInstance(k, 2, 0, actual.Running)}}, nil, ErrBasis},
		"DEA fell silent":          {DEAsGone{DEAs: []string{"dea-1"}}, nil, ErrBasis},
		"another index changed":    {DEAChanges{DEA: "dea-2", Upserts: []actual.Instance{testInstance(k, 3, 1, actual.Starting)}}, nil, nil},
		"another app changed":      {DEAChanges{DEA: "dea-2", Upserts: []actual.Instance{testInstance(testKey(1), 3, 0, actual.Starting)}}, nil, nil},
		"only the timestamp":       {DEAChanges{DEA: "dea-1", Upserts: []actual.Instance{{App: k, GUID: testInstance(k, 2, 0, 0).GUID, State: actual.Running, Since: 7}}}, nil, nil},
		"another command waits":    {CommandsScheduled{Commands: []commands.Command{start(3, k, 0)}}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l, _, one, _ := claimed(t)
			if r, ok := c.before.(CommandsClaimed); ok {
				r.Claims = []Claim{one}
				l.must(r)
			} else if c.before != nil {
				l.must(c.before)
			}
			if c.change != nil {
				c.change(&one)
			}
			hash := recomputedRecords(l.State)
			res := l.apply(CommandsClaimed{Claims: []Claim{one}})
			if c.want == nil {
				if len(res.Refused) != 0 {
					t.Fatalf("refused: %v", res.Refused[0].Err)
				}
				cmd, _ := l.Command(testID(1))
				if cmd.State != commands.Claimed || cmd.ClaimedAt != l.Time() || cmd.Term != 1 {
					t.Fatalf("the claimed command is %+v", cmd)
				}
				return
			}
			if len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, c.want) || res.Refused[0].ID != one.ID {
				t.Fatalf("refused %+v, want %v", res.Refused, c.want)
			}
			if len(res.Touched) != 0 || recomputedRecords(l.State) != hash {
				t.Fatalf("a refused claim changed the state: %+v", res.Touched)
			}
		})
	}
}

func TestClaimOfADesiredStateThatChanged(t *testing.T) {
	l, k, one, _ := claimed(t)
	l.desire(row(k, 1))
	if res := l.apply(CommandsClaimed{Claims: []Claim{one}}); len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, ErrBasis) {
		t.Fatalf("refused %+v, want %v", res.Refused, ErrBasis)
	}
	// A commit that does not change the row does not change the basis.
	l, k, one, _ = claimed(t)
	l.desire(row(k, 2), row(testKey(1), 1))
	l.must(CommandsClaimed{Claims: []Claim{one}})
}

// Of two claims with the same basis the second is refused, in one entry or in two. So both copies of a duplicate are
// never stopped together (W02).
func TestOneClaimAnIndex(t *testing.T) {
	l, _, one, two := claimed(t)
	res := l.apply(CommandsClaimed{Claims: []Claim{one, two}})
	if len(res.Refused) != 1 || res.Refused[0].ID != two.ID || !errors.Is(res.Refused[0].Err, ErrBasis) {
		t.Fatalf("in one entry: refused %+v", res.Refused)
	}
	l, _, one, two = claimed(t)
	l.must(CommandsClaimed{Claims: []Claim{one}})
	l.must(CommandsResolved{Outcomes: []Outcome{{ID: one.ID, State: commands.Sent}}})
	if res := l.apply(CommandsClaimed{Claims: []Claim{two}}); len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, ErrBasis) {
		t.Fatalf("in a later entry: refused %+v", res.Refused)
	}
}

// TestI1NoClaimUnderAHold: a hold that is recorded before the claim's entry keeps the command from being claimed.
func TestI1NoClaimUnderAHold(t *testing.T) {
	for name, c := range map[string]struct {
		hold Hold
		want error
	}{
		"paused":               {Hold{Name: "paused"}, ErrHeld},
		"paused for a while":   {Hold{Name: "paused", Until: 1 << 50}, ErrHeld},
		"the pause has passed": {Hold{Name: "paused", Until: 1}, nil},
		"stops are limited":    {Hold{Name: "slow-stops", StopLimit: 5}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l, _, one, _ := claimed(t)
			l.must(HoldSet{Hold: c.hold})
			res := l.apply(CommandsClaimed{Claims: []Claim{one}})
			if c.want == nil && len(res.Refused) != 0 || c.want != nil && (len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, c.want)) {
				t.Fatalf("refused %+v, want %v", res.Refused, c.want)
			}
		})
	}
}

func TestScheduleRefusesASecondCommandForATarget(t *testing.T) {
	k, other := testKey(0), testKey(1)
	g := testGUID('c', 1, 'u')
	for name, c := range map[string]struct {
		cmd  commands.Command
		want error
	}{
		"same start":              {start(2, k, 0), ErrOutstanding},
		"start, another reason":   {crashStart(2, k, 0, 1, g), ErrOutstanding},
		"start at another index":  {start(2, k, 1), nil},
		"start of another app":    {start(2, other, 0), nil},
		"same id":                 {start(1, other, 5), ErrOutstanding},
		"same stop":               {stop(2, k, 0, g), ErrOutstanding},
		"stop, index changed":     {stop(2, k, 4, g), ErrOutstanding},
		"stop of another copy":    {stop(2, k, 0, testGUID('c', 2, 'u')), nil},
		"stop in another version": {stop(2, other, 0, g), nil},
		"no id":                   {commands.Command{Action: commands.Start, App: k, Reason: 1}, ErrInvalid},
		"no app":                  {commands.Command{ID: testID(2), Action: commands.Start, Reason: 1}, ErrInvalid},
		"no action":               {commands.Command{ID: testID(2), App: k, Reason: 1}, ErrInvalid},
		"no reason":               {commands.Command{ID: testID(2), App: k, Action: commands.Start}, ErrInvalid},
		"stop without instance":   {stop(2, k, 0, app.GUID{}), ErrInvalid},
		"index beyond the limit":  {start(2, k, actual.MaxIndex+1), ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			l.desire(row(k, 2), row(other, 2))
			l.must(CommandsScheduled{Commands: []commands.Command{start(1, k, 0), stop(200, k, 0, g)}})
			res := l.apply(CommandsScheduled{Commands: []commands.Command{c.cmd}})
			if c.want == nil && len(res.Refused) != 0 || c.want != nil && (len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, c.want)) {
				t.Fatalf("refused %+v, want %v", res.Refused, c.want)
			}
		})
	}
}

func TestCommandStates(t *testing.T) {
	l, k := newLog(t), testKey(0)
	l.desire(row(k, 1))
	c := start(1, k, 0)
	c.State, c.SentAt, c.Term = commands.Sent, 5, 5 // Apply ignores these fields
	l.must(CommandsScheduled{Commands: []commands.Command{c}})
	got, _ := l.Command(c.ID)
	if got.State != commands.Pending || got.CreatedAt != l.Time() || got.SentAt != 0 || got.Term != 0 || l.Counts().PendingStarts != 1 {
		t.Fatalf("scheduled: %+v, %+v", got, l.Counts())
	}
	if res := l.apply(CommandsResolved{Outcomes: []Outcome{{ID: c.ID, State: commands.Sent}}}); len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, ErrNotClaimed) {
		t.Fatalf("sent without a claim: refused %+v", res.Refused)
	}
	l.must(CommandsClaimed{Claims: []Claim{{ID: c.ID, Term: 1, Basis: l.Basis(k, 0)}}})
	sent := l.must(CommandsResolved{Outcomes: []Outcome{{ID: c.ID, State: commands.Sent}, {ID: c.ID, State: commands.Sent}}}).Sent
	if len(sent) != 1 || sent[0].ID != c.ID || sent[0].Reason != c.Reason {
		t.Fatalf("Result.Sent has %+v, want the command once", sent)
	}
	got, _ = l.Command(c.ID)
	if n := l.Counts(); got.State != commands.Sent || got.SentAt != l.Time() || n.SentStarts != 1 || n.PendingStarts != 0 {
		t.Fatalf("sent: %+v, %+v", got, n)
	}
	res := l.must(CommandsResolved{Outcomes: []Outcome{{ID: c.ID, State: commands.Confirmed, Detail: "heard"}, {ID: testID(77), State: commands.Expired}}})
	if len(res.Ended) != 1 || res.Ended[0].State != commands.Confirmed || res.Ended[0].Detail != "heard" || res.Ended[0].At != l.Time() {
		t.Fatalf("ended: %+v", res.Ended)
	}
	if _, ok := l.Command(c.ID); ok || len(l.Commands(k)) != 0 {
		t.Fatal("an ended command is still outstanding")
	}
	if res := l.apply(CommandsScheduled{Commands: []commands.Command{start(2, k, 0)}}, CommandsResolved{Outcomes: []Outcome{{ID: testID(2), State: commands.Pending}}}); len(res.Refused) != 1 {
		t.Fatalf("the outcome pending: refused %+v", res.Refused)
	}
}
