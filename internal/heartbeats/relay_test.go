package heartbeats

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"hm/internal/bus/bustest"
	"hm/internal/tcpproxy"
)

// generous is more than a heartbeat ever takes between two nodes of a test.
const generous = 20 * time.Second

// TestPeersHearWhatIsPosted: the DEA is answered when every peer has its heartbeat; a repeated one costs a few bytes.
func TestPeersHearWhatIsPosted(t *testing.T) {
	one, two := servePeer(t, generous), servePeer(t, generous)
	r := relayTo(t, generous, one, two)
	s := serve(t, func(o *Options) { o.Relay = r })
	c := s.client(t)
	body := beat("dea-1", 100)
	var sent [3]uint64
	for n := range sent {
		before := r.Stats().Bytes
		if got := s.post(t, c, body); got != http.StatusAccepted {
			t.Fatalf("answered %d", got)
		}
		sent[n] = r.Stats().Bytes - before
		for _, p := range []*peerNode{one, two} {
			if taken, repeats := p.sink.all(); len(taken) != 1 || taken[0] != "dea-1/100" || repeats != n {
				t.Errorf("after %d heartbeats a peer has taken %v, and heard %d repeats", n+1, taken, repeats)
			}
		}
	}
	const digest = requestHeaderLen + 16
	if want := uint64(2 * (2*requestHeaderLen + 16 + len(body))); sent[0] != want || sent[1] != 2*digest || sent[2] != 2*digest {
		t.Errorf("%v bytes were sent, want %d, then %d", sent, want, 2*digest)
	}
	if st := r.Stats(); st.Told != 6 || st.Late+st.Unreached+st.Refused != 0 {
		t.Errorf("counted: %+v", st)
	}
	if c := one.relays.Counts(); c.Received != 3 || c.Unchanged != 2 {
		t.Errorf("a peer has counted %+v", c)
	}

	if got := s.post(t, c, beat("dea-2", 2)[:150]); got != http.StatusBadRequest {
		t.Errorf("a heartbeat that is cut off was answered %d", got)
	}
	if got := s.post(t, c, []byte(`{"dea":"dea-3","droplets":7}`)); got != http.StatusBadRequest {
		t.Errorf("a heartbeat without a list was answered %d", got)
	}
	if st := r.Stats(); st.Refused != 2 || !slices.Equal(one.sink.garbled, []string{"dea-3"}) {
		t.Errorf("counted: %+v; the peer knows that these DEAs cannot be read: %v", st, one.sink.garbled)
	}
}

// TestARecordingPeerGetsBodies: a peer that records what it hears gets each body.
func TestARecordingPeerGetsBodies(t *testing.T) {
	p := servePeer(t, generous)
	p.bodies.Store(true)
	r := relayTo(t, generous, p)
	for range 3 {
		r.Tell(beat("dea-1", 10))
	}
	if c := p.relays.Counts(); c.Bytes != uint64(3*len(beat("dea-1", 10))) || c.Unchanged != 2 {
		t.Errorf("counted: %+v", c)
	}
}

// TestALateRelayIsDropped: a DEA posts to one node and then to another, while the first one's way to a peer is slow. The
// first heartbeat never reaches the peer after the second one, however long it lies in a buffer.
func TestALateRelayIsDropped(t *testing.T) {
	const wait = 200 * time.Millisecond
	peer := servePeer(t, wait)
	slow := relayTo(t, wait, peer)
	fast := relayTo(t, generous, &peerNode{node: peer.node, proxy: startProxy(t, peer.listener.Addr().String())})
	for round := range 10 {
		peer.proxy.Set(tcpproxy.HoldToTarget)
		began := time.Now()
		slow.Tell(beat("dea-1", round)) // its answer is late
		if took := time.Since(began); took > wait/2 && took < wait {
			t.Errorf("the DEA was answered after %s, although the peer may still take its heartbeat", took)
		}
		fast.Tell(beat("dea-1", 100+round))
		peer.proxy.Set(tcpproxy.Pass)
		bustest.Until(t, "the slow relay works again", func() bool {
			before := slow.Stats().Told
			slow.Tell(beat("other", 1))
			return slow.Stats().Told > before
		})
	}
	taken, _ := peer.sink.all()
	before := 0
	for _, text := range taken {
		var n int
		if _, err := fmt.Sscanf(text, "dea-1/%d", &n); err != nil {
			continue
		}
		if n < 100 && before >= 100+n {
			t.Errorf("heartbeat %d was taken after %d: %v", n, before, taken)
		}
		before = n
	}
	if st := slow.Stats(); st.Late == 0 {
		t.Errorf("nothing was late: %+v", st)
	}
	if st := fast.Stats(); st.Told != 10 {
		t.Errorf("the fast relay has counted %+v", st)
	}
}

// TestAPeerThatIsAway: an answer waits neither for a peer that is not connected, nor again and again for one that has
// ceased to answer.
func TestAPeerThatIsAway(t *testing.T) {
	const wait = 500 * time.Millisecond
	here, away := servePeer(t, wait), servePeer(t, wait)
	r := relayTo(t, wait, here, away)
	away.proxy.Set(tcpproxy.Hold)
	bustest.Until(t, "the silent peer counts as away", func() bool {
		before := r.Stats().Unreached
		r.Tell(beat("dea-1", 1))
		return r.Stats().Unreached > before
	})
	away.proxy.Set(tcpproxy.Refuse)
	bustest.Until(t, "the connection has ended", func() bool { return r.Connected() == 1 })
	before := r.Stats()
	for n := range 100 {
		r.Tell(beat("dea-1", n))
	}
	if st := r.Stats(); st.Told != before.Told+100 || st.Unreached != before.Unreached+100 || st.Late != before.Late {
		t.Errorf("before %+v, after %+v", before, st)
	}
	away.proxy.Set(tcpproxy.Pass)
	bustest.Until(t, "the peer is connected again", func() bool { return r.Connected() == 2 })
	r.Tell(beat("dea-2", 7))
	bustest.Until(t, "the peer hears the DEA", func() bool {
		taken, _ := away.sink.all()
		return slices.Contains(taken, "dea-2/7")
	})
}

// TestCloseEndsTells: a Relay that is closed keeps no answer waiting.
func TestCloseEndsTells(t *testing.T) {
	p := servePeer(t, generous)
	r := relayTo(t, generous, p)
	p.proxy.Set(tcpproxy.HoldToTarget)
	done := make(chan struct{})
	go func() { defer close(done); r.Tell(beat("dea-1", 1)) }()
	bustest.Until(t, "the heartbeat waits", func() bool {
		s := (*r.peers.Load())[0].session.Load()
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.open) == 1
	})
	r.Close()
	<-done
	r.Tell(beat("dea-1", 2))
	if st := r.Stats(); st.Late != 1 || st.Unreached != 1 {
		t.Errorf("counted: %+v", st)
	}
}

// TestWhatWaitsIsBounded: a peer that takes nothing costs so much memory at most.
func TestWhatWaitsIsBounded(t *testing.T) {
	s := newSession(nil, [32]byte{}, time.Second, &relayStats{})
	now := time.Now()
	s.take(reply{kind: saysClock, clock: 1}, now)
	answered := make(chan byte, 2*maxQueued)
	small, large := beat("dea-1", 0), make([]byte, 8<<20)
	queued := 0
	for range 2 * maxQueued {
		if s.tell(small, now, time.Second, answered) != nil {
			queued++
		}
	}
	if queued != maxQueued {
		t.Errorf("%d heartbeats wait", queued)
	}
	for _, told := range s.queue {
		s.forget(told)
	}
	if s.bytes != 0 || len(s.open) != 0 {
		t.Errorf("%d bytes of %d heartbeats are still counted", s.bytes, len(s.open))
	}
	if s.tell(small, now, time.Second, answered) != nil || s.queue[0].body != nil {
		t.Error("heartbeats that nobody waits for any more, and that have not been written, fill the memory")
	}
	s.queue = nil // the writer has taken them
	for queued = 0; s.tell(large, now, time.Second, answered) != nil; queued++ {
	}
	if queued != maxQueuedBytes/len(large) {
		t.Errorf("%d large heartbeats wait", queued)
	}
	if s.tell(small, now.Add(2*time.Second), time.Second, answered) != nil {
		t.Error("a heartbeat is told to a peer that has said nothing for too long")
	}
	s.end()
	if s.tell(small, now, time.Second, answered) != nil {
		t.Error("a heartbeat is told over a connection that has ended")
	}
	for range queued {
		if kind := <-answered; kind != saysLate {
			t.Errorf("answered %d", kind)
		}
	}
}

// TestABodyAfterItsDeadlineIsDropped: what lay in a buffer until its deadline was over is not taken.
func TestABodyAfterItsDeadlineIsDropped(t *testing.T) {
	n := newNode(t)
	taker := Taker{Posts: n.relays, Wait: generous}
	body := beat("dea-1", 2)
	for _, c := range []struct {
		deadline int64
		want     byte
	}{{99, saysLate}, {100, saysTaken}} { // it arrives at 100
		if got := taker.answer(request{kind: asksBody, number: 1, deadline: c.deadline, payload: body}, 100); got != c.want {
			t.Errorf("deadline %d: answered %d, want %d", c.deadline, got, c.want)
		}
		taken, _ := n.sink.all()
		if is := len(taken) == 1; is != (c.want == saysTaken) {
			t.Errorf("deadline %d: taken %v", c.deadline, taken)
		}
	}
}
