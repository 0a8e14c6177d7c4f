package sandbox

import (
	"fmt"
	"net"
	"time"
)

// peer is a node's identity in the cluster.
type peer struct {
	ID   string `json:"id"`
	Raft string `json:"raft"` // host:port
}

// newPeers names n nodes and finds addresses for them with listen, or with freeAddresses if it is nil.
func newPeers(n int, listen func(n int) ([]string, error)) ([]peer, error) {
	if listen == nil {
		listen = freeAddresses
	}
	addresses, err := listen(n)
	if err != nil {
		return nil, err
	}
	peers := make([]peer, n)
	for i := range peers {
		peers[i] = peer{ID: fmt.Sprintf("hm-%d", i), Raft: addresses[i]}
	}
	return peers, nil
}

// freeAddresses returns n addresses on loopback on which nothing listens. On Linux, listening on port 0 and connecting
// use different halves of the ephemeral ports. So the next connection does not take one of these addresses.
func freeAddresses(n int) (addresses []string, err error) {
	for range n {
		l, err := net.Listen("tcp", anyPort)
		if err != nil {
			return nil, fmt.Errorf("looking for a free port: %w", err)
		}
		defer l.Close() // not before all are found, so that they differ
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// probe returns the error of listening on an address, or nil.
func probe(address string) error {
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		l, err := net.Listen("tcp", address)
		if err == nil {
			return l.Close()
		}
		// A process that is being forked keeps its parent's sockets open for a moment.
		if time.Since(began) > time.Second {
			return err
		}
	}
}
