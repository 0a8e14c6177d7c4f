package bus

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"hm/internal/bus/bustest"
)

const markEvery = 5 * time.Millisecond

func mark(t *testing.T, l *Link, o MarkerOptions) *Marker {
	t.Helper()
	o.Subject, o.Every = MarkerSubject("hm-0"), markEvery
	m, err := l.Mark(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMarkerSubject(t *testing.T) {
	for node, want := range map[string]string{"hm-0": "hm.hm-0.marker", "a.b*>c": "hm.a_b__c.marker",
		"ü": "hm._.marker"} {
		if got := MarkerSubject(node); got != want || validSubject(got) != nil {
			t.Errorf("MarkerSubject(%q) = %q, want %q", node, got, want)
		}
	}
}

// TestLagOfAStalledLink: the lag is the time for which the link stalls.
func TestLagOfAStalledLink(t *testing.T) {
	srv := bustest.Run(t, nil)
	proxy := bustest.RunProxy(t, srv.Address())
	l, _ := open(t, Options{Servers: []string{proxy.URL()}, PingInterval: 20 * time.Second})
	var longest atomic.Int64
	m := mark(t, l, MarkerOptions{Heard: func(took time.Duration) {
		if int64(took) > longest.Load() {
			longest.Store(int64(took))
		}
	}})
	bustest.Until(t, "the lag is known", func() bool { return m.Lag().Known && longest.Load() > 0 })
	proxy.BlackHole(true)
	const stall = 300 * time.Millisecond
	bustest.Until(t, "the lag exceeds the stall", func() bool { return m.Lag().Time > stall })
	proxy.BlackHole(false)
	bustest.Until(t, "everything has arrived",
		func() bool { return m.Lag().Time < stall && time.Duration(longest.Load()) > stall })
	if _, err := l.Mark(MarkerOptions{Subject: "other"}); err == nil {
		t.Error("a link accepted a second marker")
	}
}

// TestLagOfAThrottledLink: other messages delay the marker.
func TestLagOfAThrottledLink(t *testing.T) {
	srv := bustest.Run(t, nil)
	proxy := bustest.RunProxy(t, srv.Address())
	l, _ := open(t, Options{Servers: []string{proxy.URL()}, PingInterval: 20 * time.Second})
	var in inbox
	if err := l.Subscribe("beats", Limits{}, in.take); err != nil {
		t.Fatal(err)
	}
	m := mark(t, l, MarkerOptions{Behind: []string{"beats"}})
	bustest.Until(t, "the lag is known", func() bool { return m.Lag().Known })
	proxy.Throttle(20_000, 0)
	nc := bustest.Client(t, srv.URL())
	for range 20 {
		if err := nc.Publish("beats", make([]byte, 1000)); err != nil { // one second's worth altogether
			t.Fatal(err)
		}
	}
	if err := nc.Publish("beats", []byte("last")); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the marker waits behind the earlier messages",
		func() bool { return m.Lag().Time > 400*time.Millisecond })
	proxy.Throttle(0, 0)
	bustest.Until(t, "everything has arrived",
		func() bool { return in.has("last")() && m.Lag().Time < 400*time.Millisecond })
}

// TestLagOfASlowSubscriber: messages that wait in this process count like those that wait in the server.
func TestLagOfASlowSubscriber(t *testing.T) {
	t.Run("all messages count", func(t *testing.T) { lagOfASlowSubscriber(t, Limits{}) })
	t.Run("the newest count", func(t *testing.T) {
		lagOfASlowSubscriber(t, Limits{Newest: newestOf(func(Msg) {}, 0)})
	})
}

func lagOfASlowSubscriber(t *testing.T, limits Limits) {
	srv := bustest.Run(t, nil)
	l, _ := open(t, Options{Servers: []string{srv.URL()}})
	hold, other := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	for subject, held := range map[string]chan struct{}{"beats": hold, "questions": other} {
		if err := l.Subscribe(subject, limits, func(Msg) { <-held }); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if held == other || once.CompareAndSwap(false, true) {
				close(held)
			}
		})
	}
	m := mark(t, l, MarkerOptions{Behind: []string{"beats"}})
	bustest.Until(t, "the lag is known", func() bool { return m.receivedOne() })
	nc := bustest.Client(t, srv.URL())
	send := func(subject string) {
		for range 3 {
			if err := nc.Publish(subject, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	send("questions") // their handler blocks, but the marker is not behind them
	for began := time.Now(); time.Since(began) < 20*markEvery; time.Sleep(markEvery) {
		if lag := m.Lag(); lag.Time > 10*time.Second {
			t.Fatalf("the lag is %v", lag)
		}
	}
	bustest.Until(t, "markers come back while another queue waits",
		func() bool { return m.Lag().Time < 300*time.Millisecond })
	send("beats")
	bustest.Until(t, "the marker waits for the queue", func() bool { return m.Lag().Time > 300*time.Millisecond })
	once.Store(true)
	close(hold)
	bustest.Until(t, "everything is handled", func() bool { return m.Lag().Time < 300*time.Millisecond })
}

// receivedOne reports whether a marker was received on the present connection.
func (m *Marker) receivedOne() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.received
}

// TestLagIsNotKnown: the lag is not known while the link is down, or if the server refuses the marker.
func TestLagIsNotKnown(t *testing.T) {
	deny := func(publish, subscribe bool) func(*server.Options) {
		return func(o *server.Options) {
			p := &server.Permissions{}
			if publish {
				p.Publish = &server.SubjectPermission{Deny: []string{"hm.>"}}
			}
			if subscribe {
				p.Subscribe = &server.SubjectPermission{Deny: []string{"hm.>"}}
			}
			o.Users = []*server.User{{Username: "hm", Password: "pw", Permissions: p}}
		}
	}
	for name, edit := range map[string]func(*server.Options){
		"publishing is refused": deny(true, false), "subscribing is refused": deny(false, true),
		"both are refused": deny(true, true),
	} {
		t.Run(name, func(t *testing.T) {
			srv := bustest.Run(t, edit)
			l, log := open(t, Options{Servers: []string{srv.URL()}, Username: "hm", Password: "pw"})
			m := mark(t, l, MarkerOptions{})
			bustest.Until(t, "the server's text is known", func() bool { return m.Lag().Refused != "" })
			lag := m.Lag()
			if lag.Known || lag.Time != 0 || !strings.Contains(lag.Refused, `"hm.hm-0.marker"`) {
				t.Errorf("the lag is %+v", lag)
			}
			srv.Restart(t, nil)
			bustest.Until(t, "the server's text is known again",
				func() bool { return l.State().Up && l.State().Outages == 1 && m.Lag().Refused != "" })
			const text = "this node will not notice a late link"
			if n := strings.Count(log.String(), text); n != 1 {
				t.Errorf("%d warnings, want one", n)
			}
			if !l.State().Up {
				t.Error("the refusal took the link down")
			}
			srv.Restart(t, deny(false, false))
			bustest.Until(t, "the marker is permitted", func() bool { return m.Lag().Known && m.receivedOne() })
			srv.Stop()
			bustest.Until(t, "the link is down", down(l))
			if lag := m.Lag(); lag != (Lag{Down: true}) {
				t.Errorf("while the link is down, the lag is %+v", lag)
			}
		})
	}
}

// TestForeignMarkersAreIgnored: markers of another process with the same name, old markers and garbage change nothing.
func TestForeignMarkersAreIgnored(t *testing.T) {
	srv := bustest.Run(t, nil)
	proxy := bustest.RunProxy(t, srv.Address())
	l, _ := open(t, Options{Servers: []string{srv.URL()}})
	m := mark(t, l, MarkerOptions{})
	bustest.Until(t, "the lag is known", m.receivedOne)
	m.mu.Lock()
	old := m.prefix + "1"
	m.mu.Unlock()
	other, _ := open(t, Options{Servers: []string{proxy.URL()}})
	n := mark(t, other, MarkerOptions{}) // with the same subject
	bustest.Until(t, "the other's lag is known", n.receivedOne)
	nc := bustest.Client(t, srv.URL())
	for _, text := range []string{
		old, "", "x", m.prefix, m.prefix + "-1", m.prefix + "99999999999999999999", m.prefix + "18446744073709551615",
		strings.Repeat("9", 10_000),
	} {
		if err := nc.Publish(MarkerSubject("hm-0"), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "markers continue", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.number > 50 })
	if lag := m.Lag(); !lag.Known || l.State().Gaps != 0 {
		t.Errorf("the lag is %+v, %d gaps", lag, l.State().Gaps)
	}
}

// TestLifeOfALink: a marker that comes back proves that the link was alive when it was sent. A link on which nothing
// arrives after a marker is silent, also while it counts as up; one on which other messages arrive is not.
func TestLifeOfALink(t *testing.T) {
	srv := bustest.Run(t, nil)
	proxy := bustest.RunProxy(t, srv.Address())
	l, _ := open(t, Options{Servers: []string{proxy.URL()}, PingInterval: 20 * time.Second})
	m := mark(t, l, MarkerOptions{})
	bustest.Until(t, "the link is proved", func() bool { return !m.Life().Proved.IsZero() })
	began := time.Now()
	bustest.Until(t, "it is proved again", func() bool { return m.Life().Proved.After(began) })

	proxy.BlackHole(true)
	held := time.Now()
	bustest.Until(t, "it is silent", func() bool { s := m.Life().Silent; return !s.IsZero() && time.Since(s) > 100*time.Millisecond })
	life := m.Life()
	if !l.State().Up || !life.Proved.Before(life.Silent) || life.Silent.Before(held.Add(-time.Second)) {
		t.Errorf("up %v, proved %v and silent %v after the link was held", l.State().Up, life.Proved.Sub(held), life.Silent.Sub(held))
	}
	if later := m.Life(); !later.Proved.Equal(life.Proved) || !later.Silent.Equal(life.Silent) {
		t.Errorf("while the link is held: %+v, before %+v", later, life)
	}

	proxy.BlackHole(false)
	healed := time.Now()
	bustest.Until(t, "it is proved after it was held", func() bool { l := m.Life(); return l.Proved.After(healed) })
	bustest.Until(t, "it is not silent", func() bool { s := m.Life().Silent; return s.IsZero() || time.Since(s) < 50*time.Millisecond })

	proved := m.Life().Proved
	srv.Stop()
	bustest.Until(t, "the link is down", func() bool { return !l.State().Up })
	if life := m.Life(); !life.Silent.IsZero() || life.Proved.Before(proved) {
		t.Errorf("a link that is down: %+v, before it was proved at %v", life, proved)
	}
}
