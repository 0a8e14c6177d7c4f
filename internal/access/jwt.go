package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// TokenRules say which JWTs are accepted.
type TokenRules struct {
	Issuer   string // that the claim iss must be
	Audience string // that the claim aud must have
}

// The scopes that give a role.
const (
	ScopeRead  = "hm.read"
	ScopeAdmin = "hm.admin"
)

// Limits on JWTs.
const (
	// MaxToken is the largest token, in bytes.
	MaxToken = 8 << 10
	// Leeway is how much the clocks of hm and of the issuer may differ.
	Leeway = 30 * time.Second

	maxScopes = 1000
)

// algorithms are the ways of signing that are accepted: with a private key of the issuer, of which hm has only the
// public one. So whoever knows what hm knows can sign nothing.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512,
}

// Check says who shows a JWT, or why it does not count.
func (t *TokenRules) Check(shown string, keys *Keys, now time.Time) (Principal, *Refusal) {
	if len(shown) > MaxToken {
		return Principal{}, &Refusal{Reason: ReasonSize, Guess: true, Text: fmt.Sprintf("the token has %d bytes, at most %d are allowed", len(shown), MaxToken)}
	}
	signed, err := jose.ParseSignedCompact(shown, algorithms)
	var algorithm *jose.ErrUnexpectedSignatureAlgorithm
	switch {
	case errors.As(err, &algorithm):
		return Principal{}, &Refusal{Reason: ReasonAlgorithm, Guess: true, Text: "the token is not signed in a way that hm accepts: RS256, ES256 and their kin"}
	case err != nil || len(signed.Signatures) != 1:
		return Principal{}, malformed("the token is neither one of this node's nor a signed JWT")
	}
	payload, refused := verified(signed, keys)
	if refused != nil {
		return Principal{}, refused
	}
	c, err := parseClaims(payload)
	if err != nil {
		return Principal{}, &Refusal{Reason: ReasonMalformed, Text: "the token's claims cannot be read: " + err.Error()}
	}
	if refused := t.fits(c, now); refused != nil {
		return Principal{}, refused
	}
	return Principal{Name: c.name(), Role: c.role(), How: JWT}, nil
}

// verified gives the payload of a token if a known key has signed it.
func verified(signed *jose.JSONWebSignature, keys *Keys) ([]byte, *Refusal) {
	h := signed.Signatures[0].Header
	if typ, ok := h.ExtraHeaders[jose.HeaderType].(string); ok && !strings.EqualFold(typ, "JWT") && !strings.EqualFold(typ, "at+jwt") {
		return nil, &Refusal{Reason: ReasonMalformed, Guess: true, Text: fmt.Sprintf("a token of the type %.20q is no access token", typ)}
	}
	candidates := keys.of(h.KeyID)
	if len(candidates) == 0 {
		return nil, &Refusal{Reason: ReasonKey, Guess: true, KeyID: h.KeyID, Text: fmt.Sprintf("hm knows no key %.60q of the issuer", h.KeyID)}
	}
	for _, k := range candidates {
		if !k.fits(jose.SignatureAlgorithm(h.Algorithm)) {
			continue
		}
		if payload, err := signed.Verify(k.public); err == nil {
			return payload, nil
		}
	}
	return nil, &Refusal{Reason: ReasonSignature, Guess: true, Text: "the token's signature is wrong"}
}

// fits checks whom a token is from and for, and when it counts.
func (t *TokenRules) fits(c claims, now time.Time) *Refusal {
	refused := func(reason Reason, format string, args ...any) *Refusal {
		return &Refusal{Reason: reason, Text: fmt.Sprintf(format, args...)}
	}
	switch {
	case c.issuer != t.Issuer:
		return refused(ReasonIssuer, "the token is from %.100q, and api.jwt.issuer is another", c.issuer)
	case !slices.Contains(c.audience, t.Audience):
		return refused(ReasonAudience, "the token is for others than api.jwt.audience %.100q", t.Audience)
	case c.expires.IsZero():
		return refused(ReasonExpired, "the token has no end (claim exp)")
	case !now.Before(c.expires.Add(Leeway)):
		return refused(ReasonExpired, "the token expired at %s", c.expires.UTC().Format(time.RFC3339))
	case now.Add(Leeway).Before(c.notBefore):
		return refused(ReasonEarly, "the token counts only from %s on", c.notBefore.UTC().Format(time.RFC3339))
	case now.Add(Leeway).Before(c.issued):
		return refused(ReasonEarly, "the token was issued at %s, which is yet to come", c.issued.UTC().Format(time.RFC3339))
	}
	return nil
}

// claims are what hm reads of a token.
type claims struct {
	issuer                     string
	audience                   []string
	expires, notBefore, issued time.Time // zero: not given
	scopes                     []string
	user, client, subject      string
}

// name is the user, or else the client. UAA gives each of them a name that is its own.
func (c claims) name() string {
	for _, name := range []string{c.user, c.client, c.subject} {
		if name != "" {
			return cleanName(name)
		}
	}
	return "nameless"
}

func (c claims) role() Role {
	switch {
	case slices.Contains(c.scopes, ScopeAdmin):
		return Admin
	case slices.Contains(c.scopes, ScopeRead):
		return Read
	}
	return None
}

// parseClaims reads claims by their exact names. Claims that hm does not use are ignored.
func parseClaims(payload []byte) (c claims, err error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(payload, &all); err != nil || all == nil {
		return c, errors.New("they are no JSON object")
	}
	texts := func(name string) (list []string) {
		raw, ok := all[name]
		if !ok || err != nil {
			return nil
		}
		var one string
		if json.Unmarshal(raw, &one) == nil {
			return []string{one}
		}
		if json.Unmarshal(raw, &list) != nil || len(list) > maxScopes {
			err = fmt.Errorf("%s is neither a text nor a list of at most %d texts", name, maxScopes)
		}
		return list
	}
	text := func(name string) (one string) {
		if raw, ok := all[name]; ok && err == nil && json.Unmarshal(raw, &one) != nil {
			err = fmt.Errorf("%s is no text", name)
		}
		return one
	}
	date := func(name string) (at time.Time) {
		raw, ok := all[name]
		if !ok || err != nil {
			return at
		}
		var seconds float64
		if string(raw) == "null" || json.Unmarshal(raw, &seconds) != nil || math.IsNaN(seconds) || seconds < 1 || seconds > 1e11 {
			err = fmt.Errorf("%s is no time in seconds", name)
			return at
		}
		return time.Unix(int64(seconds), 0)
	}
	c = claims{
		issuer: text("iss"), audience: texts("aud"), expires: date("exp"), notBefore: date("nbf"), issued: date("iat"),
		user: text("user_name"), client: text("client_id"), subject: text("sub"),
	}
	for _, s := range texts("scope") { // a list, as UAA has it, or one text with spaces, as RFC 9068 has it
		c.scopes = append(c.scopes, strings.Fields(s)...)
	}
	return c, err
}
