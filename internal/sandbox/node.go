package sandbox

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"hm/internal/api"
	"hm/internal/config"
	"hm/internal/server"
)

// node is one node of the sandbox. It can be closed, and opened again on the same data and the same addresses.
type node struct {
	cfg     config.Config // api.listen is the real address once the node has been open
	version string
	panel   *panel
	client  *api.Client
	logger  *slog.Logger

	mu     sync.Mutex
	server *server.Node // nil while the node is closed
	backAt time.Time    // when to open a closed node again
}

// openNode opens a node for the first time. The caller must close it.
func openNode(cfg config.Config, version string, p *panel, logger *slog.Logger) (*node, error) {
	n := &node{cfg: cfg, version: version, panel: p, logger: logger}
	if err := n.open(); err != nil {
		return nil, err
	}
	n.cfg.API.Listen = n.server.APIAddr() // n is not shared yet
	var err error
	n.client, err = api.NewClient(api.ClientOptions{
		Addr: n.url(), Username: cfg.API.Username, Password: cfg.API.Password, Timeout: requestTimeout,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connecting to the node's API: %w", err), n.close())
	}
	return n, nil
}

// requestTimeout bounds one request to a node, which runs in the same process.
const requestTimeout = 2 * time.Second

func (n *node) id() string  { return n.cfg.Node.ID }
func (n *node) url() string { return "http://" + n.cfg.API.Listen }

// open opens a closed node. It does nothing to an open one.
func (n *node) open() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server != nil {
		return nil
	}
	opened, err := server.Open(n.cfg, server.Options{Version: n.version, Logger: n.logger, Sandbox: n.panel})
	if err != nil {
		return err
	}
	n.server, n.backAt = opened, time.Time{}
	return nil
}

// closeFor closes the node. It is due to be opened again after the given time.
func (n *node) closeFor(away time.Duration) error {
	err := n.close()
	n.setBackAt(time.Now().Add(away))
	return err
}

// setBackAt changes when to open a closed node again.
func (n *node) setBackAt(t time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.backAt = t
}

// state returns whether the node is open and whether it leads. For a closed node, backAt is when to open it again.
func (n *node) state() (open, leads bool, backAt time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server == nil {
		return false, false, n.backAt
	}
	return true, n.server.Leads(), time.Time{}
}

// close closes the node and waits for it.
func (n *node) close() error {
	n.mu.Lock()
	open := n.server
	n.server, n.backAt = nil, time.Now().Add(maxNodeAway)
	n.mu.Unlock()
	if n.client != nil {
		n.client.Close()
	}
	if open == nil {
		return nil
	}
	return open.Close()
}
