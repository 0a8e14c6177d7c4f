package raftfsm

import (
	"fmt"
	"math"
	"slices"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
	"hm/raftfsm/internal/wire"
)

// CommandsScheduled records commands in state Pending. CreatedAt is the entry's time. A command is refused if an
// outstanding command has the same id or the same target: app and index of a start, app and instance of a stop. A start
// for a crash counts the crash in the crash record of the index.
type CommandsScheduled struct{ Commands []commands.Command }

// Kind is KindCommandsScheduled.
func (CommandsScheduled) Kind() Kind { return KindCommandsScheduled }

// Claim announces that the leader will publish a command, once (I2).
type Claim struct {
	ID    commands.ID
	Term  uint64 // Raft term of the leader
	Basis Basis  // State.Basis of the command's app and index at the decision
}

// CommandsClaimed claims commands. A claim is refused if its command is not Pending, if Term is not the term of the
// entry, if a hold closes the gate (I1), or if Basis has changed. An accepted claim is part of the Basis of its index.
// So of two claims with the same Basis only the first is accepted (W02).
type CommandsClaimed struct{ Claims []Claim }

// Kind is KindCommandsClaimed.
func (CommandsClaimed) Kind() Kind { return KindCommandsClaimed }

// Outcome is the next state of a command.
type Outcome struct {
	ID     commands.ID
	State  commands.State // Sent keeps a claimed command outstanding; Confirmed, Expired, Dropped and Abandoned end it
	Detail string         // for people; it is not recorded, but goes into Result.Ended
}

// CommandsResolved changes the states of commands. An outcome for an id that is not outstanding is ignored. Sent is
// refused for a command that was not claimed.
type CommandsResolved struct{ Outcomes []Outcome }

// Kind is KindCommandsResolved.
func (CommandsResolved) Kind() Kind { return KindCommandsResolved }

func applyCommandsScheduled(a *applier, r CommandsScheduled) error {
	for i := range r.Commands {
		if err := a.schedule(r.Commands[i]); err != nil {
			a.refuse(r.Commands[i].ID, err)
		}
	}
	return nil
}

func (a *applier) schedule(c commands.Command) error {
	if err := checkCommand(&c); err != nil {
		return err
	}
	s := a.State
	if _, ok := s.byID.Get(commandID{id: c.ID}); ok {
		return fmt.Errorf("%w: its id is in use", ErrOutstanding)
	}
	from := uint32(0) // a stop of the same instance may have any index
	if c.Action == commands.Start {
		from = c.Index
	}
	for o := range s.commandsFrom(c.App, from) {
		if c.Action == commands.Start && o.Index != c.Index {
			break
		}
		sameStart := c.Action == commands.Start && o.Index == c.Index
		sameStop := c.Action == commands.Stop && o.Instance == c.Instance
		if o.Action == c.Action && (sameStart || sameStop) {
			return fmt.Errorf("%w: %s", ErrOutstanding, o.ID.String())
		}
	}
	c.State, c.CreatedAt, c.ClaimedAt, c.SentAt, c.Term = commands.Pending, s.now, 0, 0, 0
	h := s.intern(c.App)
	s.touch(h)
	s.setCommand(nil, &c)
	a.fact(CommandFact{&c})
	if c.Action != commands.Start || c.Reason != commands.ReasonCrashed {
		return nil
	}
	crash, _ := s.crash(c.App, c.Index)
	if crash.Count > 0 && crash.Instance == c.Crashed && crash.Count >= c.CrashCount {
		return nil // counted before: the restart is only scheduled again, and the running time since stays (W20)
	}
	if crash.Count == 0 {
		crash.First = s.now
	}
	crash.Count, crash.Instance, crash.Last, crash.Ran = c.CrashCount, c.Crashed, s.now, 0
	crash.Answered, crash.Tries, crash.TriedAt = false, 0, 0
	if crash.Exited == c.Crashed {
		crash.Exited, crash.ExitedAt, crash.ExitReason = app.GUID{}, 0, 0
	}
	s.markCounted(h, c.Index, c.Crashed)
	s.setCrash(h, crash)
	return nil
}

func checkCommand(c *commands.Command) error {
	switch {
	case c.ID.IsZero():
		return fmt.Errorf("%w: the command has no id", ErrInvalid)
	case !validKey(c.App):
		return fmt.Errorf("%w: the command has no app", ErrInvalid)
	case c.Index > actual.MaxIndex:
		return fmt.Errorf("%w: index %d, the largest allowed is %d", ErrInvalid, c.Index, actual.MaxIndex)
	case c.Action != commands.Start && c.Action != commands.Stop:
		return fmt.Errorf("%w: action %d", ErrInvalid, c.Action)
	case (c.Action == commands.Stop) == c.Instance.IsZero():
		return fmt.Errorf("%w: a stop must name an instance, and a start must not", ErrInvalid)
	case !c.Reason.Valid():
		return fmt.Errorf("%w: reason %d", ErrInvalid, c.Reason)
	case math.IsNaN(c.Priority) || math.IsInf(c.Priority, 0):
		return fmt.Errorf("%w: priority is not a number", ErrInvalid)
	}
	return nil
}

func applyCommandsClaimed(a *applier, r CommandsClaimed) error {
	for _, c := range r.Claims {
		if err := a.claim(c); err != nil {
			a.refuse(c.ID, err)
		}
	}
	return nil
}

func (a *applier) claim(c Claim) error {
	s := a.State
	o, ok := s.byID.Get(commandID{id: c.ID})
	switch {
	case !ok:
		return ErrNotOutstanding
	case o.c.State != commands.Pending:
		return fmt.Errorf("%w: it is %s", ErrNotPending, o.c.State)
	case c.Term != s.term:
		return fmt.Errorf("%w: %d, but the present term is %d", ErrTerm, c.Term, s.term)
	case s.held():
		return ErrHeld
	case c.Basis != s.Basis(o.c.App, o.c.Index):
		return ErrBasis
	}
	n := *o.c
	n.State, n.ClaimedAt, n.Term = commands.Claimed, s.now, c.Term
	s.touchKey(n.App)
	s.setCommand(o.c, &n)
	a.fact(CommandFact{&n})
	return nil
}

// held reports whether a hold closes the gate at the time of the entry.
func (s *State) held() bool {
	return slices.ContainsFunc(s.holds, func(h Hold) bool { return h.Shuts(s.now) })
}

func applyCommandsResolved(a *applier, r CommandsResolved) error {
	for _, o := range r.Outcomes {
		if err := a.resolve(o); err != nil {
			a.refuse(o.ID, err)
		}
	}
	return nil
}

func (a *applier) resolve(o Outcome) error {
	old, ok := a.byID.Get(commandID{id: o.ID})
	if !ok {
		return nil
	}
	n := *old.c
	switch o.State {
	case commands.Sent:
		if n.State == commands.Sent {
			return nil
		}
		if n.State != commands.Claimed {
			return fmt.Errorf("%w: it is %s", ErrNotClaimed, n.State)
		}
		n.State, n.SentAt = commands.Sent, a.now
		a.touchKey(n.App)
		a.setCommand(old.c, &n)
		if n.Action == commands.Start {
			a.counts.SentStarts++
		} else {
			a.counts.SentStops++
		}
		a.res.Sent = append(a.res.Sent, n)
		a.fact(CommandFact{&n})
	case commands.Confirmed, commands.Expired, commands.Dropped, commands.Abandoned:
		a.touchKey(n.App)
		a.setCommand(old.c, nil)
		if n.Action == commands.Start && o.State == commands.Expired && n.ClaimedAt != 0 {
			if h, ok := a.lookup.find(&a.apps, n.App); ok {
				a.countFailedStart(h, n.Index, n.ClaimedAt)
			}
		}
		n.State = o.State
		ended := EndedCommand{Command: n, Detail: o.Detail, At: a.now}
		a.res.Ended = append(a.res.Ended, ended)
		a.fact(EndedFact{&ended})
	default:
		return fmt.Errorf("%w: %s is not an outcome", ErrInvalid, o.State)
	}
	return nil
}

// touchKey is touch for an app that must be recorded.
func (s *State) touchKey(k app.Key) {
	if h, ok := s.lookup.find(&s.apps, k); ok {
		s.touch(h)
	}
}

// setCommand replaces old by c. old is nil if the command is new, and c is nil if the command ends.
func (s *State) setCommand(old, c *commands.Command) {
	if old != nil {
		s.sum.sub(s.scratch.enc.command(old))
		s.countCommand(old, -1)
	}
	if c == nil {
		s.cmds.Delete(orderCommand(old))
		s.byID.Delete(commandID{id: old.ID})
		return
	}
	s.sum.add(s.scratch.enc.command(c))
	s.countCommand(c, 1)
	s.cmds.Set(orderCommand(c))
	s.byID.Set(commandID{id: c.ID, c: c})
}

func (s *State) countCommand(c *commands.Command, by int) {
	switch {
	case c.State != commands.Pending:
	case c.Action == commands.Start:
		s.counts.PendingStarts += by
	default:
		s.counts.PendingStops += by
	}
}

func encodeCommandsScheduled(r CommandsScheduled) ([]byte, error) {
	m := wire.Commands{Commands: make([]*wire.Command, len(r.Commands))}
	for i := range r.Commands {
		m.Commands[i] = encodeCommand(&r.Commands[i])
	}
	return marshal(&m)
}

func encodeCommand(c *commands.Command) *wire.Command {
	return &wire.Command{
		Id: c.ID[:], Action: uint32(c.Action), App: appendKey(nil, c.App), Index: c.Index,
		Instance: c.Instance.AppendWire(nil), Reason: uint32(c.Reason), Priority: c.Priority, DueAt: int64(c.DueAt),
		CrashCount: c.CrashCount, Crashed: c.Crashed.AppendWire(nil), Tries: c.Tries, State: uint32(c.State),
		CreatedAt: int64(c.CreatedAt), ClaimedAt: int64(c.ClaimedAt), SentAt: int64(c.SentAt), Term: c.Term,
	}
}

func decodeCommandsScheduled(b []byte) (CommandsScheduled, error) {
	var m wire.Commands
	if err := unmarshal(b, &m); err != nil {
		return CommandsScheduled{}, err
	}
	var r CommandsScheduled
	for i, w := range m.Commands {
		c, err := decodeCommand(w)
		if err != nil {
			return r, fmt.Errorf("command %d: %w", i, err)
		}
		r.Commands = append(r.Commands, c)
	}
	return r, nil
}

func decodeCommand(w *wire.Command) (commands.Command, error) {
	id, err1 := oneID(w.Id)
	action, err2 := small[commands.Action](w.Action, "action")
	k, err3 := oneKey(w.App, "app")
	instance, err4 := oneGUID(w.Instance, "instance")
	reason, err5 := small[commands.Reason](w.Reason, "reason")
	crashed, err6 := oneGUID(w.Crashed, "crashed")
	state, err7 := small[commands.State](w.State, "state")
	return commands.Command{
		ID: id, Action: action, App: k, Index: w.Index, Instance: instance, Reason: reason, Priority: w.Priority,
		State: state, CreatedAt: app.Time(w.CreatedAt), DueAt: app.Time(w.DueAt), ClaimedAt: app.Time(w.ClaimedAt),
		SentAt: app.Time(w.SentAt),
		Term:   w.Term, CrashCount: w.CrashCount, Crashed: crashed, Tries: w.Tries,
	}, firstError(known(w), err1, err2, err3, err4, err5, err6, err7)
}

func encodeCommandsClaimed(r CommandsClaimed) ([]byte, error) {
	m := wire.Claims{Claims: make([]*wire.Claim, len(r.Claims))}
	for i, c := range r.Claims {
		m.Claims[i] = &wire.Claim{Id: c.ID[:], Term: c.Term, BasisDesired: c.Basis.Desired, BasisIndex: c.Basis.Index}
	}
	return marshal(&m)
}

func decodeCommandsClaimed(b []byte) (CommandsClaimed, error) {
	var m wire.Claims
	if err := unmarshal(b, &m); err != nil {
		return CommandsClaimed{}, err
	}
	var r CommandsClaimed
	for i, c := range m.Claims {
		id, err := oneID(c.Id)
		if err := firstError(known(c), err); err != nil {
			return r, fmt.Errorf("claim %d: %w", i, err)
		}
		r.Claims = append(r.Claims, Claim{ID: id, Term: c.Term, Basis: Basis{Desired: c.BasisDesired, Index: c.BasisIndex}})
	}
	return r, nil
}

func encodeCommandsResolved(r CommandsResolved) ([]byte, error) {
	m := wire.Outcomes{Outcomes: make([]*wire.Outcome, len(r.Outcomes))}
	for i, o := range r.Outcomes {
		m.Outcomes[i] = &wire.Outcome{Id: o.ID[:], State: uint32(o.State), Detail: []byte(o.Detail)}
	}
	return marshal(&m)
}

func decodeCommandsResolved(b []byte) (CommandsResolved, error) {
	var m wire.Outcomes
	if err := unmarshal(b, &m); err != nil {
		return CommandsResolved{}, err
	}
	var r CommandsResolved
	for i, o := range m.Outcomes {
		id, err1 := oneID(o.Id)
		state, err2 := small[commands.State](o.State, "state")
		if err := firstError(known(o), err1, err2); err != nil {
			return r, fmt.Errorf("outcome %d: %w", i, err)
		}
		r.Outcomes = append(r.Outcomes, Outcome{ID: id, State: state, Detail: string(o.Detail)})
	}
	return r, nil
}

func persistCommands(s *State, w *snapshotWriter) error {
	m := wire.Commands{}
	for c := range s.AllCommands() {
		m.Commands = append(m.Commands, encodeCommand(&c))
		if len(m.Commands) == snapshotChunk {
			if err := w.record(SectionCommands, &m); err != nil {
				return err
			}
			m.Commands = m.Commands[:0]
		}
	}
	if len(m.Commands) == 0 {
		return nil
	}
	return w.record(SectionCommands, &m)
}

func restoreCommands(r *restorer, body []byte) error {
	var m wire.Commands
	if err := unmarshal(body, &m); err != nil {
		return err
	}
	for _, w := range m.Commands {
		c, err := decodeCommand(w)
		if err != nil {
			return err
		}
		if err := checkCommand(&c); err != nil {
			return err
		}
		if _, ok := r.s.lookup.find(&r.s.apps, c.App); !ok || !c.State.Outstanding() {
			return fmt.Errorf("invalid command %s: its app is not recorded, or the command is not outstanding", c.ID.String())
		}
		if last, any := r.s.cmds.Max(); any && last.c.Compare(c) >= 0 {
			return fmt.Errorf("command %s is out of order", c.ID.String())
		}
		if _, twice := r.s.byID.Get(commandID{id: c.ID}); twice {
			return fmt.Errorf("command %s comes twice", c.ID.String())
		}
		r.s.setCommand(nil, &c)
	}
	return nil
}
