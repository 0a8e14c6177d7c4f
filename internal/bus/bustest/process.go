package bustest

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// processVariable is the environment variable that makes a test binary a NATS server. It has a processOrder as JSON.
const processVariable = "HM_TEST_NATS_SERVER"

type processOrder struct {
	Args             []string      // of nats-server
	LameDuckDuration time.Duration // over which it closes its clients' connections; its own configuration allows no short one
	LameDuckGrace    time.Duration // before it closes the first
}

// ServeIfAsked makes this process a NATS server if RunProcess started it, and never returns then. TestMain must call it
// first.
func ServeIfAsked() {
	text, asked := os.LookupEnv(processVariable)
	if !asked {
		return
	}
	if err := serveProcess(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serveProcess(text string) error {
	var order processOrder
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		return err
	}
	fail := func() { os.Exit(1) }
	opts, err := server.ConfigureOptions(flag.NewFlagSet("nats-server", flag.ContinueOnError), order.Args, fail, fail, fail)
	if err != nil {
		return err
	}
	opts.LameDuckDuration, opts.LameDuckGracePeriod = order.LameDuckDuration, order.LameDuckGrace
	s, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	if err := server.Run(s); err != nil {
		return err
	}
	s.WaitForShutdown()
	return nil
}

// Process is a NATS server in a process of its own, for tests that need signals.
type Process struct {
	t       testing.TB
	address string
	order   processOrder
	cmd     *exec.Cmd
	reading sync.WaitGroup
	seen    published
}

// RunProcess starts a NATS server as a process, for the length of the test. After it was told to enter lame duck mode it
// closes its clients' connections in about lameDuck. The package's TestMain must call ServeIfAsked.
func RunProcess(t testing.TB, lameDuck time.Duration, args ...string) *Process {
	t.Helper()
	port := FreePorts(t, 1)[0]
	p := &Process{t: t, address: fmt.Sprintf("127.0.0.1:%d", port), order: processOrder{
		Args:             append([]string{"-a", "127.0.0.1", "-p", fmt.Sprint(port), "-V"}, args...),
		LameDuckDuration: lameDuck, LameDuckGrace: lameDuck / 2,
	}}
	p.Start()
	t.Cleanup(p.Kill)
	return p
}

// URL is the server's address for clients, Address its host:port.
func (p *Process) URL() string     { return "nats://" + p.address }
func (p *Process) Address() string { return p.address }

// Published counts the messages that clients have published on the subjects that match, as Server.Published does.
func (p *Process) Published(patterns ...string) int { return p.seen.count(patterns) }

// Start starts the process again after it has ended, on the same port.
func (p *Process) Start() {
	p.t.Helper()
	order, err := json.Marshal(p.order)
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd = exec.Command("/proc/self/exe")
	p.cmd.Env = append(os.Environ(), processVariable+"="+string(order))
	out, err := p.cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("start a nats server: %v", err)
	}
	p.reading.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if line := lines.Text(); strings.Contains(line, "[TRC]") {
				p.seen.line(line)
			} else {
				trace{&p.seen}.keep("nats-server", "%s", []any{line})
			}
		}
	})
	Until(p.t, "the nats server accepts connections", func() bool {
		c, err := net.Dial("tcp", p.address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// Signal sends the process a signal.
func (p *Process) Signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("signal %s to the nats server: %v", s, err)
	}
}

// Wait waits until the process has ended by itself.
func (p *Process) Wait() {
	p.reading.Wait()
	_ = p.cmd.Wait() // it may have been killed
}

// Kill kills the process and waits for its end. It may have ended already.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	p.Wait()
}
