// Package basicauth checks the user name and password of HTTP basic authentication.
package basicauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
)

// Credentials are a user name and a password. They are compared by digest, so that the time of a comparison reveals
// nothing, not even a length.
type Credentials struct{ user, password [sha256.Size]byte }

// New makes credentials.
func New(user, password string) Credentials {
	return Credentials{user: sha256.Sum256([]byte(user)), password: sha256.Sum256([]byte(password))}
}

// OK reports whether a request has the credentials.
func (c Credentials) OK(r *http.Request) bool {
	user, password, given := r.BasicAuth()
	u, p := sha256.Sum256([]byte(user)), sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(u[:], c.user[:])&subtle.ConstantTimeCompare(p[:], c.password[:]) == 1 && given
}
