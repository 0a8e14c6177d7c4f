package api_test

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"hm/internal/api/apitest"
	"hm/internal/app"
	"hm/internal/bus/bustest"
)

// metricOf gives the value of one series of a node.
func (a *queryNode) metricOf(t *testing.T, series string) int {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\d+)$`).FindStringSubmatch(a.metrics(t))
	if m == nil {
		t.Fatalf("there is no series %s", series)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestOneNodeAnswersHealthManager: each question gets the replies of one node, whole, whichever of three nodes it is.
func TestOneNodeAnswersHealthManager(t *testing.T) {
	url := bustest.Run(t, nil).URL()
	var nodes []*queryNode
	for range 3 {
		nodes = append(nodes, startQueryNode(t, url, rubyFleet(), time.Hour))
	}
	h := healthAnswers(nodes[0].Node)
	cc := bustest.Client(t, url)
	gappy := fmt.Sprintf(`{"droplet":%q,"version":%q}`, apitest.Gappy.Droplet, apitest.Gappy.Version)
	for _, c := range []struct {
		subject, question string
		answer            func([]byte, func(string, []byte) bool) error
		replies           int
	}{
		{"healthmanager.status", `{"droplet":"droplet-1","state":"CRASHED"}`, h.Status, 1},
		{"healthmanager.status", `{"droplet":"droplet-2","state":"CRASHED"}`, h.Status, 0},
		{"healthmanager.health", `{"droplets":[{"droplet":"droplet-1","version":"v-2"},{"droplet":"x","version":"y"},` + gappy + `]}`, h.Health, 2},
		{"healthmanager.droplet", `{"droplets":[{"droplet":"droplet-1"},` + gappy + `]}`, h.Droplet, 2},
	} {
		want, err := replies(t, c.answer, c.question)
		if err != nil {
			t.Fatal(err)
		}
		const questions = 20
		total := func(name string) (n int) {
			for _, a := range nodes {
				n += a.metricOf(t, fmt.Sprintf("%s{subject=%q}", name, c.subject))
			}
			return n
		}
		received, answered := total("hm_questions_received_total"), total("hm_questions_answered_total")
		var inboxes []*nats.Subscription
		for range questions {
			inbox := nats.NewInbox()
			sub, err := cc.SubscribeSync(inbox)
			if err != nil {
				t.Fatal(err)
			}
			inboxes = append(inboxes, sub)
			if err := cc.PublishRequest(c.subject, inbox, []byte(c.question)); err != nil {
				t.Fatal(err)
			}
		}
		for i, sub := range inboxes {
			var got []string
			for range c.replies {
				m, err := sub.NextMsg(30 * time.Second)
				if err != nil {
					t.Fatalf("%s: question %d has %d replies, want %d: %v", c.subject, i, len(got), c.replies, err)
				}
				got = append(got, string(m.Data))
			}
			if strings.Join(got, "\n") != want {
				t.Errorf("%s: %s, want %s", c.subject, got, want)
			}
		}
		bustest.Until(t, "every question has come to a node", func() bool { return total("hm_questions_received_total") >= received+questions })
		wantAnswered := answered
		if c.replies > 0 {
			wantAnswered += questions
		}
		bustest.Until(t, "every answer is counted", func() bool { return total("hm_questions_answered_total") >= wantAnswered })
		// All questions were answered, so a reply too many has been sent before this one.
		for range nodes {
			if _, err := cc.Request("app.state", []byte(`{}`), 30*time.Second); err != nil {
				t.Fatal(err)
			}
		}
		for i, sub := range inboxes {
			if n, _, _ := sub.Pending(); n != 0 {
				t.Errorf("%s: question %d has %d replies too many", c.subject, i, n)
			}
		}
		if n := total("hm_questions_received_total"); n != received+questions {
			t.Errorf("%s: %d questions came to the nodes, want %d: each goes to one node", c.subject, n-received, questions)
		}
		if n := total("hm_questions_answered_total"); n != wantAnswered {
			t.Errorf("%s: %d questions were answered, want %d", c.subject, n-answered, wantAnswered-answered)
		}
	}
}

// TestHealthManagerIsSilentWhenStale: a node that cannot rely on its record, and has no peer that can, sends {} to app.state
// and nothing to healthmanager.*. It counts both.
func TestHealthManagerIsSilentWhenStale(t *testing.T) {
	url := bustest.Run(t, nil).URL()
	a := startQueryNode(t, url, rubyFleet(), time.Hour)
	cc := bustest.Client(t, url)
	a.Lock()
	a.Over.ActualFresh = false
	a.Unlock()
	inbox, err := cc.SubscribeSync(nats.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	for subject, question := range map[string]string{
		"healthmanager.status":  `{"droplet":"droplet-1","state":"CRASHED"}`,
		"healthmanager.health":  `{"droplets":[{"droplet":"droplet-1","version":"v-2"}]}`,
		"healthmanager.droplet": `{"droplets":[{"droplet":"droplet-1"}]}`,
	} {
		before := a.metricOf(t, `hm_app_state_not_fresh_total{reason="actual-stale"}`)
		if err := cc.PublishRequest(subject, inbox.Subject, []byte(question)); err != nil {
			t.Fatal(err)
		}
		bustest.Until(t, subject+" is counted", func() bool {
			return a.metricOf(t, `hm_app_state_not_fresh_total{reason="actual-stale"}`) == before+1
		})
		if n := a.metricOf(t, fmt.Sprintf("hm_questions_answered_total{subject=%q}", subject)); n != 0 {
			t.Errorf("%s: %d questions were answered", subject, n)
		}
	}
	if m, err := cc.Request("app.state", []byte(`{"droplet":"droplet-1","version":"v-2"}`), 30*time.Second); err != nil || string(m.Data) != "{}" {
		t.Errorf("app.state: %v, %v", m, err)
	}
	if n, _, _ := inbox.Pending(); n != 0 {
		t.Errorf("%d replies came while the record was stale", n)
	}
	a.Lock()
	a.Over.ActualFresh = true
	a.Unlock()
	if m, err := cc.Request("healthmanager.health", []byte(`{"droplets":[{"droplet":"droplet-1","version":"v-2"}]}`), 30*time.Second); err != nil || !bytes.HasSuffix(m.Data, []byte(`"healthy":1}`)) {
		t.Errorf("once it is fresh again: %v, %v", m, err)
	}
}

// TestHostileQuestionsAreHarmless: rubbish on every subject is counted and costs a good question nothing.
func TestHostileQuestionsAreHarmless(t *testing.T) {
	url := bustest.Run(t, nil).URL()
	a := startQueryNode(t, url, rubyFleet(), time.Hour)
	cc := bustest.Client(t, url)
	inbox, err := cc.SubscribeSync(nats.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	unreadable := [][]byte{
		nil, []byte("null"), []byte("[]"), []byte(`"text"`), []byte("\x00\xff\xfe"), []byte(`{"droplets":null}`), []byte(`{"droplet":null,"state":null}`),
		[]byte(`{"droplets":` + strings.Repeat("9", 100_000) + `}`), bytes.Repeat([]byte("["), 1<<20),
		[]byte(`{"droplets":[` + strings.Repeat("{},", 1<<18) + `{}]}`), []byte(`{"droplets":[{"droplet":"` + strings.Repeat("d", 1<<19) + `"}]}`),
	}
	subjects := []string{"healthmanager.status", "healthmanager.health", "healthmanager.droplet"}
	for _, subject := range subjects {
		for _, b := range unreadable {
			if err := cc.PublishRequest(subject, inbox.Subject, b); err != nil {
				t.Fatal(err)
			}
		}
		if err := cc.Publish(subject, []byte(`{"droplets":[{"droplet":"droplet-1"}],"droplet":"droplet-1","state":"CRASHED"}`)); err != nil { // nobody to answer to
			t.Fatal(err)
		}
	}
	for _, subject := range subjects {
		bustest.Until(t, subject+" is counted", func() bool {
			return a.metricOf(t, fmt.Sprintf("hm_questions_unreadable_total{subject=%q}", subject)) == len(unreadable)
		})
		if n := a.metricOf(t, fmt.Sprintf("hm_questions_received_total{subject=%q}", subject)); n != len(unreadable)+1 {
			t.Errorf("%s: %d questions were received, want %d", subject, n, len(unreadable)+1)
		}
	}
	for i, question := range []string{
		`{"droplet":"droplet-1","state":"CRASHED"}`, `{"droplets":[{"droplet":"droplet-1","version":"v-2"}]}`, `{"droplets":[{"droplet":"droplet-1"}]}`,
	} {
		if m, err := cc.Request(subjects[i], []byte(question), 30*time.Second); err != nil || len(m.Data) < 10 {
			t.Errorf("%s: %v, %v", subjects[i], m, err)
		}
	}
	if n, _, _ := inbox.Pending(); n != 0 {
		t.Errorf("%d replies to rubbish", n)
	}
	for line := range strings.Lines(a.log.String()) {
		if len(line) > 1000 {
			t.Errorf("a line of the log has %d bytes: %.200s", len(line), line)
		}
	}
}

// TestLargeDropletsAreLeftOut: a reply that does not fit into a message of the server is left out, and the others are sent.
func TestLargeDropletsAreLeftOut(t *testing.T) {
	w, huge, large, small, other := largeFleet()
	w.Desire(w.Now().Add(time.Second))
	url := bustest.Run(t, func(o *server.Options) { o.MaxPayload = 2 << 10 }).URL()
	a := startQueryNode(t, url, w, time.Hour)
	cc := bustest.Client(t, url)
	inbox, err := cc.SubscribeSync(nats.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	question := `{"droplets":` + asked(huge, small, large, other) + `}`
	for subject, want := range map[string][]app.Key{"healthmanager.droplet": {small, other}, "healthmanager.health": {huge, small, large, other}} {
		if err := cc.PublishRequest(subject, inbox.Subject, []byte(question)); err != nil {
			t.Fatal(err)
		}
		for _, k := range want {
			m, err := inbox.NextMsg(30 * time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(m.Data, []byte(k.Droplet.String())) {
				t.Errorf("%s: %s, want that of %s", subject, m.Data, k.Droplet)
			}
		}
		left := 4 - len(want)
		bustest.Until(t, "what is left out is counted", func() bool {
			return a.metricOf(t, fmt.Sprintf("hm_app_state_left_out_total{subject=%q}", subject)) == left
		})
	}
	const warning = `level=WARN msg="apps were left out of an answer, because it would have been larger than the nats server accepts" subject=healthmanager.droplet`
	if log := a.log.String(); !strings.Contains(log, warning) || !strings.Contains(log, `max_payload=2048 apps=4 left_out=2 largest=`+huge.Droplet.String()+` hint="raise max_payload of the nats server"`) {
		t.Errorf("the log lacks %s:\n%s", warning, log)
	}
}
