package api_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"hm/internal/access"
	"hm/internal/access/keyring"
	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/tlsfiles/tlstest"
	"hm/raftfsm"
)

// statusOf asks for the status with a value of Authorization.
func statusOf(t *testing.T, c *http.Client, base, authorization string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/v1/holds", nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// TestAnOutageOfUAALocksNobodyOut: the keys turn, then UAA fails, then hm starts again, and tokens count all the while.
func TestAnOutageOfUAALocksNobodyOut(t *testing.T) {
	u := newUAA(t, "key-1")
	dir := t.TempDir()
	open := func() (*http.Client, string, func()) {
		ring := u.ring(dir)
		a := tlstest.New(t)
		o := apitest.Fleet().Options()
		o.JWT = u.jwt(ring)
		o.TLS.Cert, o.TLS.Key = a.Issue("hm", nil)
		s, err := api.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		return clientFrom("127.0.0.1", trusting(t, a.CA)), "https://" + s.Addr(), func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			ring.Close()
		}
	}
	first, second := "Bearer "+sign(t, "key-1", claimsOf("hm.read", nil)), "Bearer "+sign(t, "key-2", claimsOf("hm.read", nil))
	is := func(c *http.Client, base, token string, want int) func() bool {
		return func() bool { return statusOf(t, c, base, token).StatusCode == want }
	}

	u.breakDown(true)
	c, base, end := open()
	if resp := statusOf(t, c, base, first); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("before any key is known: %s, want 503", resp.Status)
	}
	u.breakDown(false)
	eventually(t, "the keys are known after UAA came up", is(c, base, first, 200))
	u.show("key-1", "key-2")
	eventually(t, "a token with a new key counts", is(c, base, second, 200))
	u.breakDown(true)
	for range 3 {
		if !is(c, base, first, 200)() || !is(c, base, second, 200)() {
			t.Error("a token does not count while UAA is out of order")
		}
	}
	end()

	c, base, end = open()
	if !is(c, base, first, 200)() || !is(c, base, second, 200)() {
		t.Error("a token does not count after a restart while UAA is out of order")
	}
	u.show("key-2")
	u.breakDown(false)
	eventually(t, "a token with a key that UAA took away does not count", is(c, base, first, 401))
	if !is(c, base, second, 200)() {
		t.Error("a token with the key that is left does not count")
	}
	end()
}

// TestInventedKeysCauseFewReads: tokens that name unknown keys do not turn hm against UAA.
func TestInventedKeysCauseFewReads(t *testing.T) {
	u := newUAA(t, "key-1")
	ring, err := keyring.Open(keyring.Options{URL: u.url, TLS: authority(t, u.ca), Times: keyring.Times{Apart: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	var all sync.WaitGroup
	for range 100 {
		all.Go(ring.Renew)
	}
	all.Wait()
	if n := u.questions(); n == 0 || n > 3 { // at the start, for the first of them, and for one that came in between
		t.Errorf("UAA was asked %d times", n)
	}
}

func basicOf(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// loggedText is a log that tests read.
type loggedText struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *loggedText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(b)
}

func (l *loggedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

// TestGuessingIsLimited: an address that guesses gets 429, also for the right password. Tokens, which nobody can guess,
// and other addresses are not hindered.
func TestGuessingIsLimited(t *testing.T) {
	log := &loggedText{}
	base, trusts, _ := accessServer(t, newUAA(t, "key-1"), func(o *api.Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	guesser, other := clientFrom("127.0.0.66", trusts), clientFrom("127.0.0.67", trusts)
	limited := false
	for i := range 200 {
		resp := statusOf(t, guesser, base, basicOf("amy", fmt.Sprint("guessed-", i)))
		if limited = resp.StatusCode == 429; limited {
			if i < access.MaxAttempts || resp.Header.Get("Retry-After") == "" {
				t.Errorf("limited after %d wrong passwords, Retry-After %q", i, resp.Header.Get("Retry-After"))
			}
			break
		}
		if resp.StatusCode != 401 {
			t.Fatalf("a wrong password: %s", resp.Status)
		}
	}
	if !limited {
		t.Fatal("200 wrong passwords were not limited")
	}
	statusOf(t, guesser, base, basicOf("amy", "guessed-again")) // so that less than a whole attempt is left
	for _, c := range []struct {
		what          string
		client        *http.Client
		authorization string
		want          int
	}{
		{"the right password from there", guesser, basicOf("amy", "secret"), 429},
		{"the right token from there", guesser, "Bearer " + readToken, 200},
		{"a JWT from there", guesser, "Bearer " + sign(t, "key-1", claimsOf("hm.read", nil)), 200},
		{"a wrong token from there", guesser, "Bearer " + strings.Repeat("x", 32), 429},
		{"nothing from there", guesser, "", 401},
		{"the right password from elsewhere", other, basicOf("amy", "secret"), 200},
	} {
		if got := statusOf(t, c.client, base, c.authorization).StatusCode; got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
	if text := log.String(); !strings.Contains(text, "did not let somebody in") || !strings.Contains(text, "127.0.0.66") || strings.Contains(text, "guessed") || strings.Contains(text, strings.Repeat("x", 32)) {
		t.Errorf("the log is\n%s", text)
	} else if n := strings.Count(text, "\n"); n > 30 {
		t.Errorf("the log has %d lines", n)
	}
	req, err := http.NewRequest(http.MethodGet, base+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", basicOf("rob", "looking"))
	resp, err := other.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil || !strings.Contains(text.String(), `hm_api_logins_refused_total{reason="limited"} `) || strings.Contains(text.String(), `hm_api_logins_refused_total{reason="limited"} 0`) {
		t.Errorf("the metrics do not count limited requests: %v", err)
	}
}

// TestNamesInCertificates: with names, a certificate has a role, and is not needed beside other credentials.
func TestNamesInCertificates(t *testing.T) {
	u := newUAA(t, "key-1")
	for _, c := range []struct {
		name, cert, authorization string
		both                      bool // passwords are a way in, too
		read, write               int
	}{
		{"the name of an admin", "ops", "", true, 200, 201},
		{"the name of a reader", "prometheus", "", true, 200, 403},
		{"another name", "nobody", "", true, 401, 401},
		{"another name with a password", "nobody", basicOf("amy", "secret"), true, 200, 201},
		{"no certificate", "", "", true, 401, 401},
		{"a password alone", "", basicOf("rob", "looking"), true, 200, 403},
		{"the name of an admin with a wrong password", "ops", basicOf("amy", "wrong"), true, 401, 401},
		{"certificates alone: an admin", "ops", "", false, 200, 201},
		{"certificates alone: another name", "nobody", "", false, 403, 403},
		{"certificates alone: with a password that nobody asks for", "prometheus", basicOf("amy", "secret"), false, 200, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			var a *tlstest.Authority
			base, trusts, _ := accessServer(t, u, func(o *api.Options) {
				a = tlstest.New(t)
				o.TLS.ClientCA, o.TLS.AdminNames, o.TLS.ReadNames = a.CA, []string{"ops"}, []string{"prometheus"}
				if !c.both {
					o.Username, o.Password, o.ReadUsername, o.ReadPassword, o.AdminToken, o.ReadToken, o.JWT = "", "", "", "", "", "", api.JWT{}
				}
			})
			if c.cert != "" {
				trusts.Certificates = append(trusts.Certificates, pairOf(t, a, c.cert))
			}
			client := clientFrom("", trusts)
			defer client.CloseIdleConnections()
			if got := statusOf(t, client, base, c.authorization).StatusCode; got != c.read {
				t.Errorf("a read: %d, want %d", got, c.read)
			}
			req, err := http.NewRequest(http.MethodPost, base+"/v1/holds", strings.NewReader(`{"name":"x"}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			if c.authorization != "" {
				req.Header.Set("Authorization", c.authorization)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != c.write {
				t.Errorf("a write: %s, want %d", resp.Status, c.write)
			}
		})
	}
}

// TestWhoForwards: the first node decides who sends a write, the leader believes it, and nobody else can say so.
func TestWhoForwards(t *testing.T) {
	u := newUAA(t, "key-1")
	a := tlstest.New(t)
	for _, clusterTLS := range []bool{true, false} {
		leader, follower := apitest.Fleet(), apitest.Fleet()
		with := func(w *apitest.Node, name string) api.Options {
			o := w.Options()
			ring := u.ring(t.TempDir())
			ring.Renew()
			o.JWT, o.Username, o.Password, o.ReadToken, o.ClusterTLS = u.jwt(ring), "amy", "secret", readToken, clusterTLS
			o.TLS.Cert, o.TLS.Key = a.Issue(name, nil)
			o.TLS.ClientCA, o.TLS.AdminNames = a.CA, []string{"ops"}
			return o
		}
		serve(t, with(leader, "one"))
		follower.Follow("hm-2", "hm-1", writesOf(leader))
		base := "https" + strings.TrimPrefix(serve(t, with(follower, "two")), "http")
		forged := "role=admin&how=password&name=eve&from=10.0.0.1"
		send := func(what, base, cert string, want int, headers ...string) {
			t.Helper()
			trusts := trusting(t, a.CA)
			if cert != "" {
				trusts.Certificates = append(trusts.Certificates, pairOf(t, a, cert))
			}
			client := clientFrom("127.0.0.77", trusts)
			defer client.CloseIdleConnections()
			req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, base+"/v1/holds", strings.NewReader(`{"name":"x"}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			for i := 0; i < len(headers); i += 2 {
				req.Header.Set(headers[i], headers[i+1])
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("cluster TLS %t: %s: %s, want %d", clusterTLS, what, resp.Status, want)
			}
		}
		by := func(what, name, how string) {
			t.Helper()
			holds := leader.View().Holds()
			told, _ := leader.Proposed[len(leader.Proposed)-1].(raftfsm.Noted)
			if len(holds) != 1 || holds[0].By != name || len(told.Notes) != 1 {
				t.Fatalf("cluster TLS %t: %s: holds %+v, notes %+v", clusterTLS, what, holds, told)
			}
			if n := told.Notes[0]; n.Event != "admin.done" || n.By != name || n.Reason != how+", from 127.0.0.77 through hm-2" || n.Name != "POST /v1/holds" || n.Detail != "hold x" {
				t.Errorf("cluster TLS %t: %s: the history is told %+v", clusterTLS, what, n)
			}
		}
		send("a JWT", base, "", 201, "Authorization", "Bearer "+sign(t, "key-1", claimsOf("hm.admin", nil)))
		by("a JWT", "amy", "jwt")
		send("a certificate", base, "ops", 201)
		by("a certificate", "ops", "certificate")
		send("a reader", base, "", 403, "Authorization", "Bearer "+readToken)
		if told, _ := leader.Proposed[len(leader.Proposed)-1].(raftfsm.Noted); len(told.Notes) != 1 || told.Notes[0].Event != "admin.refused" || told.Notes[0].By != "read-token" ||
			told.Notes[0].Reason != "token, from 127.0.0.77 through hm-2" {
			t.Errorf("cluster TLS %t: the refusal is told as %+v", clusterTLS, told)
		}
		send("a forged principal at the API", base, "", 401, "X-Hm-Principal", forged, "X-Hm-Forwarded-By", "hm-3")
		send("a forged principal with a reader's token", base, "", 403, "X-Hm-Principal", forged, "Authorization", "Bearer "+readToken)
		want := map[bool]int{true: 201, false: 401}[clusterTLS] // only members reach the cluster's port with raft.tls
		send("a forged principal at the cluster's port", "http://"+writesOf(leader), "", want, "X-Hm-Principal", forged, "X-Hm-Forwarded-By", "hm-3")
		for _, broken := range []string{"role=admin", forged + "&x=1", "role=root&how=password&name=eve&from=x", "role=admin&how=magic&name=eve&from=x", strings.Repeat("x", 9000), "%zz"} {
			send("a broken principal at the cluster's port", "http://"+writesOf(leader), "", 401, "X-Hm-Principal", broken, "X-Hm-Forwarded-By", "hm-3")
		}
		send("an older node that forwards a password", "http://"+writesOf(leader), "", 201, "X-Hm-Forwarded-By", "hm-3", "Authorization", basicOf("amy", "secret"))
	}
}

// TestRefusalsAreBounded: whoever is refused again and again does not fill the history.
func TestRefusalsAreBounded(t *testing.T) {
	node := apitest.Fleet()
	o := node.Options()
	o.AdminToken, o.ReadToken = adminToken, readToken
	base := serve(t, o)
	for range 200 {
		if resp, _ := ask(t, "POST", base+"/v1/holds", `{"name":"x"}`, "Authorization", "Bearer "+readToken); resp.StatusCode != 403 {
			t.Fatal(resp.Status)
		}
	}
	if n := len(node.Proposed); n == 0 || n > 60 {
		t.Errorf("200 refusals gave %d entries", n)
	}
	if resp, _ := ask(t, "POST", base+"/v1/holds", `{"name":"x"}`, "Authorization", "Bearer "+adminToken); resp.StatusCode != 201 {
		t.Error(resp.Status)
	}
	told, _ := node.Proposed[len(node.Proposed)-1].(raftfsm.Noted)
	if len(told.Notes) != 1 || told.Notes[0].Event != "admin.done" || len(told.Notes[0].Counts) != 2 || told.Notes[0].Counts[1].N < 100 {
		t.Errorf("after them the history is told %+v", told)
	}
}
