package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

var now = time.Unix(1_800_000_000, 0)

// curveKey is made once.
var curveKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
})

// aJWKS has the key with an id.
func aJWKS(id string) []byte {
	raw, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: curveKey().Public(), KeyID: id, Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		panic(err)
	}
	return raw
}

func aToken(claims map[string]any) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: curveKey()}, (&jose.SignerOptions{}).WithHeader("kid", "k"))
	if err != nil {
		panic(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	signed, err := s.Sign(payload)
	if err != nil {
		panic(err)
	}
	raw, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return raw
}

// TestTimesOfTokens walks the edges of the leeway.
func TestTimesOfTokens(t *testing.T) {
	keys, err := ParseKeys(aJWKS("k"))
	if err != nil {
		t.Fatal(err)
	}
	rules := TokenRules{Issuer: "uaa", Audience: "hm"}
	for _, c := range []struct {
		name          string
		exp, nbf, iat time.Duration
		want          Reason
	}{
		{"valid", time.Hour, -time.Hour, -time.Hour, ""},
		{"expires now", 0, -time.Hour, -time.Hour, ""},
		{"expired within the leeway", -Leeway + time.Second, -time.Hour, -time.Hour, ""},
		{"expired a leeway ago", -Leeway, -time.Hour, -time.Hour, ReasonExpired},
		{"begins within the leeway", time.Hour, Leeway, 0, ""},
		{"begins later", time.Hour, Leeway + time.Second, 0, ReasonEarly},
		{"issued later", time.Hour, 0, Leeway + time.Second, ReasonEarly},
	} {
		who, refused := rules.Check(aToken(map[string]any{
			"iss": "uaa", "aud": "hm", "scope": "hm.admin", "client_id": "ops",
			"exp": now.Add(c.exp).Unix(), "nbf": now.Add(c.nbf).Unix(), "iat": now.Add(c.iat).Unix(),
		}), keys, now)
		var got Reason
		if refused != nil {
			got = refused.Reason
		}
		if got != c.want || refused == nil && who != (Principal{Name: "ops", Role: Admin, How: JWT}) || refused != nil && refused.Guess {
			t.Errorf("%s: %+v %+v, want %q", c.name, who, refused, c.want)
		}
	}
}

func TestCertificates(t *testing.T) {
	uri, err := url.Parse("spiffe://cf/ops")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"ops", "ops.example.com", "spiffe://cf/ops", "ops@example.com"}
	for _, c := range []struct {
		cert *x509.Certificate
		ways Ways
		want Principal
	}{
		{&x509.Certificate{Subject: pkix.Name{CommonName: "ops"}}, Ways{AdminNames: names}, Principal{Name: "ops", Role: Admin, How: Certificate}},
		{&x509.Certificate{DNSNames: []string{"x", "ops.example.com"}}, Ways{ReadNames: names}, Principal{Name: "ops.example.com", Role: Read, How: Certificate}},
		{&x509.Certificate{URIs: []*url.URL{uri}}, Ways{ReadNames: names}, Principal{Name: "spiffe://cf/ops", Role: Read, How: Certificate}},
		{&x509.Certificate{EmailAddresses: []string{"ops@example.com"}}, Ways{ReadNames: names}, Principal{Name: "ops@example.com", Role: Read, How: Certificate}},
		{&x509.Certificate{Subject: pkix.Name{CommonName: "OPS"}}, Ways{AdminNames: names}, Principal{Name: "OPS", How: Certificate}},
		{&x509.Certificate{Subject: pkix.Name{Organization: []string{"ops"}}}, Ways{AdminNames: names}, Principal{How: Certificate}},
		{&x509.Certificate{Subject: pkix.Name{CommonName: "reader"}, DNSNames: []string{"ops"}}, Ways{AdminNames: names, ReadNames: []string{"reader"}}, Principal{Name: "ops", Role: Admin, How: Certificate}},
		{&x509.Certificate{Subject: pkix.Name{CommonName: "any\nname"}}, Ways{}, Principal{Name: "any?name", Role: Admin, How: Certificate}},
	} {
		c.ways.Certificates = true
		if got, refused := New(c.ways).Decide(Shown{Certificate: c.cert}, nil, now); refused != nil || got != c.want {
			t.Errorf("%v with %+v: %+v %+v, want %+v", c.cert.Subject, c.ways, got, refused, c.want)
		}
	}
}

// TestWhoMustShowACertificate says which ways in need a certificate of every client.
func TestWhoMustShowACertificate(t *testing.T) {
	password := Ways{Username: "amy", Password: "secret"}
	for _, c := range []struct {
		ways               Ways
		open, needs, alone bool
	}{
		{Ways{}, true, false, false},
		{password, false, false, false},
		{Ways{Certificates: true}, false, true, true},
		{Ways{Certificates: true, AdminNames: []string{"ops"}}, false, true, true},
		{Ways{Certificates: true, Username: "amy", Password: "secret"}, false, true, false},
		{Ways{Certificates: true, Username: "amy", Password: "secret", AdminNames: []string{"ops"}}, false, false, true},
	} {
		if p := New(c.ways); p.Open() != c.open || p.NeedsCertificate() != c.needs || p.TakesCertificates() != c.alone {
			t.Errorf("%+v: open %t, a certificate is needed %t, is enough %t", c.ways, p.Open(), p.NeedsCertificate(), p.TakesCertificates())
		}
	}
	both := New(Ways{Certificates: true, Username: "amy", Password: "secret"})
	if _, refused := both.Decide(Shown{Certificate: &x509.Certificate{Subject: pkix.Name{CommonName: "ops"}}}, nil, now); refused == nil {
		t.Error("without names a certificate alone is enough, though there is a password")
	}
}

func TestKeysThatAreLeftOut(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	der, err := x509.MarshalPKIXPublicKey(curveKey().Public())
	curve := block("PUBLIC KEY", der, err)
	der, err = x509.MarshalPKIXPublicKey(small.Public())
	weak := block("PUBLIC KEY", der, err)
	der, err = x509.MarshalECPrivateKey(curveKey())
	private := block("EC PRIVATE KEY", der, err)
	privateJWK, err := json.Marshal(jose.JSONWebKey{Key: curveKey(), KeyID: "k"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text string
		keys       int
		err        error
	}{
		{"PEM", curve + weak, 1, nil},
		{"a weak key alone", weak, 0, nil},
		{"a private key beside it", curve + private, 0, errPrivate},
		{"a private JWK", `{"keys":[` + string(privateJWK) + `]}`, 0, errPrivate},
		{"a JWKS", string(aJWKS("k")), 1, nil},
		{"one JWK", strings.TrimSuffix(strings.TrimPrefix(string(aJWKS("k")), `{"keys":[`), `]}`), 1, nil},
		{"for encryption", strings.Replace(string(aJWKS("k")), `"sig"`, `"enc"`, 1), 0, nil},
		{"no keys", `{"keys":[]}`, 0, nil},
		{"nothing", ``, 0, nil},
		{"a page", `<html>`, 0, nil},
		{"too many", `{"keys":[` + strings.TrimSuffix(strings.Repeat(strings.TrimSuffix(strings.TrimPrefix(string(aJWKS("k")), `{"keys":[`), `]}`)+",", maxKeys+1), ",") + `]}`, 0, nil},
		{"too large", strings.Repeat(" ", MaxKeysBytes) + curve, 0, nil},
	} {
		k, err := ParseKeys([]byte(c.text))
		if c.keys > 0 && (err != nil || len(k.all) != c.keys) || c.keys == 0 && err == nil || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%s: %+v %v", c.name, k, err)
		}
	}
}

// TestAttempts: each address has its own, they come back, and no number of addresses takes more than its room.
func TestAttempts(t *testing.T) {
	var a Attempts
	for i := range MaxAttempts {
		if a.Wait("10.0.0.1", now) != 0 {
			t.Fatalf("it must wait after %d", i)
		}
		a.Failed("10.0.0.1", now)
	}
	if wait := a.Wait("10.0.0.1", now); wait <= 0 || wait > AttemptEvery {
		t.Errorf("it must wait %s", wait)
	}
	if a.Wait("10.0.0.2", now) != 0 || a.Wait("::ffff:10.0.0.1", now) == 0 || a.Wait("10.0.0.1", now.Add(AttemptEvery)) != 0 {
		t.Error("another address waits, or the same does not, or it never ends")
	}
	for range MaxAttempts {
		a.Failed("2001:db8::1", now)
	}
	if a.Wait("2001:db8::ffff", now) == 0 || a.Wait("2001:db8:0:1::1", now) != 0 {
		t.Error("a network of 64 bits does not count as one address")
	}
	for i := range 3 * maxAddresses {
		a.Failed(fmt.Sprintf("10.%d.%d.%d", 1+i>>16, i>>8&255, i&255), now)
	}
	if len(a.by) > maxAddresses || a.Wait("10.0.0.1", now) == 0 {
		t.Errorf("%d addresses are kept; the one that guesses most was forgotten: %t", len(a.by), a.Wait("10.0.0.1", now) == 0)
	}
	for i := range maxAddresses {
		a.Failed(fmt.Sprintf("10.200.%d.%d", i>>8, i&255), now.Add(time.Hour))
	}
	if _, kept := a.by[prefixOf("10.0.0.1")]; kept || len(a.by) > maxAddresses {
		t.Errorf("%d addresses are kept an hour later, the old ones among them: %t", len(a.by), kept)
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add(aJWKS("k"))
	f.Add([]byte(`{"kty":"oct","k":"c2VjcmV0","kid":"x"}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"","y":""},null,1,{}]}`))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		k, err := ParseKeys(raw)
		if (err == nil) != (k != nil && len(k.all) > 0) || k != nil && len(k.all) > maxKeys {
			t.Errorf("%v %v", k, err)
		}
		for _, id := range k.IDs() {
			k.of(id)
		}
	})
}

// FuzzCheckToken: nothing but a token that the key has signed is let in.
func FuzzCheckToken(f *testing.F) {
	keys, err := ParseKeys(aJWKS("k"))
	if err != nil {
		f.Fatal(err)
	}
	good := aToken(map[string]any{"iss": "uaa", "aud": "hm", "exp": now.Add(time.Hour).Unix(), "scope": "hm.admin", "sub": "x"})
	for _, seed := range []string{good, good + "x", "a.b.c", "..", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"} {
		f.Add(seed)
	}
	signed := good[:strings.LastIndexByte(good, '.')]
	f.Fuzz(func(t *testing.T, token string) {
		rules := TokenRules{Issuer: "uaa", Audience: "hm"}
		who, refused := rules.Check(token, keys, now)
		if refused == nil && !strings.HasPrefix(strings.TrimSpace(token), signed) || refused != nil && who != (Principal{}) {
			t.Errorf("%q is let in as %+v, %+v", token, who, refused)
		}
	})
}

// FuzzParseClaims: claims that can be read are within their limits.
func FuzzParseClaims(f *testing.F) {
	for _, seed := range []string{`{"iss":"a","aud":["b"],"exp":1,"scope":"x y"}`, `{"exp":1e400}`, `{"exp":null}`, `{"aud":[1]}`, `[]`, `null`, `{"EXP":1}`, `{"exp":1,"exp":2}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := parseClaims(raw)
		if err == nil && (len(c.name()) > maxName || len(c.audience) > maxScopes || c.expires.Year() > 9999) {
			t.Errorf("%q gives %+v", raw, c)
		}
	})
}
