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
	Port               int // on 127.0.0.1; 0 for a free one, which it then keeps
	Username, Password string
	Token              string
}

// NATS is a NATS server on 127.0.0.1 in this process, for `hm dev` and for tests. Stop and Start make an outage
// of it: clients find it again on the same port. Its methods are safe for concurrent use.
type NATS struct {
	opts NATSOptions

	mu  sync.Mutex
	srv *server.Server // nil while stopped
}

// natsReady is how long a server may take until it accepts connections.
const natsReady = 10 * time.Second

// StartNATS starts a server and returns once it accepts connections.
func StartNATS(o NATSOptions) (*NATS, error) {
	if o.Port < 0 || o.Port > 65535 {
		return nil, fmt.Errorf("NATS port %d: it must be 0 to 65535", o.Port)
	}
	n := &NATS{opts: o}
	return n, n.Start()
}

// URL is where the server listens, running or not. It bears no credentials.
func (n *NATS) URL() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return fmt.Sprintf("nats://127.0.0.1:%d", n.opts.Port)
}

// Start starts a stopped server on the port that it had. Starting a running one does nothing.
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
	srv, err := server.NewServer(&server.Options{ServerName: "hm-sim", Host: "127.0.0.1", Port: port, Username: n.opts.Username, Password: n.opts.Password,
		Authorization: n.opts.Token, MaxPayload: 8 << 20, MaxPending: 64 << 20, NoLog: true, NoSigs: true, NoSystemAccount: true})
	if err != nil {
		return fmt.Errorf("embedded NATS: %w", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(natsReady) {
		srv.Shutdown()
		srv.WaitForShutdown()
		return fmt.Errorf("embedded NATS: it does not accept connections on 127.0.0.1:%d after %s; is the port taken?", n.opts.Port, natsReady)
	}
	addr, ok := srv.Addr().(*net.TCPAddr)
	if !ok {
		srv.Shutdown()
		return errors.New("embedded NATS: it listens on no TCP address")
	}
	n.opts.Port, n.srv = addr.Port, srv
	return nil
}

// free reports whether a port can be listened on; the server itself would only fall silent about it.
func free(port int) error {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	return l.Close()
}

// Stop cuts every client off and returns once the server is down. Stopping a stopped one does nothing.
func (n *NATS) Stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.srv != nil {
		n.srv.Shutdown()
		n.srv.WaitForShutdown()
		n.srv = nil
	}
}
