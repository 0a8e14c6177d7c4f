package bus

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"hm/internal/bus/bustest"
)

// limited are the options of a server whose only user may not publish on or subscribe to some subjects.
func limited(publish, subscribe []string) func(*server.Options) {
	return func(o *server.Options) {
		o.Users = []*server.User{{Username: "hm", Password: "pw", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: publish}, Subscribe: &server.SubjectPermission{Deny: subscribe},
		}}}
	}
}

func openLimited(t *testing.T, srv *bustest.Server) (*Link, *logBuffer) {
	t.Helper()
	return open(t, Options{Servers: []string{srv.URL()}, Username: "hm", Password: "pw"})
}

// format gives refusals in one line, without times.
func format(list []Refusal) string {
	var out []string
	for _, r := range list {
		if r.Since.IsZero() || r.Last.Before(r.Since) || r.Count == 0 {
			out = append(out, fmt.Sprintf("invalid %+v", r))
		}
		out = append(out, r.Action+" "+r.Subject+": "+r.Error)
	}
	return strings.Join(out, "; ")
}

// TestEveryRefusedSubjectOfABatchIsReported: the client library keeps only the newest violation.
func TestEveryRefusedSubjectOfABatchIsReported(t *testing.T) {
	srv := bustest.Run(t, limited([]string{"start", "stop"}, nil))
	l, log := openLimited(t, srv)
	bustest.Until(t, "the link is up", up(l))
	for round := range 20 {
		errs := l.PublishBatch(within(t, time.Minute),
			[]Out{{Subject: "start"}, {Subject: "ok"}, {Subject: "stop"}, {Subject: "start"}})
		for i, want := range []string{`nats refuses the message on start: Permissions Violation for Publish to "start"`, "",
			`nats refuses the message on stop: Permissions Violation for Publish to "stop"`, `nats refuses the message on start: Permissions Violation for Publish to "start"`} {
			if got := errs[i]; (want == "") != (got == nil) || got != nil && (got.Error() != want || !errors.Is(got, ErrRefused) || !errors.Is(got, ErrDown)) {
				t.Fatalf("round %d: message %d: %v, want %q", round, i, got, want)
			}
		}
	}
	want := `publish start: Permissions Violation for Publish to "start"; publish stop: Permissions Violation for Publish to "stop"`
	if got := format(l.Refusals()); got != want {
		t.Errorf("refusals %s, want %s", got, want)
	}
	for _, want := range []string{
		`level=ERROR msg="nats refuses a subject to this node" server=` + srv.Address() + ` action=publish subject=start error="Permissions Violation for Publish to \"start\"" hint="grant the user that hm connects as the permission to publish"`,
		` action=publish subject=stop error="Permissions Violation for Publish to \"stop\"" `,
	} {
		if n := strings.Count(log.String(), want); n != 1 {
			t.Errorf("the log has %d lines with %s, want 1", n, want)
		}
	}
	totals := map[string]uint64{}
	l.RefusalTotals(func(action, subject string, n uint64) { totals[action+" "+subject] = n })
	if len(totals) != 2 || totals["publish start"] != 40 || totals["publish stop"] != 20 {
		t.Errorf("totals %v", totals)
	}

	srv.Reload(t, limited([]string{"stop"}, nil))
	if errs := l.PublishBatch(within(t, time.Minute), []Out{{Subject: "start"}, {Subject: "stop"}}); errs[0] != nil || !errors.Is(errs[1], ErrRefused) {
		t.Fatalf("errors %v, want only the stop refused", errs)
	}
	if got := format(l.Refusals()); got != `publish stop: Permissions Violation for Publish to "stop"` {
		t.Errorf("after the permission was granted: %s", got)
	}
}

// TestTooLargeIsARefusal: the subject is reported with both sizes until the server accepts a message on it.
func TestTooLargeIsARefusal(t *testing.T) {
	srv := bustest.Run(t, func(o *server.Options) { o.MaxPayload = 1000 })
	l, log := open(t, Options{Servers: []string{srv.URL()}})
	bustest.Until(t, "the link is up", up(l))
	if n := l.MaxPayload(); n != 1000 {
		t.Errorf("max payload is %d", n)
	}
	err := l.Publish(within(t, time.Minute), "a", make([]byte, 1001))
	if want := "nats refuses the message on a: nats: maximum payload exceeded: 1001 bytes, its max_payload is 1000"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if got, want := format(l.Refusals()), "publish a: nats: maximum payload exceeded: 1001 bytes, its max_payload is 1000"; got != want {
		t.Errorf("refusals %s, want %s", got, want)
	}
	if !strings.Contains(log.String(), `subject=a error="nats: maximum payload exceeded: 1001 bytes, its max_payload is 1000" hint="raise max_payload of the nats server"`) {
		t.Errorf("log:\n%s", log)
	}
	if err := l.Publish(within(t, time.Minute), "a", nil); err != nil || len(l.Refusals()) != 0 {
		t.Errorf("a small message: %v, then refusals %s", err, format(l.Refusals()))
	}
}

// TestRefusedRequestNamesTheSubject: otherwise the error would look as if the Cloud Controller did not answer.
func TestRefusedRequestNamesTheSubject(t *testing.T) {
	srv := bustest.Run(t, limited([]string{"credentials"}, nil))
	l, _ := openLimited(t, srv)
	bustest.Until(t, "the link is up", up(l))
	var err error
	for until := 20 * time.Millisecond; ; until *= 2 { // the refusal comes late on a busy machine
		if _, err = l.Request(within(t, until), "credentials", nil); errors.Is(err, ErrRefused) || until > 10*time.Second {
			break
		}
	}
	if want := `nats refuses the message on credentials: Permissions Violation for Publish to "credentials"`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestRefusedSubscription: a refusal is reported until the link itself finds that it ended. Other subscriptions work.
func TestRefusedSubscription(t *testing.T) {
	srv := bustest.Run(t, limited(nil, []string{"beat", "hint", "ask"}))
	l, log := openLimited(t, srv)
	var in, other, asked inbox
	for _, err := range []error{
		l.Subscribe("beat", Limits{}, in.take), l.Subscribe("hint", Limits{Spare: true}, in.take),
		l.Subscribe("other", Limits{}, other.take),
		l.SubscribeQueue("ask", "group", Limits{}, asked.take),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	bustest.Until(t, "the link is up", up(l))
	want := `subscribe ask: Permissions Violation for Subscription to "ask" using queue "group"; ` +
		`subscribe beat: Permissions Violation for Subscription to "beat"; subscribe hint: Permissions Violation for Subscription to "hint"`
	if got := format(l.Refusals()); got != want { // as soon as it is up, not some time later
		t.Fatalf("refusals\n%s, want\n%s", got, want)
	}
	if !l.Refused("beat") || l.Refused("other") {
		t.Error("want beat refused, and other not")
	}
	since := l.Refusals()[1].Since
	bustest.Until(t, "the link has tried again", func() bool { return l.Refusals()[1].Count >= 3 })
	if r := l.Refusals()[1]; !r.Since.Equal(since) {
		t.Errorf("refused since %v, and then since %v", since, r.Since)
	}
	line := `level=ERROR msg="nats refuses a subject to this node" server=` + srv.Address() +
		` action=subscribe subject=beat error="Permissions Violation for Subscription to \"beat\"" hint="grant the user that hm connects as the permission to subscribe; hm asks again until it has it"`
	if n := strings.Count(log.String(), line); n != 1 {
		t.Errorf("the log reports it %d times, want once in %v:\n%s", n, logEvery, log)
	}

	before := l.State()
	srv.Reload(t, limited(nil, []string{"beat"}))
	bustest.Until(t, "what is granted is no longer reported", func() bool {
		return format(l.Refusals()) == `subscribe beat: Permissions Violation for Subscription to "beat"`
	})
	if s := l.State(); s != before {
		t.Errorf("a spare subject and one of a queue group were granted, and the state is %+v, was %+v", s, before)
	}
	srv.Reload(t, limited(nil, nil))
	bustest.Until(t, "nothing is refused", func() bool { return len(l.Refusals()) == 0 })
	bustest.Until(t, "an epoch begins with the grant", func() bool { return l.State().Epoch == before.Epoch+1 })
	if s := l.State(); s.Outages != 0 || s.Gaps != 0 || !s.Since.After(before.Since) {
		t.Errorf("state %+v, was %+v", s, before)
	}
	if err := errors.Join(l.Publish(within(t, time.Minute), "beat", []byte("beat")), l.Publish(within(t, time.Minute), "other", []byte("other"))); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "both are received", func() bool { return in.has("beat")() && other.has("other")() })
	if !strings.Contains(log.String(), `level=INFO msg="nats takes a subject that it has refused to this node" action=subscribe subject=beat refused_for=`) {
		t.Errorf("log:\n%s", log)
	}

	// The permission ends while the link is up.
	before = l.State()
	srv.Reload(t, limited(nil, []string{"beat"}))
	bustest.Until(t, "the refusal is reported", func() bool { return l.Refused("beat") })
	if s := l.State(); !s.Up || s.Epoch != before.Epoch+1 || s.Outages != 0 {
		t.Errorf("a refusal begins an epoch: state %+v, was %+v", s, before)
	}
	// A lost connection does not end the refusal, a new one with the permission does.
	srv.Stop()
	bustest.Until(t, "the link is down", down(l))
	if l.Refused("beat") || len(l.Refusals()) != 1 {
		t.Errorf("while down: refused %v, refusals %s", l.Refused("beat"), format(l.Refusals()))
	}
	srv.Start(t, limited(nil, nil))
	bustest.Until(t, "the link is up", up(l))
	if got := l.Refusals(); len(got) != 0 {
		t.Errorf("with the permission: %s", format(got))
	}
}

// TestRepliesAreOneSubject: clients choose the subjects of answers, so these count as one.
func TestRepliesAreOneSubject(t *testing.T) {
	srv := bustest.Run(t, limited([]string{"answers.>"}, nil))
	l, _ := openLimited(t, srv)
	bustest.Until(t, "the link is up", up(l))
	for i := range 200 {
		if err := l.Answer(Msg{Subject: "q", Reply: fmt.Sprint("answers.", i)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	bustest.Until(t, "all refusals are counted",
		func() bool { r := l.Refusals(); return len(r) == 1 && r[0].Count == 200 })
	if r := l.Refusals()[0]; r.Subject != "_INBOX.>" || r.Action != RefusedPublish {
		t.Errorf("refusals %s", format(l.Refusals()))
	}
}

// TestLeaveAQueueGroup: the other members get the group's messages, the one that left gets none, and nothing is a gap.
func TestLeaveAQueueGroup(t *testing.T) {
	srv := bustest.Run(t, nil)
	l, _ := open(t, Options{Servers: []string{srv.URL()}})
	m, _ := open(t, Options{Servers: []string{srv.URL()}})
	var mine, theirs inbox
	if err := errors.Join(l.SubscribeQueue("ask", "group", Limits{}, mine.take), m.SubscribeQueue("ask", "group", Limits{}, theirs.take)); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the links are up", func() bool { return l.State().Up && m.State().Up })
	ask := func(prefix string, n int) {
		t.Helper()
		for i := range n {
			if err := m.Publish(within(t, time.Minute), "ask", []byte(fmt.Sprint(prefix, i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	all := func(in *inbox, prefix string, n int) func() bool {
		return func() bool {
			for i := range n {
				if !in.has(fmt.Sprint(prefix, i))() {
					return false
				}
			}
			return true
		}
	}
	l.Leave("ask", "group")
	bustest.Until(t, "the server knows", func() bool { return subscribers(t, srv, "ask") == 1 })
	ask("left ", 20)
	bustest.Until(t, "the other member gets all", all(&theirs, "left ", 20))
	srv.Restart(t, nil)
	bustest.Until(t, "the links are back",
		func() bool { return l.State().Outages == 1 && l.State().Up && m.State().Outages == 1 && m.State().Up })
	ask("away ", 20)
	bustest.Until(t, "the other member still gets all", all(&theirs, "away ", 20))
	before := l.State()
	l.Rejoin("ask", "group")
	m.Leave("ask", "group")
	l.Leave("ask", "none")
	ask("back ", 20)
	bustest.Until(t, "the member that rejoined gets messages", func() bool {
		ask("more ", 20)
		return all(&mine, "more ", 20)()
	})
	if mine.has("left 0")() || mine.has("away 0")() {
		t.Error("a member got messages while it was away")
	}
	if s := l.State(); s != before {
		t.Errorf("state %+v, was %+v", s, before)
	}
}

// subscribers gives how many subscriptions to a subject a server has.
func subscribers(t *testing.T, srv *bustest.Server, subject string) (n int) {
	t.Helper()
	seen, err := srv.Subsz(&server.SubszOptions{Subscriptions: true, Test: subject})
	if err != nil {
		t.Fatal(err)
	}
	return len(seen.Subs)
}
