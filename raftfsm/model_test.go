package raftfsm

import (
	"strings"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

// model is a simple implementation of State with maps and full scans. Apply and the readers of a State must return the
// same as those of the model.
type model struct {
	index, term uint64
	now         app.Time
	rev, born   uint64
	apps        map[app.Key]*modelApp
	deas        map[string]*modelDEA
	cmds        map[commands.ID]commands.Command
	crashes     map[CrashRef]actual.Crash
	marks       map[CrashRef]modelMark
	holds       map[string]Hold
	cluster     ClusterID
	staged      []DesiredChanges
	meta        DesiredMeta
	sent        [3]uint64

	touched map[app.Key]bool
	order   []app.Key
}

type modelApp struct {
	row    desired.App
	has    bool
	rev    uint64
	grewAt app.Time
}

type modelDEA struct {
	DEA
	born uint64
	inst map[app.GUID]modelInstance
}

type modelInstance struct {
	actual.Instance
	heard app.Time
}

type modelMark struct {
	mark actual.CrashMark
	at   app.Time
}

func newModel() *model {
	return &model{apps: map[app.Key]*modelApp{}, deas: map[string]*modelDEA{}, cmds: map[commands.ID]commands.Command{},
		crashes: map[CrashRef]actual.Crash{}, marks: map[CrashRef]modelMark{}, holds: map[string]Hold{}}
}

func (s *model) touch(k app.Key) {
	if !s.touched[k] {
		s.touched[k] = true
		s.order = append(s.order, k)
	}
}

func (s *model) app(k app.Key) *modelApp {
	a := s.apps[k]
	if a == nil {
		a = &modelApp{}
		s.apps[k] = a
	}
	return a
}

func (s *model) Apply(index, term uint64, e Entry) Result {
	s.index, s.term = index, term
	if e.At < 0 || e.At > MaxTime {
		return Result{Err: ErrTime}
	}
	s.now = max(s.now, e.At, 1)
	s.rev = max(s.rev+1, index)
	s.touched, s.order = map[app.Key]bool{}, nil
	var res Result
	for i, r := range e.Records {
		refuse := func(id commands.ID, err error) { res.Refused = append(res.Refused, Refusal{i, id, err}) }
		var err error
		switch r := r.(type) {
		case DesiredChanges:
			err = s.applyDesiredChanges(r)
		case DesiredCommit:
			err = s.applyDesiredCommit(r)
		case DEAChanges:
			err = s.applyDEAChanges(r)
		case DEAsGone:
			for _, id := range r.DEAs {
				if d := s.deas[id]; d != nil && d.GoneAt == 0 {
					s.clearDEA(d)
					d.GoneAt, d.ChangedAt, d.Rev = s.now, s.now, s.rev
				}
			}
		case DEAsForgotten:
			for _, id := range r.DEAs {
				if d := s.deas[id]; d != nil && d.GoneAt == 0 {
					err = ErrNotGone
				}
			}
			for _, id := range r.DEAs {
				if err == nil {
					delete(s.deas, id)
				}
			}
		case InstanceExited:
			err = s.applyExit(r.Exit)
		case CommandsScheduled:
			for _, c := range r.Commands {
				if err := s.schedule(c); err != nil {
					refuse(c.ID, err)
				}
			}
		case CommandsClaimed:
			for _, c := range r.Claims {
				if err := s.claim(c); err != nil {
					refuse(c.ID, err)
				}
			}
		case CommandsResolved:
			for _, o := range r.Outcomes {
				if err := s.resolve(o, &res); err != nil {
					refuse(o.ID, err)
				}
			}
		case HoldSet:
			err = s.setHold(r.Hold)
		case HoldReleased:
			if _, ok := s.holds[r.Name]; !ok {
				err = ErrNoHold
			}
			delete(s.holds, r.Name)
		case ClusterNamed:
			switch {
			case r.ID == ClusterID{}:
				err = ErrInvalid
			case s.cluster != ClusterID{}:
				err = ErrNamed
			default:
				s.cluster = r.ID
			}
		case Noted:
			for _, n := range r.Notes {
				if strings.Contains(n.Event, " ") {
					err = ErrInvalid
				}
			}
		case CrashesForgotten:
			for _, c := range r.Crashes {
				_, marked := s.marks[c]
				if _, ok := s.crashes[c]; ok || marked {
					delete(s.crashes, c)
					delete(s.marks, c)
					s.touch(c.App)
				}
			}
		}
		if err != nil {
			refuse(commands.ID{}, err)
		}
	}
	for _, k := range s.order {
		a := s.apps[k]
		if a == nil || a.has || s.countOf(k) > 0 {
			continue
		}
		remembered := false
		for c := range s.crashes {
			if c.App == k && !s.held() {
				delete(s.crashes, c)
			} else {
				remembered = remembered || c.App == k
			}
		}
		for c := range s.marks {
			if c.App == k && !s.held() {
				delete(s.marks, c)
			} else {
				remembered = remembered || c.App == k
			}
		}
		if !remembered && len(s.Commands(k)) == 0 {
			delete(s.apps, k)
		}
	}
	res.Touched = s.order
	return res
}
