package api

import (
	"strings"

	"hm/commands"
	"hm/diff"
	"hm/internal/app"
	"hm/internal/reconcile"
)

// commandWaits says what outstanding commands wait for. It evaluates an app once for all its commands that come one after
// the other.
type commandWaits struct {
	n    snapshot
	know reconcile.Knowledge
	eval *reconcile.Evaluator
	key  app.Key
	last *reconcile.Evaluation
	by   map[commands.ID]*diff.Finding // the findings of last that name a command
}

func (s *Server) commandWaits(n snapshot) *commandWaits {
	return &commandWaits{n: n, know: n.knowledge(), eval: reconcile.NewEvaluator(s.opts.Policy), by: map[commands.ID]*diff.Finding{}}
}

// command gives an outstanding command with what it waits for.
func (w *commandWaits) command(c commands.Command) Command {
	if w.last == nil || w.key != c.App {
		w.evaluated(c.App, w.eval.App(w.n.view, c.App, w.know, w.n.hm))
	}
	out := w.n.command(c)
	out.WaitsFor = w.waitsFor(c)
	return out
}

// evaluated takes in what an app comes to.
func (w *commandWaits) evaluated(k app.Key, e *reconcile.Evaluation) {
	w.key, w.last = k, e
	clear(w.by)
	for i := range e.Findings {
		if f := &e.Findings[i]; !f.Command.IsZero() {
			w.by[f.Command] = f
		}
	}
}

// waitsFor says, for people, what an outstanding command of the last app waits for.
func (w *commandWaits) waitsFor(c commands.Command) string {
	if w.n.refusal(c) != "" {
		return w.n.refused()[c.Action].waits // Detail has the error
	}
	f := w.by[c.ID]
	switch {
	case f == nil && c.State == commands.Pending:
		return "nothing: it is not needed any more, and is dropped next"
	case f == nil:
		return "its effect, or the end of its time: nothing else is to be done there"
	}
	over := w.n.over
	limited := f.Action == commands.Start && over.StartsLimited || f.Action == commands.Stop && over.StopsLimited
	switch why := waitsFor(f, &w.last.Input); {
	case f.Bucket == diff.Hold:
		return "the gate: " + strings.Join(w.last.Input.Held, ", ")
	case why != "":
		return why
	case limited:
		return "a limit: no more " + f.Action.String() + "s are sent now (policy." + f.Action.String() + "_limit, or a hold)"
	}
	return "nothing: it is due, and is sent next"
}
