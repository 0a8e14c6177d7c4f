package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
)

// credentials are the user name and password of basic authentication. They are compared by digest, so that the time
// of a comparison reveals nothing, not even a length.
type credentials struct {
	needed         bool
	user, password [sha256.Size]byte
}

func newCredentials(user, password string) credentials {
	return credentials{needed: user != "", user: sha256.Sum256([]byte(user)), password: sha256.Sum256([]byte(password))}
}

func (c credentials) ok(r *http.Request) bool {
	user, password, given := r.BasicAuth()
	u, p := sha256.Sum256([]byte(user)), sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(u[:], c.user[:])&subtle.ConstantTimeCompare(p[:], c.password[:]) == 1 && given
}

// guard refuses requests without the right credentials. The health checks need none: load balancers ask them, and they
// reveal nothing.
func (c credentials) guard(next http.Handler) http.Handler {
	if !c.needed {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" || c.ok(r) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="hm", charset="UTF-8"`)
		if r.URL.Path == bulkPath { // N40: with an empty body
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		refuse(w, r, problem(http.StatusUnauthorized, "unauthorized", "user name and password are missing or wrong", "set HM_USERNAME and HM_PASSWORD"))
	})
}
