package api_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/bus"
	"hm/internal/cluster"
)

// answerLink is a link that keeps the answers to queries.
type answerLink struct {
	fns     map[string]func(bus.Msg)
	answers chan string
	handed  chan bus.Msg // with the subject on which the question was handed over; nil: they are dropped
}

func (l *answerLink) SubscribeQueue(subject, _ string, _ bus.Limits, fn func(bus.Msg)) error {
	l.fns[subject] = fn
	return nil
}

func (*answerLink) Leave(_, _ string)  {}
func (*answerLink) Rejoin(_, _ string) {}
func (*answerLink) Request(context.Context, string, []byte) ([]byte, error) {
	return nil, bus.ErrDown
}
func (*answerLink) MaxPayload() int { return 1 << 20 }

func (l *answerLink) Hand(m bus.Msg, subject string) error {
	if l.handed != nil {
		m.Subject = subject
		l.handed <- m
	}
	return nil
}

func (l *answerLink) Answer(_ bus.Msg, data []byte) error {
	l.answers <- string(data)
	return nil
}

// TestAppStateOfARecordThatGrowsOld: a Cloud Controller gets {} from a node that cannot know whether its record is
// still true, in each way of asking, and the node counts that.
func TestAppStateOfARecordThatGrowsOld(t *testing.T) {
	const ttl = 30 * time.Second // Policy's, as Options leaves it
	for name, c := range map[string]struct {
		prepare func(*apitest.Node)
		why     string // empty: the record is told
	}{
		"leader":   {func(*apitest.Node) {}, ""},
		"follower": {func(w *apitest.Node) { w.Follow("hm-2", "hm-1", "x:1") }, ""},
		"a backlog that is not recorded for longer than a heartbeat": {func(w *apitest.Node) { w.Behind = true }, "unrecorded"},
		"a follower with such a backlog": {func(w *apitest.Node) {
			w.Follow("hm-2", "hm-1", "x:1")
			w.Behind = true
		}, "unrecorded"},
		"the link is down, and the loop does not know yet": {func(w *apitest.Node) { w.Link.Up = false }, "actual-stale"},
		"not fresh":                    {func(w *apitest.Node) { w.Over.ActualFresh = false }, "actual-stale"},
		"a leader was known just now":  {func(w *apitest.Node) { w.Follow("hm-2", "", ""); w.Contact = time.Now().Add(-ttl / 2) }, ""},
		"no leader for a time to live": {func(w *apitest.Node) { w.Follow("hm-2", "", ""); w.Contact = time.Now().Add(-ttl) }, "no-leader"},
		"no leader for a time to live, and elections go on": {func(w *apitest.Node) {
			w.Follow("hm-2", "", "")
			w.Lead.Term, w.Lead.Since, w.Contact = 99, time.Now(), time.Now().Add(-ttl)
		}, "no-leader"},
		"never a leader":         {func(w *apitest.Node) { w.Follow("hm-2", "", ""); w.Contact = time.Time{} }, "no-leader"},
		"joining":                {func(w *apitest.Node) { w.Follow("hm-2", "hm-1", "x:1"); w.Joins = true }, "catching-up"},
		"behind the leader":      {func(w *apitest.Node) { w.Follow("hm-2", "hm-1", "x:1"); w.Peers[0].Info.AppliedIndex = 1000 }, "catching-up"},
		"leader not heard yet":   {func(w *apitest.Node) { w.Follow("hm-2", "hm-3", "x:1") }, "catching-up"},
		"elected, and replaying": {func(w *apitest.Node) { w.Lead = cluster.Leadership{LeaderID: "hm-1"}; w.Contact = time.Now() }, "catching-up"},
		"behind a node that has gone, and no leader": {func(w *apitest.Node) {
			w.Follow("hm-2", "", "")
			w.Peers[0].Info.AppliedIndex, w.Peers[0].Healthy = 1000, false
		}, "catching-up"},
	} {
		t.Run(name, func(t *testing.T) {
			w := apitest.Fleet()
			c.prepare(w)
			s, err := api.Open(w.Options())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			link := &answerLink{fns: map[string]func(bus.Msg){}, answers: make(chan string, 2)}
			q, err := api.ServeQueries(link, s)
			if err != nil {
				t.Fatal(err)
			}
			defer q.Close()
			link.fns["app.state"](bus.Msg{Subject: "app.state", Reply: "r", Data: one(apitest.Crashy)})
			link.fns["app.state.bulk"](bus.Msg{Subject: "app.state.bulk", Reply: "r", Data: []byte(asked(apitest.Crashy))})
			base := "http://" + s.Addr()
			_, posted := ask(t, "POST", base+"/bulk_app_state", asked(apitest.Crashy))
			for _, answer := range []string{<-link.answers, <-link.answers, string(posted)} {
				if (answer == "{}") != (c.why != "") {
					t.Errorf("answered %.80s, want {}: %v", answer, c.why != "")
				}
			}
			_, metrics := ask(t, "GET", base+"/metrics", "")
			for _, why := range []string{"actual-stale", "unrecorded", "no-leader", "catching-up"} {
				want := `hm_app_state_not_fresh_total{reason="` + why + `"} 0`
				if why == c.why {
					want = strings.TrimSuffix(want, "0") + "3"
				}
				if !strings.Contains(string(metrics), want+"\n") {
					t.Errorf("the metrics lack %s", want)
				}
			}
		})
	}
}
