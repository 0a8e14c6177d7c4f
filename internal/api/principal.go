package api

import (
	"context"
	"net"
	"net/http"
	"net/url"

	"hm/internal/access"
)

// principalKey is the key of the principal in the context of a request. Nothing outside this process can set it.
type principalKey struct{}

func withPrincipal(r *http.Request, who access.Principal) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), principalKey{}, who))
}

// principalOf gives who sent a request. Nobody, with no role, has sent one that was not let in.
func principalOf(r *http.Request) access.Principal {
	who, _ := r.Context().Value(principalKey{}).(access.Principal)
	return who
}

// isLetIn reports whether it was decided who sent a request.
func isLetIn(r *http.Request) bool {
	_, ok := r.Context().Value(principalKey{}).(access.Principal)
	return ok
}

// MayChange reports whether the one who sent r, which this API has let in, may change things.
func MayChange(r *http.Request) bool { return principalOf(r).Role >= access.Admin }

// addressOf gives the address that a request came from, without the port.
func addressOf(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return r.RemoteAddr
}

// headerPrincipal tells the leader who sent a write that another node forwards. Only the cluster's own port accepts it.
const headerPrincipal = "X-Hm-Principal"

const maxPrincipal = 2 << 10 // bytes of the header

// formatPrincipal gives the value of headerPrincipal.
func formatPrincipal(who access.Principal) string {
	return url.Values{"role": {who.Role.String()}, "how": {string(who.How)}, "name": {who.Name}, "from": {who.From}}.Encode()
}

// parsePrincipal reads what formatPrincipal gives.
func parsePrincipal(value string) (access.Principal, bool) {
	if value == "" || len(value) > maxPrincipal {
		return access.Principal{}, false
	}
	v, err := url.ParseQuery(value)
	if err != nil || len(v) != 4 {
		return access.Principal{}, false
	}
	one := func(key string) (string, bool) { list := v[key]; return v.Get(key), len(list) == 1 }
	role, ok1 := one("role")
	how, ok2 := one("how")
	name, ok3 := one("name")
	from, ok4 := one("from")
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return access.Principal{}, false
	}
	return access.NewPrincipal(name, role, how, from)
}
