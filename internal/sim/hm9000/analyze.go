package hm9000

import (
	"cmp"
	"slices"
	"time"
)

// model is what HM9000 knows and does, without goroutines or a clock.
type model struct {
	period     time.Duration
	startLimit int
	faults     Faults
	publish    func(subject string, data []byte) error
	stats      Stats
	waiting    map[string]beat // by DEA: not stored yet
	*Store
}

type crashKey struct {
	app   appKey
	index int
}

type crashCount struct {
	count int
	until time.Time // R08
}

func newModel(o Options, publish func(subject string, data []byte) error) *model {
	return &model{
		period: o.HeartbeatPeriod, startLimit: o.StartLimit, faults: o.Faults, publish: publish,
		waiting: map[string]beat{}, Store: o.Store,
	}
}

func (m *model) beats(n int) time.Duration { return time.Duration(n) * m.period }

// pass is one run: analyse every app, then send what is due. It does nothing if the desired state could not be read
// (R47), or if the store is not fresh.
func (m *model) pass(now time.Time, desired []desiredApp, err error) {
	m.stats.Passes++
	switch {
	case err != nil:
		m.stats.FetchesFailed++
		return
	case !m.fresh(now):
		m.stats.NotFresh++
		return
	}
	m.expire(now)
	view := m.view(desired)
	for _, v := range view {
		m.analyzeApp(now, v)
	}
	m.sendDue(now, view)
}

// appView is one app as a pass sees it.
type appView struct {
	key       appKey
	desired   desiredApp // zero: it is not desired
	instances []instance // sorted by index and guid
}

// view puts together what is desired and what was heard.
func (m *model) view(desired []desiredApp) map[appKey]*appView {
	view := map[appKey]*appView{}
	of := func(key appKey) *appView {
		v := view[key]
		if v == nil {
			v = &appView{key: key}
			view[key] = v
		}
		return v
	}
	for _, d := range desired {
		if d.wanted() {
			of(appKey{d.ID, d.Version}).desired = d
		}
	}
	if !m.faults.EmptyReads {
		for _, in := range m.instances {
			v := of(in.app)
			v.instances = append(v.instances, in)
		}
	}
	for _, v := range view {
		slices.SortFunc(v.instances, func(a, b instance) int {
			return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.guid, b.guid))
		})
	}
	return view
}

// desires reports whether an index is desired.
func (v *appView) desires(index int) bool { return index < v.desired.Instances }

// at gives the instances at an index that are as asked.
func (v *appView) at(index int, is func(instance) bool) (found []instance) {
	for _, in := range v.instances {
		if in.index == index && is(in) {
			found = append(found, in)
		}
	}
	return found
}

// byGUID finds an instance. One that is not found is taken for one at index 0 in no state (R53).
func (v *appView) byGUID(guid string) instance {
	for _, in := range v.instances {
		if in.guid == guid {
			return in
		}
	}
	return instance{}
}

func isIn(state string) func(instance) bool {
	return func(in instance) bool { return in.state == state }
}

// analyzeApp queues the messages of one app.
func (m *model) analyzeApp(now time.Time, v *appView) {
	missing := 0
	anyLive := slices.ContainsFunc(v.instances, instance.live)
	for index := range v.desired.Instances {
		if len(v.at(index, instance.live)) == 0 {
			missing++
		}
	}
	priority := float64(missing) / float64(max(v.desired.Instances, 1))
	started := false
	for index := range v.desired.Instances {
		started = m.analyzeIndex(now, v, index, priority, anyLive) || started
	}
	for _, in := range v.instances {
		if in.state == evacuating && !v.desires(in.index) { // R24
			m.queue(m.newStop(now, in, reasonExtra))
		}
	}
	if started {
		return // R19: starts before stops, in this pass
	}
	for _, in := range v.instances { // R14 to R18
		if in.live() && !v.desires(in.index) {
			m.queue(m.newStop(now, in, reasonExtra))
		}
	}
	for index := range v.desired.Instances { // R20
		copies := v.at(index, instance.live)
		if len(copies) < 2 {
			continue
		}
		for i, in := range copies {
			stop := m.newStop(now, in, reasonDuplicate)
			stop.sendOn = now.Add(m.beats((4 + i) * graceBeats))
			m.queue(stop)
		}
	}
}

// analyzeIndex queues the messages about a desired index. It reports whether a start was queued.
func (m *model) analyzeIndex(now time.Time, v *appView, index int, priority float64, anyLive bool) (started bool) {
	live := v.at(index, instance.live)
	if leaving := v.at(index, isIn(evacuating)); len(leaving) > 0 {
		return m.analyzeEvacuation(now, v, index, leaving, live)
	}
	if len(live) > 0 || !v.desired.staged() { // R13
		return false
	}
	start := m.newStart(now, v.key, index, reasonMissing)
	start.priority = priority
	if len(v.at(index, isIn(crashed))) == 0 { // R01
		start.sendOn, start.keepAlive = now.Add(m.beats(graceBeats)), 0
		return m.queue(start)
	}
	if index != 0 && !anyLive { // R06
		return false
	}
	key := crashKey{v.key, index}
	c := m.crashes[key]
	start.reason, start.sendOn = reasonCrashed, now.Add(m.backoff(c.count))
	if !m.queue(start) { // R12
		return false
	}
	m.crashes[key] = crashCount{c.count + 1, now.Add(2 * m.beats(maxBackoffBeats))}
	return true
}

// analyzeEvacuation queues the messages about an index that a DEA evacuates (R25 to R29).
func (m *model) analyzeEvacuation(now time.Time, v *appView, index int, leaving, live []instance) (started bool) {
	runs := slices.ContainsFunc(live, isIn(running))
	count := m.crashes[crashKey{v.key, index}].count
	if runs || !v.desired.staged() || len(live) == 0 && count > 0 {
		for _, in := range leaving {
			m.queue(m.newStop(now, in, reasonEvacuationComplete))
		}
	}
	return len(live) == 0 && m.queue(m.newStart(now, v.key, index, reasonEvacuating))
}

// backoff is the delay of a crash restart after a number of earlier crashes (R07).
func (m *model) backoff(count int) time.Duration {
	if count < crashesBeforeBackoff {
		return 0
	}
	d := m.beats(backoffBeats)
	for range count - crashesBeforeBackoff {
		if d = 2 * d; d >= m.beats(maxBackoffBeats) {
			return m.beats(maxBackoffBeats)
		}
	}
	return d
}
