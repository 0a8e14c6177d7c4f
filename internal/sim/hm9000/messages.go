package hm9000

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// The reasons of a message.
const (
	reasonMissing            = "MISSING"
	reasonCrashed            = "CRASHED"
	reasonEvacuating         = "EVACUATING"
	reasonExtra              = "EXTRA"
	reasonDuplicate          = "DUPLICATE"
	reasonEvacuationComplete = "EVACUATION_COMPLETE"
)

// message is a start or a stop that is to be sent, or was sent and is kept for a while.
type message struct {
	id       string
	app      appKey
	index    int
	instance string // of a stop; empty: it is a start
	reason   string

	sendOn           time.Time
	sentOn           time.Time     // zero: not sent
	keepAlive        time.Duration // for how long it is kept after it was sent
	priority         float64       // of a start
	skipVerification bool
}

// key is the name under which a message is kept. A key that is in use is never replaced.
func (x *message) key() string {
	if x.instance != "" {
		return "stop " + x.instance
	}
	return fmt.Sprintf("start %s,%s,%d", x.app.id, x.app.version, x.index)
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// newStart makes the start of an index, to be sent at once and kept for the grace.
func (m *model) newStart(now time.Time, key appKey, index int, reason string) *message {
	return &message{id: newID(), app: key, index: index, reason: reason, sendOn: now, keepAlive: m.beats(graceBeats), priority: 2}
}

// newStop makes the stop of an instance, to be sent at once and kept for the grace.
func (m *model) newStop(now time.Time, in instance, reason string) *message {
	return &message{id: newID(), app: in.app, index: in.index, instance: in.guid, reason: reason, sendOn: now, keepAlive: m.beats(graceBeats)}
}

// queue keeps a message, unless there is one with its key.
func (m *model) queue(x *message) bool {
	if _, pending := m.messages[x.key()]; pending {
		return false
	}
	m.messages[x.key()] = x
	return true
}

// sendDue sends what is due, verified against the view of this pass. Starts go first and are limited; stops are not
// (R51, W32).
func (m *model) sendDue(now time.Time, view map[appKey]*appView) {
	var due []*message
	for key, x := range m.messages {
		switch {
		case !x.sentOn.IsZero():
			if !now.Before(x.sentOn.Add(x.keepAlive)) { // R52
				delete(m.messages, key)
			}
		case !x.sendOn.After(now):
			due = append(due, x)
		}
	}
	slices.SortFunc(due, func(a, b *message) int {
		return cmp.Or(cmp.Compare(len(a.instance), len(b.instance)), a.sendOn.Compare(b.sendOn),
			cmp.Compare(b.priority, a.priority), cmp.Compare(a.key(), b.key()))
	})
	starts := 0
	for _, x := range due {
		switch {
		case !x.skipVerification && !view[x.app].verify(x):
			delete(m.messages, x.key())
		case x.instance != "":
			m.sendStop(now, x, view[x.app])
		case starts < m.startLimit:
			if m.sendOne(now, x) {
				starts++
			}
		}
	}
}

// verify reports whether a message still holds (R53, R54). The view of an app that is neither desired nor heard is
// nil.
func (v *appView) verify(x *message) bool {
	switch {
	case v == nil:
		return false
	case x.instance == "":
		return v.desires(x.index) && len(v.at(x.index, instance.live)) == 0
	}
	in := v.byGUID(x.instance)
	return !v.desires(in.index) || in.state == evacuating || len(v.at(in.index, instance.live)) > 1
}

// sendOne publishes a kept start (N21). It reports whether that worked; if not, the next pass tries again.
func (m *model) sendOne(now time.Time, x *message) bool {
	if !m.tryPublish(subjectStart, struct {
		ID      string `json:"message_id"`
		Droplet string `json:"droplet"`
		Version string `json:"version"`
		Index   int    `json:"instance_index"`
	}{x.id, x.app.id, x.app.version, x.index}) {
		return false
	}
	m.stats.Starts++
	m.sent(now, x)
	return true
}

// sent keeps a message that was sent, or forgets it at once.
func (m *model) sent(now time.Time, x *message) {
	x.sentOn = now
	if x.keepAlive == 0 {
		delete(m.messages, x.key())
	}
}

// sendStop publishes a stop (N22). is_duplicate follows from the view (R53).
func (m *model) sendStop(now time.Time, x *message, v *appView) {
	in := v.byGUID(x.instance)
	if !m.tryPublish(subjectStop, struct {
		ID        string `json:"message_id"`
		Droplet   string `json:"droplet"`
		Version   string `json:"version"`
		Instance  string `json:"instance_guid"`
		Index     int    `json:"instance_index"`
		Duplicate bool   `json:"is_duplicate"`
	}{x.id, x.app.id, x.app.version, x.instance, x.index, v.desires(in.index)}) {
		return
	}
	m.stats.Stops++
	m.sent(now, x)
}

func (m *model) tryPublish(subject string, body any) bool {
	data, err := json.Marshal(body)
	if err != nil {
		panic("hm9000: " + err.Error()) // texts and numbers always can be written
	}
	if m.publish(subject, data) != nil {
		m.stats.NotPublished++
		return false
	}
	return true
}
