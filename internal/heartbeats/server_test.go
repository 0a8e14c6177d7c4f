package heartbeats

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"hm/actual/feed"
	"hm/internal/bus/bustest"
	"hm/internal/tlsfiles/tlstest"
)

// TestAnswers: the endpoint answers as HM9000's does (N05), whatever it gets. Bodies without a length come in chunks.
func TestAnswers(t *testing.T) {
	s := serve(t, nil)
	huge := bytes.Repeat([]byte(" "), feed.MaxHeartbeat+1)
	for name, c := range map[string]struct {
		method, path string
		body         []byte
		chunked      bool
		want         int
		counted      Reason
	}{
		"a heartbeat":           {body: beat("dea-1", 3), want: 202, counted: reasons},
		"a large heartbeat":     {body: beat("dea-2", 4000), want: 202, counted: reasons},
		"a heartbeat in chunks": {body: beat("dea-3", 700), chunked: true, want: 202, counted: reasons},
		"an empty list":         {body: beat("dea-4", 0), want: 202, counted: reasons},
		"empty":                 {want: 400, counted: RefusedUnreadable},
		"no JSON":               {body: []byte("\x00\xff"), want: 400, counted: RefusedUnreadable},
		"no heartbeat":          {body: []byte("{}"), want: 400, counted: RefusedUnreadable},
		"cut off":               {body: beat("dea-5", 3)[:200], want: 400, counted: RefusedUnreadable},
		"too deep":              {body: bytes.Repeat([]byte("["), 1<<16), want: 400, counted: RefusedUnreadable},
		"too large":             {body: huge, want: 400, counted: RefusedTooLarge},
		"too large, in chunks":  {body: huge, chunked: true, want: 400, counted: RefusedTooLarge},
		"another method":        {method: "GET", want: 405, counted: RefusedRequest},
		"PUT":                   {method: "PUT", body: beat("dea-1", 3), want: 405, counted: RefusedRequest},
		"another path":          {path: "/", body: beat("dea-1", 3), want: 404, counted: RefusedRequest},
		"a path below":          {path: Path + "/x", body: beat("dea-1", 3), want: 404, counted: RefusedRequest},
	} {
		t.Run(name, func(t *testing.T) {
			before := map[Reason]uint64{}
			for _, r := range Reasons() {
				before[r] = s.Refused(r)
			}
			url := s.url()
			if c.path != "" {
				url = strings.TrimSuffix(url, Path) + c.path
			}
			if c.method == "" {
				c.method = http.MethodPost
			}
			var body io.Reader = bytes.NewReader(c.body)
			if c.chunked {
				body = io.MultiReader(body)
			}
			req, err := http.NewRequest(c.method, url, body)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := s.client(t).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			rest, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.want || len(rest) > 0 {
				t.Errorf("answered %d %q, want %d and nothing else", resp.StatusCode, rest, c.want)
			}
			for _, r := range Reasons() {
				want := before[r]
				if r == c.counted {
					want++
				}
				if got := s.Refused(r); got != want {
					t.Errorf("%s is counted %d times, want %d", r, got, want)
				}
			}
		})
	}
	if used := s.memory.used.Load(); used != 0 {
		t.Errorf("%d bytes of memory are still counted", used)
	}
	if counts := s.node.posts.Counts(); counts.Decoded != 4 || counts.Malformed+counts.TooLarge != 5 {
		t.Errorf("the feed has counted %+v", counts)
	}
}

// TestStrangersAreRefused: a client without a valid certificate, one that is slow and one that sends something else are
// refused, counted and logged; a DEA is answered all the while.
func TestStrangersAreRefused(t *testing.T) {
	s := serve(t, nil)
	other := tlstest.New(t)
	good, goodKey := s.ca.Issue("dea", nil)
	raw := func(send ...string) func(*testing.T) error { // sends over TLS and waits for the end
		return func(t *testing.T) error {
			conn, err := tls.Dial("tcp", s.Addr(), s.config(t, good, goodKey))
			if err != nil {
				return err
			}
			defer conn.Close()
			for _, text := range send {
				if _, err := io.WriteString(conn, text); err != nil {
					return err
				}
			}
			_, err = io.Copy(io.Discard, conn)
			return err
		}
	}
	plain := func(send string) func(*testing.T) error {
		return func(t *testing.T) error {
			conn, err := net.Dial("tcp", s.Addr())
			if err != nil {
				return err
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, send)
			_, err = io.Copy(io.Discard, conn)
			return err
		}
	}
	certified := func(a *tlstest.Authority, change func(*x509.Certificate)) func(*testing.T) error {
		return func(t *testing.T) error {
			c := s.config(t, "", "")
			if a != nil {
				cert, key := a.Issue("stranger", change)
				c = s.config(t, cert, key)
			}
			resp, err := clientWith(t, c).Post(s.url(), "application/json", bytes.NewReader(beat("dea-x", 1)))
			if err == nil {
				resp.Body.Close()
				t.Errorf("answered %d", resp.StatusCode)
			}
			return nil
		}
	}
	header := "POST " + Path + " HTTP/1.1\r\nHost: hm\r\n"
	dea := s.client(t)
	for name, c := range map[string]struct {
		try    func(*testing.T) error
		reason Reason
	}{
		"no certificate":           {certified(nil, nil), RefusedCertificate},
		"an expired certificate":   {certified(s.ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }), RefusedCertificate},
		"another authority":        {certified(other, nil), RefusedCertificate},
		"a server's certificate":   {certified(s.ca, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }), RefusedCertificate},
		"plain HTTP":               {plain(header + "\r\n"), RefusedHandshake},
		"random bytes":             {plain(strings.Repeat("\x16\x03\x01\xff", 1000)), RefusedHandshake},
		"nothing":                  {plain(""), RefusedHandshake},
		"a header without an end":  {raw(header), RefusedRequest},
		"a header that is too big": {raw(header, "X: "+strings.Repeat("x", 64<<10)+"\r\n\r\n"), RefusedRequest},
		"no HTTP":                  {raw("hello\r\n\r\n"), RefusedRequest},
		"a body without an end":    {raw(header, "Content-Length: 100\r\n\r\n{"), RefusedRequest},
		"a promise of 100 MB":      {raw(header, "Content-Length: 100000000\r\n\r\n", strings.Repeat("{", 1<<10)), RefusedTooLarge},
		"chunks without an end":    {raw(header, "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"dea"), RefusedRequest},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.Refused(c.reason)
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = c.try(t) // how the connection ends does not matter
			}()
			for n := 0; ; n++ {
				if got := s.post(t, dea, beat("dea-1", 1+n%2)); got != http.StatusAccepted && got != http.StatusTooManyRequests {
					t.Fatalf("the DEA was answered %d meanwhile", got)
				}
				select {
				case <-done:
				case <-time.After(50 * time.Millisecond):
					continue
				}
				break
			}
			bustest.Until(t, "the stranger is counted", func() bool { return s.Refused(c.reason) == before+1 })
		})
	}
	for _, r := range []Reason{RefusedCertificate, RefusedHandshake, RefusedRequest, RefusedTooLarge} {
		if n := strings.Count(s.log.String(), "reason="+r.String()); n != 1 { // sampled: once a minute
			t.Errorf("%s is logged %d times:\n%s", r, n, s.log)
		}
	}
	if taken, _ := s.node.sink.all(); len(taken) == 0 || strings.Contains(fmt.Sprint(taken), "dea-x") {
		t.Errorf("taken: %v", taken)
	}
	s.listener.(*listener).mu.Lock()
	defer s.listener.(*listener).mu.Unlock()
	if left := s.listener.(*listener).greeting; len(left) > 0 {
		t.Errorf("connections without a handshake are still counted: %v", left)
	}
}

// TestACertificateExpires: a connection lasts no longer than the certificate with which it was made.
func TestACertificateExpires(t *testing.T) {
	s := serve(t, nil)
	cert, key := s.ca.Issue("short", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(2 * time.Second) })
	c := clientWith(t, s.config(t, cert, key))
	if got := s.post(t, c, beat("dea-1", 1)); got != http.StatusAccepted {
		t.Fatalf("answered %d", got)
	}
	bustest.Until(t, "the DEA is refused", func() bool {
		resp, err := c.Post(s.url(), "application/json", bytes.NewReader(beat("dea-1", 1)))
		if err != nil {
			return true // a new connection was refused: the one before has ended
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusForbidden
	})
	if s.Refused(RefusedCertificate) == 0 {
		t.Error("it is not counted")
	}
}

// TestStrangersTakeNoPlaces: an address that makes many connections without a handshake gets no more.
func TestStrangersTakeNoPlaces(t *testing.T) {
	s := serve(t, nil)
	l := s.listener.(*listener)
	for range maxGreeting {
		if !l.enter("192.0.2.1") {
			t.Fatal("refused too early")
		}
	}
	if l.enter("192.0.2.1") {
		t.Error("not refused")
	}
	if !l.enter("192.0.2.2") {
		t.Error("another address is refused")
	}
	if l.leave("192.0.2.1"); !l.enter("192.0.2.1") {
		t.Error("a place is not free again")
	}
}

// TestAFastDEA: a DEA that posts without a pause is bounded and counted; every heartbeat of the others is taken.
func TestAFastDEA(t *testing.T) {
	s := serve(t, nil)
	fast := s.client(t)
	end := make(chan struct{})
	var posting sync.WaitGroup
	posting.Go(func() {
		body := beat("fast", 50)
		for {
			select {
			case <-end:
				return
			default:
			}
			resp, err := fast.Post(s.url(), "application/json", bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
		}
	})
	bustest.Until(t, "the fast DEA is refused", func() bool { return s.Refused(RefusedRate) > 100 })
	for d := range 5 {
		c := s.client(t)
		for n := range 10 {
			if got := s.post(t, c, beat(fmt.Sprintf("dea-%d", d), n)); got != http.StatusAccepted {
				t.Errorf("DEA %d was answered %d", d, got)
			}
		}
	}
	close(end)
	posting.Wait()
	counts := s.node.posts.Counts()
	if others := counts.Received - counts.Unchanged; others != 51 { // 50, and the first of the fast one
		t.Errorf("%d heartbeats were decoded: %+v", others, counts)
	}
}

// TestCloseAnswersWhatIsUnderWay: a DEA whose heartbeat is half sent gets its answer.
func TestCloseAnswersWhatIsUnderWay(t *testing.T) {
	s := serve(t, nil)
	read, write := io.Pipe()
	answer := make(chan int, 1)
	go func() {
		resp, err := s.client(t).Post(s.url(), "application/json", read)
		if err != nil {
			answer <- 0
			return
		}
		resp.Body.Close()
		answer <- resp.StatusCode
	}()
	body := beat("dea-1", 3)
	if _, err := write.Write(body[:100]); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the first part has arrived", func() bool { return s.memory.used.Load() > 0 })
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	bustest.Until(t, "nobody listens any more", func() bool {
		conn, err := net.Dial("tcp", s.Addr())
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	if _, err := write.Write(body[100:]); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	if got := <-answer; got != http.StatusAccepted {
		t.Errorf("answered %d", got)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if taken, _ := s.node.sink.all(); len(taken) != 1 {
		t.Errorf("taken: %v", taken)
	}
}

// TestBeyondLoopback: an endpoint that others can reach needs certificates of both sides.
func TestBeyondLoopback(t *testing.T) {
	a := tlstest.New(t)
	cert, key := a.Issue("node", nil)
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"loopback":              {Options{Listen: "127.0.0.1:5335"}, ""},
		"plain":                 {Options{Listen: "0.0.0.0:5335"}, "heartbeats.tls.client_ca"},
		"no authority":          {Options{Listen: "0.0.0.0:5335", TLS: TLS{Cert: cert, Key: key}}, "heartbeats.tls.client_ca"},
		"both":                  {Options{Listen: "0.0.0.0:5335", TLS: TLS{cert, key, a.CA}}, ""},
		"an absent certificate": {Options{Listen: "127.0.0.1:5335", TLS: TLS{cert + "x", key, a.CA}}, "heartbeats.tls.cert"},
		"no port":               {Options{Listen: "127.0.0.1"}, "heartbeats.listen"},
	} {
		err := c.o.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
