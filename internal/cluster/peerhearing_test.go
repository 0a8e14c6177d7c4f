package cluster

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// askPeers asks and waits until no further answer is expected.
func askPeers(t *testing.T, n *Node, deas []string) map[string]PeerHearing {
	t.Helper()
	n.AskPeers(deas)
	var answers []PeerHearing
	eventually(t, "every peer has answered", func() bool {
		var all bool
		answers, all = n.PeerAnswers()
		return all
	})
	of := map[string]PeerHearing{}
	for _, a := range answers {
		of[a.ID] = a
	}
	return of
}

func TestPeersAnswerAboutDEAs(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader := c.leader()
	var peers []*Node
	for _, n := range c.nodes {
		if n != leader {
			peers = append(peers, n)
		}
	}
	eventually(t, "the peers are healthy", func() bool {
		return member(leader, peers[0].opts.ID).Healthy && member(leader, peers[1].opts.ID).Healthy
	})
	if answers, all := leader.PeerAnswers(); len(answers) != 0 || !all {
		t.Errorf("before any question the answers are %+v, all: %v", answers, all)
	}
	peers[0].AnswerPeers(func(deas []string) ([]time.Duration, bool) {
		ago := make([]time.Duration, len(deas))
		for i, dea := range deas {
			if ago[i] = -1; strings.HasSuffix(dea, "7") {
				ago[i] = 7 * time.Second
			}
		}
		return ago, true
	})
	deas := make([]string, 3*maxAsked) // more than goes into one message, and of any length
	for i := range deas {
		deas[i] = fmt.Sprintf("<dea>%s-%d", strings.Repeat(`"\`, i%100), i)
	}
	answers := askPeers(t, leader, deas)
	if a := answers[peers[1].opts.ID]; a.Counts || len(a.Ago) != len(deas) || a.Ago[7] >= 0 {
		t.Errorf("a peer without a HearingFunc answers %v %.3v", a.Counts, a.Ago)
	}
	a := answers[peers[0].opts.ID]
	if !a.Counts || len(a.Ago) != len(deas) {
		t.Fatalf("the other peer's answer counts: %v, it is for %d DEAs", a.Counts, len(a.Ago))
	}
	for i, ago := range a.Ago {
		if want := i%10 == 7; want && ago != 7*time.Second || !want && ago >= 0 {
			t.Fatalf("for %q the answer is %v", deas[i], ago)
		}
	}
	if got := askPeers(t, leader, nil); len(got) != 0 {
		t.Errorf("a question about no DEA has %d answers", len(got))
	}

	c.close(slices.Index(c.nodes, peers[1]))
	eventually(t, "one peer is gone", func() bool { return !member(leader, peers[1].opts.ID).Healthy })
	if answers := askPeers(t, leader, deas[:5]); len(answers) != 1 || len(answers[peers[0].opts.ID].Ago) != 5 {
		t.Errorf("with one peer gone the answers are %+v", answers)
	}
}

// TestUnusualAnswersAboutDEAs: a peer of an older version gives no answer that counts, and invalid answers are refused.
func TestUnusualAnswersAboutDEAs(t *testing.T) {
	q := &hearingQuestion{deas: []string{"a", "b"}, of: map[string]*PeerHearing{"old": {ID: "old"}, "bad": {ID: "bad"}}}
	ps := &peerStatus{hearing: q, senders: map[string]*peerSender{}, latest: map[string]peerMessage{"old": {at: time.Now()}, "bad": {at: time.Now()}}}
	n := &Node{peerStatus: ps}
	part := ps.nextHearingPart("old")
	if want := [][]byte{[]byte("a"), []byte("b")}; !reflect.DeepEqual(part.deas, want) {
		t.Fatalf("the peer is asked about %q", part.deas)
	}
	if err := ps.takeHearing("old", part, nil); err != nil || q.of["old"].Counts {
		t.Errorf("an older peer's reply: %v, counts: %v", err, q.of["old"].Counts)
	}
	if err := ps.takeHearing("bad", ps.nextHearingPart("bad"), &hearingReply{Counts: true, Ago: []int64{1}}); err == nil {
		t.Error("an answer for one of two DEAs is accepted")
	}
	if answers, all := n.PeerAnswers(); all || len(answers) != 1 || answers[0].Counts {
		t.Errorf("the answers are %+v, all: %v", answers, all)
	}
	ps.latest["bad"] = peerMessage{at: time.Now().Add(-2 * staleAfter)}
	if answers, all := n.PeerAnswers(); !all || len(answers) != 1 {
		t.Errorf("after a second without a message: the answers are %+v, all: %v", answers, all)
	}
	stale := ps.nextHearingPart("bad")
	ps.hearing = &hearingQuestion{deas: []string{"c"}, of: map[string]*PeerHearing{"bad": {ID: "bad"}}}
	if err := ps.takeHearing("bad", stale, &hearingReply{Counts: true, Ago: []int64{1, 1}}); err != nil || len(ps.hearing.of["bad"].Ago) != 0 {
		t.Errorf("the answer to an earlier question: %v, %+v", err, ps.hearing.of["bad"])
	}
	if part := ps.nextHearingPart("a stranger"); part.q != nil {
		t.Errorf("a stranger is asked %+v", part)
	}

	long := make([]string, maxAsked+1)
	for i := range long {
		long[i] = `"YQ=="`
	}
	for _, c := range []struct{ name, body, want string }{
		{"an empty id", `{"from":"a","state":"leader","silent":[""]}`, "not a valid DEA id"},
		{"an id of other bytes", `{"from":"a","state":"leader","silent":["AA=="]}`, "not a valid DEA id"},
		{"no base64", `{"from":"a","state":"leader","silent":["%"]}`, "a peer's message"},
		{"too many", `{"from":"a","state":"leader","silent":[` + strings.Join(long, ",") + `]}`, "at most 1024"},
		{"a count out of range", `{"from":"a","state":"leader","info":{"hears":-1}}`, "it must be between"},
	} {
		if _, err := readMessage(bytes.NewReader(frame(c.body))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want one that says %q", c.name, err, c.want)
		}
	}
	for _, body := range []string{`{"ears":{"ago":[-2]}}`, `{"ears":{"ago":[2147483648]}}`, `{"ears":{"ago":[` + strings.Repeat("1,", maxAsked) + `1]}}`} {
		if _, err := readReply(bytes.NewReader(frame(body))); err == nil {
			t.Errorf("the reply %.40s is accepted", body)
		}
	}
}
