package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// listen opens a socket as systemd does, and gives what arrives there.
func listen(t *testing.T, address string) <-chan string {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	messages := make(chan string, 1000)
	go func() {
		defer close(messages)
		for buf := make([]byte, 4096); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			messages <- string(buf[:n])
		}
	}()
	return messages
}

// next gives the next message.
func next(t *testing.T, messages <-chan string) string {
	t.Helper()
	select {
	case m := <-messages:
		return m
	case <-time.After(30 * time.Second):
		t.Fatal("no message arrived")
		return ""
	}
}

// until reads messages until one is as wanted.
func until(t *testing.T, messages <-chan string, want string) {
	t.Helper()
	for next(t, messages) != want {
	}
}

// started gives the notifier of a process that systemd has started so.
func started(t *testing.T, socket string, watchdog time.Duration) *Notifier {
	t.Helper()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(watchdog.Microseconds(), 10))
	if watchdog == 0 {
		t.Setenv("WATCHDOG_USEC", "")
	}
	n, err := FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestMessages(t *testing.T) {
	for name, address := range map[string]string{
		"a path":             filepath.Join(t.TempDir(), "notify"),
		"an abstract socket": fmt.Sprintf("@hm-test-%d", os.Getpid()),
	} {
		t.Run(name, func(t *testing.T) {
			messages := listen(t, address)
			n := started(t, address, 0)
			for _, c := range []struct {
				send func() error
				want string
			}{
				{n.Ready, "READY=1"},
				{n.Reloading, "RELOADING=1"},
				{n.Alive, "WATCHDOG=1"},
				{n.Stopping, "STOPPING=1"},
				{func() error { return n.Status("leads; gate open") }, "STATUS=leads; gate open"},
				{func() error { return n.Status("a\nWATCHDOG=1\x00b") }, "STATUS=a WATCHDOG=1 b"},
				{func() error { return n.Status(strings.Repeat("x", 399) + "ä") }, "STATUS=" + strings.Repeat("x", 399)},
			} {
				if err := c.send(); err != nil {
					t.Fatal(err)
				}
				if got := next(t, messages); got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
			}
		})
	}
}

func TestFromEnvironment(t *testing.T) {
	for name, c := range map[string]struct {
		socket, usec, pid string
		watchdog          time.Duration
		fails             string
	}{
		"no systemd":                      {},
		"no systemd, but a watchdog":      {usec: "1000"},
		"no watchdog":                     {socket: "/run/x"},
		"a watchdog":                      {socket: "/run/x", usec: "60000000", watchdog: time.Minute},
		"of this process":                 {socket: "@x", usec: "2000", pid: strconv.Itoa(os.Getpid()), watchdog: 2 * time.Millisecond},
		"of the parent":                   {socket: "@x", usec: "2000", pid: "1"},
		"a socket of another kind":        {socket: "vsock:1:2", fails: `"vsock:1:2"`},
		"a watchdog that is no number":    {socket: "/run/x", usec: "1m", fails: `"1m"`},
		"a watchdog that is negative":     {socket: "/run/x", usec: "-1", fails: `"-1"`},
		"a watchdog that is far too slow": {socket: "/run/x", usec: "9223372036854775807", fails: "up to a day"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("NOTIFY_SOCKET", c.socket)
			t.Setenv("WATCHDOG_USEC", c.usec)
			t.Setenv("WATCHDOG_PID", c.pid)
			n, err := FromEnvironment()
			if (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Fatalf("error %v, want %q", err, c.fails)
			}
			if (n != nil) != (c.socket != "" && c.fails == "") || n.Watchdog() != c.watchdog {
				t.Errorf("got %+v with the watchdog %s, want %s", n, n.Watchdog(), c.watchdog)
			}
		})
	}
}

// TestNobodyListens: a node without systemd, or with one that has gone, goes on.
func TestNobodyListens(t *testing.T) {
	var none *Notifier
	for _, send := range []func() error{none.Ready, none.Reloading, none.Alive, none.Stopping} {
		if err := send(); err != nil {
			t.Error(err)
		}
	}
	n := started(t, filepath.Join(t.TempDir(), "gone"), time.Minute)
	if err := n.Ready(); err == nil || !strings.Contains(err.Error(), "telling systemd") {
		t.Errorf("got %v", err)
	}
}

// TestSystemdTakesNothing: systemd is busy and its queue is full. A node does not wait for it.
func TestSystemdTakesNothing(t *testing.T) {
	address := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	n := started(t, address, 0)
	for range 1_000_000 { // until the queue is full; the system bounds it at some ten messages
		if err := n.Alive(); err != nil {
			return
		}
	}
	t.Error("a million messages were taken though nobody reads them")
}

// node is a node whose loops a test stops.
type node struct {
	stuck   atomic.Pointer[string]
	summary atomic.Pointer[string]
}

func newNode() *node {
	n := &node{}
	n.set("", "leads; gate open")
	return n
}

func (n *node) set(stuck, summary string) {
	n.stuck.Store(&stuck)
	n.summary.Store(&summary)
}

func (n *node) Stuck(time.Duration) string { return *n.stuck.Load() }
func (n *node) Summary() string            { return *n.summary.Load() }

// TestWatch: systemd hears that the node goes on, hears nothing while it is stuck, and hears it again afterwards.
func TestWatch(t *testing.T) {
	address := filepath.Join(t.TempDir(), "notify")
	messages := listen(t, address)
	n := started(t, address, 40*time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	it := newNode()
	go func() { defer close(ended); n.Watch(ctx, it, slog.New(slog.DiscardHandler)) }()
	until(t, messages, "STATUS=leads; gate open")
	until(t, messages, "WATCHDOG=1")
	until(t, messages, "WATCHDOG=1")

	it.set("the reconcile loop has not gone on for 31s", "leads; gate closed: stuck")
	until(t, messages, "STATUS=leads; gate closed: stuck")
	// The look that told the status may still have found the node alive; no later one does.
	quiet := time.After(200 * time.Millisecond)
	for told := 0; ; {
		select {
		case m := <-messages:
			if told++; told > 1 {
				t.Fatalf("%q was told of a node that is stuck", m)
			}
			continue
		case <-quiet:
		}
		break
	}
	it.set("", "follows hm-1; gate closed: not-leader")
	until(t, messages, "STATUS=follows hm-1; gate closed: not-leader")
	until(t, messages, "WATCHDOG=1")
	cancel()
	<-ended
}

// TestWatchWithoutWatchdog: only the status is told, and only when it changes.
func TestWatchWithoutWatchdog(t *testing.T) {
	address := filepath.Join(t.TempDir(), "notify")
	messages := listen(t, address)
	w := watch{notifier: started(t, address, 0), logger: slog.New(slog.DiscardHandler)}
	it := newNode()
	for range 3 {
		w.look(time.Now(), it)
	}
	it.set("the watch loop has not gone on for 1m0s", "no leader is known; gate closed: no-leader")
	w.look(time.Now(), it)
	for _, want := range []string{"STATUS=leads; gate open", "STATUS=no leader is known; gate closed: no-leader"} {
		if got := next(t, messages); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	select {
	case m := <-messages:
		t.Errorf("%q was told as well", m)
	default:
	}
}
