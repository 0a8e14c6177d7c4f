package raftfsm

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"hm/internal/app"
	"hm/raftfsm/internal/wire"
)

// Hold is a reason to send no commands, or to send stops slowly.
type Hold struct {
	Name   string   // 1 to MaxHoldName printable ASCII bytes without spaces
	Reason string   // cut to 1 KiB
	By     string   // cut to 1 KiB
	SetAt  app.Time // 0 in a HoldSet: the entry's time
	Until  app.Time // when it ends by itself; 0: only when it is released
	// StopLimit is how many stops may be sent in a heartbeat period. 0: the hold keeps the gate closed.
	StopLimit uint32
	// AppsBefore belongs to a hold because of a desired read. It is the number of wanted apps before that read: once most
	// of them are back the hold is released. 0: unknown.
	AppsBefore uint32
	// Lost belongs to a hold because of a loss of instances. It has the lost places, or a sample of them: once most of
	// them are back the hold is released.
	Lost Places
}

// InForce reports whether the hold still applies at now: it has not ended by itself.
func (h Hold) InForce(now app.Time) bool { return h.Until == 0 || now < h.Until }

// Shuts reports whether the hold keeps the gate closed at now.
func (h Hold) Shuts(now app.Time) bool { return h.StopLimit == 0 && h.InForce(now) }

// Limits on holds.
const (
	MaxHolds    = 256 // at one time
	MaxHoldName = 64  // bytes
)

// HoldSet sets a hold, or replaces the hold of that name.
type HoldSet struct{ Hold Hold }

// Kind is KindHoldSet.
func (HoldSet) Kind() Kind { return KindHoldSet }

// HoldReleased removes a hold. It is refused if no hold has that name.
type HoldReleased struct{ Name string }

// Kind is KindHoldReleased.
func (HoldReleased) Kind() Kind { return KindHoldReleased }

func applyHoldSet(a *applier, r HoldSet) error {
	h := r.Hold
	if err := CheckHold(h); err != nil {
		return err
	}
	i, found := a.holdAt(h.Name)
	if !found && len(a.holds) >= MaxHolds {
		return fmt.Errorf("%w: %d holds are set, and no more are allowed: release one first", ErrInvalid, MaxHolds)
	}
	h.Reason, h.By = clip(h.Reason, maxText), clip(h.By, maxText)
	if h.SetAt == 0 {
		h.SetAt = a.now
	}
	if found {
		a.sum.sub(a.scratch.enc.hold(&a.holds[i]))
		a.holds = slices.Clone(a.holds)
		a.holds[i] = h
	} else {
		a.holds = slices.Insert(slices.Clone(a.holds), i, h)
	}
	a.sum.add(a.scratch.enc.hold(&h))
	a.fact(HoldFact{Hold: h})
	return nil
}

// CheckHold returns why a hold is invalid by itself: its name or its Lost is malformed.
func CheckHold(h Hold) error {
	unprintable := func(c rune) bool { return c <= ' ' || c > '~' }
	if h.Name == "" || len(h.Name) > MaxHoldName || strings.ContainsFunc(h.Name, unprintable) {
		return fmt.Errorf("%w: %.70q cannot be a hold's name: use 1 to %d printable ASCII characters without spaces",
			ErrInvalid, h.Name, MaxHoldName)
	}
	return h.Lost.check()
}

func applyHoldReleased(a *applier, r HoldReleased) error {
	i, found := a.holdAt(r.Name)
	if !found {
		return fmt.Errorf("releasing %.70q: %w", r.Name, ErrNoHold)
	}
	a.sum.sub(a.scratch.enc.hold(&a.holds[i]))
	a.fact(HoldFact{Hold: a.holds[i], Released: true})
	a.holds = slices.Delete(slices.Clone(a.holds), i, i+1)
	return nil
}

func (s *State) holdAt(name string) (int, bool) {
	return slices.BinarySearchFunc(s.holds, name, func(h Hold, name string) int { return cmp.Compare(h.Name, name) })
}

func encodeHold(h Hold) *wire.Hold {
	return &wire.Hold{
		Name: []byte(h.Name), Reason: []byte(h.Reason), By: []byte(h.By), SetAt: int64(h.SetAt), Until: int64(h.Until),
		StopLimit: h.StopLimit, AppsBefore: h.AppsBefore, Lost: []byte(h.Lost),
	}
}

func decodeHold(m *wire.Hold) Hold {
	return Hold{
		Name: string(m.Name), Reason: string(m.Reason), By: string(m.By), SetAt: app.Time(m.SetAt), Until: app.Time(m.Until),
		StopLimit: m.StopLimit, AppsBefore: m.AppsBefore, Lost: Places(m.Lost),
	}
}

func encodeHoldSet(r HoldSet) ([]byte, error) { return marshal(encodeHold(r.Hold)) }

func decodeHoldSet(b []byte) (HoldSet, error) {
	var m wire.Hold
	err := unmarshal(b, &m)
	return HoldSet{Hold: decodeHold(&m)}, err
}

func encodeHoldReleased(r HoldReleased) ([]byte, error) {
	return marshal(&wire.HoldReleased{Name: []byte(r.Name)})
}

func decodeHoldReleased(b []byte) (HoldReleased, error) {
	var m wire.HoldReleased
	err := unmarshal(b, &m)
	return HoldReleased{Name: string(m.Name)}, err
}

// lostPerRecord is the size of Lost, in bytes, after which a snapshot record takes no further hold.
const lostPerRecord = 1 << 20

func persistHolds(s *State, w *snapshotWriter) error {
	var m wire.SnapshotHolds
	lost := 0
	for i, h := range s.holds {
		m.Holds = append(m.Holds, encodeHold(h))
		if lost += len(h.Lost); lost < lostPerRecord && i+1 < len(s.holds) {
			continue
		}
		if err := w.record(SectionHolds, &m); err != nil {
			return err
		}
		m.Holds, lost = nil, 0
	}
	return nil
}

func restoreHolds(r *restorer, body []byte) error {
	var m wire.SnapshotHolds
	if err := unmarshal(body, &m); err != nil {
		return err
	}
	for _, w := range m.Holds {
		h := decodeHold(w)
		if err := firstError(known(w), CheckHold(h)); err != nil {
			return err
		}
		if n := len(r.s.holds); n >= MaxHolds || n > 0 && r.s.holds[n-1].Name >= h.Name {
			return fmt.Errorf("hold %s is out of order, or there are more than %d holds", h.Name, MaxHolds)
		}
		r.s.holds = append(r.s.holds, h)
		r.s.sum.add(r.s.scratch.enc.hold(&h))
	}
	return nil
}
