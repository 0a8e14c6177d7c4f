package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"hm/internal/bus/bustest"
)

const ping = 50 * time.Millisecond // the default is 2 s

// logBuffer collects a link's log, to be read while the link runs.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func open(t *testing.T, o Options) (*Link, *logBuffer) {
	t.Helper()
	var log logBuffer
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	if o.PingInterval == 0 {
		o.PingInterval = ping
	}
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of the link:\n%s", log.String())
		}
	})
	return l, &log
}

func up(l *Link) func() bool   { return func() bool { return l.State().Up } }
func down(l *Link) func() bool { return func() bool { return !l.State().Up } }

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// inbox keeps the messages of a subscription.
type inbox struct {
	mu  sync.Mutex
	got []string
}

func (b *inbox) take(m Msg) { b.mu.Lock(); b.got = append(b.got, string(m.Data)); b.mu.Unlock() }
func (b *inbox) has(want string) func() bool {
	return func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, s := range b.got {
			if s == want {
				return true
			}
		}
		return false
	}
}

func TestServerStartsAfterTheLink(t *testing.T) {
	address, port := bustest.FreeAddress(t)
	l, _ := open(t, Options{Servers: []string{"nats://" + address}})
	first := l.State()
	if first.Up || first.Since.IsZero() {
		t.Fatalf("before there is a server the state is %+v", first)
	}
	var in inbox
	if err := l.Subscribe("a", Limits{}, in.take); err != nil {
		t.Fatal(err)
	}
	if err := l.Publish(within(t, time.Minute), "a", nil); !errors.Is(err, ErrDown) {
		t.Fatalf("publish before there is a server: %v, want ErrDown", err)
	}
	srv := bustest.Run(t, func(o *server.Options) { o.Port = port })
	bustest.Until(t, "the link is up", up(l))
	s := l.State()
	if s.Outages != 0 || s.Gaps != 0 || s.Epoch <= first.Epoch || s.Server != srv.Address() ||
		s.Since.Before(first.Since) {
		t.Errorf("after the first connection the state is %+v, was %+v", s, first)
	}
	select {
	case <-l.Changed():
	default:
		t.Error("Changed did not report the change")
	}
	if err := l.Publish(within(t, time.Minute), "a", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the earlier subscription receives the message", in.has("hello"))
}

func TestServerStopsAndStarts(t *testing.T) {
	srv := bustest.Run(t, nil)
	l, _ := open(t, Options{Servers: []string{srv.URL()}})
	var in inbox
	if err := l.Subscribe("a", Limits{}, in.take); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is up", up(l))
	for n := range uint64(3) {
		before := l.State()
		srv.Stop()
		bustest.Until(t, "the link is down", down(l))
		if s := l.State(); s.Outages != n+1 || s.Epoch != before.Epoch+1 || s.Since.Before(before.Since) {
			t.Fatalf("after outage %d the state is %+v, was %+v", n+1, s, before)
		}
		if errs := l.PublishBatch(within(t, time.Minute), []Out{{Subject: "a", Data: []byte("late")}, {Subject: "a"}}); !errors.Is(errs[0], ErrDown) || !errors.Is(errs[1], ErrDown) {
			t.Fatalf("publish while down: %v, want ErrDown twice", errs)
		}
		srv.Start(t, nil)
		bustest.Until(t, "the link is up again", up(l))
		text := fmt.Sprint("after outage ", n)
		if err := l.Publish(within(t, time.Minute), "a", []byte(text)); err != nil {
			t.Fatal(err)
		}
		bustest.Until(t, "the subscription receives again", in.has(text))
	}
	if in.has("late")() {
		t.Error("a message that was refused while the link was down was delivered later")
	}
}

func TestSecondServerTakesOver(t *testing.T) {
	a, b := bustest.Run(t, nil), bustest.Run(t, nil)
	l, _ := open(t, Options{Servers: []string{a.URL(), b.Address()}})
	bustest.Until(t, "the link is up", up(l))
	if s := l.State().Server; s != a.Address() {
		t.Fatalf("connected to %s, want the first server %s", s, a.Address())
	}
	a.Stop()
	bustest.Until(t, "the second server has taken over",
		func() bool { s := l.State(); return s.Up && s.Server == b.Address() })
	if s := l.State(); s.Outages != 1 {
		t.Errorf("state %+v, want one outage", s)
	}
	a.Start(t, nil)
	b.Stop()
	bustest.Until(t, "the first server has taken over",
		func() bool { s := l.State(); return s.Up && s.Server == a.Address() })
}

func TestSilentServerIsDeclaredDown(t *testing.T) {
	srv := bustest.Run(t, nil)
	proxy := bustest.RunProxy(t, srv.Address())
	l, log := open(t, Options{Servers: []string{proxy.URL()}})
	bustest.Until(t, "the link is up", up(l))
	proxy.BlackHole(true)
	began := time.Now()
	ctx := within(t, ping) // ends before the link is down
	if err := l.Publish(ctx, "cmd", []byte("into the hole")); !errors.Is(err, ErrUnknown) {
		t.Errorf("publish into the hole: %v, want ErrUnknown", err)
	}
	if err := l.Publish(within(t, time.Minute), "cmd", []byte("into the hole too")); !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrDown) {
		t.Errorf("publish that outlasts the link: %v, want ErrUnknown or ErrDown", err)
	}
	bustest.Until(t, "the silent link is down", down(l))
	t.Logf("down %.2f ping intervals after the silence began (3 allowed)", float64(time.Since(began))/float64(ping))
	bustest.Until(t, "the log says why", func() bool { return strings.Contains(log.String(), "stale connection") })
	proxy.BlackHole(false)
	bustest.Until(t, "the link is up again", up(l))
}

// What the kernel on this side holds when a connection is closed must not be sent once the network is back.
func TestGivenUpConnectionSendsNothingMore(t *testing.T) {
	srv := bustest.Run(t, nil)
	proxy := bustest.RunProxy(t, srv.Address())
	l, _ := open(t, Options{Servers: []string{proxy.URL()}})
	bustest.Until(t, "the link is up", up(l))
	other := bustest.Client(t, srv.URL())
	sub, err := other.SubscribeSync("cmd")
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Flush(); err != nil {
		t.Fatal(err)
	}
	const n = 26 // of 4 KiB: all fit into the kernel's buffers on this side, about 9 on the proxy's side
	outs := make([]Out, n)
	for i := range outs {
		outs[i] = Out{Subject: "cmd", Data: append([]byte(fmt.Sprint(i, " ")), make([]byte, 4096)...)}
	}
	proxy.BlackHole(true)
	for i, err := range l.PublishBatch(within(t, time.Minute), outs) {
		if !errors.Is(err, ErrUnknown) {
			t.Fatalf("message %d into the hole: %v, want ErrUnknown", i, err)
		}
	}
	bustest.Until(t, "the silent link is down", down(l))
	proxy.BlackHole(false)
	bustest.Until(t, "the link is up again", up(l))
	bustest.Until(t, "the server has closed the first connection", func() bool { return srv.NumClients() == 2 })
	if err := l.Publish(within(t, time.Minute), "cmd", []byte("after")); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := sub.NextMsg(30 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Data) == "after" {
			break
		}
		if strings.HasPrefix(string(m.Data), fmt.Sprint(n-1, " ")) {
			t.Fatal("the last message was delivered after its connection had been closed")
		}
	}
}

// A peer that reads nothing blocks a write that holds the client library's lock. No caller may hang because of it.
func TestBlockedWriteBlocksNobody(t *testing.T) {
	srv := bustest.Run(t, nil)
	proxy := bustest.RunProxy(t, srv.Address())
	l, _ := open(t, Options{Servers: []string{proxy.URL()}})
	bustest.Until(t, "the link is up", up(l))
	proxy.BlackHole(true)
	flood := make([]Out, 64)
	for i := range flood {
		flood[i] = Out{Subject: "a", Data: make([]byte, 512<<10)}
	}
	for _, err := range l.PublishBatch(within(t, time.Minute), flood) {
		if err == nil {
			t.Fatal("a message into the hole was confirmed")
		}
	}
	bustest.Until(t, "the link is down", down(l))
}

func TestSlowSubscriberIsAGap(t *testing.T) {
	srv := bustest.Run(t, nil)
	l, log := open(t, Options{Servers: []string{srv.URL()}})
	release, entered := make(chan struct{}), make(chan struct{}, 1)
	var handled atomic.Int64
	if err := l.Subscribe("a", Limits{Messages: 10, Bytes: 1 << 20}, func(Msg) {
		select {
		case entered <- struct{}{}:
		default:
		}
		<-release
		handled.Add(1)
	}); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is up", up(l))
	before := l.State()
	pub := bustest.Client(t, srv.URL())
	publish := func(n int) {
		t.Helper()
		for range n {
			if err := pub.Publish("a", []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		if err := pub.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	publish(100)
	<-entered
	bustest.Until(t, "the drop is a gap", func() bool { return l.State().Gaps > 0 })
	bustest.Until(t, "all drops are counted", func() bool { return l.State().Dropped >= 89 })
	s := l.State()
	if !s.Up || s.Outages != 0 || s.Epoch != before.Epoch+s.Gaps || !s.Since.After(before.Since) {
		t.Errorf("after the drop the state is %+v, was %+v", s, before)
	}
	// More drops in the same series: the library calls back only for the first.
	publish(10)
	bustest.Until(t, "more drops are another gap",
		func() bool { n := l.State(); return n.Gaps > s.Gaps && n.Since.After(s.Since) })
	close(release)
	bustest.Until(t, "the messages that were kept are handled", func() bool { return handled.Load() >= 10 })
	bustest.Until(t, "the log reports it",
		func() bool { return strings.Contains(log.String(), "messages were dropped") })
	quiet := l.State()
	publish(1)
	bustest.Until(t, "the message is handled", func() bool { return handled.Load() >= 11 })
	if now := l.State(); now != quiet {
		t.Errorf("a message that was not dropped changed the state from %+v to %+v", quiet, now)
	}
}

// A subscription on which nothing depends may be made at any time, and may drop messages: neither is a gap.
func TestWhatIsMissedAsideIsNoGap(t *testing.T) {
	srv := bustest.Run(t, nil)
	l, _ := open(t, Options{Servers: []string{srv.URL()}})
	bustest.Until(t, "the link is up", up(l))
	before := l.State()
	release := make(chan struct{})
	defer close(release)
	if err := l.Subscribe("a", Limits{Messages: 10, Aside: true}, func(Msg) { <-release }); err != nil {
		t.Fatal(err)
	}
	pub := bustest.Client(t, srv.URL())
	for range 100 {
		if err := pub.Publish("a", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	bustest.Until(t, "the drops are counted", func() bool { return l.State().DroppedAside >= 89 })
	if s := l.State(); s.Epoch != before.Epoch || s.Gaps != 0 || s.Dropped != 0 {
		t.Errorf("after the drops the state is %+v, was %+v", s, before)
	}
}

func TestLateSubscriptionBeginsAnEpoch(t *testing.T) {
	srv := bustest.Run(t, nil)
	l, _ := open(t, Options{Servers: []string{srv.URL()}})
	bustest.Until(t, "the link is up", up(l))
	before := l.State()
	if err := l.Subscribe("late", Limits{}, func(Msg) {}); err != nil {
		t.Fatal(err)
	}
	if s := l.State(); s.Epoch != before.Epoch+1 || !s.Since.After(before.Since) || s.Gaps != 0 || s.Outages != 0 {
		t.Errorf("state %+v, was %+v", s, before)
	}
}

func TestCredentialsAreCorrectedLater(t *testing.T) {
	srv := bustest.Run(t, func(o *server.Options) { o.Username, o.Password = "hm", "other" })
	l, log := open(t, Options{Servers: []string{srv.URL()}, Username: "hm", Password: "s3cret-word"})
	bustest.Until(t, "the log says what to do",
		func() bool { return strings.Contains(log.String(), "correct nats.username") })
	srv.Restart(t, func(o *server.Options) { o.Password = "s3cret-word" })
	bustest.Until(t, "the link is up", up(l))
	srv.Restart(t, func(o *server.Options) { o.Password = "changed" })
	bustest.Until(t, "the link is down", down(l))
	srv.Restart(t, func(o *server.Options) { o.Password = "s3cret-word" })
	bustest.Until(t, "the link is up again", up(l))
	if strings.Contains(log.String(), "s3cret-word") {
		t.Error("the log contains the password")
	}
}

func TestUserInURLIsUsedAndNotShown(t *testing.T) {
	srv := bustest.Run(t, func(o *server.Options) { o.Username, o.Password = "hm", "p@ss" })
	l, log := open(t, Options{Servers: []string{"nats://hm:wrong-one@" + srv.Address(), "nats://hm:p%40ss@" + srv.Address()}})
	bustest.Until(t, "the link is up", up(l))
	if s := l.State().Server; s != srv.Address() {
		t.Errorf("server is shown as %q", s)
	}
	srv.Stop()
	bustest.Until(t, "failures are logged", func() bool { return strings.Contains(log.String(), "cannot connect") })
	for _, secret := range []string{"wrong-one", "p@ss", "p%40ss", "hm:"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log contains %q:\n%s", secret, log.String())
		}
	}
}

func TestTokenAndPermissions(t *testing.T) {
	srv := bustest.Run(t, func(o *server.Options) { o.Authorization = "tok-1" })
	l, _ := open(t, Options{Servers: []string{srv.URL()}, Token: "tok-1"})
	bustest.Until(t, "the link is up", up(l))

	limited := bustest.Run(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "hm", Password: "pw",
			Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"ok"}}}}}
	})
	m, log := open(t, Options{Servers: []string{limited.URL()}, Username: "hm", Password: "pw"})
	bustest.Until(t, "the link is up", up(m))
	errs := m.PublishBatch(within(t, time.Minute), []Out{{Subject: "ok"}, {Subject: "not.ok"}, {Subject: "ok"}})
	if errs[0] != nil || errs[2] != nil || !errors.Is(errs[1], ErrRefused) || !errors.Is(errs[1], ErrDown) {
		t.Errorf("errors %v, want only the second refused", errs)
	}
	bustest.Until(t, "the log reports it", func() bool { return strings.Contains(log.String(), "refuses a subject") })
}

// nats.go closes a connection for good when the server sends an error that it does not know.
func TestUnknownServerErrorEndsNothing(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var served atomic.Int64
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			served.Add(1)
			go func() {
				defer c.Close()
				fmt.Fprintf(c, "INFO {\"server_id\":\"x\",\"version\":\"2.0.0\",\"proto\":1,\"max_payload\":1048576}\r\n")
				buf := make([]byte, 4096)
				for n := 0; ; n++ {
					k, err := c.Read(buf)
					if err != nil {
						return
					}
					for range strings.Count(string(buf[:k]), "PING") {
						fmt.Fprint(c, "PONG\r\n")
					}
					if n == 2 {
						fmt.Fprint(c, "-ERR 'Some Unknown Error'\r\n")
					}
				}
			}()
		}
	}()
	l, _ := open(t, Options{Servers: []string{ln.Addr().String()}})
	bustest.Until(t, "the link has come back twice", func() bool { s := l.State(); return s.Up && s.Outages >= 2 })
	if served.Load() < 3 {
		t.Errorf("%d connections were made", served.Load())
	}
}

func TestRequestAndAnswer(t *testing.T) {
	srv := bustest.Run(t, nil)
	l, _ := open(t, Options{Servers: []string{srv.URL()}})
	if _, err := l.Request(within(t, time.Nanosecond), "q", nil); !errors.Is(err, ErrDown) {
		t.Errorf("a request after its deadline: %v, want ErrDown", err)
	}
	if err := l.SubscribeQueue("q", "group", Limits{}, func(m Msg) {
		if err := l.Answer(m, append([]byte("re: "), m.Data...)); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := l.Subscribe("mute", Limits{}, func(Msg) {}); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is up", up(l))
	got, err := l.Request(within(t, time.Minute), "q", []byte("x"))
	if err != nil || string(got) != "re: x" {
		t.Errorf("answer %q, %v", got, err)
	}
	if _, err := l.Request(within(t, time.Minute), "nobody", nil); !errors.Is(err, ErrNoResponders) {
		t.Errorf("request to nobody: %v, want ErrNoResponders", err)
	}
	if _, err := l.Request(within(t, 20*time.Millisecond), "mute", nil); !errors.Is(err, ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("request without an answer: %v, want ErrUnknown and the deadline", err)
	}
	if _, err := l.Request(within(t, time.Minute), "a b", nil); !errors.Is(err, ErrRefused) {
		t.Errorf("request on a bad subject: %v, want ErrRefused", err)
	}
	if err := l.SubscribeQueue("front", "group", Limits{}, func(m Msg) { // somebody else answers
		if err := l.Hand(m, "q"); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	got, err = l.Request(within(t, time.Minute), "front", []byte("y"))
	if err != nil || string(got) != "re: y" {
		t.Errorf("answer to a request that was handed over: %q, %v", got, err)
	}
	if err := l.Hand(Msg{Subject: "front", Reply: "r"}, "a b"); !errors.Is(err, ErrRefused) {
		t.Errorf("a request handed over on a bad subject: %v, want ErrRefused", err)
	}
	srv.Stop()
	bustest.Until(t, "the link is down", down(l))
	if _, err := l.Request(within(t, time.Minute), "q", nil); !errors.Is(err, ErrDown) {
		t.Errorf("request while down: %v, want ErrDown", err)
	}
	if err := l.Hand(Msg{Subject: "front", Reply: "r"}, "q"); !errors.Is(err, ErrDown) {
		t.Errorf("a request handed over while down: %v, want ErrDown", err)
	}
}

func TestPublishRefusals(t *testing.T) {
	srv := bustest.Run(t, func(o *server.Options) { o.MaxPayload = 1000 })
	l, _ := open(t, Options{Servers: []string{srv.URL()}})
	bustest.Until(t, "the link is up", up(l))
	errs := l.PublishBatch(within(t, time.Minute), []Out{{Subject: "a"}, {Subject: "a", Data: make([]byte, 1001)},
		{Subject: ""}, {Subject: "a b"}, {Subject: "a..b"}})
	if errs[0] != nil {
		t.Errorf("a good message among bad ones: %v", errs[0])
	}
	for i, err := range errs[1:] {
		if !errors.Is(err, ErrRefused) {
			t.Errorf("bad message %d: %v, want ErrRefused", i, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Publish(ended, "a", nil); !errors.Is(err, ErrDown) || !errors.Is(err, context.Canceled) {
		t.Errorf("publish with an ended context: %v, want ErrDown and its cause", err)
	}
	if errs := l.PublishBatch(t.Context(), nil); len(errs) != 0 {
		t.Errorf("an empty batch gives %v", errs)
	}
	if s := l.State(); !s.Up || s.Outages != 0 {
		t.Errorf("refusals took the link down: %+v", s)
	}
}

func TestCloseLetsSubscribersFinish(t *testing.T) {
	srv := bustest.Run(t, nil)
	l, _ := open(t, Options{Servers: []string{srv.URL()}})
	entered, release := make(chan struct{}, 100), make(chan struct{})
	var handled atomic.Int64
	if err := l.Subscribe("a", Limits{}, func(Msg) { entered <- struct{}{}; <-release; handled.Add(1) }); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is up", up(l))
	for range 20 {
		if err := l.Publish(within(t, time.Minute), "a", nil); err != nil {
			t.Fatal(err)
		}
	}
	<-entered
	closed := make(chan error, 1)
	go func() { closed <- l.Close() }()
	bustest.Until(t, "the link publishes nothing more",
		func() bool { return errors.Is(l.Publish(t.Context(), "b", nil), ErrDown) })
	select {
	case <-closed:
		t.Fatal("Close did not wait for the subscriber")
	default:
	}
	close(release)
	if err := <-closed; err != nil || handled.Load() != 20 {
		t.Errorf("closed with %v after %d messages were handled, want 20", err, handled.Load())
	}
	if s := l.State(); s.Up || s.Outages != 0 {
		t.Errorf("state after Close is %+v", s)
	}
	if err := l.Subscribe("b", Limits{}, func(Msg) {}); err == nil {
		t.Error("a closed link accepted a subscription")
	}
}

func TestCloseWhileConnecting(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections, and sends nothing
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	l, _ := open(t, Options{Servers: []string{ln.Addr().String()}})
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestManyAtOnce(t *testing.T) {
	srv := bustest.Run(t, nil)
	l, _ := open(t, Options{Servers: []string{srv.URL()}})
	var wg sync.WaitGroup
	var sent, received atomic.Int64
	if err := l.Subscribe("a", Limits{}, func(Msg) { received.Add(1) }); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is up", up(l))
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if err := l.Publish(t.Context(), "a", []byte("x")); err == nil {
					sent.Add(1)
				} else if !errors.Is(err, ErrDown) && !errors.Is(err, ErrUnknown) {
					t.Error(err)
				}
				l.State()
			}
		})
	}
	wg.Go(func() { srv.Restart(t, nil) })
	wg.Wait()
	bustest.Until(t, "the link is up", up(l))
	t.Logf("%d of 400 confirmed, %d received", sent.Load(), received.Load())
}
