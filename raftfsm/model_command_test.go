package raftfsm

import (
	"math"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
)

func (s *model) schedule(c commands.Command) error {
	if c.ID.IsZero() || !validKey(c.App) || c.Index > actual.MaxIndex || c.Action < 1 || c.Action > 2 || c.Reason < 1 || c.Reason > 6 ||
		(c.Action == 2) == c.Instance.IsZero() || math.IsNaN(c.Priority) || math.IsInf(c.Priority, 0) {
		return ErrInvalid
	}
	if _, ok := s.cmds[c.ID]; ok {
		return ErrOutstanding
	}
	for _, o := range s.Commands(c.App) {
		if o.Action == c.Action && (c.Action == 1 && o.Index == c.Index || c.Action == 2 && o.Instance == c.Instance) {
			return ErrOutstanding
		}
	}
	c.State, c.CreatedAt, c.ClaimedAt, c.SentAt, c.Term = commands.Pending, s.now, 0, 0, 0
	s.app(c.App)
	s.cmds[c.ID] = c
	s.touch(c.App)
	if c.Action == 1 && c.Reason == 2 {
		ref := CrashRef{App: c.App, Index: c.Index}
		r, ok := s.crashes[ref]
		if ok && r.Count > 0 && r.Instance == c.Crashed && r.Count >= c.CrashCount {
			return nil
		}
		if !ok || r.Count == 0 {
			r.First = s.now
		}
		r.Index, r.Count, r.Instance, r.Last, r.Ran = c.Index, c.CrashCount, c.Crashed, s.now, 0
		r.Answered, r.Tries, r.TriedAt = false, 0, 0
		if r.Exited == c.Crashed {
			r.Exited, r.ExitedAt, r.ExitReason = app.GUID{}, 0, 0
		}
		for _, g := range append(s.crashedAt(ref), c.Crashed) {
			if !g.IsZero() {
				s.markIfNew(ref, g, actual.CrashCounted)
			}
		}
		s.crashes[ref] = r
		s.refresh(ref)
	}
	return nil
}

func (s *model) claim(c Claim) error {
	o, ok := s.cmds[c.ID]
	switch {
	case !ok:
		return ErrNotOutstanding
	case o.State != commands.Pending:
		return ErrNotPending
	case c.Term != s.term:
		return ErrTerm
	case s.held():
		return ErrHeld
	case c.Basis != s.Basis(o.App, o.Index):
		return ErrBasis
	}
	o.State, o.ClaimedAt, o.Term = commands.Claimed, s.now, c.Term
	s.cmds[c.ID] = o
	s.touch(o.App)
	return nil
}

func (s *model) held() bool {
	for _, h := range s.holds {
		if h.StopLimit == 0 && (h.Until == 0 || s.now < h.Until) {
			return true
		}
	}
	return false
}

func (s *model) resolve(o Outcome, res *Result) error {
	c, ok := s.cmds[o.ID]
	if !ok {
		return nil
	}
	switch o.State {
	case commands.Sent:
		if c.State == commands.Pending {
			return ErrNotClaimed
		}
		if c.State == commands.Sent {
			return nil
		}
		c.State, c.SentAt = commands.Sent, s.now
		s.cmds[o.ID] = c
		s.sent[c.Action]++
	case commands.Confirmed, commands.Expired, commands.Dropped, commands.Abandoned:
		delete(s.cmds, o.ID)
		if a := s.apps[c.App]; o.State == commands.Expired && c.Action == 1 && c.ClaimedAt != 0 && a != nil && a.has && a.row.Wanted() && c.Index < a.row.Instances {
			ref := CrashRef{App: c.App, Index: c.Index}
			r := s.crashes[ref]
			r.Index, r.Tries, r.TriedAt = c.Index, r.Tries+1, c.ClaimedAt
			s.crashes[ref] = r
			s.refresh(ref)
		}
		c.State = o.State
		res.Ended = append(res.Ended, EndedCommand{c, o.Detail, s.now})
	default:
		return ErrInvalid
	}
	s.touch(c.App)
	return nil
}

func (s *model) setHold(h Hold) error {
	if _, ok := s.holds[h.Name]; CheckHold(h) != nil || !ok && len(s.holds) >= MaxHolds {
		return ErrInvalid
	}
	if h.SetAt == 0 {
		h.SetAt = s.now
	}
	h.Reason, h.By = clip(h.Reason, 1024), clip(h.By, 1024)
	s.holds[h.Name] = h
	return nil
}
