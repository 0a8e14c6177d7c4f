package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Ways are the ways in that a configuration opens. With none of them everybody is an admin.
type Ways struct {
	Username, Password         string // of an admin
	ReadUsername, ReadPassword string
	AdminToken, ReadToken      string
	Tokens                     *TokenRules // nil: no JWTs
	Certificates               bool        // every client, or with names and another way some, shows a certificate that it was asked for
	AdminNames, ReadNames      []string    // of certificates
}

// MinToken is the shortest token that a configuration may have, in bytes.
const MinToken = 16

// The names of those who show a token of the configuration.
const (
	nameAdminToken = "admin-token"
	nameReadToken  = "read-token"
)

// Policy decides. It is safe for concurrent use.
type Policy struct {
	passwords []password
	tokens    []token
	jwts      *TokenRules

	certificates bool
	names        map[string]Role // empty: a certificate is needed, and has no role of its own beside another way
}

type password struct {
	name string
	both [2 * sha256.Size]byte // the digests of the user name and of the password
	role Role
}

type token struct {
	name   string
	digest [sha256.Size]byte
	role   Role
}

// New makes a policy.
func New(w Ways) *Policy {
	p := &Policy{jwts: w.Tokens, certificates: w.Certificates, names: map[string]Role{}}
	for _, one := range []struct {
		user, secret string
		role         Role
	}{{w.Username, w.Password, Admin}, {w.ReadUsername, w.ReadPassword, Read}} {
		if one.user != "" && one.secret != "" {
			p.passwords = append(p.passwords, password{cleanName(one.user), digests(one.user, one.secret), one.role})
		}
	}
	if w.AdminToken != "" {
		p.tokens = append(p.tokens, token{nameAdminToken, sha256.Sum256([]byte(w.AdminToken)), Admin})
	}
	if w.ReadToken != "" {
		p.tokens = append(p.tokens, token{nameReadToken, sha256.Sum256([]byte(w.ReadToken)), Read})
	}
	for _, n := range w.ReadNames {
		p.names[n] = Read
	}
	for _, n := range w.AdminNames {
		p.names[n] = Admin
	}
	return p
}

// digests gives digests of equal length, whose comparison reveals nothing, not even a length.
func digests(user, secret string) (both [2 * sha256.Size]byte) {
	u, s := sha256.Sum256([]byte(user)), sha256.Sum256([]byte(secret))
	copy(both[:], u[:])
	copy(both[len(u):], s[:])
	return both
}

// Open reports whether everybody is an admin.
func (p *Policy) Open() bool { return !p.certificates && !p.header() }

// header reports whether the header Authorization is a way in.
func (p *Policy) header() bool { return p.TakesPasswords() || p.TakesTokens() }

// TakesPasswords reports whether basic authentication is a way in.
func (p *Policy) TakesPasswords() bool { return len(p.passwords) > 0 }

// TakesTokens reports whether bearer tokens are a way in.
func (p *Policy) TakesTokens() bool { return len(p.tokens) > 0 || p.jwts != nil }

// TakesCertificates reports whether a certificate alone is a way in.
func (p *Policy) TakesCertificates() bool { return p.certificates && (len(p.names) > 0 || !p.header()) }

// NeedsCertificate reports whether every client must show a certificate.
func (p *Policy) NeedsCertificate() bool {
	return p.certificates && (len(p.names) == 0 || !p.header())
}

// Shown is what a request shows of who sends it.
type Shown struct {
	Authorization []string          // the values of the header
	Certificate   *x509.Certificate // that the client proved to have; nil: none
}

// Guessable reports whether it shows a password: a person may have chosen it, so it could be guessed.
func (s Shown) Guessable() bool {
	return slices.ContainsFunc(s.Authorization, func(a string) bool { scheme, _ := cutScheme(a); return scheme != "bearer" })
}

// Refusal is why a request is not let in.
type Refusal struct {
	Reason Reason
	Text   string // for people; it has no secret
	Guess  bool   // it may be an attempt to guess a secret
	KeyID  string // with ReasonKey: the id of the key that is not known
}

// Reason is a word for why a request was not let in.
type Reason string

// The reasons.
const (
	ReasonMissing   Reason = "missing"   // no credentials
	ReasonMalformed Reason = "malformed" // they cannot be read
	ReasonWrong     Reason = "wrong"     // no such user, password or token
	ReasonSize      Reason = "size"      // a token is too large
	ReasonAlgorithm Reason = "algorithm" // a JWT is not signed in a way that hm accepts
	ReasonKey       Reason = "key"       // a JWT is signed with a key that hm does not know
	ReasonSignature Reason = "signature"
	ReasonIssuer    Reason = "issuer"
	ReasonAudience  Reason = "audience"
	ReasonExpired   Reason = "expired"
	ReasonEarly     Reason = "early"   // a JWT is not valid yet
	ReasonLimited   Reason = "limited" // too many wrong credentials came from the address
)

// Reasons gives every reason.
func Reasons() []Reason {
	return []Reason{
		ReasonMissing, ReasonMalformed, ReasonWrong, ReasonSize, ReasonAlgorithm, ReasonKey, ReasonSignature, ReasonIssuer,
		ReasonAudience, ReasonExpired, ReasonEarly, ReasonLimited,
	}
}

// Decide says who sends a request, or why it is not let in. Whoever is let in may still have a role that is too low. keys
// are those of JWTs; nil: none are known.
//
// What the header Authorization has counts, whatever the certificate says: a wrong password is refused, not overlooked.
func (p *Policy) Decide(s Shown, keys *Keys, now time.Time) (Principal, *Refusal) {
	switch {
	case p.Open():
		return Principal{Role: Admin, How: Open}, nil
	case !p.header():
		return p.certificate(s.Certificate)
	case len(s.Authorization) == 0:
		if who, refused := p.certificate(s.Certificate); refused == nil && who.Role > None && p.TakesCertificates() {
			return who, nil
		}
		return Principal{}, &Refusal{Reason: ReasonMissing, Text: "credentials are missing"}
	case len(s.Authorization) > 1:
		return Principal{}, malformed("the header Authorization is there %d times", len(s.Authorization))
	}
	scheme, rest := cutScheme(s.Authorization[0])
	switch {
	case scheme == "basic" && p.TakesPasswords():
		return p.password(rest)
	case scheme == "bearer" && p.TakesTokens():
		return p.token(rest, keys, now)
	}
	return Principal{}, &Refusal{Reason: ReasonWrong, Guess: true, Text: "this node does not take credentials of this scheme"}
}

func malformed(format string, args ...any) *Refusal {
	return &Refusal{Reason: ReasonMalformed, Guess: true, Text: fmt.Sprintf(format, args...)}
}

// cutScheme gives the scheme of a value of Authorization in lower case, and what follows.
func cutScheme(value string) (scheme, rest string) {
	scheme, rest, _ = strings.Cut(strings.Trim(value, " \t"), " ")
	return strings.ToLower(scheme), strings.Trim(rest, " \t")
}

func (p *Policy) password(encoded string) (Principal, *Refusal) {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	user, secret, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok {
		return Principal{}, malformed("the user name and the password cannot be read")
	}
	shown := digests(user, secret)
	var who Principal
	for i := range p.passwords { // all of them, so that the time does not tell which one fits
		if one := &p.passwords[i]; subtle.ConstantTimeCompare(shown[:], one.both[:]) == 1 {
			who = Principal{Name: one.name, Role: one.role, How: Password}
		}
	}
	if who.Role == None {
		return who, &Refusal{Reason: ReasonWrong, Guess: true, Text: "the user name or the password is wrong"}
	}
	return who, nil
}

func (p *Policy) token(shown string, keys *Keys, now time.Time) (Principal, *Refusal) {
	if len(shown) > MaxToken {
		return Principal{}, &Refusal{Reason: ReasonSize, Guess: true, Text: fmt.Sprintf("the token has %d bytes, at most %d are allowed", len(shown), MaxToken)}
	}
	digest := sha256.Sum256([]byte(shown))
	var who Principal
	for i := range p.tokens {
		if one := &p.tokens[i]; subtle.ConstantTimeCompare(digest[:], one.digest[:]) == 1 {
			who = Principal{Name: one.name, Role: one.role, How: Token}
		}
	}
	switch {
	case who.Role > None:
		return who, nil
	case p.jwts != nil && (len(p.tokens) == 0 || strings.Count(shown, ".") == 2):
		return p.jwts.Check(shown, keys, now)
	}
	return who, &Refusal{Reason: ReasonWrong, Guess: true, Text: "the token is wrong"}
}

// certificate gives who shows a certificate. Without names every certificate that the authority signed is an admin's.
func (p *Policy) certificate(c *x509.Certificate) (Principal, *Refusal) {
	if c == nil {
		return Principal{}, &Refusal{Reason: ReasonMissing, Text: "a client certificate is missing"}
	}
	names := namesOf(c)
	who := Principal{How: Certificate}
	if len(names) > 0 {
		who.Name = cleanName(names[0])
	}
	if len(p.names) == 0 {
		who.Role = Admin
		return who, nil
	}
	for _, n := range names {
		if role := p.names[n]; role > who.Role {
			who.Name, who.Role = cleanName(n), role
		}
	}
	return who, nil
}

// namesOf gives the names that a certificate is for: its common name, then its alternative names.
func namesOf(c *x509.Certificate) (names []string) {
	if c.Subject.CommonName != "" {
		names = append(names, c.Subject.CommonName)
	}
	names = append(append(names, c.DNSNames...), c.EmailAddresses...)
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	return names
}
