package recording

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"hm/desired"
	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// The lines with the recorded state, holds, and reads of single apps.

// statePerLine keeps the lines of a state below MaxLine: base64 makes them longer by a third.
const statePerLine = 8 << 20

// State records the state of the cluster. A file can have one only before its other events; the recording that a
// running node sends may have more (see Reader.AllowStates).
func (w *Writer) State(t time.Time, s *raftfsm.State) error {
	snapshot, err := encodeState(s)
	if err != nil {
		return err
	}
	return w.Snapshot(t, snapshot)
}

func encodeState(s *raftfsm.State) ([]byte, error) {
	var snapshot bytes.Buffer
	if err := s.WriteSnapshot(&snapshot); err != nil {
		return nil, fmt.Errorf("recording the state: %w", err)
	}
	return snapshot.Bytes(), nil
}

// Snapshot is State for a state that is encoded already.
func (w *Writer) Snapshot(t time.Time, snapshot []byte) error {
	if w.mask != nil {
		var err error
		if snapshot, err = w.mask.snapshot(snapshot); err != nil {
			return err
		}
	}
	t, err := w.ready(t)
	if err != nil {
		return err
	}
	if err := w.snapshot(t, snapshot); err != nil {
		return err
	}
	return w.excludeStart()
}

func (w *Writer) snapshot(t time.Time, snapshot []byte) error {
	for more := true; more; {
		n := min(len(snapshot), statePerLine)
		more = n < len(snapshot)
		if err := w.json(line{T: &t, Type: "state", Snapshot: snapshot[:n], More: more}); err != nil {
			return err
		}
		snapshot = snapshot[n:]
	}
	return nil
}

// Hold records that a person set or released a hold.
func (w *Writer) Hold(t time.Time, h raftfsm.Hold, released bool) error {
	t, err := w.ready(t)
	if err != nil {
		return err
	}
	if w.mask != nil {
		h = w.mask.hold(h)
	}
	set := !released
	l := line{T: &t, Type: "hold", Name: h.Name, Set: &set}
	if set {
		l.Reason, l.By = h.Reason, h.By
		if h.Until != 0 {
			until := h.Until.Std()
			l.Until = &until
		}
	}
	return w.json(l)
}

// DesiredApp records the outcome of a read of one app: its rows, none if the app does not exist, or an error.
func (w *Writer) DesiredApp(t, began time.Time, droplet app.GUID, rows []desired.App, readErr error) error {
	t, err := w.ready(t)
	if err != nil {
		return err
	}
	if w.mask != nil {
		droplet = w.mask.guid(droplet)
		rows = slices.Clone(rows)
		for i := range rows {
			rows[i].Key = w.mask.key(rows[i].Key)
		}
	}
	l := line{T: &t, Type: "desired", App: &droplet}
	if began = began.UTC().Round(0); began.Before(t) {
		l.Began = &began
	}
	if readErr != nil {
		if l.Error = readErr.Error(); w.mask != nil {
			l.Error = "the read failed"
		}
		return w.json(l)
	}
	list := make([]appRow, len(rows))
	for i := range rows {
		list[i] = rowOf(rows[i])
	}
	l.Apps = &list
	return w.json(l)
}

func (w *Writer) json(l line) error {
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("recording an event of type %s: %w", l.Type, err)
	}
	return w.line(func(b []byte) []byte { return append(b, text...) })
}

// hold returns what a replay needs of a hold. It keeps the names that hm itself gives.
func (m *mask) hold(h raftfsm.Hold) raftfsm.Hold {
	if !reconcile.OwnHoldName(h.Name) {
		h.Name = fmt.Sprintf("hold-%x", m.sum("hold", h.Name))[:13]
	}
	h.Reason, h.By = "", ""
	return h
}

// snapshot returns a snapshot with replaced names.
func (m *mask) snapshot(snapshot []byte) ([]byte, error) {
	s, err := raftfsm.RestoreState(bytes.NewReader(snapshot))
	if err != nil {
		return nil, fmt.Errorf("recording the state: %w", err)
	}
	names := raftfsm.Names{GUID: m.guid, DEA: m.dea, Command: m.command, Hold: m.hold, Source: desired.Anonymous(s.DesiredMeta().Source)}
	if s, err = s.Renamed(names); err != nil {
		return nil, fmt.Errorf("recording the state: %w", err)
	}
	return encodeState(s)
}
