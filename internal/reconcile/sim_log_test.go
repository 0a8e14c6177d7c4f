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

func (cf *simCF) Propose(_ context.Context, records ...raftfsm.Record) ([]raftfsm.Result, error) {
	if cf.fail != nil {
		return nil, cf.fail
	}
	if cf.faults != nil {
		return cf.faults.propose(cf, records)
	}
	r, err := cf.apply(cf.term, records)
	return []raftfsm.Result{r}, err
}

// apply commits one entry.
func (cf *simCF) apply(term uint64, records []raftfsm.Record) (raftfsm.Result, error) {
	cf.index++
	data, err := raftfsm.EncodeEntry(raftfsm.Entry{At: cf.now, Records: records})
	if err != nil {
		cf.t.Fatalf("encoding: %v", err)
	}
	entry, err := raftfsm.DecodeEntry(data)
	if err != nil {
		cf.t.Fatalf("decoding: %v", err)
	}
	for _, r := range entry.Records {
		cf.truth.unlist(cf, r)
	}
	check := cf.watchLosses(entry.Records)
	r := cf.state.Apply(cf.index, term, entry)
	for _, n := range cf.nodes {
		n.endedCommands.Add(r.Ended)
	}
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
	for _, r := range records {
		switch r := r.(type) {
		case raftfsm.CommandsScheduled:
			cf.truth.scheduled(cf, r, refused)
		case raftfsm.CrashesForgotten:
			cf.truth.forgotten(cf, r)
		case raftfsm.DesiredCommit:
			cf.truth.committed(cf)
		case raftfsm.CommandsClaimed:
			cf.truth.claimed(cf, r)
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

func (cf *simCF) Leading(term uint64) bool {
	return term == cf.term || cf.faults != nil && cf.faults.stale == term
}

func (cf *simCF) VerifyLease(_ context.Context, term uint64) error {
	if term != cf.term || cf.faults != nil && cf.faults.unverified() {
		return errors.New("this node does not lead, or cannot tell")
	}
	return cf.leaseErr
}

func (cf *simCF) Now() app.Time { return cf.now }

func (cf *simCF) Suspended() time.Duration { return cf.suspended }

func (cf *simCF) Publish(_ context.Context, epoch uint64, cmds []commands.Command) []error {
	errs := make([]error, len(cmds))
	cf.checkGate(epoch)
	for i, c := range cmds {
		if errs[i] = cf.pubErr; cf.pubErr != nil {
			continue
		}
		cf.checkCommand(c)
		cf.sent = append(cf.sent, sentCommand{c, cf.now})
		if !cf.nobodyObeys {
			cf.obey(c)
		}
	}
	return errs
}
