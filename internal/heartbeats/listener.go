package heartbeats

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hm/internal/tlsfiles"
)

// maxGreeting is how many connections from one address may be without a finished handshake at a time, so that strangers
// cannot take the DEAs' places.
const maxGreeting = 256

// listener accepts connections and counts how they fail.
type listener struct {
	net.Listener
	server *Server
	secure *tlsfiles.Set // nil: plain HTTP

	mu       sync.Mutex
	greeting map[string]int // connections without a finished handshake, by address
}

// Accept gives the next connection. The handshake comes with the first read, on the goroutine of the connection.
func (l *listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: raw, listener: l, remote: raw.RemoteAddr().String()}
		if l.secure != nil {
			if c.host, _, _ = net.SplitHostPort(c.remote); !l.enter(c.host) {
				l.server.refuse(RefusedHandshake, c.remote, errors.New("too many connections from this address have not shown a certificate yet"))
				_ = raw.Close()
				continue
			}
			c.tls = tls.Server(raw, l.secure.Config())
			c.Conn = c.tls
		} else {
			c.greeted.Store(true)
		}
		l.server.stats.connections.Add(1)
		return c, nil
	}
}

func (l *listener) enter(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.greeting[host] >= maxGreeting {
		return false
	}
	l.greeting[host]++
	return true
}

func (l *listener) leave(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.greeting[host]--; l.greeting[host] <= 0 {
		delete(l.greeting, host)
	}
}

// conn is one connection of a DEA.
type conn struct {
	net.Conn
	tls          *tls.Conn // nil: plain HTTP
	listener     *listener
	host, remote string
	closing      sync.Once

	greeted atomic.Bool // the handshake is over, or there is none
	began   atomic.Bool // a request has begun that has not reached the handler

	certificate *x509.Certificate // that the client showed; set before greeted
}

// Read reads from the connection. It does the handshake first.
func (c *conn) Read(b []byte) (int, error) {
	if !c.greeted.Load() {
		if err := c.greet(); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(b)
}

func (c *conn) greet() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.tls.HandshakeContext(ctx); err != nil {
		reason := RefusedHandshake
		if certificateRefused(err) {
			reason = RefusedCertificate
		}
		c.listener.server.refuse(reason, c.remote, err)
		return net.ErrClosed // net/http has nothing to add
	}
	if chain := c.tls.ConnectionState().PeerCertificates; len(chain) > 0 {
		c.certificate = chain[0]
	}
	c.listener.leave(c.host)
	c.greeted.Store(true)
	return nil
}

// certificateRefused reports whether a handshake failed because of the client's certificate.
func certificateRefused(err error) bool {
	var invalid *tls.CertificateVerificationError
	// crypto/tls has no type for a client that shows none.
	return errors.As(err, &invalid) || strings.Contains(err.Error(), "didn't provide a certificate")
}

var errExpired = errors.New("the client's certificate has expired since the connection was made")

// expired reports whether the client's certificate is no longer valid.
func (c *conn) expired(now time.Time) bool {
	return c.certificate != nil && now.After(c.certificate.NotAfter)
}

// Close ends the connection.
func (c *conn) Close() error {
	c.closing.Do(func() {
		c.listener.server.stats.connections.Add(-1)
		if !c.greeted.Load() && c.tls != nil {
			c.listener.leave(c.host)
		}
		if c.began.Load() {
			c.listener.server.refuse(RefusedRequest, c.remote, errors.New("no whole request arrived in time"))
		}
	})
	return c.Conn.Close()
}

// connState notes which connections have sent a part of a request. net/http calls it.
func connState(nc net.Conn, state http.ConnState) {
	if c, ok := nc.(*conn); ok && state == http.StateActive {
		c.began.Store(true)
	}
}

type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

func connOf(ctx context.Context) *conn { return ctx.Value(connKey{}).(*conn) }
