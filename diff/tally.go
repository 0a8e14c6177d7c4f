package diff

import (
	"hm/actual"
	"hm/desired"
)

// Tally sums up an app's instances in sixteen bytes, so that a pass over a whole fleet can pass over the apps
// about which App would find nothing.
type Tally struct {
	indices uint64 // bit i: a live instance at index i
	live    uint32
	odd     bool // something that only App can judge
}

// Add counts one recorded instance.
func (t *Tally) Add(index uint32, s actual.State) {
	if !s.Live() {
		t.odd = true
		return
	}
	t.live++
	if index >= 64 {
		t.odd = true
		return
	}
	t.indices |= 1 << index
}

// Settled reports whether App would keep every instance of an app desired as d and miss none. It may say no
// when App would find nothing; it never says yes when App would find something. Outstanding commands are not
// part of it.
func (t *Tally) Settled(d desired.App) bool {
	if !d.Wanted() {
		return t.live == 0 && !t.odd
	}
	return !t.odd && d.Instances <= 64 && t.live == d.Instances && t.indices == uint64(1)<<d.Instances-1
}

// SettledUndesired is Settled for an app that is not in the desired state.
func (t *Tally) SettledUndesired() bool { return t.live == 0 && !t.odd }
