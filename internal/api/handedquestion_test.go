package api_test

import (
	"strings"
	"testing"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/bus"
)

// TestAQuestionIsHandedToAPeerThatKnows: a node that cannot rely on its record gives a question on healthmanager.* to a
// peer that can, and the peer answers it. A question is handed over once, and to nobody if no peer knows enough.
func TestAQuestionIsHandedToAPeerThatKnows(t *testing.T) {
	question := bus.Msg{Subject: "healthmanager.status", Reply: "r", Data: []byte(`{"droplet":"droplet-1","state":"CRASHED"}`)}
	start := func(prepare func(w *apitest.Node)) *answerLink {
		w := rubyFleet()
		prepare(w)
		s, err := api.Open(w.Options())
		if err != nil {
			t.Fatal(err)
		}
		link := &answerLink{fns: map[string]func(bus.Msg){}, answers: make(chan string, 9), handed: make(chan bus.Msg, 9)}
		q, err := api.ServeQueries(link, s)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			q.Close()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return link
	}
	// next waits until the node has come to what it was asked: app.state is always answered.
	next := func(l *answerLink) (answers []string, handed []bus.Msg) {
		l.fns["app.state"](bus.Msg{Subject: "app.state", Reply: "r"})
		for answer := range l.answers {
			if answer == "{}" {
				break
			}
			answers = append(answers, answer)
		}
		for len(l.handed) > 0 {
			handed = append(handed, <-l.handed)
		}
		return answers, handed
	}
	peerAnswers := func(w *apitest.Node) { w.Peers[1].Info.Answers = true }

	knows := start(func(w *apitest.Node) { w.Follow("hm-2", "hm-1", "x:1") })
	behind := start(func(w *apitest.Node) { w.Behind = true; peerAnswers(w) })
	behind.fns["healthmanager.status"](question)
	answers, handed := next(behind)
	if len(answers) != 0 || len(handed) != 1 || handed[0].Subject != "hm.hm-2.healthmanager.status" {
		t.Fatalf("a node that is behind answers %s and hands over %v", answers, handed)
	}
	knows.fns["hm.hm-2.healthmanager.*"](handed[0])
	if answers, handed := next(knows); len(answers) != 1 || !strings.Contains(answers[0], `"instance":"i-2"`) || len(handed) != 0 {
		t.Errorf("the peer answers %s and hands over %v", answers, handed)
	}
	for _, subject := range []string{"hm.hm-2.healthmanager.other", "hm.hm-2.app.state"} {
		m := handed[0]
		m.Subject = subject
		knows.fns["hm.hm-2.healthmanager.*"](m)
	}
	if answers, handed := next(knows); len(answers)+len(handed) != 0 {
		t.Errorf("on other subjects the peer answers %s and hands over %v", answers, handed)
	}

	behind.fns["hm.hm-1.healthmanager.*"](bus.Msg{Subject: "hm.hm-1.healthmanager.status", Reply: "r", Data: question.Data})
	if answers, handed := next(behind); len(answers)+len(handed) != 0 {
		t.Errorf("a question that was handed over is answered with %s, or handed over again: %v", answers, handed)
	}
	alone := start(func(w *apitest.Node) { w.Behind = true })
	alone.fns["healthmanager.status"](question)
	if answers, handed := next(alone); len(answers)+len(handed) != 0 {
		t.Errorf("without a peer that knows, a node answers %s and hands over %v", answers, handed)
	}
}
