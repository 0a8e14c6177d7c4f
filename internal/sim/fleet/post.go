package fleet

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Posting says that the DEAs send their heartbeats over HTTPS, as late DEAs do (N05), and not over NATS.
type Posting struct {
	URLs     []string // of the endpoints; a DEA uses one until it fails, and then another one
	TLS      *tls.Config
	Share    float64 // of the DEAs that do so; the others send over NATS. 0: all
	AlsoNATS bool    // the DEAs send each heartbeat over NATS, too
}

// postTimeout is how long a DEA waits for a connection, and for an answer. It tries no heartbeat again (N06).
const postTimeout = 5 * time.Second

// poster posts the heartbeats of one DEA, one at a time.
type poster struct {
	conn   *connection
	client *http.Client

	mu   sync.Mutex
	url  string
	busy bool
	next []byte // the newest heartbeat that waits for the one under way; nil: none
}

// posts reports whether the DEA with a number posts. Those that do are spread evenly.
func (o *Posting) posts(number int) bool {
	if o == nil {
		return false
	}
	return o.Share == 0 || int(float64(number+1)*o.Share) > int(float64(number)*o.Share)
}

func newPoster(c *connection) *poster {
	o := c.fleet.opts.Post
	p := &poster{conn: c, client: &http.Client{Timeout: postTimeout, Transport: &http.Transport{
		TLSClientConfig: o.TLS, TLSHandshakeTimeout: postTimeout, MaxConnsPerHost: 1, IdleConnTimeout: 2 * c.fleet.opts.HeartbeatPeriod,
		DialContext: (&net.Dialer{Timeout: postTimeout}).DialContext,
	}}}
	p.choose()
	return p
}

// choose takes an endpoint at random, but not the one in use if there is another: one that does not answer would be drawn
// several times in a row now and then. The caller holds p.mu, or nobody else has p.
func (p *poster) choose() {
	urls := p.conn.fleet.opts.Post.URLs
	if at := slices.Index(urls, p.url); at >= 0 && len(urls) > 1 {
		p.url = urls[(at+1+rand.IntN(len(urls)-1))%len(urls)]
		return
	}
	p.url = urls[rand.IntN(len(urls))]
}

// post sends a heartbeat, after the one that is under way. A newer heartbeat takes the place of one that waits. Nobody
// may change body afterwards.
func (p *poster) post(ctx context.Context, body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy {
		p.next = body
		return
	}
	p.busy = true
	p.conn.fleet.wg.Go(func() {
		for body != nil {
			ok := p.send(ctx, body)
			p.mu.Lock()
			if !ok {
				p.choose()
			}
			body, p.next = p.next, nil
			p.busy = body != nil
			p.mu.Unlock()
		}
	})
}

// send posts one heartbeat and reports whether it was taken.
func (p *poster) send(ctx context.Context, body []byte) bool {
	p.mu.Lock()
	url := p.url
	p.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		p.conn.fleet.log.Error("a DEA cannot post to this address", "url", url, "error", err)
		return false
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.client.Do(req)
	if err == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
		_ = resp.Body.Close()
	}
	switch {
	case err == nil && resp.StatusCode == http.StatusAccepted:
		p.conn.heartbeats.Add(1)
		return true
	case ctx.Err() != nil:
	case err != nil:
		p.conn.lost.Add(1)
		p.conn.fleet.log.Warn("a heartbeat could not be posted", "url", url, "error", err)
	default:
		p.conn.lost.Add(1)
		p.conn.fleet.log.Warn("a heartbeat was not taken", "url", url, "status", resp.StatusCode)
	}
	return false
}

// close ends the connection that is kept.
func (p *poster) close() { p.client.CloseIdleConnections() }
