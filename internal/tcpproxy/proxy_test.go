package tcpproxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// serve starts a server that answers each line with its name and the line.
func serve(t *testing.T, name string) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for lines := bufio.NewScanner(c); lines.Scan(); {
					fmt.Fprintf(c, "%s %s\n", name, lines.Text())
				}
			}()
		}
	}()
	return ln.Addr().String()
}

func start(t *testing.T, target string) *Proxy {
	t.Helper()
	p, err := Start(Options{Target: target, ClientBuffer: 4096, TargetBuffer: 4096})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

type client struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, p *Proxy) client {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return client{t, c, bufio.NewReader(c)}
}

func (c client) send(line string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c, line); err != nil {
		c.t.Fatal(err)
	}
}

// wants reads one line.
func (c client) wants(line string) {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	got, err := c.in.ReadString('\n')
	if err != nil || got != line+"\n" {
		c.t.Fatalf("read %q and %v, want %q", got, err, line)
	}
}

// silent checks that nothing arrives for a moment and that the connection stays open.
func (c client) silent() {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		c.t.Fatal(err)
	}
	if b, err := c.in.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("read %q and %v, want silence", b, err)
	}
}

// ended checks that the connection was closed.
func (c client) ended() {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	if rest, err := io.ReadAll(c.in); len(rest) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("read %q and %v, want the end of the connection", rest, err)
	}
}

func TestHeldBytesArriveLater(t *testing.T) {
	p := start(t, serve(t, "a"))
	for _, mode := range []Mode{Hold, HoldToClient, HoldToTarget} {
		t.Run(mode.String(), func(t *testing.T) {
			c := dial(t, p)
			c.send("before")
			c.wants("a before")
			p.Set(mode)
			c.send("held")
			c.silent()
			p.Set(Pass)
			c.wants("a held")
		})
	}
}

func TestRefuse(t *testing.T) {
	p := start(t, serve(t, "a"))
	c := dial(t, p)
	c.send("before")
	c.wants("a before")
	p.Set(Refuse)
	c.ended()
	dial(t, p).ended()
	p.Set(Pass)
	c = dial(t, p)
	c.send("after")
	c.wants("a after")
	if open, accepted := p.Connections(); open != 1 || accepted != 3 {
		t.Errorf("%d connections are open and %d were accepted, want 1 and 3", open, accepted)
	}
}

// TestMovedAddress: the target changes; the old connections are cut in one case and stay half-open in the other.
func TestMovedAddress(t *testing.T) {
	a, b := serve(t, "a"), serve(t, "b")
	p := start(t, a)
	stranded, cut := dial(t, p), dial(t, p)
	for _, c := range []client{stranded, cut} {
		c.send("1")
		c.wants("a 1")
	}
	p.SwitchTo(b)
	stranded.send("2")
	stranded.wants("a 2")
	p.Strand()
	stranded.send("3")
	stranded.silent()
	moved := dial(t, p)
	moved.send("4")
	moved.wants("b 4")
	p.Set(Hold)
	p.Set(Pass)
	stranded.silent()
	p.Cut()
	for _, c := range []client{stranded, cut, moved} {
		c.ended()
	}
	c := dial(t, p)
	c.send("5")
	c.wants("b 5")
}

func TestThrottle(t *testing.T) {
	p := start(t, serve(t, "a"))
	c := dial(t, p)
	p.Throttle(1000, 0)
	c.send(strings.Repeat("x", 297)) // the answer of 300 bytes takes 0.3 s
	c.silent()
	c.wants("a " + strings.Repeat("x", 297))
}

func TestCloseEndsEverything(t *testing.T) {
	p := start(t, serve(t, "a"))
	held, slow, stranded := dial(t, p), dial(t, p), dial(t, p)
	stranded.send("1")
	stranded.wants("a 1")
	p.Strand()
	p.Throttle(1, 1)
	slow.send("slow")
	p.Set(Hold)
	held.send("held")
	p.Close() // waits for every goroutine
	for _, c := range []client{held, slow, stranded} {
		c.ended()
	}
	if open, _ := p.Connections(); open != 0 {
		t.Errorf("%d connections are open after the end", open)
	}
	p.Close()
	if _, err := Start(Options{Listen: "127.0.0.1:-1", Target: "x"}); err == nil {
		t.Error("a proxy started on a bad address")
	}
}

func TestInspectSeesWhatIsPassedOn(t *testing.T) {
	type seen struct {
		connection uint64
		toTarget   bool
		text       string
	}
	saw := make(chan seen, 10)
	p, err := Start(Options{Target: serve(t, "a"), Inspect: func(connection uint64, toTarget bool, b []byte) {
		saw <- seen{connection, toTarget, string(b)}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	for n := uint64(1); n <= 2; n++ {
		c := dial(t, p)
		c.send("hello")
		c.wants("a hello")
		for _, want := range []seen{{n, true, "hello\n"}, {n, false, "a hello\n"}} {
			if got := <-saw; got != want {
				t.Errorf("inspected %+v, want %+v", got, want)
			}
		}
	}
	c := dial(t, p)
	c.send("first")
	c.wants("a first")
	<-saw
	<-saw
	p.Set(Hold)
	c.send("held")
	c.silent()
	if len(saw) > 0 {
		t.Errorf("inspected %+v while everything was held", <-saw)
	}
}
