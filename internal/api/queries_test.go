package api_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/bus"
	"hm/internal/bus/bustest"
)

// TestQueriesOverNATS asks two nodes of one queue group what a Cloud Controller asks.
func TestQueriesOverNATS(t *testing.T) {
	url := bustest.Run(t, nil).URL()
	w := apitest.Fleet()
	var all []*api.Queries
	for range 2 {
		link, err := bus.Open(bus.Options{Servers: []string{url}})
		if err != nil {
			t.Fatal(err)
		}
		s, err := api.Open(w.Options())
		if err != nil {
			t.Fatal(err)
		}
		q, err := api.ServeQueries(link, s)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			q.Close()
			if err := errors.Join(link.Close(), s.Close()); err != nil {
				t.Error(err)
			}
		})
		bustest.Until(t, "the link is up", func() bool { return link.State().Up })
		all = append(all, q)
	}
	cc := bustest.Client(t, url)

	const questions = 20
	for range questions {
		m, err := cc.Request("app.state", one(apitest.Crashy), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if want := api.AppState(w.View(), true, wallOf(), one(apitest.Crashy)); string(m.Data) != string(want) || len(want) < 10 {
			t.Fatalf("%s, want %s", m.Data, want)
		}
	}
	bulk := []byte(asked(apitest.Steady, apitest.Moved))
	m, err := cc.Request("app.state.bulk", bulk, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if want := api.AppStateBulk(w.View(), true, wallOf(), bulk); string(m.Data) != string(want) || len(want) < 10 {
		t.Errorf("%s, want %s", m.Data, want)
	}
	if m, err := cc.Request("app.state.bulk", []byte("rubbish"), 5*time.Second); err != nil || string(m.Data) != "{}" {
		t.Errorf("an unreadable question gives %v, %v", m, err)
	}
	if err := cc.Publish("app.state", one(apitest.Crashy)); err != nil { // N38: nobody to answer to
		t.Fatal(err)
	}
	if _, err := cc.Request("app.state", one(apitest.Steady), 5*time.Second); err != nil {
		t.Error(err)
	}
	stats := func() (answered, ignored uint64) {
		for _, q := range all {
			a, p := q.Stats()
			answered, ignored = answered+a, ignored+p
		}
		return answered, ignored
	}
	bustest.Until(t, "every answer is counted", func() bool { a, _ := stats(); return a >= questions+3 })
	if answered, ignored := stats(); answered != questions+3 || ignored != 0 {
		t.Errorf("the group gave %d answers and ignored %d, want %d: each question goes to one node", answered, ignored, questions+3)
	}
}

// stuckLink is a link whose answers block until the test lets them go.
type stuckLink struct {
	fns map[string]func(bus.Msg)
	let chan struct{}
}

func (l *stuckLink) SubscribeQueue(subject, queue string, _ bus.Limits, fn func(bus.Msg)) error {
	l.fns[subject+" "+queue] = fn
	return nil
}

func (*stuckLink) Leave(_, _ string)  {}
func (*stuckLink) Rejoin(_, _ string) {}
func (*stuckLink) Request(context.Context, string, []byte) ([]byte, error) {
	return nil, bus.ErrDown
}
func (*stuckLink) MaxPayload() int { return 0 }

func (*stuckLink) Hand(bus.Msg, string) error { return nil }

func (l *stuckLink) Answer(bus.Msg, []byte) error {
	<-l.let
	return nil
}

// TestAFloodOfQueriesIsIgnored: the goroutine of the link never waits for an answer, because a full subscription would
// count as a gap in the heartbeats.
func TestAFloodOfQueriesIsIgnored(t *testing.T) {
	s, err := api.Open(apitest.Fleet().Options())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	link := &stuckLink{fns: map[string]func(bus.Msg){}, let: make(chan struct{})}
	q, err := api.ServeQueries(link, s)
	if err != nil {
		t.Fatal(err)
	}
	ask := link.fns["app.state hm9000"]
	if ask == nil || link.fns["app.state.bulk hm9000"] == nil {
		t.Fatalf("subscribed to %v", link.fns)
	}
	const flood = 10_000
	for range flood {
		ask(bus.Msg{Subject: "app.state", Reply: "r", Data: one(apitest.Crashy)})
	}
	if _, ignored := q.Stats(); ignored < flood-1000 {
		t.Errorf("%d of %d were ignored", ignored, flood)
	}
	close(link.let)
	q.Close()
	answered, ignored := q.Stats()
	if answered+ignored != flood {
		t.Errorf("%d answered and %d ignored, want %d", answered, ignored, flood)
	}
	ask(bus.Msg{Subject: "app.state", Reply: "r"}) // after Close
}
