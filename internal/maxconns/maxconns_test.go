package maxconns_test

import (
	"errors"
	"net"
	"testing"
	"time"

	"hm/internal/maxconns"
)

// TestLimit: a connection beyond the limit is accepted once another one is closed, and Close ends the waiting.
func TestLimit(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := maxconns.Limit(tcp, 1)
	accepted, ended := make(chan net.Conn), make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- c
		}
	}()
	for range 2 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first := <-accepted
	select {
	case <-accepted:
		t.Fatal("a second connection is open beside the first")
	case <-time.After(50 * time.Millisecond):
	}
	first.Close()
	first.Close() // frees its place once
	second := <-accepted
	defer second.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept ends with %v, want net.ErrClosed", err)
	}
}
