package cluster

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// strangers are clients that are no members: some have no certificate, some one of another authority, and some one that
// the cluster's own authority has signed for something else.
type strangers struct {
	t                    testing.TB
	target               string
	bare, foreign, alike *tls.Config
	stop                 chan struct{}
	opened               atomic.Int64
}

func newStrangers(t testing.TB, ca *authority, member TLS, target string) *strangers {
	s := &strangers{t: t, target: target, stop: make(chan struct{})}
	trust, err := member.load(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	config := func(files ...TLS) *tls.Config {
		c := &tls.Config{RootCAs: trust.Config().RootCAs, ServerName: "127.0.0.1"}
		for _, f := range files {
			pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
			if err != nil {
				t.Fatal(err)
			}
			c.Certificates = append(c.Certificates, pair)
		}
		return c
	}
	s.bare, s.foreign, s.alike = config(), config(newAuthority(t).issue("hm-0", "hm-0")), config(ca.issue("router", "router.internal"))
	return s
}

// payloads are what a stranger with a certificate sends. Each is a kind of connection and what follows.
var payloads = map[string][]byte{
	"a member's message, played again": append([]byte{carriesStatus}, frame(`{"from":"hm-1","state":"leader","term":9000}`)...),
	"a message of nobody":              append([]byte{carriesStatus}, frame(`{"from":"router","state":"leader","term":9000}`)...),
	"the head of a message":            {carriesStatus, 'h', 'm', frameVersion, 0, 0, 0, 0x10, 0},
	"a huge message":                   {carriesStatus, 'h', 'm', frameVersion, 0, 0xff, 0xff, 0xff, 0xff},
	"another version of messages":      append([]byte{carriesStatus, 'h', 'm', 200, 0, 0, 0, 0, 2}, "{}"...),
	"an append in a member's name":     append([]byte{carriesRaft, 0}, "\x83\xa2ID\xa4hm-1\xafProtocolVersion\x03\xa4Term\xcd\x23\x28"...),
	"a vote in a member's name":        append([]byte{carriesRaft, 1}, "\x83\xa2ID\xa4hm-1\xafProtocolVersion\x03\xa4Term\xcd\x23\x28"...),
	"an array of 4 billion entries":    append([]byte{carriesRaft, 0, 0x81, 0xa7}, "Entries\xdd\xff\xff\xff\xff"...),
	"a map of 4 billion fields":        {carriesRaft, 0, 0xdf, 0xff, 0xff, 0xff, 0xff},
	"100 MB of bytes":                  append([]byte{carriesRaft, 0, 0x81, 0xa7}, "Entries\xc6\x06\x40\x00\x00"...),
	"a snapshot without end":           append([]byte{carriesRaft, requestSnapshot, 0x81, 0xa4}, "Size\xd3\x7f\xff\xff\xff\xff\xff\xff\xff"...),
	"lists in lists":                   append([]byte{carriesRaft, 0, 0x81, 0xa7}, append([]byte("Entries"), bytes.Repeat([]byte{0x91}, 1<<16)...)...),
	"half a request":                   append([]byte{carriesRaft, 0, 0x82, 0xa2}, "ID"...),
	"a forwarded write":                append([]byte{carriesWrites}, "POST /v1/holds HTTP/1.1\r\nHost: x\r\nX-Hm-Forwarded-By: hm-1\r\n\r\n"...),
	"a question for events":            append([]byte{carriesHistory}, binary.BigEndian.AppendUint32(nil, 1<<31)...),
	"a relayed heartbeat":              append([]byte{carriesRelays, 2}, bytes.Repeat([]byte{0xff}, 20)...),
	"no kind of connection":            {77},
}

// visit opens one connection and does something with it.
func (s *strangers) visit(r *rand.Rand) {
	// From addresses that are no member's: members have places of their own.
	from := net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+r.IntN(6)))}}
	conn, err := from.Dial("tcp", s.target)
	if err != nil {
		return
	}
	defer conn.Close()
	s.opened.Add(1)
	_ = conn.SetDeadline(time.Now().Add(300 * time.Millisecond))
	secure := func(c *tls.Config) *tls.Conn {
		tc := tls.Client(conn, c)
		_ = tc.Handshake()
		return tc
	}
	switch r.IntN(8) {
	case 0: // says nothing
	case 1:
		_, _ = conn.Write([]byte{carriesRaft})
	case 2:
		_, _ = conn.Write(bytes.Repeat([]byte("x"), 64<<10))
	case 3: // half of a handshake
		_, _ = conn.Write([]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00})
	case 4:
		_, _ = secure(s.bare).Write([]byte{carriesStatus})
	case 5:
		_, _ = secure(s.foreign).Write([]byte{carriesStatus})
	default:
		_ = conn.SetDeadline(time.Now().Add(3 * time.Second)) // it waits for its turn
		tc := secure(s.alike)
		for _, p := range payloads { // one, at random
			_, _ = tc.Write(p)
			if r.IntN(2) == 0 {
				_, _ = tc.Write(make([]byte, 128<<10)) // and reads no answer
			}
			break
		}
	}
	if r.IntN(2) == 0 {
		_, _ = io.Copy(io.Discard, conn) // until the node closes it, or the deadline
	}
}

// flood keeps several strangers visiting until the returned function is called.
func (s *strangers) flood(clients int) (end func()) {
	var visiting sync.WaitGroup
	for i := range clients {
		visiting.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 7))
			for {
				select {
				case <-s.stop:
					return
				default:
					s.visit(r)
				}
			}
		})
	}
	return func() { close(s.stop); visiting.Wait() }
}

// TestLeaderUnderAFloodOfStrangers: strangers do their worst on the port of the leader, and of a follower. The leader goes
// on to lead and to record; connections, goroutines and memory stay bounded, and go back when the strangers have gone.
func TestLeaderUnderAFloodOfStrangers(t *testing.T) {
	ca := newAuthority(t)
	c := startCluster(t, 3, func(_ int, o *Options) {
		o.TLS = ca.issue(o.ID, o.ID)
		// A stall of the machine must not look like the strangers' work.
		o.HeartbeatTimeout, o.ElectionTimeout, o.LeaseTimeout = 8*time.Second, 8*time.Second, 8*time.Second
	})
	lead := c.leader()
	follower := c.nodes[(c.index(lead)+1)%3]
	proposed := 0
	propose := func() { c.propose(dea(proposed)); proposed++ }
	propose()
	c.converged()
	began, base := lead.Leadership(), runtime.NumGoroutine()

	one, two := newStrangers(t, ca, c.opts[0].TLS, lead.opts.Listen), newStrangers(t, ca, c.opts[0].TLS, follower.opts.Listen)
	const clients = 24
	endOne, endTwo := one.flood(clients), two.flood(clients/2)
	unsaid, others, goroutines, held, slowest := 0, 0, 0, 0, time.Duration(0)
	for one.opened.Load()+two.opened.Load() < 600 || lead.Stats().BadMessages < 10 {
		at := time.Now()
		propose()
		slowest = max(slowest, time.Since(at))
		s := lead.Stats()
		unsaid, others, goroutines = max(unsaid, s.Unsaid), max(others, s.OfOthers), max(goroutines, runtime.NumGoroutine())
		lead.port.mu.Lock()
		for _, bytes := range lead.port.held {
			held = max(held, bytes)
		}
		lead.port.mu.Unlock()
		if err := lead.VerifyLease(bounded(t)); err != nil {
			t.Fatalf("the lease is lost: %v", err)
		}
	}
	endOne()
	endTwo()
	s := lead.Stats()
	t.Logf("%d connections of strangers, %d entries meanwhile, the slowest in %s; at most %d unsaid, %d of others, %d bytes held, %d goroutines more; %d connections and %d messages refused",
		one.opened.Load()+two.opened.Load(), proposed, slowest, unsaid, others, held, goroutines-base, s.Refused, s.BadMessages)
	if unsaid > maxStrangers+maxStrangersFrom || others > maxOthers || held > maxMemory {
		t.Error("a limit was exceeded")
	}
	// Each client has one goroutine here; each connection has two on each of the two nodes, while it is handed over.
	if most := base + 2*clients + 4*(maxStrangers+maxOthers); goroutines > most {
		t.Errorf("there were %d goroutines, at most %d are allowed", goroutines, most)
	}
	if s.Refused == 0 || s.BadMessages == 0 {
		t.Error("nothing was counted as refused")
	}
	if now := lead.Leadership(); !now.Leader || now.Term != began.Term {
		t.Errorf("the leadership was %+v and is %+v", began, now)
	}
	propose()
	wantDEAs(t, c.converged(), 0, proposed)
	if n := c.converged().Counts().DEAs; n != proposed {
		t.Errorf("%d DEAs are recorded, want %d: a stranger has changed the record", n, proposed)
	}
	eventually(t, "the strangers' connections and goroutines have gone", func() bool {
		s := lead.Stats()
		return s.Unsaid == 0 && s.OfOthers == 0 && runtime.NumGoroutine() <= base+20
	})
}

// TestCertificateOfNoMember: what carries no sender of its own, as a forwarded write, is taken only over a certificate
// that names a member. The authority may have signed one for something else.
func TestCertificateOfNoMember(t *testing.T) {
	ca := newAuthority(t)
	c := startCluster(t, 3, func(_ int, o *Options) { o.TLS = ca.issue(o.ID, o.ID) })
	n := c.nodes[1]
	l := n.Writes()
	accepted := make(chan net.Conn)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	})
	defer func() { _ = l.Close(); accepting.Wait() }()
	router := ca.issue("router", "router.internal")
	for _, tt := range []struct {
		name string
		tls  TLS
		kind byte
		want bool
	}{
		{"a member's write", c.opts[0].TLS, carriesWrites, true},
		{"a stranger's write", router, carriesWrites, false},
		{"a stranger's question for events", router, carriesHistory, false},
		{"a stranger's heartbeat", router, carriesRelays, false},
	} {
		before := n.Stats().Refused
		conn := dialAs(t, ca, tt.tls, n.opts.Listen)
		_, _ = conn.Write([]byte{tt.kind}) // on a busy machine the node may have given up on it: then it is refused, too
		if tt.want {
			select {
			case in := <-accepted:
				_ = in.Close()
			case <-time.After(patience):
				t.Errorf("%s is not taken", tt.name)
			}
			continue
		}
		eventually(t, tt.name+" is refused", func() bool {
			select {
			case in := <-accepted:
				t.Errorf("%s is taken", tt.name)
				_ = in.Close()
				return true
			default:
			}
			return n.Stats().Refused > before
		})
	}
}
