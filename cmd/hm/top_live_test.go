//go:build linux

package main

import (
	"context"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"hm/internal/liveview"
	"hm/internal/liveview/ptytest"
)

// screenRun is an hm command on a pseudo-terminal, with what a user sees of it.
type screenRun struct {
	t      *testing.T
	pty    *os.File
	screen *ptytest.Screen
	ended  chan int      // its exit code
	read   chan struct{} // closed at the end of its output
}

func runOnScreen(ctx context.Context, t *testing.T, width, height uint16, args ...string) *screenRun {
	t.Helper()
	t.Setenv("TERM", "xterm-256color")
	pty, program := ptytest.Open(t, width, height)
	r := &screenRun{t: t, pty: pty, screen: ptytest.NewScreen(int(width), int(height)), ended: make(chan int, 1), read: make(chan struct{})}
	go func() {
		defer close(r.read)
		b := make([]byte, 4096)
		for {
			n, err := pty.Read(b)
			_, _ = r.screen.Write(b[:n])
			if err != nil {
				return // the program's end is closed
			}
		}
	}()
	go func() {
		code := newCLI(program, program, program).run(ctx, args)
		program.Close()
		r.ended <- code
	}()
	return r
}

// await waits until the screen shows all of some texts.
func (r *screenRun) await(texts ...string) {
	r.t.Helper()
	r.awaitNot("", texts...)
}

// awaitNot waits until the screen shows all of some texts, and not another one.
func (r *screenRun) awaitNot(not string, texts ...string) {
	r.t.Helper()
	deadline := time.After(devTestDeadline)
	for {
		shown, missing := r.screen.String(), ""
		for _, text := range texts {
			if !strings.Contains(shown, text) {
				missing = text
			}
		}
		if missing == "" && (not == "" || !strings.Contains(shown, not)) {
			return
		}
		select {
		case <-r.screen.Grown():
		case <-deadline:
			r.t.Fatalf("%q is missing, or %q is shown:\n%s", missing, not, shown)
		}
	}
}

func (r *screenRun) press(keys ...string) {
	r.t.Helper()
	for _, k := range keys {
		if _, err := r.pty.WriteString(k); err != nil {
			r.t.Fatal(err)
		}
	}
}

// end waits for the end of the command.
func (r *screenRun) end() {
	r.t.Helper()
	select {
	case code := <-r.ended:
		<-r.read
		r.pty.Close()
		if code != 0 {
			r.t.Errorf("exit code %d:\n%s", code, r.screen)
		}
		if unknown := r.screen.Unknown(); len(unknown) > 0 {
			r.t.Errorf("the test's screen does not know %q", unknown)
		}
	case <-time.After(devTestDeadline):
		r.t.Fatalf("it does not end:\n%s", r.screen)
	}
}

const (
	keyDown  = "\x1b[B"
	keyEnter = "\r"
	keyEsc   = "\x1b"
)

// hm top follows a real cluster: its keys open pages, filter, and pause; a NATS outage and a node that goes away are
// shown. It leaves no goroutine behind.
func TestTopFollowsACluster(t *testing.T) {
	takesSeconds(t)
	useSignals()
	dev := startDev(t, testDevFlags())
	dev.await("gate", gateOpen)
	addr := dev.Places()[1].Address
	before := runtime.NumGoroutine()
	r := runOnScreen(t.Context(), t, 100, 30, "top", "--addr", addr, "--interval", "1s")
	r.await("hm top", "gate      open for", "desired   fresh, 50 apps", "actual    fresh, 20 DEAs", "queue     nothing waits", "apps      none drifts")

	r.press("2")
	r.await("apps      50, by drift", "as desired")
	r.press(keyDown, keyEnter)
	r.await("verdict   as desired", "desired state read")
	app := field(t, r.screen.String(), "app       ")
	r.press("i")
	r.await("index 0", "instance ")
	r.press("v")
	r.await("events    of app " + app)
	r.press(keyEsc)
	r.await("verdict   as desired")
	r.press("2", "/")
	r.await("filter: _")
	r.press(app[:8], keyEnter)
	r.await("apps      1, by drift, that begin with "+app[:8], app[:8])
	r.press(keyEsc)
	r.await("apps      50, by drift")
	r.press("3")
	r.await("DEAs      20, by trouble")
	r.press(keyDown, keyEnter)
	r.await("DEA       0-", "known for", "RUNNING")
	r.press("6")
	r.await("hm-0", "leader", "NATS      of hm-0: connected", "holds     0 holds set")

	r.press("1", "p")
	r.await("Pause hm on all nodes?", "It is recorded as done by "+whoAmI())
	r.press("switches", keyEnter)
	r.await("hm is paused", "gate      closed for", "paused: somebody paused hm", "set by "+whoAmI()+": switches")
	r.press("p")
	r.await("Resume hm on all nodes?")
	r.press("y")
	r.awaitNot("hold      paused", "hm is no longer paused", "gate      open for")

	ptytest.Resize(t, r.pty, 80, 24)
	r.screen.Resize(80, 24)
	r.await("gate      open for", "6 cluster")

	dev.View().Do(liveview.ToggleNATS)
	dev.await("NATS is stopped", func(f liveview.Frame) bool { return len(f.Faults) == 1 })
	stopped := time.Now()
	r.await("gate      closed for", "nats-down: this node has no link to NATS")
	t.Logf("an outage of NATS is shown after %s", time.Since(stopped).Round(time.Millisecond))
	dev.View().Do(liveview.ToggleNATS)
	r.await("gate      open for")

	dev.View().Do(liveview.ToggleLeader)
	r.await("BLIND     no answer for", "gate?     it was open for", "desired?")
	dev.View().Do(liveview.ToggleLeader)
	r.awaitNot("BLIND", "gate      open for")

	r.press("q")
	r.end()
	awaitGoroutines(t, before+4) // the simulation's and the API's come and go
}

// field returns what follows a label on its line.
func field(t *testing.T, shown, label string) string {
	t.Helper()
	_, rest, found := strings.Cut(shown, "\n"+label)
	if !found {
		t.Fatalf("%q is missing:\n%s", label, shown)
	}
	value, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(value)
}

// hm dev has the pages of hm top beside its own keys.
func TestDevHasThePagesOfTop(t *testing.T) {
	takesSeconds(t)
	useSignals()
	before := runtime.NumGoroutine()
	r := runOnScreen(t.Context(), t, 100, 30, "dev", "--nodes", "1", "--heartbeat", devTestPeriod.String(), "--deas", "5", "--apps", "5", "--api", "127.0.0.1:0")
	r.await("gate      open for", "in truth  agrees", "k kill DEA")
	r.press("?")
	r.await("Keys of hm dev", "kills a DEA with all its instances")
	r.press("x")
	r.await("k kill DEA")
	r.press("k")
	r.await("you: killed DEA", "1 in trouble")
	r.press("3")
	r.await("by trouble", "0-")
	r.press(keyDown)
	r.await("> 0-")
	r.press(keyEnter)
	r.await("known for")
	r.press("q")
	r.end()
	awaitGoroutines(t, before)
}
