package cluster

import (
	"bytes"
	"context"
	"testing"
	"time"
)

func TestLeaseQuestion(t *testing.T) {
	type answer struct {
		from string
		reply
	}
	yes, no, later := reply{Follows: true, Term: 7}, reply{Term: 7}, reply{Term: 8}
	for _, tt := range []struct {
		name    string
		answers []answer
		closed  bool
		missing int
	}{
		{"nobody answered", nil, false, 2},
		{"one of two that are needed", []answer{{"b", yes}}, false, 1},
		{"the same one twice", []answer{{"b", yes}, {"b", yes}}, false, 1},
		{"enough", []answer{{"b", yes}, {"c", yes}}, true, 0},
		{"more than enough", []answer{{"b", yes}, {"c", yes}, {"d", yes}, {"e", later}}, true, 0},
		{"one does not follow", []answer{{"b", no}, {"c", yes}}, false, 1},
		{"one that says no and then yes", []answer{{"b", no}, {"b", yes}, {"c", yes}}, true, 0},
		{"a later term", []answer{{"b", yes}, {"c", later}}, true, 1},
		{"followed in an earlier term", []answer{{"b", reply{Follows: true, Term: 6}}, {"c", reply{Follows: true, Term: 6}}}, false, 2},
		{"no voters", []answer{{"x", yes}, {"y", yes}, {"z", later}}, false, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := &leaseQuestion{term: 7, voters: map[string]bool{"b": true, "c": true, "d": true, "e": true}, missing: 2, done: make(chan struct{})}
			for _, a := range tt.answers {
				q.answer(a.from, a.reply)
			}
			if q.closed != tt.closed || q.missing != tt.missing {
				t.Errorf("closed %v, %d missing, want %v, %d", q.closed, q.missing, tt.closed, tt.missing)
			}
			select {
			case <-q.done:
				if !tt.closed {
					t.Error("the caller is notified too early")
				}
			default:
				if tt.closed {
					t.Error("the caller is not notified")
				}
			}
		})
	}
}

func TestReplySaysWhetherANodeFollows(t *testing.T) {
	c := startCluster(t, 3, nil)
	eventually(t, "the followers reply so, and only to the right message", func() bool {
		leader := c.leader()
		term := leader.Leadership().Term
		for _, n := range c.nodes {
			if n == leader {
				continue
			}
			if n.peerStatus.reply(message{From: leader.opts.ID, Term: term}) != (reply{Follows: true, Term: term, From: n.opts.ID}) {
				return false
			}
			for _, m := range []message{{From: leader.opts.ID, Term: term - 1}, {From: leader.opts.ID, Term: term + 1}, {From: "hm-9", Term: term}} {
				if r := n.peerStatus.reply(m); r.Follows {
					t.Fatalf("%s replies %+v to %+v while %s leads in term %d", n.opts.ID, r, m, leader.opts.ID, term)
				}
			}
			n.join.active.Store(true) // it may have followed another node before it lost its disk
			r := n.peerStatus.reply(message{From: leader.opts.ID, Term: term})
			n.join.active.Store(false)
			if r.Follows {
				t.Fatalf("%s replies %+v while it is joining", n.opts.ID, r)
			}
		}
		return true
	})
}

// A reply to an earlier message does not answer the question, even if it arrives late.
func TestOldRepliesConfirmNothing(t *testing.T) {
	g := &peerStatus{rejectedBy: map[string]bool{}, leaseQuestions: map[*leaseQuestion]struct{}{}}
	before := g.openLeaseQuestions()
	q := &leaseQuestion{term: 7, voters: map[string]bool{"b": true}, missing: 1, done: make(chan struct{})}
	g.askLease(q)
	if err := g.takeReply("b", reply{Follows: true, Term: 7}, before, hearingPart{}); err != nil || q.missing != 1 {
		t.Errorf("a reply to a message that was sent before the question answered it (%v)", err)
	}
	if err := g.takeReply("b", reply{Follows: true, Term: 7}, g.openLeaseQuestions(), hearingPart{}); err != nil || q.missing != 0 {
		t.Errorf("a reply to a message that was sent after the question did not answer it (%v)", err)
	}
	g.withdrawLease(q)
	if len(g.openLeaseQuestions()) != 0 || len(g.leaseQuestions) != 0 {
		t.Error("a question that was withdrawn is still asked")
	}
	if err := g.takeReply("b", reply{Stranger: true}, nil, hearingPart{}); err == nil || !g.isRejected() {
		t.Error("a peer that does not know this node as a member goes unnoticed")
	}
}

func TestReplyRoundTrip(t *testing.T) {
	for _, r := range []reply{{}, {Stranger: true}, {Refused: "why", Stranger: true}, {Follows: true, Term: maxNumber}} {
		var b bytes.Buffer
		if err := writeReply(&b, r); err != nil {
			t.Fatal(err)
		}
		if got, err := readReply(&b); err != nil || got != r {
			t.Errorf("%+v reads as %+v, %v", r, got, err)
		}
	}
	for _, s := range []string{"", "\x06\x01", "HTTP/1.1 400", "\x06\x02\x00\x00\x00\x00\x00\x00\x00\x00", string(frame(`{"term":18446744073709551615}`)), string(frame(`[]`))} {
		if r, err := readReply(bytes.NewReader([]byte(s))); err == nil {
			t.Errorf("%q reads as %+v", s, r)
		}
	}
	if r, err := readReply(bytes.NewReader(frame(`{"term":7,"follows":true,"new":[1]}`))); err != nil || r != (reply{Follows: true, Term: 7}) {
		t.Errorf("a reply with a field of a newer peer reads as %+v, %v", r, err)
	}
}

// BenchmarkVerifyLease has no reference but the network: three nodes over loopback.
func BenchmarkVerifyLease(b *testing.B) {
	c := startCluster(b, 3, func(_ int, o *Options) {
		o.HeartbeatTimeout, o.ElectionTimeout, o.LeaseTimeout = time.Second, time.Second, 500*time.Millisecond
	})
	n := c.leader()
	for b.Loop() {
		if err := n.VerifyLease(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
