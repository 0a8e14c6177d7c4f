package raftfsm

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

// model is a State without any cleverness: maps, full scans, the rules written down once more. What Apply and the
// readers of a State say must be what it says.
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

func (s *model) applyDEAChanges(r DEAChanges) error {
	if !actual.ValidDEA(r.DEA) {
		return ErrInvalid
	}
	for _, i := range r.Upserts {
		if !validKey(i.App) || i.GUID.IsZero() || i.Index > actual.MaxIndex || i.State < 1 || i.State > 6 {
			return ErrInvalid
		}
	}
	d := s.deas[r.DEA]
	after := map[app.GUID]modelInstance{}
	if d != nil && d.GoneAt == 0 {
		after = maps.Clone(d.inst)
	}
	for _, g := range r.Removes {
		delete(after, g)
	}
	for _, i := range r.Upserts {
		i.Since = min(max(i.Since, 0), MaxSince)
		after[i.GUID] = modelInstance{i, s.heardAt(d, i)}
	}
	if len(after) > actual.MaxInstances {
		return ErrInvalid
	}
	first := false
	if d == nil || d.GoneAt != 0 {
		s.born++
		d = &modelDEA{DEA: DEA{ID: r.DEA, FirstSeen: s.now, ChangedAt: s.now, Rev: s.rev}, born: s.born, inst: map[app.GUID]modelInstance{}}
		s.deas[r.DEA] = d
		first = true
	}
	if maps.Equal(d.inst, after) {
		return nil
	}
	d.Rev, d.ChangedAt = s.rev, s.now
	before := d.inst
	grew := map[app.Key]bool{}
	fresh := map[CrashRef]bool{}
	for g, i := range after {
		found := false
		for _, o := range s.deas {
			if x, ok := o.inst[g]; ok && x.App == i.App {
				found = true
			}
		}
		if !found {
			grew[i.App] = true
			ref := CrashRef{App: i.App, Index: i.Index}
			fresh[ref] = true
			if c := s.crashes[ref]; first && i.State == actual.Crashed && c.Count > 0 && !c.Answered && c.Exited != g {
				s.app(i.App)
				s.markIfNew(ref, g, actual.CrashCounted)
			}
		}
	}
	d.inst = after
	var changed []CrashRef
	lost := map[CrashRef][]app.GUID{}
	for g, i := range before {
		if after[g] != i {
			ref := CrashRef{App: i.App, Index: i.Index}
			changed = append(changed, ref)
			if i.State == actual.Crashed {
				lost[ref] = append(lost[ref], g)
			}
		}
	}
	for g, i := range after {
		if before[g] != i {
			s.app(i.App)
			changed = append(changed, CrashRef{App: i.App, Index: i.Index})
		}
	}
	for k := range grew {
		s.app(k).grewAt = s.now
	}
	s.changed(changed, lost, fresh)
	return nil
}

// heardAt is since when an instance that d lists is recorded in its state; d is nil if it is not recorded.
func (s *model) heardAt(d *modelDEA, i actual.Instance) app.Time {
	if d != nil {
		if o, ok := d.inst[i.GUID]; ok && o.App == i.App {
			if o.State == i.State {
				return o.heard
			}
			return s.now
		}
	}
	var newest *modelDEA
	for _, o := range s.deas {
		if x, ok := o.inst[i.GUID]; ok && x.App == i.App && (newest == nil || o.born > newest.born) {
			newest = o
		}
	}
	if newest != nil && newest.inst[i.GUID].State == i.State {
		return newest.inst[i.GUID].heard
	}
	return s.now
}

func (s *model) changed(refs []CrashRef, lost map[CrashRef][]app.GUID, fresh map[CrashRef]bool) {
	slices.SortFunc(refs, func(a, b CrashRef) int { return cmp.Or(a.App.Compare(b.App), cmp.Compare(a.Index, b.Index)) })
	for _, c := range slices.Compact(refs) {
		s.touch(c.App)
		for _, g := range lost[c] {
			if m, ok := s.marks[CrashRef{c.App, c.Index, g}]; ok {
				s.setMark(c, g, m.mark)
			}
		}
		s.answer(c, lost[c])
		if r, ok := s.crashes[c]; ok && fresh[c] {
			r.Tries, r.TriedAt = 0, 0
			s.crashes[c] = r
		}
		s.refresh(c)
	}
}

// answer marks the crashes at an index as answered if an instance is live there.
func (s *model) answer(ref CrashRef, lost []app.GUID) {
	live := map[app.GUID]bool{}
	for _, i := range s.Instances(nil, ref.App) {
		if i.Index == ref.Index && i.State.Live() {
			live[i.GUID] = true
		}
	}
	if len(live) == 0 {
		return
	}
	crashed := append(s.crashedAt(ref), lost...)
	for r := range s.marks {
		if r.App == ref.App && r.Index == ref.Index {
			crashed = append(crashed, r.Instance)
		}
	}
	for _, g := range crashed {
		at := CrashRef{ref.App, ref.Index, g}
		switch {
		case live[g]:
			delete(s.marks, at)
		case s.marks[at].mark != actual.CrashAnswered:
			s.setMark(ref, g, actual.CrashAnswered)
		}
	}
}

func (s *model) crashedAt(ref CrashRef) (guids []app.GUID) {
	for _, d := range s.deas {
		for g, i := range d.inst {
			if i.App == ref.App && i.Index == ref.Index && i.State == actual.Crashed {
				guids = append(guids, g)
			}
		}
	}
	return guids
}

func (s *model) setMark(ref CrashRef, g app.GUID, mark actual.CrashMark) {
	s.marks[CrashRef{ref.App, ref.Index, g}] = modelMark{mark, s.now}
}

func (s *model) markIfNew(ref CrashRef, g app.GUID, mark actual.CrashMark) {
	if s.marks[CrashRef{ref.App, ref.Index, g}].mark == actual.CrashNew {
		s.setMark(ref, g, mark)
	}
}

func (s *model) refresh(ref CrashRef) {
	c, ok := s.crashes[ref]
	if !ok {
		return
	}
	running, answered, ran := false, false, false
	for _, i := range s.Instances(nil, ref.App) {
		running = running || i.Index == ref.Index && i.State == actual.Running
		answered = answered || i.Index == ref.Index && i.State.Live() && i.GUID != c.Exited
		ran = ran || i.Index == ref.Index && i.State.Live() && i.GUID != c.Instance
	}
	if answered {
		c.Exited, c.ExitedAt, c.ExitReason = app.GUID{}, 0, 0
	}
	c.Answered = c.Answered || c.Count > 0 && ran
	if running {
		c.Tries, c.TriedAt = 0, 0
	}
	switch {
	case running && c.RunningSince == 0:
		c.RunningSince = s.now
	case !running && c.RunningSince != 0:
		c.Ran += s.now.Sub(c.RunningSince)
		c.RunningSince = 0
	}
	s.crashes[ref] = c
}

func (s *model) clearDEA(d *modelDEA) {
	var changed []CrashRef
	lost := map[CrashRef][]app.GUID{}
	for g, i := range d.inst {
		ref := CrashRef{App: i.App, Index: i.Index}
		changed = append(changed, ref)
		if i.State == actual.Crashed {
			lost[ref] = append(lost[ref], g)
		}
	}
	d.inst = map[app.GUID]modelInstance{}
	d.Len = 0
	s.changed(changed, lost, nil)
}

func (s *model) applyExit(x actual.Exit) error {
	if !validKey(x.App) || x.Instance.IsZero() || x.Index > actual.MaxIndex || x.Reason < 1 || x.Reason > 5 {
		return ErrInvalid
	}
	recorded := false
	for _, id := range slices.Sorted(maps.Keys(s.deas)) {
		d := s.deas[id]
		i, ok := d.inst[x.Instance]
		if !ok || i.App != x.App {
			continue
		}
		recorded = true
		was := i.State
		switch {
		case x.Reason == actual.ExitCrashed:
			i.State = actual.Crashed
		case (x.Reason == actual.ExitShutdown || x.Reason == actual.ExitEvacuation) && (i.State.Live() || i.State == actual.Unknown):
			i.State = actual.Evacuating
		}
		if i.State != was {
			i.heard = s.now
			d.inst[x.Instance] = i
			d.Rev, d.ChangedAt = s.rev, s.now
			s.changed([]CrashRef{{App: i.App, Index: i.Index}}, nil, nil)
		}
	}
	a := s.apps[x.App]
	if recorded || x.Reason > actual.ExitEvacuation || a == nil || !a.row.Wanted() || x.Index >= a.row.Instances {
		return nil
	}
	for _, i := range s.Instances(nil, x.App) {
		if i.Index == x.Index && i.State.Live() {
			return nil
		}
	}
	ref := CrashRef{App: x.App, Index: x.Index}
	c, ok := s.crashes[ref]
	if _, marked := s.marks[CrashRef{x.App, x.Index, x.Instance}]; marked || ok && (c.Instance == x.Instance || c.Exited == x.Instance) {
		return nil
	}
	c.Index, c.Exited, c.ExitedAt, c.ExitReason, c.Tries, c.TriedAt = x.Index, x.Instance, s.now, x.Reason, 0, 0
	s.crashes[ref] = c
	s.touch(x.App)
	s.refresh(ref)
	return nil
}

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
