package diff

import (
	"hm/actual"
	"hm/desired"
)

// Tally sums up an app's instances in sixteen bytes. With it a pass over the whole fleet skips the apps about which App
// would find nothing.
type Tally struct {
	indices             uint64 // bit i: a live instance is at index i
	live                uint32
	needsFullEvaluation bool // only App can decide
}

// Add counts one recorded instance.
func (t *Tally) Add(index uint32, s actual.State) {
	t.needsFullEvaluation = t.needsFullEvaluation || s != actual.Running // a STARTING one may have started for too long
	if !s.Live() {
		return
	}
	t.live++
	if index >= 64 {
		t.needsFullEvaluation = true
		return
	}
	t.indices |= 1 << index
}

// Settled reports whether App would keep every instance of an app that is desired as d, and would find no instance
// missing. It may be false when App would find nothing; it is never true when App would find something. It does not
// consider outstanding commands.
func (t *Tally) Settled(d desired.App) bool {
	if !d.Wanted() {
		return t.live == 0 && !t.needsFullEvaluation
	}
	return !t.needsFullEvaluation && d.Instances <= 64 && t.live == d.Instances && t.indices == uint64(1)<<d.Instances-1
}

// SettledUndesired is Settled for an app that is not in the desired state.
func (t *Tally) SettledUndesired() bool { return t.live == 0 && !t.needsFullEvaluation }
