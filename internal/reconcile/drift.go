package reconcile

import (
	"iter"
	"math"

	"hm/diff"
	"hm/internal/app"
	"hm/raftfsm"
)

// Evaluator answers one question: what does an app, or the whole fleet, come to now? The leader's
// decisions, the API, hm explain, hm drift and a replay all ask it, so that they all give the same
// answer. It keeps its buffers between calls and is not safe for concurrent use.
type Evaluator struct {
	policy diff.Policy
	app    Evaluation
}

// NewEvaluator returns an Evaluator that decides by policy.
func NewEvaluator(policy diff.Policy) *Evaluator {
	return &Evaluator{policy: policy, app: Evaluation{policy: policy}}
}

// Evaluation is what one app comes to at one time.
type Evaluation struct {
	Input    diff.Input     // all that is known of the app
	Findings []diff.Finding // what follows from it, sorted by index; what is as desired has findings, too

	now    app.Time
	policy diff.Policy
}

// App evaluates one app at now. The evaluation is valid until the Evaluator's next call.
func (e *Evaluator) App(view *raftfsm.State, k app.Key, know Knowledge, now app.Time) *Evaluation {
	a := &e.app
	a.now = now
	gather(&a.Input, view, k, know)
	a.Findings = diff.App(a.Findings[:0], &a.Input, now, e.policy)
	return a
}

// Drift yields the findings that are about drift, in their order.
func (a *Evaluation) Drift() iter.Seq[*diff.Finding] {
	return func(yield func(*diff.Finding) bool) {
		for i := range a.Findings {
			if f := &a.Findings[i]; f.Kind != diff.KindNone && !yield(f) {
				return
			}
		}
	}
}

// Plan is what is to be done about the app.
func (a *Evaluation) Plan() diff.Plan {
	return diff.MakePlan(&a.Input, a.Findings, a.now, a.policy)
}

// Plan evaluates one app at now and plans it. For an app that is plainly as desired it takes a
// fraction of the time of App, and gives the same plan: there is nothing to do before one of its
// instances has been STARTING for too long.
func (e *Evaluator) Plan(view *raftfsm.State, k app.Key, know Knowledge, now app.Time) diff.Plan {
	var t diff.Tally
	if settled(view, k, &t) && !view.HasCommands(k) {
		if stuck := t.StuckAt(e.policy); stuck == 0 || now < stuck {
			e.app.Findings = e.app.Findings[:0]
			return diff.Plan{Next: stuck}
		}
	}
	return e.App(view, k, know, now).Plan()
}

// Unsettled gives the keys of all apps that may drift, now or later, or have outstanding commands,
// sorted. It reads every instance once (I9: the anti-entropy pass).
func (e *Evaluator) Unsettled(view *raftfsm.State) []app.Key {
	return e.UnsettledAt(view, math.MaxInt64)
}

// UnsettledAt is Unsettled without the apps that do not drift at now and would only if an instance
// stayed STARTING for too long.
func (e *Evaluator) UnsettledAt(view *raftfsm.State, now app.Time) []app.Key {
	keys, _ := e.UnsettledUntil(view, now)
	return keys
}

// UnsettledUntil is UnsettledAt. It also gives from when on further apps may drift although the record has not changed; 0:
// none will.
func (e *Evaluator) UnsettledUntil(view *raftfsm.State, now app.Time) (keys []app.Key, until app.Time) {
	keys = passFleet(func(p *fleetPass) (found []app.Key) {
		found, until = p.unsettled(view, e.policy, now)
		return found
	})
	return keys, until
}

// Fleet evaluates every app that UnsettledAt gives, in that order; the others are as desired. visit
// returns false to stop early. Each evaluation is valid until visit returns.
func (e *Evaluator) Fleet(view *raftfsm.State, know Knowledge, now app.Time, visit func(*Evaluation) bool) {
	for _, k := range e.UnsettledAt(view, now) {
		if !visit(e.App(view, k, know, now)) {
			return
		}
	}
}
