package bus

import (
	"errors"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"

	"hm/internal/config/limits"
	"hm/internal/tlsfiles"
)

// address is one server: its URL with user and password, if any, and host:port to show.
type address struct{ url, shown, password string }

// parseServers reads the addresses. Its errors give a server's number in the list and nothing of its text, which may be
// a misplaced password.
func parseServers(list []string) ([]address, error) {
	if len(list) == 0 {
		return nil, errors.New("nats.servers is empty: give at least one, like nats://10.0.0.1:4222")
	}
	servers := make([]address, 0, len(list))
	for i, text := range list {
		s, err := parseServer(text)
		if err != nil {
			return nil, fmt.Errorf("nats.servers: number %d %w", i+1, err)
		}
		servers = append(servers, s)
	}
	return servers, nil
}

func parseServer(text string) (address, error) {
	u, err := limits.NATSServer(text)
	if err != nil {
		return address{}, err
	}
	s := address{url: u.String(), shown: u.Host}
	if u.User != nil {
		s.password, _ = u.User.Password()
		if s.password == "" {
			s.password = u.User.Username() // nats://TOKEN@host
		}
	}
	return s, nil
}

// authOptions checks the credentials once, so that a wrong path stops the start. Each attempt reads nats.creds again, so
// that renewed ones are used.
func authOptions(o Options) ([]nats.Option, error) {
	var opts []nats.Option
	ways := 0
	if o.Username != "" || o.Password != "" {
		if o.Username == "" {
			return nil, errors.New("nats.password is set and nats.username is not: set both")
		}
		ways++
		opts = append(opts, nats.UserInfo(o.Username, o.Password))
	}
	if o.Token != "" {
		ways++
		opts = append(opts, nats.Token(o.Token))
	}
	if o.Creds != "" {
		ways++
		if _, err := os.Stat(o.Creds); err != nil {
			return nil, fmt.Errorf("nats.creds: %w", err)
		}
		opts = append(opts, nats.UserCredentials(o.Creds))
	}
	if ways > 1 {
		return nil, errors.New("nats: username, token and creds exclude each other: set one of them")
	}
	return opts, nil
}

// loadTLS reads the files, so that a wrong one stops the start; the set is nil if none is named. w reads them again.
func loadTLS(t TLS, w *tlsfiles.Watcher) (*tlsfiles.Set, error) {
	if t == (TLS{}) {
		return nil, nil
	}
	ca := tlsfiles.File{Key: "nats.tls.ca", Path: t.CA}
	cert := tlsfiles.File{Key: "nats.tls.cert", Path: t.Cert}
	key := tlsfiles.File{Key: "nats.tls.key", Path: t.Key}
	return w.Client("nats.tls", ca, cert, key)
}
