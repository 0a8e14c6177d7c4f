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

// The lines that only a node can tell of.

// statePerLine keeps the lines of a state well below MaxLine: base64 makes a third more of it.
const statePerLine = 8 << 20

// State records what is recorded when the recording begins, before anything else.
func (w *Writer) State(t time.Time, s *raftfsm.State) error {
	snapshot, err := snapshotOf(s)
	if err != nil {
		return err
	}
	return w.Snapshot(t, snapshot)
}

func snapshotOf(s *raftfsm.State) ([]byte, error) {
	var snapshot bytes.Buffer
	if err := s.WriteSnapshot(&snapshot); err != nil {
		return nil, fmt.Errorf("recording the state: %w", err)
	}
	return snapshot.Bytes(), nil
}

// Snapshot is State for one that is written already.
func (w *Writer) Snapshot(t time.Time, snapshot []byte) error {
	if w.hide != nil {
		var err error
		if snapshot, err = w.hide.snapshot(snapshot); err != nil {
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
	return w.discount()
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

// Hold records that a person set a hold, or released it.
func (w *Writer) Hold(t time.Time, h raftfsm.Hold, released bool) error {
	t, err := w.ready(t)
	if err != nil {
		return err
	}
	if w.hide != nil {
		h = w.hide.hold(h)
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

// DesiredApp records the outcome of one attempt to read a single app: its rows, none if it is not there.
func (w *Writer) DesiredApp(t, began time.Time, droplet app.GUID, rows []desired.App, readErr error) error {
	t, err := w.ready(t)
	if err != nil {
		return err
	}
	if w.hide != nil {
		droplet = w.hide.guid(droplet)
		rows = slices.Clone(rows)
		for i := range rows {
			rows[i].Key = w.hide.key2(rows[i].Key)
		}
	}
	l := line{T: &t, Type: "desired", App: &droplet}
	if began = began.UTC().Round(0); began.Before(t) {
		l.Began = &began
	}
	if readErr != nil {
		if l.Error = readErr.Error(); w.hide != nil {
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
		return fmt.Errorf("recording a line of type %s: %w", l.Type, err)
	}
	return w.line(func(b []byte) []byte { return append(b, text...) })
}

// hold leaves of a hold what a replay needs. The names that hm itself gives tell nothing.
func (m *mask) hold(h raftfsm.Hold) raftfsm.Hold {
	if !reconcile.OwnHoldName(h.Name) {
		h.Name = fmt.Sprintf("hold-%x", m.sum("hold", h.Name))[:13]
	}
	h.Reason, h.By = "", ""
	return h
}

// snapshot gives one that records the same of others.
func (m *mask) snapshot(snapshot []byte) ([]byte, error) {
	s, err := raftfsm.RestoreState(bytes.NewReader(snapshot))
	if err != nil {
		return nil, fmt.Errorf("recording the state: %w", err)
	}
	if s, err = s.Renamed(raftfsm.Names{GUID: m.guid, DEA: m.dea, Command: m.command, Hold: m.hold, Source: "recording"}); err != nil {
		return nil, fmt.Errorf("recording the state: %w", err)
	}
	return snapshotOf(s)
}
