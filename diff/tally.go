package diff

import (
	"hm/actual"
	"hm/desired"
	"hm/internal/app"
)

// Tally sums up an app's instances in 24 bytes. With it a pass over the whole fleet skips the apps about which App
// would find nothing.
type Tally struct {
	indices             uint64   // bit i: a live instance is at index i
	oldest              app.Time // if starting: when the first of the STARTING instances was recorded
	live                uint32
	starting            bool // an instance is STARTING
	needsFullEvaluation bool // only App can decide
}

// Add counts one recorded instance. heard is when it was recorded in this state (actual.Located.Heard).
func (t *Tally) Add(index uint32, s actual.State, heard app.Time) {
	if !s.Live() {
		t.needsFullEvaluation = true
		return
	}
	if s == actual.Starting && (!t.starting || heard < t.oldest) {
		t.starting, t.oldest = true, heard
	}
	t.live++
	if index >= 64 {
		t.needsFullEvaluation = true
		return
	}
	t.indices |= 1 << index
}

// Settled reports whether App would keep every instance of an app that is desired as d, and would find no instance
// missing, while no instance is STARTING for too long: see StuckAt. It may be false when App would find nothing; it is
// never true when App would find something. It does not consider outstanding commands.
func (t *Tally) Settled(d desired.App) bool {
	if !d.Wanted() {
		return t.live == 0 && !t.needsFullEvaluation
	}
	return !t.needsFullEvaluation && d.Instances <= 64 && t.live == d.Instances && t.indices == uint64(1)<<d.Instances-1
}

// SettledUndesired is Settled for an app that is not in the desired state.
func (t *Tally) SettledUndesired() bool { return t.live == 0 && !t.needsFullEvaluation }

// StuckAt is when the first of the app's STARTING instances will have been STARTING for too long; 0: never.
func (t *Tally) StuckAt(p Policy) app.Time {
	if !t.starting || p.StartingTTL <= 0 {
		return 0
	}
	return t.oldest.Add(p.StartingTTL)
}
