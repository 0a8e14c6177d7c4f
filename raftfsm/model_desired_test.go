package raftfsm

import (
	"fmt"

	"hm/desired"
	"hm/internal/app"
)

func (s *model) applyDesiredChanges(r DesiredChanges) error {
	if r.Generation <= s.meta.Generation || len(s.staged) > 0 && r.Generation < s.staged[0].Generation {
		return ErrGeneration
	}
	for _, a := range r.Upserts {
		if !validKey(a.Key) || a.Instances > desired.MaxInstances || a.State < 1 || a.State > 2 || a.Package < 1 || a.Package > 3 || !a.LetterCase.Fits(a.Key) {
			return ErrInvalid
		}
	}
	for _, k := range r.Removes {
		if !validKey(k) {
			return ErrInvalid
		}
	}
	if len(s.staged) > 0 && r.Generation > s.staged[0].Generation {
		s.staged = nil
	}
	s.staged = append(s.staged, r)
	return nil
}

func (s *model) applyDesiredCommit(r DesiredCommit) error {
	if r.Generation <= s.meta.Generation {
		return ErrGeneration
	}
	n := 0
	if len(s.staged) > 0 {
		if s.staged[0].Generation > r.Generation {
			return ErrGeneration
		}
		if s.staged[0].Generation == r.Generation {
			n = len(s.staged)
		}
	}
	if n != r.Parts {
		s.staged = nil
		return fmt.Errorf("%d of %d parts: %w", n, r.Parts, ErrIncomplete)
	}
	if r.Base != s.meta.Generation {
		s.staged = nil
		return ErrOutdated
	}
	for _, p := range s.staged[:n] {
		for _, k := range p.Removes {
			s.setRow(k, desired.App{}, false)
		}
		for _, a := range p.Upserts {
			for _, k := range s.Versions(a.Key.Droplet) {
				if k != a.Key {
					s.setRow(k, desired.App{}, false)
				}
			}
			s.setRow(a.Key, a, true)
		}
	}
	s.staged = nil
	s.meta.Generation, s.meta.CommittedAt, s.meta.Source, s.meta.Complete = r.Generation, s.now, clip(r.Source, 1024), true
	return nil
}

func (s *model) setRow(k app.Key, row desired.App, has bool) {
	a := s.apps[k]
	if a == nil {
		if !has {
			return
		}
		a = s.app(k)
	}
	if a.has == has && a.row == row {
		return
	}
	a.row, a.has, a.rev = row, has, s.rev
	if !has {
		a.rev = 0
	}
	s.touch(k)
	for ref, c := range s.crashes {
		if ref.App != k || c.Exited.IsZero() && c.Tries == 0 || has && row.Wanted() && ref.Index < row.Instances {
			continue
		}
		c.Exited, c.ExitedAt, c.ExitReason, c.Tries, c.TriedAt = app.GUID{}, 0, 0, 0, 0
		if c.Count == 0 {
			delete(s.crashes, ref)
		} else {
			s.crashes[ref] = c
		}
	}
}
