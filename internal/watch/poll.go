package watch

import (
	"context"
	"errors"
	"strings"
	"time"

	"hm/internal/api"
	"hm/internal/liveview"
)

// poll asks until ctx ends: every interval, and soon after something happened or the screen needs something else.
func (w *Watcher) poll(ctx context.Context) {
	for {
		began := time.Now()
		w.round(ctx)
		w.changed.Notify()
		timer := time.NewTimer(max(0, w.opts.Interval-time.Since(began)))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-w.wake.C():
		}
		timer.Stop()
		if gap := min(nudgeGap, w.opts.Interval) - time.Since(began); gap > 0 {
			pause(ctx, gap)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// round asks once for all that the screen needs. It returns the error of the last node if none answers.
func (w *Watcher) round(ctx context.Context) error {
	var err error
	for range w.opts.Nodes {
		var status api.Status
		began := time.Now()
		if status, err = w.askStatus(ctx); err == nil {
			w.seed(ctx, w.node().Client)
			w.lists(ctx)
			w.choose(status)
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		w.mu.Lock()
		w.avoid[w.at] = time.Now().Add(avoidCost * time.Since(began))
		w.at = (w.at + 1) % len(w.opts.Nodes)
		w.mu.Unlock()
	}
	w.mu.Lock()
	w.failure = reasonOf(err)
	w.mu.Unlock()
	return err
}

// askStatus asks the present node for its status, and takes it in.
func (w *Watcher) askStatus(ctx context.Context) (api.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, w.opts.Timeout)
	defer cancel()
	status, _, err := w.node().Client.Status(ctx)
	if err != nil {
		return status, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[w.at] = status.Node
	first, at := w.answered.IsZero(), status.Basis.At.Time
	w.answered, w.failure, w.frame.Status = time.Now(), "", &status
	sent := status.Commands.SentStarts + status.Commands.SentStops
	if first || sent < w.sent { // what was sent before is not known, or the record is another one
		w.sent = sent
	}
	w.rates = w.rates.Until(at).Add(at, int(sent-w.sent), 0, 0)
	w.sent = sent
	if at.Sub(w.sampled) >= w.period || at.Before(w.sampled) {
		w.history, w.sampled = w.history.Add(status.Drift), at
	}
	return status, nil
}

// avoidCost is how many times as long as it was waited for a node that did not answer is left alone while another one
// answers. It may be the leader behind a firewall: each question to it costs the whole timeout.
const avoidCost = 10

// choose sets which node is asked next: the one that leads, if its address is known; else one whose name is not known
// yet.
func (w *Watcher) choose(s api.Status) {
	if s.Cluster.Leader == "" || s.Cluster.Leader == s.Node {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range []string{s.Cluster.Leader, ""} {
		for i, known := range w.names {
			if known == name && time.Now().After(w.avoid[i]) {
				w.at = i
				return
			}
		}
	}
}

// reasonOf returns why a question has no answer, in one line.
func reasonOf(err error) string {
	text := err.Error()
	var p *api.Problem
	if errors.As(err, &p) && p.Hint != "" {
		text += "; " + p.Hint
	}
	if errors.Is(err, context.DeadlineExceeded) {
		var gone *api.Unreachable
		if errors.As(err, &gone) {
			text = "no answer from " + gone.Addr + " in time"
		}
	}
	return strings.ReplaceAll(text, "\n", " ")
}

// pace bounds how much of the time a list is asked for.
type pace struct {
	query liveview.Query
	due   time.Time
}

// paced asks for a list if it is due: ask takes a part of the time only, however long it takes.
func (w *Watcher) paced(name string, q liveview.Query, ask func()) {
	p := w.paces[name]
	if p == nil {
		p = &pace{}
		w.paces[name] = p
	}
	began := time.Now()
	if p.query == q && began.Before(p.due) {
		return
	}
	ask()
	took := time.Since(began)
	// A little early, so that a list is not left out in every other round.
	p.query, p.due = q, began.Add(max(w.opts.Interval*9/10, listCost*took))
}
