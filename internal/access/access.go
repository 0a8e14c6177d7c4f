// Package access decides who may do what: whose credentials a request shows, and which role that gives. It reads no
// file, asks no server and knows no clock, so that every decision can be tested as a function.
package access

import "strings"

// Role is what a principal may do. A higher role includes the lower ones.
type Role uint8

// The roles.
const (
	None  Role = iota // nothing but the health checks
	Read              // look at everything, change nothing
	Admin             // change things, and take recordings, snapshots and profiles
)

// String gives the word for the role.
func (r Role) String() string {
	switch r {
	case None:
		return "none"
	case Read:
		return "read"
	case Admin:
		return "admin"
	}
	return "unknown"
}

// ParseRole reads what String gives.
func ParseRole(text string) (Role, bool) {
	for _, r := range []Role{None, Read, Admin} {
		if r.String() == text {
			return r, true
		}
	}
	return None, false
}

// How says by what a principal is known.
type How string

// The ways in.
const (
	Open        How = "open" // the node asks for no credentials
	Password    How = "password"
	Token       How = "token" // one of those in the configuration
	JWT         How = "jwt"
	Certificate How = "certificate"
)

// known reports whether h is one of the ways in.
func (h How) known() bool {
	switch h {
	case Open, Password, Token, JWT, Certificate:
		return true
	}
	return false
}

// Principal is who asks.
type Principal struct {
	Name string // empty: the node asks for no credentials
	Role Role
	How  How
	From string // the address that the request came from; at a node that got it forwarded, the one at the first node
	Via  string // the node that forwarded the request; empty: it came to this node
}

// maxName is the longest name of a principal, in bytes.
const maxName = 128

// cleanName makes a name printable and short: it goes into the history and the log.
func cleanName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0xfffd || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(name, "?"))
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "")
	}
	return name
}

// maxFrom is the longest address of a principal, in bytes.
const maxFrom = 64

// NewPrincipal makes a principal of texts that another node sent.
func NewPrincipal(name, role, how, from string) (Principal, bool) {
	parsed, ok := ParseRole(role)
	if !ok || !How(how).known() || (name == "") != (How(how) == Open) || len(name) > maxName || len(from) > maxFrom ||
		cleanName(name) != name || cleanName(from) != from {
		return Principal{}, false
	}
	return Principal{Name: name, Role: parsed, How: How(how), From: from}, true
}
