package api

import (
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hm/internal/access"
	"hm/internal/sampled"
)

// KeyRing has the public keys of the issuer of JWTs: *keyring.Ring.
type KeyRing interface {
	// Keys gives the keys that are known; nil: none yet.
	Keys() *access.Keys
	// Renew gets the keys again, unless that was done a moment ago, because a token names one that is not known. It
	// returns when they are there, or soon.
	Renew()
}

// door decides who is let in. It is safe for concurrent use.
type door struct {
	policy *access.Policy
	keys   KeyRing // nil: no JWTs
	log    *sampled.Log

	mu       sync.Mutex
	attempts access.Attempts
	refused  map[access.Reason]*atomic.Uint64 // does not change
}

func newDoor(o Options) *door {
	d := &door{policy: access.New(o.ways()), keys: o.JWT.Keys, refused: map[access.Reason]*atomic.Uint64{}}
	d.log = sampled.New(o.Logger, time.Minute, 5)
	for _, reason := range access.Reasons() {
		d.refused[reason] = new(atomic.Uint64)
	}
	return d
}

// shown gives what a request shows of who sends it.
func shown(r *http.Request) access.Shown {
	s := access.Shown{Authorization: r.Header.Values("Authorization")}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 && len(r.TLS.VerifiedChains[0]) > 0 {
		s.Certificate = r.TLS.VerifiedChains[0][0]
	}
	return s
}

// ask says who sends a request, or why it is not let in, and then how long its address must wait.
func (d *door) ask(r *http.Request, now time.Time) (access.Principal, *access.Refusal, time.Duration) {
	creds, from := shown(r), addressOf(r)
	wait := d.wait(from, now)
	if wait > 0 && creds.Guessable() { // not looked at: else the answer would tell which guess is right
		return access.Principal{}, d.refuse(r, &access.Refusal{Reason: access.ReasonLimited, Text: "too many wrong credentials came from this address"}), wait
	}
	who, refused := d.policy.Decide(creds, d.known(), now)
	if refused != nil && refused.Reason == access.ReasonKey && d.keys != nil {
		d.keys.Renew()
		who, refused = d.policy.Decide(creds, d.known(), now)
	}
	if refused == nil {
		who.From = from
		return who, nil, 0
	}
	if refused.Guess {
		d.mu.Lock()
		d.attempts.Failed(from, now)
		d.mu.Unlock()
	}
	if wait > 0 && refused.Guess {
		refused = &access.Refusal{Reason: access.ReasonLimited, Text: "too many wrong credentials came from this address"}
	} else {
		wait = 0
	}
	return access.Principal{}, d.refuse(r, refused), wait
}

func (d *door) known() *access.Keys {
	if d.keys == nil {
		return nil
	}
	return d.keys.Keys()
}

func (d *door) wait(address string, now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.attempts.Wait(address, now)
}

// refuse counts and logs a refusal. The log has no credentials.
func (d *door) refuse(r *http.Request, refused *access.Refusal) *access.Refusal {
	d.refused[refused.Reason].Add(1)
	if refused.Reason != access.ReasonMissing { // a browser asks without credentials first
		d.log.Log(slog.LevelWarn, string(refused.Reason), "the API did not let somebody in", func() []any {
			return []any{"reason", refused.Reason, "detail", refused.Text, "from", addressOf(r)}
		})
	}
	return refused
}

// guard lets in those who show the right credentials, and says who they are. The health checks need none: load balancers
// ask them, and they reveal nothing. What a role may do is decided in wrap.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" || isLetIn(r) {
			next.ServeHTTP(w, r)
			return
		}
		who, refused, wait := s.door.ask(r, time.Now())
		if refused != nil {
			s.turnAway(w, r, refused, wait)
			return
		}
		next.ServeHTTP(w, withPrincipal(r, who))
	})
}

// turnAway answers a request that is not let in.
func (s *Server) turnAway(w http.ResponseWriter, r *http.Request, refused *access.Refusal, wait time.Duration) {
	if wait > 0 {
		p := problem(http.StatusTooManyRequests, "too-many-attempts", refused.Text, fmt.Sprintf("wait %d s, then try again with the right ones", int(math.Ceil(wait.Seconds()))))
		p.retryAfter = wait
		refuse(w, r, p)
		return
	}
	if refused.Reason == access.ReasonKey && s.door.known() == nil {
		p := problem(http.StatusServiceUnavailable, "no-keys", "this node has not got the keys of the issuer of tokens yet", "see the log of hm; another node may have them")
		p.retryAfter = 5 * time.Second
		refuse(w, r, p)
		return
	}
	if s.door.policy.TakesPasswords() {
		w.Header().Add("WWW-Authenticate", `Basic realm="hm", charset="UTF-8"`)
	}
	if s.door.policy.TakesTokens() {
		challenge := `Bearer realm="hm"`
		if refused.Reason != access.ReasonMissing {
			challenge += `, error="invalid_token"`
		}
		w.Header().Add("WWW-Authenticate", challenge)
	}
	if r.URL.Path == bulkPath { // N40: with an empty body
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	refuse(w, r, problem(http.StatusUnauthorized, "unauthorized", refused.Text, s.door.hint()))
}

// hint says how to show credentials.
func (d *door) hint() string {
	var ways []string
	if d.policy.TakesPasswords() {
		ways = append(ways, "HM_USERNAME and HM_PASSWORD")
	}
	if d.policy.TakesTokens() {
		ways = append(ways, "HM_TOKEN")
	}
	if d.policy.TakesCertificates() {
		ways = append(ways, "HM_CERT and HM_KEY")
	}
	return "set " + strings.Join(ways, ", or ")
}

// forbid answers a request of somebody whose role is too low for it.
func (s *Server) forbid(w http.ResponseWriter, r *http.Request, needs access.Role) {
	who := principalOf(r)
	may := "may only read"
	if who.Role == access.None {
		may = "may not use this API"
	}
	hint := fmt.Sprintf("ask with credentials of the role %s", needs)
	if who.How == access.JWT {
		scope := access.ScopeRead
		if needs == access.Admin {
			scope = access.ScopeAdmin
		}
		hint = "the token needs the scope " + scope
		w.Header().Add("WWW-Authenticate", `Bearer realm="hm", error="insufficient_scope", scope=`+strconv.Quote(scope))
	}
	refuse(w, r, problem(http.StatusForbidden, "forbidden", fmt.Sprintf("%s %s, and this needs the role %s", who.Name, may, needs), hint))
}
