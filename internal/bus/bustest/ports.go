package bustest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// FreePorts gives n ports of 127.0.0.1 on which the test may listen, at once or later, as often as it likes. No other
// test gets them.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	given, err := ports.take(n)
	if err != nil {
		t.Fatal(err)
	}
	return given
}

var ports portPool

// portPool gives out each port once. It takes none of the ports that the system gives to outgoing connections, because
// a connection could get such a port while the test's own listener is closed. The pool takes ports in blocks. Whoever
// listens on the first port of a block owns the block, so test binaries that run at the same time do not collide.
type portPool struct {
	mu        sync.Mutex
	owned     []net.Listener // on the first port of each block
	next, end int            // ports of the newest block that are still free
}

const (
	portBlock          = 50
	firstPort, endPort = 12_000, 32_000 // Linux gives higher ports to connections
)

func (p *portPool) take(n int) (given []int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(given) < n {
		if p.next == p.end {
			if err := p.takeBlock(); err != nil {
				return nil, err
			}
		}
		if l, err := listenOn(p.next); err == nil {
			l.Close()
			given = append(given, p.next)
		}
		p.next++
	}
	return given, nil
}

// takeBlock adds a block to those that this process owns.
func (p *portPool) takeBlock() error {
	const blocks = (endPort - firstPort) / portBlock
	for try, begin := 0, rand.IntN(blocks); try < blocks; try++ {
		first := firstPort + (begin+try)%blocks*portBlock
		l, err := listenOn(first)
		if err == nil {
			p.owned = append(p.owned, l)
			p.next, p.end = first+1, first+portBlock
			return nil
		}
	}
	return fmt.Errorf("no ports are free from %d to %d", firstPort, endPort)
}

func listenOn(port int) (net.Listener, error) {
	return net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
}
