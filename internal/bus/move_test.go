package bus

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"hm/internal/bus/bustest"
)

// numbers takes messages with a number, and keeps those of each publisher apart.
type numbers struct {
	mu  sync.Mutex
	got map[string][]int
}

func (n *numbers) take(m Msg) {
	from, text, _ := strings.Cut(string(m.Data), " ")
	k, _ := strconv.Atoi(text)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.got[from] = append(n.got[from], k)
}

func (n *numbers) newest(from string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if list := n.got[from]; len(list) > 0 {
		return slices.Max(list)
	}
	return -1
}

// TestMoveWithoutAGap: while the link moves from a server that shuts down, every message is handled once, and those of a
// publisher in their order, wherever the publisher is connected.
func TestMoveWithoutAGap(t *testing.T) {
	t.Parallel()
	servers, _ := bustest.RunCluster(t, 3, nil)
	l, log := open(t, Options{Servers: []string{servers[0].URL(), servers[1].URL()}, PingInterval: 10 * time.Second})
	in, newest := &numbers{got: map[string][]int{}}, &numbers{got: map[string][]int{}}
	var asked inbox
	if err := l.Subscribe("beat", Limits{}, in.take); err != nil {
		t.Fatal(err)
	}
	if err := l.Subscribe("beat", Limits{Newest: newestOf(func(Msg) {}, 0)}, newest.take); err != nil {
		t.Fatal(err)
	}
	if err := l.SubscribeQueue("ask", "group", Limits{}, asked.take); err != nil {
		t.Fatal(err)
	}
	var pausing, pausingArrived inbox
	if err := l.Subscribe("pausing", Limits{Newest: newestOf(pausingArrived.take, time.Hour)}, pausing.take); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is up", up(l))
	l.setPause("pausing", time.Hour)
	for _, text := range []string{"a 1", "a 2"} {
		nc := bustest.Client(t, servers[0].URL())
		if err := nc.Publish("pausing", []byte(text)); err != nil {
			t.Fatal(err)
		}
		bustest.Until(t, "it has arrived", pausingArrived.has(text))
	}
	before := l.State()

	var wg sync.WaitGroup
	stop := make(chan struct{})
	var sent [3]int
	for i, srv := range servers {
		nc := bustest.Client(t, srv.URL())
		wg.Go(func() {
			for ; ; sent[i]++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				if err := nc.Publish("beat", fmt.Appendf(nil, "%d %d", i, sent[i])); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	bustest.Until(t, "all are heard", func() bool { return in.newest("0") > 100 && in.newest("1") > 100 && in.newest("2") > 100 })
	go servers[0].LameDuckShutdown()
	bustest.Until(t, "the link has moved", func() bool { return l.State().Moves == 1 })
	bustest.Until(t, "what waited on the old connection is handled", pausing.has("a 2"))
	after := [3]int{in.newest("0"), in.newest("1"), in.newest("2")}
	bustest.Until(t, "all are heard again", func() bool {
		return in.newest("0") > after[0]+100 && in.newest("1") > after[1]+100 && in.newest("2") > after[2]+100
	})
	close(stop)
	wg.Wait()
	bustest.Until(t, "the newest are heard", func() bool {
		return in.newest("0") == sent[0]-1 && in.newest("1") == sent[1]-1 && in.newest("2") == sent[2]-1
	})
	in.mu.Lock()
	defer in.mu.Unlock()
	bustest.Until(t, "the newest end with the newest", func() bool {
		return newest.newest("0") == sent[0]-1 && newest.newest("1") == sent[1]-1 && newest.newest("2") == sent[2]-1
	})
	newest.mu.Lock()
	defer newest.mu.Unlock()
	for i := range 3 {
		list := in.got[fmt.Sprint(i)]
		if !slices.IsSorted(newest.got[fmt.Sprint(i)]) {
			t.Errorf("publisher %d: of the newest messages, an older one follows a newer one", i)
		}
		for k := 1; k < len(list); k++ {
			if list[k] != list[k-1]+1 {
				t.Fatalf("publisher %d: message %d follows %d", i, list[k], list[k-1])
			}
		}
	}
	now := l.State()
	if !now.Up || now.Server != servers[1].Address() || now.ServerName != "nats-1" || now.Epoch != before.Epoch || now.Since != before.Since || now.Outages != 0 || now.Gaps != 0 {
		t.Errorf("the state is %+v, was %+v", now, before)
	}
	if err := l.Publish(within(t, time.Minute), "ask", []byte("question")); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is in its queue group", asked.has("question"))
	if !strings.Contains(log.String(), "the link has moved to another one without a gap") {
		t.Error("the log does not show the move")
	}
}

// TestNoMoveBetweenStrangers: the other server does not get what the one that shuts down gets. The link stays until its
// connection is closed, which is an outage.
func TestNoMoveBetweenStrangers(t *testing.T) {
	t.Parallel()
	grace := func(o *server.Options) { o.LameDuckDuration, o.LameDuckGracePeriod = 3*time.Second, 2*time.Second }
	a, b := bustest.Run(t, grace), bustest.Run(t, grace)
	l, _ := open(t, Options{Servers: []string{a.URL(), b.URL()}, PingInterval: 10 * time.Second})
	var in inbox
	if err := l.Subscribe("a", Limits{}, in.take); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is up", up(l))
	pub := bustest.Client(t, a.URL())
	go a.LameDuckShutdown()
	bustest.Until(t, "the link tries to move", func() bool { return b.NumClients() > 0 })
	bustest.Until(t, "the link has given up", func() bool { return b.NumClients() == 0 })
	if err := pub.Publish("a", []byte("still here")); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the first server is still heard", in.has("still here"))
	bustest.Until(t, "the link is down and up again", func() bool { s := l.State(); return s.Up && s.Server == b.Address() })
	if s := l.State(); s.Outages != 1 || s.Moves != 0 {
		t.Errorf("the state is %+v", s)
	}
	bustest.Until(t, "the subscription works", func() bool {
		if err := l.Publish(within(t, time.Minute), "a", []byte("moved")); err != nil {
			t.Fatal(err)
		}
		return in.has("moved")()
	})
}

// TestOverlapDeliversOnce: the rule by which a message of two sessions is delivered once.
func TestOverlapDeliversOnce(t *testing.T) {
	old, ses := &session{}, &session{}
	o := &overlap{to: ses, seen: map[uint64]int{}}
	m := func(text string) *nats.Msg { return &nats.Msg{Subject: "s", Data: []byte(text)} }
	for _, text := range []string{"a", "b", "a"} {
		if o.skips(old, m(text)) {
			t.Fatal("the old session's message was skipped")
		}
	}
	o.end(time.Now().Add(time.Hour))
	var delivered []string
	for _, text := range []string{"b", "a", "c", "a", "a", "b"} {
		if !o.skips(ses, m(text)) {
			delivered = append(delivered, text)
		}
	}
	if got := strings.Join(delivered, ""); got != "cab" {
		t.Errorf("delivered %s, want cab", got)
	}
	o.skips(old, m("late"))
	o.end(time.Now().Add(-time.Second))
	if o.skips(ses, m("late")) || !o.over() {
		t.Error("a message was skipped when the overlap was over")
	}
}
