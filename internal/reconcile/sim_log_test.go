package reconcile

import (
	"context"
	"errors"
	"slices"
	"time"

	"hm/commands"
	"hm/internal/app"
	"hm/raftfsm"
)

func (cf *simCF) Propose(ctx context.Context, records ...raftfsm.Record) ([]raftfsm.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if cf.fail != nil {
		return nil, cf.fail
	}
	r, err := cf.apply(cf.term, records)
	return []raftfsm.Result{r}, err
}

// apply commits one entry to a log without a cluster.
func (cf *simCF) apply(term uint64, records []raftfsm.Record) (raftfsm.Result, error) {
	r, err := cf.applyEntry(term, encoded(cf, cf.now, records), cf.now)
	for _, n := range cf.nodes {
		n.endedCommands.Add(r.Ended)
	}
	return r, err
}

// applyEntry applies an entry to the state that is committed, and checks it. stamped is when its leader
// made it, by the world's time.
func (cf *simCF) applyEntry(term uint64, entry raftfsm.Entry, stamped app.Time) (raftfsm.Result, error) {
	cf.index++
	cf.remark("entry %d of term %d at %d", cf.index, term, int(entry.At))
	for _, r := range entry.Records {
		cf.remarkRecord(r)
		cf.truth.unlist(cf, r, stamped)
	}
	check := cf.watchLosses(entry)
	r := cf.state.Apply(cf.index, term, entry)
	for _, e := range r.Ended {
		if e.State == commands.Confirmed {
			cf.ended = append(cf.ended, e.ID)
		}
	}
	cf.view = nil
	check()
	refused := func(id commands.ID) bool {
		return slices.ContainsFunc(r.Refused, func(f raftfsm.Refusal) bool { return f.ID == id })
	}
	for _, r := range entry.Records {
		switch r := r.(type) {
		case raftfsm.CommandsScheduled:
			cf.truth.scheduled(cf, r, refused)
		case raftfsm.CrashesForgotten:
			cf.truth.forgotten(cf, r)
		case raftfsm.DesiredCommit:
			cf.truth.committed(cf)
		case raftfsm.CommandsClaimed:
			cf.truth.claimed(cf, r)
		case raftfsm.Noted:
			cf.notes = append(cf.notes, r.Notes...)
		}
	}
	return r, r.Err
}

func (cf *simCF) View() *raftfsm.State {
	if cf.view == nil {
		cf.view = cf.state.Freeze()
	}
	return cf.view
}

func (cf *simCF) Leading(term uint64) bool { return term == cf.term }

func (cf *simCF) VerifyLease(_ context.Context, term uint64) error {
	if term != cf.term {
		return errors.New("this node does not lead, or cannot tell")
	}
	return cf.leaseErr
}

func (cf *simCF) Now() app.Time { return cf.now }

func (cf *simCF) Suspended() time.Duration { return cf.suspended }

func (cf *simCF) Publish(ctx context.Context, epoch uint64, cmds []commands.Command) []error {
	return cf.simNode.Publish(ctx, epoch, cmds)
}

// Publish is the node's publisher.
func (n *simNode) Publish(_ context.Context, epoch uint64, cmds []commands.Command) []error {
	cf := n.cf
	errs := make([]error, len(cmds))
	if n.raft != nil && (n.process.dead || !n.hearsNATS() || epoch != n.epoch()) { // as internal/bus does
		for i := range errs {
			errs[i] = ErrNotSent
		}
		return errs
	}
	cf.checkGate(n, epoch)
	for i, c := range cmds {
		if errs[i] = cf.pubErr; cf.pubErr != nil {
			continue
		}
		cf.checkCommand(n, c)
		cf.noteCommand(n, c)
		cf.sent = append(cf.sent, sentCommand{c, cf.now})
		if !cf.nobodyObeys {
			cf.obey(c)
		}
	}
	return errs
}
