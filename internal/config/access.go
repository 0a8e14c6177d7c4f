package config

import (
	"net"
	"net/url"
	"slices"

	"hm/internal/config/limits"
)

// authenticates reports whether the API asks for credentials of some kind.
func (a API) authenticates() bool { return a.TLS.ClientCA != "" || a.admins() || a.readers() }

// admins reports whether some credentials beside certificates give the role admin.
func (a API) admins() bool {
	return a.Username != "" && a.Password != "" || a.AdminToken != "" || a.JWT.On()
}

// readers reports whether some credentials beside certificates and JWTs give the role read.
func (a API) readers() bool { return a.ReadUsername != "" && a.ReadPassword != "" || a.ReadToken != "" }

// access checks who may do what over the API.
func (v *validation) access() {
	a := v.config.API
	if a.ReadUsername != "" && a.ReadUsername == a.Username && v.good("api.username", "api.read_username") {
		v.add("api.read_username", "another user than api.username: one user has one role")
	}
	if a.ReadToken != "" && a.ReadToken == a.AdminToken && v.good("api.admin_token", "api.read_token") {
		v.add("api.read_token", "another token than api.admin_token: one token gives one role")
	}
	v.jwt()
	for _, k := range []struct {
		name string
		list []string
	}{{"api.tls.admin_names", a.TLS.AdminNames}, {"api.tls.read_names", a.TLS.ReadNames}} {
		if len(k.list) > 0 && a.TLS.ClientCA == "" && v.good(k.name, "api.tls.client_ca") {
			v.add("api.tls.client_ca", "a file, since %s is set: only names that an authority has signed count", k.name)
		}
	}
	for _, name := range a.TLS.ReadNames {
		if slices.Contains(a.TLS.AdminNames, name) && v.good("api.tls.read_names") {
			v.add("api.tls.read_names", "names that are not in api.tls.admin_names, as %.100q is: one name gives one role", name)
		}
	}
}

func (v *validation) jwt() {
	j := v.config.API.JWT
	if !v.good("api.jwt.keys", "api.jwt.jwks_url", "api.jwt.issuer", "api.jwt.ca") {
		return
	}
	u, err := url.Parse(j.JWKSURL)
	switch {
	case j.Keys != "" && j.JWKSURL != "":
		v.add("api.jwt.jwks_url", "nothing, since api.jwt.keys is set: the keys come from one place")
	case j.On() && j.Issuer == "":
		v.add("api.jwt.issuer", "the issuer of the tokens, since JWTs are on: UAA shows it as issuer at /.well-known/openid-configuration")
	case !j.On() && j.Issuer != "":
		v.add("api.jwt.jwks_url", "a URL, or api.jwt.keys a file, since api.jwt.issuer is set: without keys no token can be checked")
	case j.CA != "" && (err != nil || u.Scheme != "https"):
		v.add("api.jwt.ca", "nothing, since api.jwt.jwks_url is no https:// URL")
	case j.JWKSURL != "" && err == nil && u.Scheme == "http" && !limits.Loopback(net.JoinHostPort(u.Hostname(), "80")):
		v.add("api.jwt.jwks_url", "an https:// URL: whoever is on the way could give hm other keys, and make himself an admin")
	}
}
