package api

import (
	"slices"

	"hm/desired"
	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// knownApps keeps what a pass over the whole fleet found by looking at every app, as long as it holds. So while nothing is
// recorded a pass costs only what drifts. The zero value is ready to use.
type knownApps struct {
	unsettled   []app.Key // that may drift (reconcile.Evaluator.UnsettledAt); nobody changes them
	record      recordName
	from, until app.Time // when they were found, and from when on there may be more; 0: never

	desired gauges // what the desired state says
	rows    raftfsm.RowsName

	looked, counted bool // the fields above are set
}

// recordName names a node's record at one moment. Two views with the same name are equal.
type recordName struct{ restores, index uint64 }

// unsettledAt gives what reconcile.Evaluator.UnsettledAt gives.
func (k *knownApps) unsettledAt(eval *reconcile.Evaluator, view *raftfsm.State, at app.Time) []app.Key {
	record := recordName{view.Restores(), view.Index()}
	if !k.looked || k.record != record || at < k.from || k.until != 0 && at >= k.until {
		k.unsettled, k.until = eval.UnsettledUntil(view, at)
		k.record, k.from, k.looked = record, at, true
	}
	return slices.Clip(k.unsettled)
}

// desiredGauges gives the gauges of which only the desired state decides; the others are 0.
func (k *knownApps) desiredGauges(view *raftfsm.State) gauges {
	rows := view.RowsName()
	if !k.counted || k.rows != rows {
		k.desired, k.rows, k.counted = gauges{}, rows, true
		view.EachUnnamed(func(_ raftfsm.Handle, d desired.App) bool {
			k.desired.desire(d)
			return true
		})
	}
	return k.desired
}
