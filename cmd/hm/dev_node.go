package main

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

// devNode is one node of hm dev, which can be closed and opened again on the same data and under the same addresses.
type devNode struct {
	cfg    config.Config // api.listen is the real address once it has been open
	client *api.Client
	logger *slog.Logger

	mu     sync.Mutex
	node   *server.Node // nil while it is closed
	backAt time.Time    // when a closed one is to be opened again
}

// openDevNode opens a node for the first time. The caller must close it.
func openDevNode(cfg config.Config, logger *slog.Logger) (*devNode, error) {
	n := &devNode{cfg: cfg, logger: logger}
	if err := n.open(); err != nil {
		return nil, err
	}
	n.cfg.API.Listen = n.node.APIAddr() // before anyone else knows n
	var err error
	n.client, err = api.NewClient(api.ClientOptions{Addr: n.url(), Username: cfg.API.Username, Password: cfg.API.Password, Timeout: devAskTimeout})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("asking the node's API: %w", err), n.close())
	}
	return n, nil
}

// devAskTimeout bounds one question to a node of the same process.
const devAskTimeout = 2 * time.Second

func (n *devNode) id() string  { return n.cfg.Node.ID }
func (n *devNode) url() string { return "http://" + n.cfg.API.Listen }

// open opens a closed node; it does nothing to an open one.
func (n *devNode) open() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.node != nil {
		return nil
	}
	opened, err := server.Open(n.cfg, server.Options{Version: readBuildInfo().Version, Logger: n.logger})
	if err != nil {
		return err
	}
	n.node, n.backAt = opened, time.Time{}
	return nil
}

// closeFor closes the node; once that is done it is due to be opened again after the given time.
func (n *devNode) closeFor(away time.Duration) error {
	err := n.close()
	n.delay(time.Now().Add(away))
	return err
}

// delay moves the time at which a closed node is to be opened again.
func (n *devNode) delay(back time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.backAt = back
}

// state tells whether the node is open and whether it leads, and if it is closed when it is to come back.
func (n *devNode) state() (open, leads bool, backAt time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.node == nil {
		return false, false, n.backAt
	}
	return true, n.node.Leads(), time.Time{}
}

// close ends the node and waits for it.
func (n *devNode) close() error {
	n.mu.Lock()
	open := n.node
	n.node, n.backAt = nil, time.Now().Add(devMaxAway)
	n.mu.Unlock()
	if n.client != nil {
		n.client.Close()
	}
	if open == nil {
		return nil
	}
	return open.Close()
}
