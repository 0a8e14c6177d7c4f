//go:build !hm_future

package cluster

// What a version from the future adds: see future.go. This version adds nothing.
type futureMessage struct{}

var fromFuture futureMessage

func (n *Node) startFuture() {}
