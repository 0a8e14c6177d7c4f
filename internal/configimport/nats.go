package configimport

import (
	"net/url"
)

// natsServer is one server of the message bus.
type natsServer struct {
	host           string // host:port
	tls            bool
	user, password string
	token          string
}

// setNATS sets nats.* from the servers. hm has one user for all servers, so users that differ go into the addresses. It
// returns the keys that it set.
func (im *importing) setNATS(servers []natsServer, from string) []string {
	same := true
	for _, s := range servers {
		same = same && s.user == servers[0].user && s.password == servers[0].password && s.token == servers[0].token
	}
	var list []any
	for _, s := range servers {
		u := url.URL{Scheme: "nats", Host: s.host}
		if s.tls {
			u.Scheme = "tls"
		}
		switch {
		case same:
		case s.token != "":
			u.User = url.User(s.token)
		case s.user != "":
			u.User = url.UserPassword(s.user, s.password)
		}
		list = append(list, u.String())
	}
	im.set("nats.servers", list, from)
	keys := []string{"nats.servers"}
	if !same {
		im.warn("%s: the servers have different users: nats.servers names each of them in its address", from)
		return keys
	}
	if s := servers[0]; s.token != "" {
		im.set("nats.token", s.token, from)
		keys = append(keys, "nats.token")
	} else if s.user != "" {
		im.set("nats.username", s.user, from)
		im.set("nats.password", s.password, from)
		keys = append(keys, "nats.username", "nats.password")
	}
	return keys
}
