package cluster

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A node that gets a message of another version reports that to the peer, in a frame of its own version, and in its
// log.
func TestMessageOfAnotherVersion(t *testing.T) {
	var lines logLines
	c := startCluster(t, 3, func(_ int, o *Options) { o.Logger = lines.logger() })
	conn, err := net.Dial("tcp", c.opts[0].Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	newer := frame(`{"from":"hm-1","speaks":"otherwise"}`)
	newer[2] = frameVersion + 1
	if _, err := conn.Write(append([]byte{carriesStatus}, newer...)); err != nil {
		t.Fatal(err)
	}
	r, err := readReply(conn)
	if err != nil || !strings.Contains(r.Refused, "uses version 2") || !strings.Contains(r.Refused, "this node uses version 1") {
		t.Errorf("the reply is %+v, %v, want one that names both versions", r, err)
	}
	eventually(t, "it is logged", func() bool { return lines.count("uses version 2") > 0 })
	c.propose(dea(1))
}

// A node whose peer replies in another version logs that, does not try again at once, and works with the other nodes.
func TestPeerOfAnotherVersion(t *testing.T) {
	var lines logLines
	var dials atomic.Int64
	c := newCluster(t, 3, func(_ int, o *Options) { o.Logger = lines.logger() })
	other := c.opts[2].listener
	began := time.Now()
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	wg.Go(func() {
		for {
			conn, err := other.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience))
				kind := []byte{0}
				if _, err := conn.Read(kind); err != nil || kind[0] != carriesStatus {
					return
				}
				dials.Add(1)
				if _, err := readMessage(conn); err == nil {
					newer := frame(`{"verdict":"otherwise"}`)
					newer[2] = frameVersion + 1
					_, _ = conn.Write(newer)
				}
			})
		}
	})
	t.Cleanup(func() { _ = other.Close() })
	c.start(0)
	c.start(1)
	eventually(t, "the others log it", func() bool {
		c.propose(dea(1))
		_ = c.leader().VerifyLease(bounded(t)) // asks the peer whenever it can
		return lines.count("uses version 2") >= 2 && dials.Load() >= 6
	})
	// Each of the two waits at least half of maxBackoff between two dials.
	if most := 2 + 2*int64(time.Since(began)/(maxBackoff/2)); dials.Load() > most {
		t.Errorf("the peer was dialled %d times in %s, at most %d are allowed", dials.Load(), time.Since(began), most)
	}
	if got := lines.count("uses version 2"); got > 2*sampleBurst*(1+int(time.Since(began)/sampleWindow)) {
		t.Errorf("it is logged %d times in %s", got, time.Since(began))
	}
	_ = c.opts[2].listener.Close()
}
