package hm9000

import (
	"encoding/json"
	"time"
)

// Store is what HM9000 keeps in etcd: it outlives HM9000. Only one HM9000 at a time may use it.
type Store struct {
	instances  map[string]instance
	presence   map[string]time.Time // until when a DEA counts as present
	freshSince time.Time
	freshUntil time.Time
	crashes    map[crashKey]crashCount
	messages   map[string]*message
}

// NewStore makes an empty one.
func NewStore() *Store {
	return &Store{
		instances: map[string]instance{}, presence: map[string]time.Time{},
		crashes: map[crashKey]crashCount{}, messages: map[string]*message{},
	}
}

// The states of an instance that matter.
const (
	starting   = "STARTING"
	running    = "RUNNING"
	crashed    = "CRASHED"
	evacuating = "EVACUATING"
)

// appKey is what HM9000 takes for an app (D12).
type appKey struct{ id, version string }

// instance is one instance in the store.
type instance struct {
	app   appKey
	guid  string
	index int
	state string
	dea   string
}

func (i instance) live() bool { return i.state == starting || i.state == running }

// beat is a heartbeat as HM9000 reads it (N02). A wrong type in one field makes it refuse the whole message (W14).
type beat struct {
	DEA      string `json:"dea"`
	Droplets []struct {
		Droplet  string `json:"droplet"`
		Version  string `json:"version"`
		Instance string `json:"instance"`
		Index    int    `json:"index"`
		State    string `json:"state"`
	} `json:"droplets"`
}

// heartbeat takes a heartbeat, to be stored at the next sync. Of several by one DEA the last one counts (N07).
func (m *model) heartbeat(data []byte) {
	var b beat
	if err := json.Unmarshal(data, &b); err != nil {
		m.stats.Malformed++
		return
	}
	m.stats.Heartbeats++
	m.waiting[b.DEA] = b
}

// sync stores the heartbeats that were taken since the last one.
func (m *model) sync(now time.Time) {
	if len(m.waiting) == 0 {
		return
	}
	var evacuations []instance
	listed := map[string]map[string]bool{} // by DEA
	for dea, b := range m.waiting {
		m.presence[dea] = now.Add(m.beats(ttlBeats))
		listed[dea] = map[string]bool{}
		for _, d := range b.Droplets {
			listed[dea][d.Instance] = true
			in := instance{appKey{d.Droplet, d.Version}, d.Instance, d.Index, d.State, dea}
			old, known := m.instances[in.guid]
			m.instances[in.guid] = in
			if in.state == evacuating && !(known && (old.state == evacuating || old.state == crashed)) {
				evacuations = append(evacuations, in)
			}
		}
	}
	for guid, in := range m.instances { // R41
		if list, beat := listed[in.dea]; beat && !list[guid] {
			delete(m.instances, guid)
		}
	}
	clear(m.waiting)
	if !now.Before(m.freshUntil) {
		m.freshSince = now // R43, R44
	}
	m.freshUntil = now.Add(m.beats(ttlBeats))
	if m.fresh(now) {
		for _, in := range evacuations { // R23: nothing is verified, and the start is not kept if it is not sent
			start := m.newStart(now, in.app, in.index, reasonEvacuating)
			if m.queue(start) && !m.sendOne(now, start) {
				delete(m.messages, start.key())
			}
		}
	}
}

// fresh reports whether HM9000 may act: it has stored heartbeats for long enough, and lately.
func (m *model) fresh(now time.Time) bool {
	return m.faults.IgnoreFreshness || now.Before(m.freshUntil) && now.Sub(m.freshSince) >= m.beats(ttlBeats)
}

// expire forgets the instances of DEAs that are silent for their time to live (R40).
func (m *model) expire(now time.Time) {
	for dea, until := range m.presence {
		if !now.Before(until) {
			delete(m.presence, dea)
		}
	}
	for guid, in := range m.instances {
		if _, present := m.presence[in.dea]; !present {
			delete(m.instances, guid)
		}
	}
	for key, c := range m.crashes {
		if !now.Before(c.until) {
			delete(m.crashes, key)
		}
	}
}

// exited takes a droplet.exited. HM9000 acts on those of a DEA that leaves, and on no other (R33, R34): the start is
// kept until it is sent.
func (m *model) exited(now time.Time, data []byte) {
	var e struct {
		Droplet string `json:"droplet"`
		Version string `json:"version"`
		Index   int    `json:"index"`
		Reason  string `json:"reason"`
	}
	if err := json.Unmarshal(data, &e); err != nil {
		m.stats.Malformed++
		return
	}
	if e.Reason != "DEA_EVACUATION" && e.Reason != "DEA_SHUTDOWN" {
		return
	}
	start := m.newStart(now, appKey{e.Droplet, e.Version}, e.Index, reasonEvacuating)
	start.skipVerification = true
	if m.queue(start) && m.fresh(now) {
		m.sendOne(now, start)
	}
}
