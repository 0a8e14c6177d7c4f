package sim

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// NATSOptions describe an embedded NATS server.
type NATSOptions struct {
	Port               int // on 127.0.0.1; 0 for a free one, which the server then keeps
	Username, Password string
	Token              string
}

// NATS is a NATS server on 127.0.0.1 in this process, for `hm dev` and for tests. Stop and Start make an outage: the
// server comes back on the same port. Its methods are safe for concurrent use.
type NATS struct {
	opts NATSOptions

	mu  sync.Mutex
	srv *server.Server // nil while stopped
}

// natsReady is how long a server may take to accept connections.
const natsReady = 10 * time.Second

// StartNATS starts a server and returns once it accepts connections.
func StartNATS(o NATSOptions) (*NATS, error) {
	if o.Port < 0 || o.Port > 65535 {
		return nil, fmt.Errorf("NATS port %d: it must be 0 to 65535", o.Port)
	}
	n := &NATS{opts: o}
	return n, n.Start()
}

// URL is where the server listens, also while it is stopped. It has no credentials.
func (n *NATS) URL() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return fmt.Sprintf("nats://127.0.0.1:%d", n.opts.Port)
}

// Start starts a stopped server on its former port. Starting a running server does nothing.
func (n *NATS) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.srv != nil {
		return nil
	}
	port := n.opts.Port
	if port == 0 {
		port = server.RANDOM_PORT
	} else if err := free(port); err != nil {
		return fmt.Errorf("embedded NATS: %w", err)
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: "hm-sim", Host: "127.0.0.1", Port: port,
		Username: n.opts.Username, Password: n.opts.Password, Authorization: n.opts.Token,
		MaxPayload: 8 << 20, MaxPending: 64 << 20, NoLog: true, NoSigs: true, NoSystemAccount: true,
	})
	if err != nil {
		return fmt.Errorf("embedded NATS: %w", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(natsReady) {
		srv.Shutdown()
		srv.WaitForShutdown()
		return fmt.Errorf("embedded NATS: no connections accepted on 127.0.0.1:%d after %s; is the port taken?",
			n.opts.Port, natsReady)
	}
	addr, ok := srv.Addr().(*net.TCPAddr)
	if !ok {
		srv.Shutdown()
		return errors.New("embedded NATS: it does not listen on a TCP address")
	}
	n.opts.Port, n.srv = addr.Port, srv
	return nil
}

// free returns an error if a port is taken, which the server itself does not report.
func free(port int) error {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	return l.Close()
}

// Stop closes every connection and returns once the server is down. Stopping a stopped server does nothing.
func (n *NATS) Stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.srv != nil {
		n.srv.Shutdown()
		n.srv.WaitForShutdown()
		n.srv = nil
	}
}
