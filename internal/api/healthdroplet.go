package api

import (
	"encoding/json"
	"strconv"

	"hm/actual"
	"hm/internal/app"
)

// Droplet answers healthmanager.droplet (N37) with one reply for each known droplet: what is recorded of it, under the
// names that HealthManager 2.0 used.
func (h HealthAnswers) Droplet(request []byte, reply replyFunc) error {
	asked, err := readDroplets(request, false)
	for _, a := range asked {
		d, known := h.droplet(a.key.Droplet)
		if known && !reply(a.droplet, encoded(h.object(a.droplet, d))) {
			break
		}
	}
	return err
}

// dropletObject is what hm knows of HealthManager 2.0's object.
type dropletObject struct {
	ID           string                    `json:"id"`
	NumInstances *uint32                   `json:"num_instances,omitempty"` // nil: the desired state is not known
	State        string                    `json:"state,omitempty"`         // empty, like the next two: the droplet is not in the desired state
	LiveVersion  string                    `json:"live_version,omitempty"`
	PackageState string                    `json:"package_state,omitempty"`
	Versions     map[string]dropletVersion `json:"versions"`
	Crashes      map[string]dropletCrash   `json:"crashes"` // by the guid of the instance
}

type dropletVersion struct {
	Instances map[string]dropletIndex `json:"instances"` // by index
}

// dropletIndex is one index, with one of its instances.
type dropletIndex struct {
	State          string          `json:"state"`
	Instance       string          `json:"instance,omitempty"`
	StateTimestamp json.RawMessage `json:"state_timestamp,omitempty"`
	Crashes        uint32          `json:"crashes"`
	CrashTimestamp int64           `json:"crash_timestamp"` // -1: it has not crashed
}

type dropletCrash struct {
	Timestamp      int64 `json:"timestamp"`
	CrashTimestamp int64 `json:"crash_timestamp"`
}

func (h HealthAnswers) object(id string, d knownDroplet) dropletObject {
	o := dropletObject{ID: id, Versions: map[string]dropletVersion{}, Crashes: map[string]dropletCrash{}}
	if d.told {
		o.NumInstances = &d.row.Instances
	}
	if live := d.row.Key.Version; !live.IsZero() {
		o.State, o.PackageState = d.row.State.String(), d.row.Package.String()
		o.LiveVersion = d.row.LetterCase.Version.Spell(live)
	}
	for _, k := range d.versions {
		name := k.Version.String()
		if k.Version == d.row.Key.Version {
			name = o.LiveVersion
		}
		instances := h.View.Instances(nil, k)
		o.Versions[name] = dropletVersion{h.indices(k, d, instances)}
		for _, i := range instances {
			if i.State == actual.Crashed {
				o.Crashes[i.GUID.String()] = dropletCrash{h.seconds(i.Heard), h.since(i)}
			}
		}
	}
	return o
}

// indices gives the indices of one version with an instance or with crashes that still count.
func (h HealthAnswers) indices(k app.Key, d knownDroplet, instances []actual.Located) map[string]dropletIndex {
	out := map[string]dropletIndex{}
	shown := map[uint32]actual.Located{}
	for _, i := range instances {
		if old, any := shown[i.Index]; !any || shownBefore(i.State) > shownBefore(old.State) {
			shown[i.Index] = i
		}
	}
	for index, i := range shown {
		out[name(index)] = dropletIndex{
			State: i.State.String(), Instance: i.GUID.String(), StateTimestamp: appendSeconds(nil, i.Since), CrashTimestamp: -1,
		}
	}
	for _, c := range h.View.Crashes(k) {
		count := h.Policy.Crashes(c, h.Now)
		if count == 0 {
			continue
		}
		x, any := out[name(c.Index)]
		if !any {
			x.State = "DOWN"
		}
		x.Crashes, x.CrashTimestamp = count, h.seconds(c.Last)
		out[name(c.Index)] = x
	}
	if k == d.row.Key {
		for _, f := range h.flapping(d.row) {
			x := out[name(f.Index)]
			x.State = statusFlapping
			out[name(f.Index)] = x
		}
	}
	return out
}

func name(index uint32) string { return strconv.FormatUint(uint64(index), 10) }

// shownBefore orders the states of instances at one index: the answer has the instance whose state is the highest.
func shownBefore(s actual.State) int {
	switch s {
	case actual.Running:
		return 5
	case actual.Starting:
		return 4
	case actual.Evacuating:
		return 3
	case actual.Unknown:
		return 2
	case actual.Stopping:
		return 1
	}
	return 0
}
