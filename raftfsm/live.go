package raftfsm

import (
	"hm/actual"
	"hm/internal/app"
)

// anyAt reports whether an instance that Instances returns for app h at index is in a state for which is returns true.
func (s *State) anyAt(h Handle, index uint32, is func(actual.State) bool) bool {
	for _, num := range s.apps.deas(h) {
		d := *s.deas.get(num)
		lo, hi := d.at(h, index)
		for i := lo; i < hi; i++ {
			if is(d.inst[i].state) && !s.superseded(h, d, d.guid(i)) {
				return true
			}
		}
	}
	return false
}

// liveBeside reports whether an instance of app h other than g is live at index.
func (s *State) liveBeside(h Handle, index uint32, g app.GUID) bool {
	for _, num := range s.apps.deas(h) {
		d := *s.deas.get(num)
		lo, hi := d.at(h, index)
		for i := lo; i < hi; i++ {
			if d.inst[i].state.Live() && d.guid(i) != g && !s.superseded(h, d, d.guid(i)) {
				return true
			}
		}
	}
	return false
}

// superseded reports whether a DEA that was recorded later than d lists the same instance of app h (W10).
func (s *State) superseded(h Handle, d *deaRec, g app.GUID) bool {
	for _, num := range s.apps.deas(h) {
		if o := *s.deas.get(num); o.born > d.born {
			lo, hi := o.of(h)
			if o.locate(g, lo, hi) >= 0 {
				return true
			}
		}
	}
	return false
}

// liveAt reports whether instance g of app h is live at index.
func (s *State) liveAt(h Handle, index uint32, g app.GUID) bool {
	for _, num := range s.apps.deas(h) {
		d := *s.deas.get(num)
		lo, hi := d.at(h, index)
		if i := d.locate(g, lo, hi); i >= 0 && d.inst[i].state.Live() && !s.superseded(h, d, g) {
			return true
		}
	}
	return false
}

// crashedAt returns the guids of app h's crashed instances at index.
func (s *State) crashedAt(h Handle, index uint32) (guids []app.GUID) {
	for _, num := range s.apps.deas(h) {
		d := *s.deas.get(num)
		lo, hi := d.at(h, index)
		for i := lo; i < hi; i++ {
			if d.inst[i].state == actual.Crashed {
				guids = append(guids, d.guid(i))
			}
		}
	}
	return guids
}

// anyLive reports whether app h has a live instance at any index.
func (s *State) anyLive(h Handle) bool {
	for _, num := range s.apps.deas(h) {
		d := *s.deas.get(num)
		lo, hi := d.of(h)
		for i := lo; i < hi; i++ {
			if d.inst[i].state.Live() {
				return true
			}
		}
	}
	return false
}
