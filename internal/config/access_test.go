package config

import (
	"strings"
	"testing"
)

// TestAccess has the combinations of the ways in: each is allowed, or refused with the key.
func TestAccess(t *testing.T) {
	const token, other = "0123456789abcdef", "fedcba9876543210"
	for _, c := range []struct {
		name   string
		change func(*API)
		key    string // empty: it is allowed
	}{
		{"nothing", func(*API) {}, ""},
		{"all of it", func(a *API) {
			*a = API{Listen: "0.0.0.0:5155", Username: "amy", Password: "x", ReadUsername: "rob", ReadPassword: "y", AdminToken: token, ReadToken: other,
				JWT: JWT{JWKSURL: "https://uaa/token_keys", CA: "ca.pem", Issuer: "https://uaa/oauth/token", Audience: "hm"},
				TLS: APITLS{Cert: "c", Key: "k", ClientCA: "ca", AdminNames: []string{"ops"}, ReadNames: []string{"prometheus"}}}
		}, ""},
		{"a token beyond loopback", func(a *API) { a.Listen, a.ReadToken = "0.0.0.0:5155", token }, ""},
		{"JWTs beyond loopback", func(a *API) { a.Listen, a.JWT.Keys, a.JWT.Issuer = "0.0.0.0:5155", "keys.pem", "uaa" }, ""},
		{"nothing beyond loopback", func(a *API) { a.Listen = "0.0.0.0:5155" }, "api.listen"},
		{"a short token", func(a *API) { a.AdminToken = token[1:] }, "api.admin_token"},
		{"a token that no header carries", func(a *API) { a.ReadToken = token + " x" }, "api.read_token"},
		{"one token, two roles", func(a *API) { a.AdminToken, a.ReadToken = token, token }, "api.read_token"},
		{"one user, two roles", func(a *API) { a.Username, a.Password, a.ReadUsername, a.ReadPassword = "amy", "x", "amy", "y" }, "api.read_username"},
		{"a reader without a password", func(a *API) { a.ReadUsername = "rob" }, "api.read_password"},
		{"a password without a reader", func(a *API) { a.ReadPassword = "x" }, "api.read_username"},
		{"a reader's name with a colon", func(a *API) { a.ReadUsername, a.ReadPassword = "a:b", "x" }, "api.read_username"},
		{"two places of keys", func(a *API) { a.JWT.Keys, a.JWT.JWKSURL, a.JWT.Issuer = "k", "https://uaa", "uaa" }, "api.jwt.jwks_url"},
		{"keys without an issuer", func(a *API) { a.JWT.Keys = "k" }, "api.jwt.issuer"},
		{"an issuer without keys", func(a *API) { a.JWT.Issuer = "uaa" }, "api.jwt.jwks_url"},
		{"no audience", func(a *API) { a.JWT.Keys, a.JWT.Issuer, a.JWT.Audience = "k", "uaa", "" }, "api.jwt.audience"},
		{"keys over plain HTTP", func(a *API) { a.JWT.JWKSURL, a.JWT.Issuer = "http://uaa.example.com/token_keys", "uaa" }, "api.jwt.jwks_url"},
		{"keys over plain HTTP on loopback", func(a *API) { a.JWT.JWKSURL, a.JWT.Issuer = "http://127.0.0.1:8080/token_keys", "uaa" }, ""},
		{"an authority for a file", func(a *API) { a.JWT.Keys, a.JWT.Issuer, a.JWT.CA = "k", "uaa", "ca" }, "api.jwt.ca"},
		{"a URL with a password", func(a *API) { a.JWT.JWKSURL, a.JWT.Issuer = "https://x:y@uaa", "uaa" }, "api.jwt.jwks_url"},
		{"names without an authority", func(a *API) { a.TLS.ReadNames = []string{"x"} }, "api.tls.client_ca"},
		{"one name, two roles", func(a *API) {
			a.TLS = APITLS{Cert: "c", Key: "k", ClientCA: "ca", AdminNames: []string{"x"}, ReadNames: []string{"x"}}
		}, "api.tls.read_names"},
		{"an empty name", func(a *API) { a.TLS = APITLS{Cert: "c", Key: "k", ClientCA: "ca", AdminNames: []string{" "}} }, "api.tls.admin_names"},
	} {
		cfg := Default()
		c.change(&cfg.API)
		err := cfg.Validate()
		if c.key == "" && err != nil || c.key != "" && (err == nil || !strings.Contains(err.Error(), c.key)) {
			t.Errorf("%s: %v, want an error of %q", c.name, err, c.key)
		}
		if err != nil && (strings.Contains(err.Error(), token) || strings.Contains(err.Error(), token[1:])) {
			t.Errorf("%s: the error has the token: %v", c.name, err)
		}
	}
}
