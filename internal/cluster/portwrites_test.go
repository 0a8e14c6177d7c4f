package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

// TestWritesReachAnotherMember forwards requests from one node to another over the cluster port.
func TestWritesReachAnotherMember(t *testing.T) {
	ca := newAuthority(t)
	for name, tweak := range map[string]func(int, *Options){"plain": nil, "TLS": func(_ int, o *Options) { o.TLS = ca.issue(o.ID, o.ID) }} {
		t.Run(name, func(t *testing.T) {
			c := startCluster(t, 3, tweak)
			from, to := c.nodes[0], c.nodes[1]
			srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				fmt.Fprintf(w, "%s says %s", r.Host, body)
			})}
			served := make(chan error, 1)
			go func() { served <- srv.Serve(to.Writes()) }()
			client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
				id, _, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				return from.DialWrites(bounded(t), id)
			}}}
			ask := func() error {
				resp, err := client.Post("http://"+to.opts.ID+"/", "text/plain", http.NoBody)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				_, err = io.Copy(io.Discard, resp.Body)
				return err
			}
			for range 3 * maxWrites { // a connection that ended makes place
				if err := ask(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := from.DialWrites(bounded(t), from.opts.ID); err == nil {
				t.Error("a node reaches itself")
			}
			if _, err := from.DialWrites(bounded(t), "stranger"); err == nil {
				t.Error("a node reaches a stranger")
			}
			refused := to.Stats().Refused
			if err := srv.Close(); err != nil {
				t.Error(err)
			}
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
			if err := ask(); err == nil {
				t.Error("a request was answered although nobody serves")
			}
			eventually(t, "the connection is counted as refused", func() bool { return to.Stats().Refused > refused })
		})
	}
}

// TestWritesAreLimited: too many connections with forwarded requests take none away from raft.
func TestWritesAreLimited(t *testing.T) {
	c := startCluster(t, 1, nil)
	n := c.leader()
	accepted := make(chan net.Conn, maxWrites+1)
	go func() {
		for {
			conn, err := n.Writes().Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- conn
		}
	}()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", c.opts[0].Listen)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := conn.Write([]byte{carriesWrites}); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	var held []net.Conn
	for range maxWrites {
		dial()
		held = append(held, <-accepted)
	}
	extra := dial()
	_ = extra.SetReadDeadline(time.Now().Add(patience))
	if _, err := extra.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection beyond the limit was not closed: %v", err)
	}
	_ = held[0].Close()
	dial()
	held = append(held, <-accepted)
	for _, conn := range held {
		_ = conn.Close()
	}
	c.propose(dea(1))
	c.close(0)
	for range accepted { // until Accept has ended with the node
	}
}

// TestRelaysReachAnotherMember: connections of this kind reach their own listener, and no other.
func TestRelaysReachAnotherMember(t *testing.T) {
	ca := newAuthority(t)
	c := startCluster(t, 3, func(_ int, o *Options) { o.TLS = ca.issue(o.ID, o.ID) })
	from, to := c.nodes[0], c.nodes[1]
	conn, err := from.DialRelay(bounded(t), to.opts.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	accepted, err := to.Relays().Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	got := make([]byte, 5)
	if _, err := io.ReadFull(accepted, got); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := from.DialRelay(bounded(t), from.opts.ID); err == nil {
		t.Error("a node reaches itself")
	}
}
