// Package server runs one node of hm. It opens the node's parts, connects them, carries what one part notices to
// the others, and closes them in order. hm server runs one node in a process, hm dev several.
package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"hm/actual/feed"
	"hm/commands/ccpub"
	"hm/internal/access/keyring"
	"hm/internal/api"
	"hm/internal/bus"
	"hm/internal/cluster"
	"hm/internal/component"
	"hm/internal/dashboard"
	"hm/internal/journal"
	"hm/internal/reconcile"
	"hm/internal/tlsfiles"
)

// Options are what a node needs beside its configuration.
type Options struct {
	Version string // of this program; shown in the status and told to the peers
	Logger  *slog.Logger
	// Sandbox is the simulated Cloud Foundry that the dashboard offers to change; nil: there is none.
	Sandbox dashboard.Sandbox
}

// Node is one running hm node.
type Node struct {
	version  string
	journal  *journal.Journal
	cluster  *cluster.Node
	link     *bus.Link
	marker   *bus.Marker // measures how late the link is
	feed     *feed.Feed
	posts    posts // heartbeats over HTTPS
	source   Source
	intake   *reconcile.Intake
	loop     *reconcile.Loop
	api      *api.Server
	keys     *keyring.Ring // nil: no JWTs
	queries  *api.Queries  // what a Cloud Controller asks over NATS
	hook     *recorderHook
	handover *handover
	events   *ownEvents
	other    *otherHM         // nil: commands.mode is not shadow
	cc       *ccpub.Publisher // nil: commands go over NATS
	// certificates reads the files of all listeners and clients again when they change.
	certificates *tlsfiles.Watcher

	component atomic.Pointer[component.Component] // nil: compat.component is empty
	readTook  readTook

	readEnded atomic.Int64 // hm time at which this node last recorded a complete read

	watchTurns atomic.Uint64 // that the watch loop has begun
	pulse      pulse

	apiAddress string // where others reach the API; empty if they cannot
	cancel     context.CancelFunc
	owned      sync.WaitGroup // goroutines that Close waits for
	once       sync.Once
	closed     error // the result of Close
}

// APIAddr gives the address on which the node serves its API, with the real port.
func (n *Node) APIAddr() string { return n.api.Addr() }

// Leads reports whether the node leads the cluster.
func (n *Node) Leads() bool { return n.cluster.Leadership().Leader }

// Reload reads all certificates, keys and authorities now. They are also read by themselves when they change.
func (n *Node) Reload() { n.certificates.Reload() }

// Failed is closed when the node's own record cannot be used any more. Err then gives the reason; the caller should
// close the node.
func (n *Node) Failed() <-chan struct{} { return n.cluster.Failed() }

// Err gives the reason why the node failed, or nil.
func (n *Node) Err() error { return n.cluster.Err() }

// Close closes every part, the newest first, and waits until all have ended. Further calls give the same result.
func (n *Node) Close() error {
	n.once.Do(func() {
		n.cancel()
		var errs []error
		if c := n.component.Load(); c != nil { // it asks the API and the source
			errs = append(errs, c.Close())
		}
		if n.queries != nil {
			n.queries.Close()
		}
		if n.api != nil {
			errs = append(errs, n.api.Close())
		}
		if n.keys != nil { // the API asks it
			n.keys.Close()
		}
		errs = append(errs, n.posts.close())
		if n.feed != nil {
			n.feed.Close()
		}
		n.owned.Wait()
		if n.other != nil {
			n.other.close()
		}
		if n.link != nil {
			errs = append(errs, n.link.Close())
		}
		if n.cc != nil {
			n.cc.Close()
		}
		if n.source != nil {
			n.source.Close()
		}
		if n.cluster != nil {
			errs = append(errs, n.cluster.Close())
		}
		if n.journal != nil { // it takes in what the cluster applies
			errs = append(errs, n.journal.Close())
		}
		n.closed = errors.Join(errs...)
	})
	return n.closed
}

// own runs f in a goroutine that Close waits for.
func (n *Node) own(f func()) {
	n.owned.Add(1)
	go func() {
		defer n.owned.Done()
		f()
	}()
}
