package fleet

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// hosts gives each DEA an address of its own, of 127.0.0.0/8. Other simulations on the machine have others, so that a
// route that has ended leads to nobody, and not to whoever got the port.
type hosts struct {
	own  bool // false: the system has 127.0.0.1 only
	a, b byte
}

func newHosts() hosts {
	h := hosts{own: true, a: byte(1 + rand.IntN(254)), b: byte(rand.IntN(256))}
	l, err := net.Listen("tcp", net.JoinHostPort(h.number(0), "0"))
	if err != nil {
		return hosts{}
	}
	_ = l.Close()
	return h
}

// of is the address of a DEA's machine. It stays the same when the DEA restarts.
func (h hosts) of(d *dea) string { return h.number(d.inPool.order) }

func (h hosts) number(n int) string {
	if !h.own {
		return "127.0.0.1"
	}
	n %= 254 * 256
	return fmt.Sprintf("127.%d.%d.%d", h.a, h.b^byte(n/254), 1+n%254)
}
