package ccpub

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"
)

// Lead tells whether this node leads, and in which term; 0: it does not. A new leader knows nothing of the Cloud
// Controller, and Watch asks it at once. Lead may be called often.
func (p *Publisher) Lead(term uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if term == p.reach.term {
		return
	}
	p.reach.lead(term, time.Now())
	if p.stopProbe != nil {
		p.stopProbe()
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Reachable reports whether the Cloud Controller can be reached, as far as this node knows as leader of a term.
func (p *Publisher) Reachable(term uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reach.term == term && p.reach.up
}

func (p *Publisher) isUp() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reach.up
}

// State is what this node knows of the Cloud Controller.
type State struct {
	URL       string
	Asks      bool      // this node leads, so that it asks; else the other fields are empty
	Known     bool      // there was an answer or a failure
	Reachable bool      //
	Since     time.Time // since when it has been so
	Error     string    // of the newest failure since the last answer
}

// State gives what this node knows of the Cloud Controller.
func (p *Publisher) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &p.reach
	s := State{URL: p.options.URL}
	if r.term != 0 {
		s.Asks, s.Known, s.Reachable, s.Since, s.Error = true, r.asked, r.up, r.since, r.why
	}
	return s
}

// Watch asks the Cloud Controller once a heartbeat period whether it is there, while this node leads, and more often
// after a failure. It returns when ctx ends.
func (p *Publisher) Watch(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		p.mu.Lock()
		leads, at := p.reach.term != 0, p.reach.probeAt
		p.mu.Unlock()
		if leads {
			timer.Reset(max(0, time.Until(at)))
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
			if p.probeIsDue(time.Now()) {
				p.probe(ctx)
			}
		}
	}
}

// probeIsDue reports whether it is time for a probe: a post may have been answered meanwhile.
func (p *Publisher) probeIsDue(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reach.term != 0 && !now.Before(p.reach.probeAt)
}

// probe asks for the root of the Cloud Controller, without credentials. Any answer of its own will do.
func (p *Publisher) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.options.Timeout)
	defer cancel()
	p.mu.Lock()
	if p.reach.term == 0 {
		p.mu.Unlock()
		return
	}
	p.stopProbe = cancel
	began := time.Now()
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.stopProbe = nil
		p.mu.Unlock()
	}()
	req, err := http.NewRequest(http.MethodGet, p.base.JoinPath("/").String(), nil)
	if err != nil {
		p.failed(false, false, err.Error(), began)
		return
	}
	a, _, err := p.request(ctx, req)
	switch {
	case errors.Is(ctx.Err(), context.Canceled): // this node gave up by itself
	case err != nil:
		p.failed(false, ctx.Err() != nil, err.Error(), began)
	case isGateway(a):
		p.failed(false, false, "a proxy answers "+a.String(), began)
	default:
		p.answered(false, began)
	}
}

func (p *Publisher) answered(post bool, began time.Time) {
	p.mu.Lock()
	changed := p.reach.answered(post, began, time.Now())
	p.mu.Unlock()
	p.note(changed, true, "")
}

func (p *Publisher) failed(post, hung bool, why string, began time.Time) {
	p.mu.Lock()
	changed := p.reach.failed(post, hung, why, began, time.Now())
	p.mu.Unlock()
	p.note(changed, false, why)
}

func (p *Publisher) note(changed, up bool, why string) {
	if !changed {
		return
	}
	if up {
		p.log.Log(slog.LevelInfo, "up", "the Cloud Controller can be reached", func() []any { return []any{"url", p.options.URL} })
	} else {
		p.log.Log(slog.LevelWarn, "down", "the Cloud Controller cannot be reached, no command is sent until it answers",
			func() []any { return []any{"url", p.options.URL, "error", why} })
	}
	if p.options.Changed != nil {
		p.options.Changed()
	}
}
