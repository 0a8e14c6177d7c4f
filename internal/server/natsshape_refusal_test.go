package server

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"hm/internal/bus/bustest"
)

// TestCredentialsTakenAndGranted: a reload of the server changes the password of hm's user, and another removes the user.
// hm tries again for ever, with bounded pauses.
func TestCredentialsTakenAndGranted(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	users := func(password string) func(*server.Options) {
		return func(o *server.Options) {
			o.Users = []*server.User{{Username: "cf", Password: "pw"}}
			if password != "" {
				o.Users = append(o.Users, &server.User{Username: "hm", Password: password})
			}
			o.NoAuthUser = "cf"
		}
	}
	nats := bustest.Run(t, users("pw"))
	s := startShape(t, clusterSetup{
		period: 200 * time.Millisecond, sim: deas(nats.URL()), natsURL: func(int) string { return nats.URL() },
		sets: []string{"nats.username=hm", "nats.password=pw"},
	}, nats)
	s.awaitConverged()
	for _, taken := range []string{"other", ""} {
		refused := nats.Refused()
		nats.Reload(t, users(taken))
		s.until("every link is down", s.down)
		s.until("the server has refused the links", func() bool { return nats.Refused() > refused+6 })
		if st := s.natsStatus(0); st.Connected || !strings.Contains(st.Error, "Authorization Violation") {
			t.Errorf("the status shows %+v", st)
		}
		s.during("the server refuses the links", 5*s.period)
		nats.Reload(t, users("pw"))
		s.recover(time.Now())
	}
	if text := s.log.String(); !strings.Contains(text, "correct nats.username") || strings.Contains(text, "nats.servers is right") {
		t.Error("the log does not say what to correct, or something else")
	}
	s.wantReasons("nats-down", "actual-stale")
	s.correctsDrift()
}

// TestMaxPayloadSmallerThanHeartbeats: the server comes back with a max_payload that no heartbeat fits.
func TestMaxPayloadSmallerThanHeartbeats(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	nats := bustest.Run(t, nil)
	s := startShape(t, clusterSetup{
		period: 200 * time.Millisecond, sim: deas(nats.URL()), natsURL: func(int) string { return nats.URL() },
	}, nats)
	s.awaitConverged()
	s.nats = nats
	answered := s.appStateAnswered(s.period)
	bustest.Until(t, "a question is answered", answered)
	limit := func(bytes int32) func(*server.Options) { return func(o *server.Options) { o.MaxPayload = bytes } }
	before := s.states()
	nats.Restart(t, limit(100))
	s.until("the links are back", func() bool { return s.moved(before, nats.Name()) })
	s.until("the gate is closed", func() bool { return s.commander() < 0 })
	before = s.states()
	for range 3 { // an answer that is too large is left out, and does not end the link
		answered()
	}
	s.during("no heartbeat is small enough", 10*s.period)
	s.wantReasons("actual-stale")
	for i, st := range s.states() {
		if st.Outages != before[i].Outages {
			t.Errorf("node %d: the link is %+v, was %+v", i, st, before[i])
		}
	}
	nats.Restart(t, limit(1<<20))
	s.recover(time.Now())
	s.correctsDrift()
}
