package api_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"hm/internal/access/keyring"
	"hm/internal/api"
	"hm/internal/tlsfiles"
	"hm/internal/tlsfiles/tlstest"
)

const (
	testIssuer = "https://uaa.example.com/oauth/token"
	keysEvery  = 20 * time.Millisecond // after a failure
)

// uaa is a server that has keys at /token_keys, over TLS, and signs tokens as UAA does.
type uaa struct {
	t     *testing.T
	url   string
	ca    string
	asked int // guarded by mu

	mu     sync.Mutex
	signed map[string]signer // by the id of the key: what it shows
	down   bool
}

type signer struct {
	key crypto.Signer
	alg jose.SignatureAlgorithm
}

// The keys are made once: an RSA key takes long.
var testKeys = sync.OnceValue(func() map[string]signer {
	one, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return map[string]signer{"key-1": {one, jose.RS256}, "key-2": {other, jose.RS256}, "ec-1": {curve, jose.ES256}}
})

func newUAA(t *testing.T, ids ...string) *uaa {
	a := tlstest.New(t)
	u := &uaa{t: t, ca: a.CA}
	u.show(ids...)
	cert, key := a.Issue("uaa", nil)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	u.url = "https://" + l.Addr().String() + "/token_keys"
	u.serve(l)
	return u
}

func (u *uaa) serve(l net.Listener) {
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.asked++
		if u.down {
			http.Error(w, "out of order", http.StatusServiceUnavailable)
			return
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"keys": u.jwks()}); err != nil {
			u.t.Error(err)
		}
	}), ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	u.t.Cleanup(func() { _ = srv.Close(); <-done })
}

// jwks gives the keys as UAA does: with its own members beside those of a JWK, and one of a kind that hm does not use.
func (u *uaa) jwks() (list []map[string]any) {
	list = append(list, map[string]any{"kty": "oct", "kid": "mac", "alg": "HS256", "k": "c2VjcmV0", "value": "secret"})
	for id, s := range u.signed {
		raw, err := (jose.JSONWebKey{Key: s.key.Public(), KeyID: id, Algorithm: string(s.alg), Use: "sig"}).MarshalJSON()
		if err != nil {
			u.t.Error(err)
		}
		one := map[string]any{}
		if err := json.Unmarshal(raw, &one); err != nil {
			u.t.Error(err)
		}
		one["value"] = "-----BEGIN PUBLIC KEY-----"
		list = append(list, one)
	}
	return list
}

// show makes these keys those that it shows.
func (u *uaa) show(ids ...string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.signed = map[string]signer{}
	for _, id := range ids {
		u.signed[id] = testKeys()[id]
	}
}

func (u *uaa) breakDown(down bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.down = down
}

func (u *uaa) questions() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.asked
}

// ring opens a key ring of it, with its cache in a directory.
func (u *uaa) ring(dir string) *keyring.Ring {
	u.t.Helper()
	r, err := keyring.Open(keyring.Options{URL: u.url, TLS: authority(u.t, u.ca), Cache: filepath.Join(dir, "jwt-keys.json"),
		Times: keyring.Times{Retry: keysEvery, Apart: keysEvery}})
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(r.Close)
	return r
}

// jwt gives the options of an API that takes its tokens.
func (u *uaa) jwt(r *keyring.Ring) api.JWT {
	return api.JWT{Issuer: testIssuer, Audience: "hm", Keys: r}
}

// claimsOf are the claims of a token that counts, with changes; nil takes one away.
func claimsOf(scope string, changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": testIssuer, "aud": []string{"hm", "ops-client"}, "scope": []string{"openid", scope}, "user_name": "amy", "client_id": "ops-client",
		"exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "jti": "1",
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// sign makes a token.
func sign(t *testing.T, id string, claims map[string]any) string {
	t.Helper()
	s := testKeys()[id]
	return signWith(t, jose.SigningKey{Algorithm: s.alg, Key: s.key}, id, claims)
}

func signWith(t *testing.T, key jose.SigningKey, id string, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return signBytes(t, key, id, payload)
}

// signBytes makes a token of any payload.
func signBytes(t *testing.T, key jose.SigningKey, id string, payload []byte) string {
	t.Helper()
	s, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", id))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// unsigned makes a token with the algorithm none.
func unsigned(t *testing.T, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none","typ":"JWT","kid":"key-1"}`)) + "." + encode(payload) + "."
}

// pairOf issues a certificate of a client.
func pairOf(t *testing.T, a *tlstest.Authority, name string) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(a.Issue(name, nil))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// authority gives the files of a client that trusts an authority.
func authority(t *testing.T, ca string) *tlsfiles.Set {
	t.Helper()
	var never *tlsfiles.Watcher
	set, err := never.Client("api.jwt.ca", tlsfiles.File{Key: "api.jwt.ca", Path: ca}, tlsfiles.File{}, tlsfiles.File{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}
