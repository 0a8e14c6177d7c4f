package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/bus/bustest"
	"hm/internal/cluster"
)

// TestOneNodeAnswersWhileTheLeaderChanges: a Cloud Controller of HealthManager 2.0's time asks all the time while the
// leadership moves, and while the leader stops. Each question goes to one node, and gets one whole set of replies or, from
// a node that does not know enough for a moment, none.
func TestOneNodeAnswersWhileTheLeaderChanges(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	c := startCluster(t, bustest.Run(t, nil), clusterSetup{period: 300 * time.Millisecond})
	leader := c.awaitConverged()
	q := c.healthQuestions()
	bustest.Until(t, "every node answers", func() bool {
		for _, n := range c.nodes {
			if !n.api.Answers() {
				return false
			}
		}
		return q.ask(1) == 1
	})
	wholeSets := func(when string, inboxes []*nats.Subscription) (answered int) {
		t.Helper()
		// The last replies of a slow node may still be on their way.
		bustest.Until(t, fmt.Sprintf("%s: each question got %d replies or none", when, q.replies), func() bool {
			answered = 0
			for _, inbox := range inboxes {
				switch n, _, _ := inbox.Pending(); n {
				case 0:
				case q.replies:
					answered++
				default:
					return false
				}
			}
			return true
		})
		return answered
	}

	before := c.questionsReceived()
	var inboxes []*nats.Subscription
	ended := make(chan error, 1)
	go func() { ended <- c.nodes[leader].cluster.Transfer(t.Context()) }()
	bustest.Until(t, "another node leads", func() bool {
		inboxes = append(inboxes, q.publish())
		now := c.commander()
		return now >= 0 && now != leader
	})
	if err := <-ended; err != nil && !errors.Is(err, cluster.ErrNotLeader) { // on a busy machine it may have stopped leading before
		t.Fatal(err)
	}
	for range 20 {
		inboxes = append(inboxes, q.publish())
	}
	bustest.Until(t, "every question has come to a node", func() bool { return c.questionsReceived() >= before+len(inboxes) })
	if n := q.ask(20); n != 20 {
		t.Errorf("after the transfer %d of 20 questions were answered", n)
	}
	if n := c.questionsReceived(); n != before+len(inboxes)+20 {
		t.Errorf("%d questions came to the nodes, want %d: each goes to one node", n-before, len(inboxes)+20)
	}
	t.Logf("during the transfer %d of %d questions were answered", wholeSets("during the transfer", inboxes), len(inboxes))

	leader, inboxes = c.commander(), nil
	if leader < 0 {
		leader = c.awaitConverged()
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		c.nodes[leader].close(t)
	}()
	bustest.Until(t, "another node leads after the leader has stopped", func() bool {
		inboxes = append(inboxes, q.publish())
		now := c.commander()
		return now >= 0 && now != leader
	})
	<-closed
	bustest.Until(t, "the others answer", func() bool { return q.ask(1) == 1 })
	if n := q.ask(20); n != 20 {
		t.Errorf("after the leader stopped, %d of 20 questions were answered", n)
	}
	t.Logf("while the leader stopped %d of %d questions were answered", wholeSets("while the leader stopped", inboxes), len(inboxes))
}

// healthQuestions asks healthmanager.health for three apps that run.
type healthQuestions struct {
	t        *testing.T
	nc       *nats.Conn
	question []byte
	replies  int            // to one question
	healthy  map[string]int // by droplet
}

func (c *testCluster) healthQuestions() *healthQuestions {
	c.t.Helper()
	q := &healthQuestions{t: c.t, nc: bustest.Client(c.t, c.nats.URL()), healthy: map[string]int{}}
	var asked struct {
		Droplets []map[string]string `json:"droplets"`
	}
	for _, a := range c.sim.Apps(0, 30) {
		if a.State != "STARTED" || len(asked.Droplets) == 3 {
			continue
		}
		asked.Droplets = append(asked.Droplets, map[string]string{"droplet": a.GUID.String(), "version": a.Version.String()})
		q.healthy[a.GUID.String()] = a.Instances
	}
	q.replies = len(asked.Droplets)
	var err error
	if q.question, err = json.Marshal(asked); err != nil {
		c.t.Fatal(err)
	}
	return q
}

// publish asks, and gives the subscription to which the replies come.
func (q *healthQuestions) publish() *nats.Subscription {
	q.t.Helper()
	inbox, err := q.nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		q.t.Fatal(err)
	}
	if err := q.nc.PublishRequest("healthmanager.health", inbox.Subject, q.question); err != nil {
		q.t.Fatal(err)
	}
	return inbox
}

// ask asks n times, one after the other, and gives how often there was one whole set of replies.
func (q *healthQuestions) ask(n int) (answered int) {
	q.t.Helper()
	for range n {
		inbox := q.publish()
		for i := range q.replies {
			m, err := inbox.NextMsg(5 * time.Second)
			if err != nil {
				break
			}
			var reply struct {
				Droplet string
				Healthy int
			}
			if err := json.Unmarshal(m.Data, &reply); err != nil || reply.Healthy != q.healthy[reply.Droplet] {
				q.t.Errorf("the reply is %s, want %v healthy", m.Data, q.healthy)
			}
			if i == q.replies-1 {
				answered++
			}
		}
	}
	return answered
}

var receivedSeries = regexp.MustCompile(`(?m)^hm_questions_received_total\{subject="healthmanager.health"\} (\d+)$`)

// questionsReceived gives how many questions on healthmanager.health came to all nodes together.
func (c *testCluster) questionsReceived() (n int) {
	c.t.Helper()
	for i := range c.nodes {
		m := receivedSeries.FindStringSubmatch(c.metrics(i))
		if m == nil {
			c.t.Fatal("a node has no series of received questions")
		}
		one, err := strconv.Atoi(m[1])
		if err != nil {
			c.t.Fatal(fmt.Errorf("node %d: %w", i, err))
		}
		n += one
	}
	return n
}
