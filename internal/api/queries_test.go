package api_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/bus"
)

// startNATS runs a NATS server for the test.
func startNATS(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not come up")
	}
	return s.ClientURL()
}

// TestQueriesOverNATS asks two nodes of one queue group what a Cloud Controller asks.
func TestQueriesOverNATS(t *testing.T) {
	url := startNATS(t)
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
		for deadline := time.Now().Add(10 * time.Second); !link.State().Up; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the link does not come up")
			}
		}
		all = append(all, q)
	}
	cc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()

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
		t.Errorf("rubbish gives %v, %v", m, err)
	}
	if err := cc.Publish("app.state", one(apitest.Crashy)); err != nil { // N38: nobody to answer to
		t.Fatal(err)
	}
	if _, err := cc.Request("app.state", one(apitest.Steady), 5*time.Second); err != nil {
		t.Error(err)
	}
	total := uint64(0)
	for _, q := range all {
		answered, passedOver := q.Stats()
		if passedOver > 0 {
			t.Errorf("%d questions were passed over", passedOver)
		}
		total += answered
	}
	if total != questions+3 {
		t.Errorf("the group gave %d answers, want %d: each question goes to one node", total, questions+3)
	}
}

// stuckLink takes subscriptions and never gets rid of an answer until it is let.
type stuckLink struct {
	fns map[string]func(bus.Msg)
	let chan struct{}
}

func (l *stuckLink) SubscribeQueue(subject, queue string, _ bus.Limits, fn func(bus.Msg)) error {
	l.fns[subject+" "+queue] = fn
	return nil
}

func (l *stuckLink) Answer(bus.Msg, []byte) error {
	<-l.let
	return nil
}

// TestAFloodOfQueriesIsPassedOver: the link's goroutine never waits for an answer, for a full subscription would
// count as a gap in the heartbeats.
func TestAFloodOfQueriesIsPassedOver(t *testing.T) {
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
	if _, passedOver := q.Stats(); passedOver < flood-1000 {
		t.Errorf("%d of %d were passed over", passedOver, flood)
	}
	close(link.let)
	q.Close()
	answered, passedOver := q.Stats()
	if answered+passedOver != flood {
		t.Errorf("%d answered and %d passed over, want %d", answered, passedOver, flood)
	}
	ask(bus.Msg{Subject: "app.state", Reply: "r"}) // after Close
}
