package api_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/bus"
	"hm/internal/bus/bustest"
)

// syncBuffer collects the log of several goroutines.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// queryNode is a node of a queue group with its link and its log.
type queryNode struct {
	*apitest.Node
	knowsLess atomic.Bool
	queries   *api.Queries
	server    *api.Server
	log       syncBuffer
}

func startQueryNode(t *testing.T, url string, w *apitest.Node, period time.Duration) *queryNode {
	t.Helper()
	a := &queryNode{Node: w}
	link, err := bus.Open(bus.Options{Servers: []string{url}})
	if err != nil {
		t.Fatal(err)
	}
	o := w.Options()
	o.Policy.HeartbeatPeriod = period
	o.HeartbeatTTL = time.Hour
	o.KnowsLess = a.knowsLess.Load
	o.Logger = slog.New(slog.NewTextHandler(&a.log, nil))
	if a.server, err = api.Open(o); err != nil {
		t.Fatal(err)
	}
	if a.queries, err = api.ServeQueries(link, a.server); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.queries.Close()
		if err := errors.Join(link.Close(), a.server.Close()); err != nil {
			t.Error(err)
		}
	})
	bustest.Until(t, "the link is up", func() bool { return link.State().Up })
	return a
}

// peerAnswers sets whether the peer of this node reports that it can answer.
func (a *queryNode) peerAnswers(answers bool) {
	a.Lock()
	defer a.Unlock()
	peers := append(a.Peers[:0:0], a.Peers...)
	peers[1].Info.Answers = answers
	a.Peers = peers
}

func (a *queryNode) behind(behind bool) {
	a.Lock()
	defer a.Unlock()
	a.Behind = behind
}

func (a *queryNode) metrics(t *testing.T) string {
	t.Helper()
	_, raw := ask(t, "GET", "http://"+a.server.Addr()+"/metrics", "")
	return string(raw)
}

// TestANodeThatKnowsLessLeavesTheQuestions: each question of a Cloud Controller goes to one node of the group. A node
// that is behind, or hears less, would answer its share with {}, or wrongly.
func TestANodeThatKnowsLessLeavesTheQuestions(t *testing.T) {
	const period = 20 * time.Millisecond
	url := bustest.Run(t, nil).URL()
	good, bad := startQueryNode(t, url, apitest.Fleet(), time.Hour), startQueryNode(t, url, apitest.Fleet(), period)
	cc := bustest.Client(t, url)
	told := func() bool {
		m, err := cc.Request("app.state", one(apitest.Crashy), 5*time.Second)
		if err != nil || len(m.Data) <= 10 {
			return false
		}
		health := []byte(`{"droplets":` + asked(apitest.Crashy) + `}`)
		for _, subject := range []string{"healthmanager.health", "healthmanager.droplet"} {
			if m, err = cc.Request(subject, health, 5*time.Second); err != nil || len(m.Data) <= 10 {
				return false
			}
		}
		m, err = cc.Request("healthmanager.status", fmt.Appendf(nil, `{"droplet":%q,"state":"CRASHED"}`, apitest.Crashy.Droplet), 5*time.Second)
		return err == nil && len(m.Data) > 10
	}
	allTold := func(when string) {
		t.Helper()
		before, _ := bad.queries.Stats()
		for range 20 { // four questions each
			if !told() {
				t.Fatalf("%s: a question was not answered by the node that knows enough", when)
			}
		}
		if after, _ := bad.queries.Stats(); after != before {
			t.Errorf("%s: the node that knows less answered %d questions", when, after-before)
		}
	}
	left := func() bool { return strings.Contains(bad.metrics(t), "hm_app_state_answering 0\n") }
	back := func() bool { return !left() && bad.server.Answers() }

	bad.peerAnswers(true)
	for name, c := range map[string]struct {
		begin, end func()
		reason     string
	}{
		"behind":        {func() { bad.behind(true) }, func() { bad.behind(false) }, "unrecorded"},
		"it is told so": {func() { bad.knowsLess.Store(true) }, func() { bad.knowsLess.Store(false) }, "knows-less"},
	} {
		c.begin()
		bustest.Until(t, name+": it has left", left)
		if bad.server.Answers() {
			t.Errorf("%s: it reports to its peers that it can answer", name)
		}
		bustest.Until(t, name+": the server knows", func() bool { // an UNSUB is not confirmed
			before, _ := bad.queries.Stats()
			for range 10 {
				if !told() {
					return false
				}
			}
			after, _ := bad.queries.Stats()
			return after == before
		})
		allTold(name)
		want := `level=INFO msg="this node leaves it to the others to answer for the state of apps, as it knows less than they do" reason=` + c.reason
		bustest.Until(t, "the log tells "+want, func() bool { return strings.Contains(bad.log.String(), want) })
		c.end()
		bustest.Until(t, name+": it is back", back)
	}

	// Nobody else can answer: {} from one that knows nothing is better than no answer.
	bad.peerAnswers(false)
	bad.behind(true)
	good.queries.Close()
	bustest.Until(t, "it says that nothing is known", func() bool {
		m, err := cc.Request("app.state", one(apitest.Crashy), 100*time.Millisecond)
		return err == nil && string(m.Data) == "{}"
	})
	// It may have left while the other one could answer. The metric follows the subscription.
	bustest.Until(t, "the last node that could answer counts as answering", func() bool { return !left() })
}
