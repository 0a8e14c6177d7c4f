package api

import (
	"encoding/json"

	"hm/actual"
	"hm/desired"
	"hm/diff"
	"hm/internal/app"
	"hm/raftfsm"
)

// HealthAnswers answers what a Cloud Controller asked HealthManager 2.0 (N35 to N37) from a recorded state. To answer
// changes nothing (W48).
//
// Each method calls reply with every reply and the droplet that it is about, until reply returns false. A droplet of
// which nothing is recorded gets no reply. The error says why the question cannot be read; then there is no reply.
type HealthAnswers struct {
	View   *raftfsm.State
	Now    app.Time
	Wall   Wall
	Policy diff.Policy
}

type replyFunc = func(droplet string, data []byte) bool

// Status answers healthmanager.status (N35) with at most one reply: the crashed instances of every version of a
// droplet, or the indices of one version that flap. There is no reply if another state is asked for.
func (h HealthAnswers) Status(request []byte, reply replyFunc) error {
	asked, state, err := readStatus(request)
	if err != nil {
		return err
	}
	d, known := h.droplet(asked.key.Droplet)
	if !known {
		return nil
	}
	switch state {
	case statusCrashed:
		reply(asked.droplet, encoded(struct {
			Instances []crashedInstance `json:"instances"`
		}{h.crashed(d)}))
	case statusFlapping:
		if v := asked.key.Version; !v.IsZero() && v != d.row.Key.Version {
			d.row = desired.App{} // no index of another version is wanted
		}
		reply(asked.droplet, encoded(struct {
			Indices []flappingIndex `json:"indices"`
		}{h.flapping(d.row)}))
	}
	return nil
}

// Health answers healthmanager.health (N36) with one reply for each known droplet: how many of the indices that are
// wanted have a RUNNING instance of the version. An instance that is STARTING or EVACUATING does not count. There is no
// reply for a droplet of which it is not known how many instances are wanted.
func (h HealthAnswers) Health(request []byte, reply replyFunc) error {
	asked, err := readDroplets(request, true)
	var scratch []actual.Located
	for _, a := range asked {
		d, known := h.droplet(a.key.Droplet)
		if a.key.Version.IsZero() {
			a.key.Version = d.row.Key.Version
			a.version = d.row.LetterCase.Version.Spell(d.row.Key.Version)
		}
		if !known || !d.told || a.key.Version.IsZero() {
			continue
		}
		scratch = h.View.Instances(scratch[:0], a.key.Key)
		if !reply(a.droplet, encoded(struct {
			Droplet string `json:"droplet"`
			Version string `json:"version"`
			Healthy int    `json:"healthy"`
		}{a.droplet, a.version, running(scratch, d.row.Instances)})) {
			break
		}
	}
	return err
}

// running counts the indices below wanted that have a RUNNING instance. The instances are sorted by index.
func running(instances []actual.Located, wanted uint32) (n int) {
	next := uint32(0) // the lowest index that is not counted
	for _, i := range instances {
		if i.State == actual.Running && i.Index >= next && i.Index < wanted {
			n, next = n+1, i.Index+1
		}
	}
	return n
}

// knownDroplet is a droplet of which something is recorded.
type knownDroplet struct {
	versions []app.Key
	row      desired.App // zero if there is none
	told     bool        // the desired state is known: there is a row, or a complete read had none
}

func (h HealthAnswers) droplet(droplet app.GUID) (d knownDroplet, known bool) {
	d.versions = h.View.Versions(droplet)
	for _, k := range d.versions {
		if rec, ok := h.View.App(k); ok && rec.HasDesired {
			d.row = rec.Desired
		}
	}
	d.told = !d.row.Key.Droplet.IsZero() || h.View.DesiredMeta().Complete
	return d, len(d.versions) > 0
}

type crashedInstance struct {
	Instance string `json:"instance"`
	Since    int64  `json:"since"`
}

// crashed gives the instances of a droplet in state CRASHED, by version and index. It is not nil.
func (h HealthAnswers) crashed(d knownDroplet) []crashedInstance {
	out := []crashedInstance{}
	var scratch []actual.Located
	for _, k := range d.versions {
		scratch = h.View.Instances(scratch[:0], k)
		for _, i := range scratch {
			if i.State == actual.Crashed {
				out = append(out, crashedInstance{i.GUID.String(), h.since(i)})
			}
		}
	}
	return out
}

type flappingIndex struct {
	Index uint32 `json:"index"`
	Since int64  `json:"since"`
}

// flapping gives the wanted indices of an app that flap: no instance is live, and the crashes have reached
// policy.crashes_before_backoff. An index flaps since its newest crash. The result is not nil.
func (h HealthAnswers) flapping(row desired.App) []flappingIndex {
	out := []flappingIndex{}
	if !row.Wanted() {
		return out
	}
	crashes := h.View.Crashes(row.Key)
	if len(crashes) == 0 {
		return out
	}
	live := map[uint32]bool{}
	for _, i := range h.View.Instances(nil, row.Key) {
		if i.State.Live() {
			live[i.Index] = true
		}
	}
	for _, c := range crashes {
		if c.Index < row.Instances && !live[c.Index] && h.Policy.Flapping(c, h.Now) {
			out = append(out, flappingIndex{c.Index, h.seconds(c.Last)})
		}
	}
	return out
}

// since gives the time of an instance's state in whole seconds since the epoch: the DEA's, or if that is not known, when
// the state was recorded.
func (h HealthAnswers) since(i actual.Located) int64 {
	if i.Since == 0 {
		return h.seconds(i.Heard)
	}
	return i.Since / 1000
}

func (h HealthAnswers) seconds(t app.Time) int64 { return h.Wall.Time(t).Unix() }

// encoded gives v as JSON. All of its texts and numbers can be encoded.
func encoded(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return emptyObject
	}
	return b
}
