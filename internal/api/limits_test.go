package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/api/apitest"
)

// TestABusyNodeSaysSo: while as many lists are answered as are allowed, further ones wait, and are then told to come back;
// the status, the health checks and writes are answered.
func TestABusyNodeSaysSo(t *testing.T) {
	s, err := api.Open(apitest.Fleet().Options())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	base := "http://" + s.Addr()
	idle := s.BeBusy(10 * time.Millisecond)
	for _, path := range []string{"/v1/apps", "/v1/apps?filter=drift=any", "/v1/drift", "/v1/deas", "/v1/commands"} {
		resp, raw := ask(t, "GET", base+path, "")
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "2" || !strings.Contains(string(raw), "urn:hm:problem:busy") {
			t.Errorf("%s: %d %v %s", path, resp.StatusCode, resp.Header, raw)
		}
	}
	for _, path := range []string{"/v1/status", "/v1/apps/a0000001", "/v1/apps/a0000003/explain", "/v1/holds", "/healthz", "/readyz", "/metrics", "/v1/series"} {
		if resp, raw := ask(t, "GET", base+path, ""); resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", path, resp.StatusCode, raw)
		}
	}
	if resp, raw := ask(t, "POST", base+"/v1/holds", `{"name":"x"}`); resp.StatusCode != 201 {
		t.Errorf("a write: %d %s", resp.StatusCode, raw)
	}
	idle()
	if resp, raw := ask(t, "GET", base+"/v1/apps?filter=drift=any", ""); resp.StatusCode != 200 {
		t.Errorf("when it is idle again: %d %s", resp.StatusCode, raw)
	}
}

// TestAWaitingRequestEndsWithItsClient: it does not keep its place.
func TestAWaitingRequestEndsWithItsClient(t *testing.T) {
	s, err := api.Open(apitest.Fleet().Options())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	idle := s.BeBusy(time.Hour)
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+s.Addr()+"/v1/apps", nil)
		_, err := http.DefaultClient.Do(req)
		failed <- err
	}()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	idle()
}

// TestHugeRequestsAreRefused: each with a problem document. TestSlowAndHugeHeaders has headers that are too large.
func TestHugeRequestsAreRefused(t *testing.T) {
	base := serve(t, apitest.Fleet().Options())
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		kind                     string
	}{
		{"a hold of 64 KiB", "POST", "/v1/holds", `{"name":"x","reason":"` + strings.Repeat("r", 64<<10) + `"}`, 413, "too-large"},
		{"a long reason", "POST", "/v1/holds", `{"name":"x","reason":"` + strings.Repeat("r", 600) + `"}`, 400, "bad-request"},
		{"a long query", "GET", "/v1/apps?filter=" + strings.Repeat("a", 9000), "", 414, "query-too-long"},
		{"a long filter", "GET", "/v1/apps?filter=" + strings.Repeat("a", 2000), "", 400, "bad-request"},
		{"a long cursor", "GET", "/v1/apps?cursor=" + strings.Repeat("a", 4000), "", 400, "bad-cursor"},
		{"a long id", "GET", "/v1/apps/" + strings.Repeat("a", 9000), "", 400, "bad-request"},
		{"a body of a read", "GET", "/v1/status", strings.Repeat("b", 100), 200, ""},
	} {
		resp, raw := ask(t, c.method, base+c.path, c.body)
		if resp.StatusCode != c.status || !strings.Contains(string(raw), c.kind) || c.kind != "" && resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %.200s, want %d %s", c.name, resp.StatusCode, raw, c.status, c.kind)
		}
		if len(raw) > 8<<10 && c.status >= 400 {
			t.Errorf("%s: the answer has %d bytes", c.name, len(raw))
		}
	}
}

// TestSlowClientsAreCutOff: one that does not send its request in time, and one that does not end its body.
func TestSlowClientsAreCutOff(t *testing.T) {
	api.SetPatience(t, 100*time.Millisecond, 200*time.Millisecond)
	base := serve(t, apitest.Fleet().Options())
	for name, sent := range map[string]string{
		"a header that does not end": "GET /v1/status HTTP/1.1\r\nHost: x\r\n",
		"a body that does not end":   "POST /v1/holds HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
		"nothing":                    "",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil && !errors.Is(err, net.ErrClosed) && strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s: the connection stays open: %q %v", name, answer, err)
		}
		if strings.Contains(string(answer), "201 Created") {
			t.Errorf("%s: %q", name, answer)
		}
	}
}

// TestLargeAnswersAreCompressed: for those who take gzip, and the same to the byte.
func TestLargeAnswersAreCompressed(t *testing.T) {
	base := serve(t, missing(300).Options())
	for _, c := range []struct {
		path, accept string
		want         bool
	}{
		{"/v1/apps", "gzip", true}, {"/v1/apps", "deflate, gzip;q=0.5", true}, {"/v1/apps", "gzip;q=0", false}, {"/v1/apps", "gzip; q=0.0", false},
		{"/v1/apps", "identity", false}, {"/v1/apps?limit=2", "gzip", false},
	} {
		resp, raw := ask(t, "GET", base+c.path, "", "Accept-Encoding", c.accept)
		plain, want := ask(t, "GET", base+c.path, "", "Accept-Encoding", "identity")
		if got := resp.Header.Get("Content-Encoding") == "gzip"; got != c.want {
			t.Errorf("%s with %s: %v", c.path, c.accept, resp.Header)
			continue
		}
		if c.want {
			z, err := gzip.NewReader(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			small := len(raw)
			if raw, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
			if small > len(raw)/4 {
				t.Errorf("%d bytes became %d", len(raw), small)
			}
			if !strings.Contains(resp.Header.Get("Vary"), "Accept-Encoding") {
				t.Error("without Vary")
			}
		}
		if !bytes.Equal(raw, want) || plain.Header.Get("ETag") != resp.Header.Get("ETag") || !json.Valid(raw) {
			t.Errorf("%s with %s differs", c.path, c.accept)
		}
	}
}

// TestIdleConnectionsMakeRoom: a client that keeps all connections open, with nothing to ask, keeps nobody out.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	o := apitest.Fleet().Options()
	o.MaxConns = 4
	address := host(serve(t, o))
	dial := func() net.Conn {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		return c
	}
	for range 3 * o.MaxConns { // each stays open after its answer
		c := dial()
		if _, err := c.Write([]byte("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 12)
		if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "HTTP/1.1 200" {
			t.Fatalf("%q %v", answer, err)
		}
	}
}
