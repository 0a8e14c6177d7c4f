package api_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/dashboard"
	"hm/internal/tlsfiles/tlstest"
)

// The exceptions from the rule that a GET needs the role read, and everything else admin. They are written down here
// again, so that a mistake in the table of operations shows.
var roleOf = map[string]string{
	"GET /healthz": "none", "GET /readyz": "none",
	"GET /v1/recording": "admin", "GET /v1/snapshot": "admin", "GET /debug/pprof/": "admin",
	"POST /bulk_app_state": "read", "POST /do/theme": "read", "PUT /v1/holds": "read", // which is no operation
}

func needs(endpoint string) string {
	switch method, _, _ := strings.Cut(endpoint, " "); {
	case roleOf[endpoint] != "":
		return roleOf[endpoint]
	case method == "GET":
		return "read"
	}
	return "admin"
}

// endpoints are all that the API answers.
func endpoints() (list []string) {
	for _, o := range api.Operations() {
		list = append(list, o.Method+" "+o.Path)
	}
	return append(list, "GET /debug/pprof/", "GET /", "GET /apps", "GET /apps/x", "GET /deas", "GET /deas/x", "GET /commands", "GET /events",
		"GET /cluster", "GET /map/dea/0", "GET /assets/app.js", "POST /do/pause", "POST /do/cancel", "POST /do/theme", "GET /nothing", "PUT /v1/holds")
}

// credentials are what a request shows, and what comes of it: the status where the role read and where the role admin is
// needed; 0: it is let in.
type shownCredentials struct {
	name          string
	authorization []string
	read, admin   int
}

func tableOfCredentials(t *testing.T) []shownCredentials {
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	rsaKey := testKeys()["key-1"]
	der, err := x509.MarshalPKIXPublicKey(rsaKey.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	token := func(id, scope string, changes map[string]any) string {
		return "Bearer " + sign(t, id, claimsOf(scope, changes))
	}
	good := sign(t, "key-1", claimsOf("hm.admin", nil))
	tampered := func() string {
		parts := strings.Split(good, ".")
		other := strings.Split(sign(t, "key-1", claimsOf("hm.admin", map[string]any{"user_name": "eve"})), ".")
		return "Bearer " + parts[0] + "." + other[1] + "." + parts[2]
	}()
	ago, ahead := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
	list := []shownCredentials{
		{"no credentials", nil, 401, 401},
		{"admin's password", []string{basic("amy", "secret")}, 0, 0},
		{"reader's password", []string{basic("rob", "looking")}, 0, 403},
		{"admin's token", []string{"Bearer " + adminToken}, 0, 0},
		{"reader's token", []string{"bearer " + readToken}, 0, 403},
		{"JWT of an admin", []string{"Bearer " + good}, 0, 0},
		{"JWT by an elliptic curve", []string{token("ec-1", "hm.admin", nil)}, 0, 0},
		{"JWT with one text of scopes", []string{token("key-1", "", map[string]any{"scope": "openid hm.admin"})}, 0, 0},
		{"JWT with the read scope", []string{token("key-1", "hm.read", nil)}, 0, 403},
		{"wrong scope", []string{token("key-1", "hm.write", nil)}, 403, 403},
		{"no scope", []string{token("key-1", "", map[string]any{"scope": nil})}, 403, 403},
	}
	for name, value := range map[string]string{
		"wrong password": basic("amy", "secre"), "wrong user": basic("am", "secret"), "reader's name with the admin's password": basic("rob", "secret"),
		"empty password": basic("amy", ""), "wrong token": "Bearer " + strings.Repeat("x", 32), "half a token": "Bearer " + adminToken[:len(adminToken)-1],
		"expired": token("key-1", "hm.admin", map[string]any{"exp": ago}), "no end": token("key-1", "hm.admin", map[string]any{"exp": nil}),
		"not yet valid": token("key-1", "hm.admin", map[string]any{"nbf": ahead}), "issued later": token("key-1", "hm.admin", map[string]any{"iat": ahead}),
		"wrong audience": token("key-1", "hm.admin", map[string]any{"aud": []string{"cloud_controller"}}), "no audience": token("key-1", "hm.admin", map[string]any{"aud": nil}),
		"wrong issuer": token("key-1", "hm.admin", map[string]any{"iss": "https://evil.example/oauth/token"}), "no issuer": token("key-1", "hm.admin", map[string]any{"iss": nil}),
		"alg none":                       "Bearer " + unsigned(t, claimsOf("hm.admin", nil)),
		"HS256 with the public key":      "Bearer " + signWith(t, jose.SigningKey{Algorithm: jose.HS256, Key: public}, "key-1", claimsOf("hm.admin", nil)),
		"HS256 with a key UAA shows":     "Bearer " + signWith(t, jose.SigningKey{Algorithm: jose.HS256, Key: []byte("secretsecretsecretsecretsecretse")}, "mac", claimsOf("hm.admin", nil)),
		"a key of somebody else":         "Bearer " + signWith(t, jose.SigningKey{Algorithm: jose.RS256, Key: testKeys()["key-2"].key}, "key-1", claimsOf("hm.admin", nil)),
		"an unknown key":                 token("key-2", "hm.admin", nil),
		"another algorithm than the key": "Bearer " + signWith(t, jose.SigningKey{Algorithm: jose.RS512, Key: rsaKey.key}, "key-1", claimsOf("hm.admin", nil)),
		"tampered":                       tampered, "oversized": "Bearer " + good + strings.Repeat("A", 9<<10),
		"malformed": "Bearer a.b.c", "no scheme": good, "another scheme": "Digest username=amy", "basic without base64": "Basic %%%", "empty": "Bearer ",
		"claims that are no object": "Bearer " + signPayload(t, `[]`), "an end that is no number": token("key-1", "hm.admin", map[string]any{"exp": "soon"}),
	} {
		list = append(list, shownCredentials{name, []string{value}, 401, 401})
	}
	return append(list, shownCredentials{"two values", []string{basic("amy", "secret"), "Bearer " + good}, 401, 401})
}

func signPayload(t *testing.T, payload string) string {
	return signBytes(t, jose.SigningKey{Algorithm: jose.RS256, Key: testKeys()["key-1"].key}, "key-1", []byte(payload))
}

const (
	adminToken = "admin-token-of-the-test-0123456789"
	readToken  = "read-token-of-the-test-0123456789"
)

// trusting gives the configuration of a client that trusts an authority.
func trusting(t *testing.T, ca string) *tls.Config {
	t.Helper()
	raw, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(raw)
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// elsewhere counts the addresses of this machine that connections come from: all of 127.0.0.0/8 are its own.
var elsewhere atomic.Uint32

// from dials from an address; empty: from a new one each time, so that wrong credentials of one case do not count for
// another.
func from(address string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, to string) (net.Conn, error) {
		ip := net.ParseIP(address)
		if ip == nil {
			n := elsewhere.Add(1)
			ip = net.IPv4(127, byte(1+n>>16), byte(n>>8), byte(n))
		}
		return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}).DialContext(ctx, network, to)
	}
}

func clientFrom(address string, c *tls.Config) *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DialContext: from(address), TLSClientConfig: c},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: time.Minute,
	}
}

// accessServer serves an API with every way in, over TLS, whose keys come from a UAA.
func accessServer(t *testing.T, u *uaa, change func(*api.Options)) (base string, trusts *tls.Config, a *tlstest.Authority) {
	a = tlstest.New(t)
	o := apitest.Fleet().Options()
	o.Username, o.Password, o.ReadUsername, o.ReadPassword = "amy", "secret", "rob", "looking"
	o.AdminToken, o.ReadToken = adminToken, readToken
	ring := u.ring(t.TempDir())
	ring.Renew()
	o.JWT = u.jwt(ring)
	o.TLS.Cert, o.TLS.Key = a.Issue("hm", nil)
	o.Pprof = true
	o.Dashboard = func(c *api.Client) http.Handler { return dashboard.New(c, dashboard.Options{}) }
	if change != nil {
		change(&o)
	}
	return "https" + strings.TrimPrefix(serve(t, o), "http"), trusting(t, a.CA), a
}

// TestAccessTable asks every endpoint with all kinds of credentials, over TLS, with the keys of a UAA over TLS.
func TestAccessTable(t *testing.T) {
	base, trusts, _ := accessServer(t, newUAA(t, "key-1", "ec-1"), nil)
	credentials, endpoints := tableOfCredentials(t), endpoints()
	var client *http.Client
	for i := range len(credentials) * len(endpoints) {
		if i%8 == 0 { // another address, before the wrong credentials of this one are too many
			client = clientFrom("", trusts)
			defer client.CloseIdleConnections()
		}
		c, endpoint := credentials[i/len(endpoints)], endpoints[i%len(endpoints)]
		method, path, _ := strings.Cut(endpoint, " ")
		for _, placeholder := range []string{"{guid}", "{id}", "{name}"} {
			path = strings.ReplaceAll(path, placeholder, "x")
		}
		if path == "/v1/events" {
			path += "?follow=false"
		}
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header["Authorization"] = c.authorization
		resp, err := client.Do(req)
		if err != nil {
			t.Fatalf("%s with %s: %v", endpoint, c.name, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		want := map[string]int{"none": 0, "read": c.read, "admin": c.admin}[needs(endpoint)]
		refused := resp.StatusCode == 401 || resp.StatusCode == 403 || resp.StatusCode == 429
		if want == 0 && refused || want != 0 && resp.StatusCode != want {
			t.Errorf("%s with %s: %d, want %d (0: let in)", endpoint, c.name, resp.StatusCode, want)
		}
		challenges := resp.Header.Values("WWW-Authenticate")
		if resp.StatusCode == 401 && (len(challenges) != 2 || !strings.HasPrefix(challenges[0], "Basic ") || !strings.HasPrefix(challenges[1], "Bearer ")) {
			t.Errorf("%s with %s: the challenges are %q", endpoint, c.name, challenges)
		}
	}
	t.Logf("%d cases: %d endpoints, %d kinds of credentials", len(credentials)*len(endpoints), len(endpoints), len(credentials))
}

// TestSlowCredentials: a header that never ends is given up, on every endpoint.
func TestSlowCredentials(t *testing.T) {
	api.SetPatience(t, 500*time.Millisecond, time.Second)
	base, trusts, _ := accessServer(t, newUAA(t, "key-1"), nil)
	var all sync.WaitGroup
	for _, endpoint := range endpoints() {
		all.Go(func() {
			c, err := tls.DialWithDialer(&net.Dialer{Timeout: 30 * time.Second}, "tcp", strings.TrimPrefix(base, "https://"), trusts)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Error(err)
			}
			_, _ = fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s", endpoint, adminToken) // an error means that it was given up already
			if raw, err := io.ReadAll(c); err != nil || strings.Contains(string(raw), " 200 ") {
				t.Errorf("%s: %q %v, want a closed connection", endpoint, raw, err)
			}
		})
	}
	all.Wait()
	t.Logf("%d cases", len(endpoints()))
}
