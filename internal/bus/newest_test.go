package bus

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hm/internal/bus/bustest"
)

// newestOf is for messages like "sender number": the sender "" is unknown, and a message with "+" replaces nothing.
func newestOf(arrived func(Msg), maxPause time.Duration) *Newest {
	return &Newest{
		Arrived: arrived,
		Sender: func(data []byte) string {
			from, _, _ := strings.Cut(string(data), " ")
			return from
		},
		Replaces: func(newer, _ []byte) bool { return !strings.Contains(string(newer), "+") },
		MaxPause: maxPause,
	}
}

// gate is a subscriber that waits until it is opened.
type gate struct {
	inbox
	entered, open chan struct{}
}

func newGate() *gate { return &gate{entered: make(chan struct{}, 1<<16), open: make(chan struct{})} }

func (g *gate) take(m Msg) {
	g.entered <- struct{}{}
	<-g.open
	g.inbox.take(m)
}

func (b *inbox) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

// setPause sets the pause of a subscription of which the newest messages count, as a load does, and gives the subscription.
func (l *Link) setPause(subject string, pause time.Duration) *subscription {
	l.subMu.Lock()
	defer l.subMu.Unlock()
	s := l.subs[slices.IndexFunc(l.subs, func(s *subscription) bool { return s.subject == subject && s.newest != nil })]
	s.turn.Lock()
	defer s.turn.Unlock()
	s.newest.paused = pause
	return s
}

// unhurried has the link count as silent only after a time that no busy machine needs: an outage would lose what waits.
func unhurried(srv *bustest.Server) Options {
	return Options{Servers: []string{srv.URL()}, PingInterval: 20 * time.Second}
}

// TestNewestOfEachSender: while a subscriber is slow, only the newest message of each sender is kept, in the order in
// which the senders came. Messages of unknown senders, and those that may not replace others, are all handled.
func TestNewestOfEachSender(t *testing.T) {
	srv := bustest.Run(t, nil)
	l, _ := open(t, unhurried(srv))
	g := newGate()
	var arrived inbox
	if err := l.Subscribe("beats", Limits{Newest: newestOf(arrived.take, 0)}, g.take); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is up", up(l))
	if err := l.SubscribeQueue("beats", "group", Limits{Newest: newestOf(arrived.take, 0)}, g.take); err == nil {
		t.Error("a queue group whose newest messages count is accepted")
	}
	before := l.State()
	nc := bustest.Client(t, srv.URL())
	send := func(texts ...string) {
		for _, text := range texts {
			if err := nc.Publish("beats", []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	send("a 0")
	<-g.entered
	send("b 1", "a 2", "c 3", "b 4", " 5", "c +6", " 7", "a 8", "b 9", "c +10", "c 11", "end 12")
	bustest.Until(t, "all wait", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, a := range l.up.active {
			if n, _, _ := a.sub.Pending(); a.s.subject == "beats" && n == 13 {
				return true
			}
		}
		return false
	})
	close(g.open)
	bustest.Until(t, "the last is handled", g.has("end 12"))
	if got, want := g.all(), []string{"a 0", "b 9", "a 8", "c 3", "c +6", "c 11", " 5", " 7", "end 12"}; !slices.Equal(got, want) {
		t.Errorf("handled %q\nwant    %q", got, want)
	}
	if got := arrived.all(); len(got) != 13 || got[0] != "a 0" || got[3] != "c 3" || got[12] != "end 12" {
		t.Errorf("arrived: %q", got)
	}
	if now := l.State(); now.Gaps != 0 || now.Epoch != before.Epoch {
		t.Errorf("a message that was replaced is a gap: %+v", now)
	}
}

// TestNewestEndsWithTheNewest: whatever is sent how fast, the last message of each sender that is handled is the last that
// it sent, and no message is handled before an older one of its sender.
func TestNewestEndsWithTheNewest(t *testing.T) {
	srv := bustest.Run(t, nil)
	l, _ := open(t, unhurried(srv))
	in := &numbers{got: map[string][]int{}}
	slow := func(m Msg) {
		in.take(m)
		time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
	}
	if err := l.Subscribe("beats", Limits{Newest: newestOf(func(Msg) {}, 20*time.Millisecond)}, slow); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is up", up(l))
	l.setPause("beats", 20*time.Millisecond)
	const senders, each = 4, 2000
	var wg sync.WaitGroup
	for s := range senders {
		nc := bustest.Client(t, srv.URL())
		wg.Go(func() {
			for n := range each {
				if err := nc.Publish("beats", fmt.Appendf(nil, "%d %d", s, n)); err != nil {
					t.Error(err)
					return
				}
				if rand.IntN(20) == 0 {
					time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
				}
			}
		})
	}
	wg.Wait()
	bustest.Until(t, "the newest are handled", func() bool {
		for s := range senders {
			if in.newest(strconv.Itoa(s)) != each-1 {
				return false
			}
		}
		return true
	})
	in.mu.Lock()
	defer in.mu.Unlock()
	for s, list := range in.got {
		if !slices.IsSorted(list) || len(list) >= each {
			t.Errorf("of sender %s %d messages were handled, in order: %v", s, len(list), slices.IsSorted(list))
		}
	}
}

// TestNewestIsBounded: what waits is within the limits. Beyond them messages are dropped, which is a gap.
func TestNewestIsBounded(t *testing.T) {
	srv := bustest.Run(t, nil)
	l, _ := open(t, unhurried(srv))
	g := newGate()
	most := 0
	var s *subscription
	arrived := func(Msg) { // holds the turn, as whoever changes the queue does
		if s != nil {
			most = max(most, s.newest.waiting)
		}
	}
	const limit = 10
	if err := l.Subscribe("beats", Limits{Messages: limit, Newest: newestOf(arrived, 0)}, g.take); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is up", up(l))
	s = l.setPause("beats", 0)
	nc := bustest.Client(t, srv.URL())
	for n := range 100 {
		if err := nc.Publish("beats", fmt.Appendf(nil, "sender-%d %d", n, n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the others are dropped", func() bool { return l.State().Dropped >= 100-limit-1 })
	close(g.open)
	bustest.Until(t, "those that were kept are handled", func() bool { return uint64(len(g.all()))+l.State().Dropped == 100 })
	s.turn.Lock()
	defer s.turn.Unlock()
	if n := len(g.all()); n == 0 || n > limit+1 || most > limit/2 {
		t.Errorf("%d messages were handled, and up to %d waited in the second queue, with a limit of %d for both", n, most, limit)
	}
}

// TestOutageLosesWhatWaits: messages that wait when a connection breaks are not handled later: they would be old news on
// a link that has just come up.
func TestOutageLosesWhatWaits(t *testing.T) {
	t.Run("the pause ends after the outage", func(t *testing.T) { outageLosesWhatWaits(t, false) })
	t.Run("the pause ends during the outage", func(t *testing.T) { outageLosesWhatWaits(t, true) })
}

func outageLosesWhatWaits(t *testing.T, during bool) {
	srv := bustest.Run(t, nil)
	proxy := bustest.RunProxy(t, srv.Address())
	l, _ := open(t, Options{Servers: []string{proxy.URL()}})
	g := newGate()
	var arrived inbox
	if err := l.Subscribe("beats", Limits{Newest: newestOf(arrived.take, time.Hour)}, g.take); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is up", up(l))
	s := l.setPause("beats", time.Hour)
	nc := bustest.Client(t, srv.URL())
	send := func(text string) {
		if err := nc.Publish("beats", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	close(g.open)
	send("a 1")
	bustest.Until(t, "the first is handled", g.has("a 1"))
	send("a 2") // it waits for the pause
	bustest.Until(t, "the second has arrived", arrived.has("a 2"))
	proxy.BlackHole(true)
	bustest.Until(t, "the link is down", down(l))
	if during {
		l.setPause("beats", 0)
		s.newest.timer.Reset(0)
		bustest.Until(t, "nothing waits", func() bool { return s.newest.passed(2) })
	}
	proxy.BlackHole(false)
	bustest.Until(t, "the link is up again", up(l))
	send("b 3")
	bustest.Until(t, "a message after the outage is handled", g.has("b 3"))
	send("a 4")
	if !s.newest.passed(2) {
		t.Error("a message of before the outage still waits")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := g.all(); slices.Contains(got, "a 2") || !slices.Contains(got, "a 4") {
		t.Errorf("handled %q: the one that waited during the outage must be lost, and that after it must not", got)
	}
}

// TestLagWhileAPausedMessageIsHandled: a message that waited for its sender's pause counts as handled when its handler has
// returned.
func TestLagWhileAPausedMessageIsHandled(t *testing.T) {
	srv := bustest.Run(t, nil)
	l, _ := open(t, unhurried(srv))
	g := newGate()
	var arrived inbox
	if err := l.Subscribe("beats", Limits{Newest: newestOf(arrived.take, time.Hour)}, g.take); err != nil {
		t.Fatal(err)
	}
	m := mark(t, l, MarkerOptions{Behind: []string{"beats"}})
	bustest.Until(t, "the lag is known", m.receivedOne)
	s := l.setPause("beats", time.Hour)
	s.newest.mu.Lock()
	s.newest.ses = l.live.Load()
	s.newest.senders["a"] = &sender{id: "a", handled: time.Now()}
	s.newest.resting = append(s.newest.resting, s.newest.senders["a"])
	s.newest.mu.Unlock()
	nc := bustest.Client(t, srv.URL())
	if err := nc.Publish("beats", []byte("a 1")); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "it has arrived", arrived.has("a 1"))
	bustest.Until(t, "the marker waits for the pause", func() bool { return m.Lag().Time > 300*time.Millisecond })
	l.setPause("beats", 0)
	s.newest.timer.Reset(0)
	<-g.entered
	held := m.Lag().Time
	bustest.Until(t, "the marker waits for the handler", func() bool { return m.Lag().Time > held+300*time.Millisecond })
	close(g.open)
	bustest.Until(t, "everything is handled", func() bool { return m.Lag().Time < 300*time.Millisecond })
}

// TestCloseHandlesWhatIsPaused: Close handles also what waits for the end of its sender's pause.
func TestCloseHandlesWhatIsPaused(t *testing.T) {
	srv := bustest.Run(t, nil)
	l, _ := open(t, unhurried(srv))
	var in, arrived inbox
	if err := l.Subscribe("beats", Limits{Newest: newestOf(arrived.take, time.Hour)}, in.take); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is up", up(l))
	l.setPause("beats", time.Hour)
	nc := bustest.Client(t, srv.URL())
	for _, text := range []string{"a 1", "a 2", "b 1", "a 3"} {
		if err := nc.Publish("beats", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		bustest.Until(t, "it has arrived", arrived.has(text))
	}
	bustest.Until(t, "others are handled", in.has("b 1"))
	if in.has("a 3")() {
		t.Error("a message was handled in its sender's pause")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := in.all(); got[len(got)-1] != "a 3" {
		t.Errorf("handled %q", got)
	}
}

// TestPauseFollowsTheLoad: with no load there is no pause. From half a processor on it is the longest one. A paused
// sender's newest message is handled when the pause is over, and nobody else waits for it.
func TestPauseFollowsTheLoad(t *testing.T) {
	for _, c := range []struct {
		share float64
		want  time.Duration
	}{{0, 0}, {0.0005, 0}, {0.1, 200 * time.Millisecond}, {0.25, 500 * time.Millisecond}, {0.5, time.Second}, {0.9, time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			q := newNewestQueue(*newestOf(func(Msg) {}, time.Second), Limits{Messages: 1000, Bytes: 1 << 20})
			ses := &session{}
			var got []string
			work := func(took time.Duration) {
				for q.handle(ses, func(m Msg) { time.Sleep(took); got = append(got, string(m.Data)) }) {
				}
			}
			put := func(text string) { q.put(ses, Msg{Data: []byte(text)}) }
			for n := range 20_000 { // each takes its share of the 10 ms until the next
				put(fmt.Sprintf("other-%d 0", n))
				took := time.Duration(c.share * float64(10*time.Millisecond))
				work(took)
				time.Sleep(10*time.Millisecond - took)
			}
			if q.paused < c.want*99/100 || q.paused > c.want*101/100 {
				t.Fatalf("with a load of %v the pause is %v, want %v", c.share, q.paused, c.want)
			}
			got = nil
			put("a 1")
			work(0)
			put("a 2")
			put("a 3")
			put("b 1")
			work(0)
			want := []string{"a 1", "b 1"}
			if c.want == 0 {
				want = []string{"a 1", "a 3", "b 1"}
			}
			if !slices.Equal(got, want) {
				t.Errorf("with a load of %v handled at once: %q, want %q", c.share, got, want)
			}
			if q.wake(); c.want > 0 {
				began := time.Now()
				<-q.timer.C
				if waited := time.Since(began); waited > q.paused || waited < q.paused*9/10 {
					t.Errorf("the timer fires after %v, want %v", waited, q.paused)
				}
				if work(0); got[len(got)-1] != "a 3" {
					t.Errorf("handled after the pause: %q", got)
				}
			}
			if q.waiting != 0 || q.bytes != 0 {
				t.Errorf("%d messages wait, %d bytes", q.waiting, q.bytes)
			}
			time.Sleep(time.Second)
			if work(0); len(q.senders)+len(q.resting)+len(q.ready) > 0 {
				t.Errorf("%d senders are remembered", len(q.senders))
			}
		})
	}
}

// TestOneMessageAloneIsHandledAtOnce: a message that comes while nothing waits is handled at once, and counts as waiting
// until its handler has returned. If something waits, or there is a pause, it waits as well.
func TestOneMessageAloneIsHandledAtOnce(t *testing.T) {
	var arrived, handled inbox
	q := newNewestQueue(*newestOf(arrived.take, time.Hour), Limits{Newest: &Newest{}}.orDefault())
	ses := &session{}
	fn := func(m Msg) {
		if n := q.arrivals(); q.passed(n) || !q.passed(n-1) {
			t.Errorf("while %s is handled, it counts as handled, or the one before does not", m.Data)
		}
		handled.take(m)
	}
	alone := func(text string) bool { return q.handleAlone(ses, Msg{Data: []byte(text)}, fn) }
	if !alone("a 1") || !alone("a 2") || !q.passed(2) {
		t.Error("a message that comes alone is not handled at once")
	}
	q.put(ses, Msg{Data: []byte("b 3")})
	if alone("a 4") || alone("b 4") {
		t.Error("a message is handled before one that waits")
	}
	q.handle(ses, func(Msg) {})
	q.paused = time.Minute
	if alone("a 4") {
		t.Error("a message is handled at once in spite of the pause")
	}
	q.paused = 0
	if !alone("a 4") || q.arrivals() != 4 {
		t.Errorf("after the pause a message that comes alone is not handled at once, or %d have arrived", q.arrivals())
	}
	if got := arrived.all(); !slices.Equal(got, []string{"a 1", "a 2", "b 3", "a 4"}) {
		t.Errorf("arrived: %q", got)
	}
	if got := handled.all(); !slices.Equal(got, []string{"a 1", "a 2", "a 4"}) {
		t.Errorf("handled at once: %q", got)
	}
}
