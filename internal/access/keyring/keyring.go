// Package keyring keeps the public keys of the issuer of JWTs: it reads a file, or asks UAA, again and again. The last
// good keys count until there are others, also over a restart, so that an outage of UAA locks nobody out.
package keyring

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hm/internal/access"
	"hm/internal/tlsfiles"
)

// Options say where the keys are: at URL, or in File.
type Options struct {
	URL   string        // of a JWKS, such as https://uaa.example.com/token_keys
	TLS   *tlsfiles.Set // for URL; nil: the authorities that the system trusts
	Cache string        // file that keeps the keys of URL over a restart; empty: none
	File  string        // PEM public keys, or a JWKS

	Times  Times        // zero: the defaults
	Logger *slog.Logger // nil discards
}

// Times say how often the keys are read.
type Times struct {
	Every    time.Duration // after a success; default 5 min
	Retry    time.Duration // after a failure; default 15 s
	Apart    time.Duration // between two reads because of a key that is not known; default 10 s
	Patience time.Duration // for a read, and of Renew; default 5 s
}

func (t Times) complete() Times {
	for _, one := range []struct {
		set   *time.Duration
		usual time.Duration
	}{{&t.Every, 5 * time.Minute}, {&t.Retry, 15 * time.Second}, {&t.Apart, 10 * time.Second}, {&t.Patience, 5 * time.Second}} {
		if *one.set <= 0 {
			*one.set = one.usual
		}
	}
	return t
}

// Ring has the keys. It is safe for concurrent use.
type Ring struct {
	opts   Options
	http   *http.Client
	keys   atomic.Pointer[access.Keys]
	raw    []byte // the keys as they were read; only Open and run use it
	failed bool   // the last read failed; only Open and run use it

	wake    chan struct{} // has an element if a renewal waits
	mu      sync.Mutex
	renewal *renewal // the newest; nil: there was none

	stop context.CancelFunc
	done chan struct{}
}

// renewal is a read because of a key that is not known.
type renewal struct {
	at   time.Time
	done chan struct{} // closed when the keys were read
	over bool          // done is closed
}

// Open makes a ring. A file must be readable. A URL need not answer: the keys that were kept then count.
func Open(o Options) (*Ring, error) {
	o.Times = o.Times.complete()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Ring{opts: o, wake: make(chan struct{}, 1), done: make(chan struct{})}
	transport := tlsfiles.NewTransport(o.TLS, func(c *tls.Config) *http.Transport {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.TLSClientConfig, t.MaxIdleConnsPerHost = c, 1
		return t
	})
	r.http = &http.Client{Transport: transport, Timeout: o.Times.Patience, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("it redirects: name the address that it redirects to")
	}}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	first := time.Duration(0)
	if o.File == "" {
		r.recall()
	} else if err := r.read(ctx); err != nil {
		cancel()
		return nil, fmt.Errorf("api.jwt.keys %s: %w: name a file of PEM public keys, or a JWKS", o.File, err)
	} else {
		first = o.Times.Every
	}
	go r.run(ctx, first)
	return r, nil
}

// Keys gives the newest good keys; nil: none were ever read.
func (r *Ring) Keys() *access.Keys { return r.keys.Load() }

// Close ends reading, and returns when it has ended. The keys stay.
func (r *Ring) Close() {
	r.stop()
	<-r.done
	r.http.CloseIdleConnections()
}

// Renew reads the keys again, unless that was done a moment ago, and returns when they are read, or soon. So a token
// that is signed with a new key counts at once, and tokens that name invented keys cause few reads.
func (r *Ring) Renew() {
	n := r.asked(time.Now())
	if n == nil {
		return
	}
	timer := time.NewTimer(r.opts.Times.Patience)
	defer timer.Stop()
	select {
	case <-n.done:
	case <-timer.C:
	case <-r.done:
	}
}

// asked gives the renewal to wait for; nil: the last one is over, and it is too early for another.
func (r *Ring) asked(now time.Time) *renewal {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.renewal != nil && !r.renewal.over:
		return r.renewal
	case r.renewal != nil && now.Sub(r.renewal.at) < r.opts.Times.Apart:
		return nil
	}
	r.renewal = &renewal{at: now, done: make(chan struct{})}
	select {
	case r.wake <- struct{}{}:
	default: // one waits already
	}
	return r.renewal
}

// waiting gives the renewal that the next read ends; nil: none.
func (r *Ring) waiting() *renewal {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.renewal == nil || r.renewal.over {
		return nil
	}
	return r.renewal
}

func (r *Ring) ended(n *renewal) {
	if n == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n.over = true
	close(n.done)
}

// run reads the keys until ctx ends.
func (r *Ring) run(ctx context.Context, first time.Duration) {
	defer close(r.done)
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.wake:
		}
		n := r.waiting()
		err := r.read(ctx)
		r.ended(n)
		next := r.opts.Times.Every
		if err != nil {
			next = r.opts.Times.Retry
			if ctx.Err() == nil && !r.failed {
				r.opts.Logger.Warn("the keys of the issuer of tokens cannot be read: the last good ones count", "error", err, "known", r.Keys().IDs())
			}
		} else if r.failed {
			r.opts.Logger.Info("the keys of the issuer of tokens can be read again")
		}
		r.failed = err != nil
		timer.Reset(next)
	}
}

// read reads the keys once. Keys that cannot be used change nothing.
func (r *Ring) read(ctx context.Context) error {
	raw, err := r.get(ctx)
	if err != nil {
		return err
	}
	if r.Keys() != nil && bytes.Equal(raw, r.raw) {
		return nil
	}
	keys, err := access.ParseKeys(raw)
	if err != nil {
		return err
	}
	before := r.Keys().IDs()
	r.keys.Store(keys)
	r.raw = raw
	if now := keys.IDs(); !slices.Equal(before, now) {
		r.opts.Logger.Info("the keys of the issuer of tokens are known", "keys", now)
	}
	if r.opts.File == "" {
		if err := r.remember(raw); err != nil {
			r.opts.Logger.Warn("the keys of the issuer of tokens cannot be kept for a restart", "error", err)
		}
	}
	return nil
}

// get gives the keys as the file or the URL has them.
func (r *Ring) get(ctx context.Context) ([]byte, error) {
	if r.opts.File != "" {
		f, err := os.Open(r.opts.File)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, access.MaxKeysBytes+1))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.opts.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", r.opts.URL, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, access.MaxKeysBytes+1))
}
